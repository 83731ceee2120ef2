"""The frames of a video file, a camera or a stream, each with its time, in bounded memory."""

import contextlib
import math
import os
import queue
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal
from urllib.parse import urlsplit

import cv2
import numpy as np

from components.errors import StepError
from components.inference.images import MAXIMUM_PIXELS

SCHEMES: Final = ('rtsp', 'rtsps', 'http', 'https')
USUAL_RATE: Final = 30.0  # frames a second, where a film does not say or says what cannot be

_LOWEST_RATE, _HIGHEST_RATE = 1.0, 240.0  # some containers name their clock's ticks, 1000 a second, as the rate
_TIMEOUT: Final = 10_000  # milliseconds that a stream may take to open, and to send the next frame
_AHEAD: Final = 3  # decoded frames that wait
_PATIENCE: Final = 0.1  # seconds between two looks at whether to stop
_FAREWELL: Final = 2.0  # seconds that are waited for a source which is silent

Kind = Literal['file', 'camera', 'stream']


@dataclass(frozen=True)
class Source:
    """What is watched.

    Attributes:
        kind: file, camera or stream.
        address: an absolute path, a camera's number or a URL.
        name: for people; a URL without its user, password and query.
        stem: of names of files that are about it.
    """

    kind: Kind
    address: str | int
    name: str
    stem: str


@dataclass(frozen=True)
class Frame:
    """One frame.

    Attributes:
        number: from 0, counted from the first one that is watched.
        seconds: its time in the film; since the first frame where it is live.
        image: uint8 `[height, width, 3]`, BGR as OpenCV has it.
    """

    number: int
    seconds: float
    image: np.ndarray


def parse_source(text: str) -> Source:
    """What was named on a command line.

    Args:
        text: a camera's number or `/dev/videoN`, a URL of one of `SCHEMES`, or a path.

    Raises:
        StepError: there is no such file, or it is a URL of another kind.
    """
    device = text.removeprefix('/dev/video')
    if device.isascii() and device.isdecimal() and len(device) < 5:
        return Source('camera', int(device), f'camera {int(device)}', f'camera-{int(device)}')
    scheme, separator, _ = text.partition('://')
    if separator and scheme.isalnum():
        return _stream(text, scheme.lower())
    path = Path(text)
    with contextlib.suppress(OSError, ValueError):
        if path.is_file():
            return Source('file', str(path.absolute()), path.name, path.stem)
        if text and path.is_dir():
            raise StepError(f'{text} is a folder: name one video in it.')
    raise StepError(f'There is no file {text}: name a video, a camera (0 or /dev/video0) or a stream (rtsp://…).')


class Film:
    """An opened source.

    Attributes:
        source: what is read.
        live: whether frames come as they happen; else as fast as they are asked for.
        width, height: in pixels.
        rate: frames a second, by the source's word where that can be.
        length: in seconds, by the source's word; None where it does not say.

    Args:
        source: what is read.
        start: seconds that are left out at the beginning; 0 for what is live.

    Raises:
        StepError: it cannot be opened or read, has too many pixels, or ends before `start`.
    """

    def __init__(self, source: Source, start: float = 0.0):
        self.source = source
        self._start = start
        self._capture = _open(source)
        count, rate = self._capture.get(cv2.CAP_PROP_FRAME_COUNT), self._capture.get(cv2.CAP_PROP_FPS)
        self.live = source.kind == 'camera' or source.kind == 'stream' and not count >= 1.0
        self.rate = rate if _LOWEST_RATE <= rate <= _HIGHEST_RATE else USUAL_RATE
        self.length = count / rate if not self.live and count >= 1.0 and rate > 0.0 and math.isfinite(count) else None
        if self.live and start:
            raise StepError(f'{source.name} is live: leave out --start.')
        self.width, self.height = (
            int(self._capture.get(side)) for side in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT)
        )
        self._demand_bounded()
        self._began: float | None = None
        self._last = -math.inf
        self._number = 0
        self._waiting: Frame | None = self._first()

    def read(self, skip: int = 0) -> Frame | None:
        """The next frame; None after the last.

        Args:
            skip: frames before it that are passed over, which is cheaper than to read them.
        """
        if self._waiting is not None:
            frame, self._waiting = self._waiting, None
            return frame
        for _ in range(skip):
            if not self._capture.grab():
                return None
            self._advance()
        return self._decode()

    def close(self) -> None:
        self._capture.release()

    def _first(self) -> Frame:
        if self._start:
            # Films without an index are sought to a wrong place: those are read from their beginning.
            self._capture.set(cv2.CAP_PROP_POS_MSEC, 1000.0 * self._start)
        frame = self._decode()
        if self._start and (frame is None or frame.seconds > self._start + 1.0):
            self._capture.release()
            self._capture, self._last = _open(self.source), -math.inf
            frame = self._decode()
        while frame is not None and frame.seconds < self._start - 0.5 / self.rate:
            frame = self._decode()
        if frame is None:
            ended = '' if self._last == -math.inf else f' after second {self._start:g}: it ends at {self._last:.1f}'
            raise StepError(f'{self.source.name} has no frame that can be read{ended}.')
        self._number = 1
        return Frame(0, frame.seconds, frame.image)

    def _decode(self) -> Frame | None:
        there, image = self._capture.read()
        if not there or image is None:
            return None
        if image.ndim != 3 or image.dtype != np.uint8:
            raise StepError(f'{self.source.name} has frames of {image.dtype} {image.shape}: give 8 bits and colours.')
        number = self._number
        seconds = self._advance()
        if not number:
            # As it is seen: a telephone's film may be turned by its metadata.
            self.height, self.width = image.shape[:2]
            self._demand_bounded()
        elif image.shape[:2] != (self.height, self.width):
            image = cv2.resize(image, (self.width, self.height), interpolation=cv2.INTER_AREA)
        return Frame(number, seconds, image)

    def _advance(self) -> float:
        """The time of the frame that was just taken, which is always later than that of the one before."""
        self._number += 1
        if self.live:
            now = time.monotonic()
            self._began = now if self._began is None else self._began
            seconds = now - self._began
        else:
            seconds = self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000.0
        is_sane = math.isfinite(seconds) and (self.length is None or seconds <= self.length + 1.0)
        if not is_sane or seconds <= self._last:
            # Without a time of its own, or with one that goes back.
            seconds = 0.0 if self._last == -math.inf else self._last + (1e-3 if self.live else 1.0 / self.rate)
        self._last = seconds
        return seconds

    def _demand_bounded(self) -> None:
        if self.width * self.height > MAXIMUM_PIXELS:
            raise StepError(
                f'{self.source.name} has frames of {self.width}x{self.height} pixels: '
                f'give at most {MAXIMUM_PIXELS / 1e6:g} megapixels.'
            )


class Feed:
    """Reads a film in a thread of its own, so that it is decoded while the frames before are looked at.

    At most a few frames wait; of what is live the newest alone, so that the answers keep up with it.

    Args:
        film: closed when the feed is.
        skip: frames that are passed over before each but the first.
    """

    def __init__(self, film: Film, skip: int = 0):
        self._film = film
        self._skip = skip
        self._stopped = threading.Event()
        self._frames: queue.Queue[Frame | BaseException | None] = queue.Queue(1 if film.live else _AHEAD)
        self._thread = threading.Thread(target=self._read, name='frames', daemon=True)
        self._thread.start()

    def frames(self, stop: threading.Event) -> Iterator[Frame]:
        """The frames in turn, until the film's end or until `stop` is set.

        Raises:
            StepError: the film has what cannot be read.
        """
        while not stop.is_set():
            try:
                frame = self._frames.get(timeout=_PATIENCE)
            except queue.Empty:
                continue
            if frame is None:
                return
            if isinstance(frame, BaseException):
                raise frame
            yield frame

    def close(self) -> None:
        """Ends the reading. A thread that waits for a silent source is left to itself: it ends with the program."""
        self._stopped.set()
        self._thread.join(_FAREWELL)
        if not self._thread.is_alive():
            self._film.close()

    def _read(self) -> None:
        frame: Frame | BaseException | None = None
        while not self._stopped.is_set():
            try:
                frame = self._film.read(self._skip)
            except Exception as error:
                frame = error
            self._put(frame)
            if not isinstance(frame, Frame):
                return

    def _put(self, frame: Frame | BaseException | None) -> None:
        while not self._stopped.is_set():
            try:
                self._frames.put(frame, timeout=0.0 if self._film.live else _PATIENCE)
                return
            except queue.Full:
                if self._film.live:
                    with contextlib.suppress(queue.Empty):
                        self._frames.get_nowait()


def _stream(text: str, scheme: str) -> Source:
    if scheme not in SCHEMES:
        raise StepError(
            f'{scheme}:// is no stream that is read: give one of {", ".join(SCHEMES)}, or save it as a file.'
        )
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if not host:
        raise StepError('This URL has no host: write rtsp://host/path or http://host/path.')
    # Who watches may show the results: they have neither password nor key.
    place = host if port is None else f'{host}:{port}'
    return Source('stream', text, f'{scheme}://{place}{parts.path}', host)


def _open(source: Source) -> cv2.VideoCapture:
    # FFmpeg's own messages come from its threads and are of no use to a person.
    os.environ.setdefault('OPENCV_FFMPEG_LOGLEVEL', '-8')
    cv2.setLogLevel(0)
    if source.kind == 'camera':
        capture = cv2.VideoCapture(int(source.address), cv2.CAP_ANY)
    else:
        limits = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, _TIMEOUT, cv2.CAP_PROP_READ_TIMEOUT_MSEC, _TIMEOUT]
        # FFmpeg alone: other backends take names of files for patterns or for pipelines of programs.
        capture = cv2.VideoCapture(str(source.address), cv2.CAP_FFMPEG, limits)
    if capture.isOpened():
        return capture
    capture.release()
    raise StepError(_cannot_open(source))


def _cannot_open(source: Source) -> str:
    if source.kind == 'camera':
        return (
            f'There is no camera {source.address} that can be read: look at `ls /dev/video*`, and whether it is in use.'
        )
    if source.kind == 'stream':
        return f'{source.name} does not answer with a stream that can be read.'
    try:
        with Path(str(source.address)).open('rb') as file:
            is_empty = not file.read(1)
    except OSError as error:
        return f'{source.name} cannot be read: {error.strerror}.'
    if is_empty:
        return f'{source.name} is empty: give a whole video.'
    return (
        f'{source.name} is no video that can be read: it is cut short, no video, or of a codec that is not known here.'
    )
