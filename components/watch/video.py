"""The annotated video: as long as what was watched, and evenly timed whatever the frames' own times."""

from pathlib import Path
from typing import Final

import cv2
import numpy as np

from components.errors import StepError

CODECS: Final = {'avc1': 'H.264', 'mp4v': 'MPEG-4 Part 2'}
"""The first that OpenCV's build can encode is taken. PyPI's wheels have no encoder for H.264."""

HIGHEST_RATE: Final = 120.0
_LONGEST_STILL: Final = 3600.0  # seconds that one frame may last


class AnnotatedVideo:
    """Writes an MP4.

    Attributes:
        codec: the name of its coding.

    Args:
        path: of a file that is written anew.
        rate: frames a second.
        size: width and height in pixels.

    Raises:
        StepError: it cannot be written.
    """

    def __init__(self, path: Path, rate: float, size: tuple[int, int]):
        self._rate = min(rate, HIGHEST_RATE)
        self._path = path
        self._writer, self.codec = _open(path, self._rate, size)
        self._begin: float | None = None
        self._frames = 0
        self._latest: np.ndarray | None = None

    def write(self, image: np.ndarray, seconds: float) -> None:
        """Adds a frame, which lasts until the next one's time.

        Args:
            image: uint8 `[height, width, 3]`, BGR; not changed any more by who gives it.
            seconds: its time, later than the last one's.
        """
        if self._begin is None:
            self._begin = seconds
        self._fill(seconds)
        self._latest = image

    def close(self, end: float | None = None) -> None:
        """Ends the video.

        Args:
            end: the time until which the last frame lasts; one frame's time where it is left out.
        """
        if self._begin is not None and self._latest is not None:
            frames_end = self._begin + (self._frames + 1) / self._rate
            self._fill(frames_end if end is None else max(end, frames_end))
        self._latest = None
        self._writer.release()

    def _fill(self, seconds: float) -> None:
        """Repeats the frame before until the next one's time; leaves it out where two fall on one place."""
        assert self._begin is not None
        due = min(round((seconds - self._begin) * self._rate), self._frames + round(_LONGEST_STILL * self._rate))
        while self._latest is not None and self._frames < due:
            self._writer.write(self._latest)
            self._frames += 1


def _open(path: Path, rate: float, size: tuple[int, int]) -> tuple[cv2.VideoWriter, str]:
    cv2.setLogLevel(0)
    for code, name in CODECS.items():
        writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*code), rate, size)
        if writer.isOpened():
            return writer, name
        writer.release()
    raise StepError(
        f'{path} cannot be written: make room, name another folder with --output, or leave it out with --no-video.'
    )
