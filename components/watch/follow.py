"""Finds the faces of a film: a dear search of whole frames now and then, a cheap one around each face in all others."""

from typing import Final

import cv2
import numpy as np

from components.inference.detect import Detection, FaceDetector
from components.inference.photo import Finder
from components.watch.track import MAXIMUM_PEOPLE, Track, Tracker

LOST_AFTER: Final = 2.0
"""Seconds after which a face that is not seen any more is another person's when it comes back."""

_SMALLEST: Final = 0.05  # of a frame's shorter side; what is smaller the networks cannot read
_SURE, _HELD = 0.7, 0.5  # the detector's scores with which a person is taken up, and is still followed
_SEARCH_EVERY: Final = 0.5  # seconds between two searches of a whole frame
_SEARCH_ALONE: Final = 0.25  # likewise, where nobody is followed
_WINDOW: Final = 2.2  # side of what is searched around a face, in its longer side
_WINDOW_PIXELS: Final = 128  # to which a window is scaled: a face in it has about 60
_SAMPLED: Final = 8  # every n-th row and column is enough to see a cut
_BINS: Final = 8  # of each colour in the histograms
_ALIKE: Final = 0.5  # of their histograms have two frames in common that no cut parts


class Follower:
    """Follows faces from frame to frame.

    Args:
        most: faces at the same time.
        lost_after: seconds after which a face that is not seen any more is given up.
        anywhere: finds faces in whole frames; `FaceDetector` where it is left out.
        nearby: finds faces in small windows, likewise.
    """

    def __init__(
        self,
        most: int = MAXIMUM_PEOPLE,
        lost_after: float = LOST_AFTER,
        anywhere: Finder | None = None,
        nearby: Finder | None = None,
    ):
        self._tracker = Tracker(lost_after, most)
        self._anywhere = anywhere or FaceDetector(_SURE, _SMALLEST)
        self._nearby = nearby or _WindowDetector()
        self._searched = -np.inf
        self._colours: np.ndarray | None = None

    def find(self, seconds: float, image: np.ndarray) -> list[Track]:
        """The faces in the next frame, by their persons' numbers.

        Args:
            seconds: the frame's time, later than the last one's.
            image: uint8 `[height, width, 3]`, BGR.
        """
        if self._is_cut(image):
            self._tracker.clear()
            self._searched = -np.inf
        self._tracker.give_up(seconds)
        followed = [track for track in self._tracker.tracks if track.is_seen]
        if seconds - self._searched >= (_SEARCH_EVERY if self._tracker.tracks else _SEARCH_ALONE):
            return self._search(seconds, image, [])
        found = [face for track in self._tracker.tracks for face in self._around(image, track.expected(seconds))]
        seen = self._tracker.update(seconds, found, everywhere=False)
        if not all(track.is_seen for track in followed):
            return self._search(seconds, image, found)
        return seen

    def _search(self, seconds: float, image: np.ndarray, found: list[Detection]) -> list[Track]:
        self._searched = seconds
        everywhere = self._anywhere.find(cv2.cvtColor(image, cv2.COLOR_BGR2RGB))
        return self._tracker.update(seconds, [*found, *everywhere], everywhere=True)

    def _around(self, image: np.ndarray, face: Detection) -> list[Detection]:
        """The faces in a square around a place."""
        side = max(2, round(_WINDOW * max(face.width, face.height)))
        left = round(face.left + 0.5 * (face.width - side))
        top = round(face.top + 0.5 * (face.height - side))
        scale = side / _WINDOW_PIXELS
        window = cv2.cvtColor(_window(image, left, top, side), cv2.COLOR_BGR2RGB)
        return [
            Detection(
                left + scale * near.left,
                top + scale * near.top,
                scale * near.width,
                scale * near.height,
                near.score,
            )
            for near in self._nearby.find(window)
        ]

    def _is_cut(self, image: np.ndarray) -> bool:
        before, self._colours = self._colours, _colours(image)
        return before is not None and float(np.minimum(before, self._colours).sum()) < _ALIKE


class _WindowDetector:
    """A window has the size at which the detector knows the face in it."""

    def __init__(self) -> None:
        self._detector = FaceDetector(_HELD)

    def find(self, image: np.ndarray) -> list[Detection]:
        return self._detector.find_in_window(image)


def _window(image: np.ndarray, left: int, top: int, side: int) -> np.ndarray:
    """A square of an image at the detector's size; where it leaves the image it is grey."""
    size = (_WINDOW_PIXELS, _WINDOW_PIXELS)
    height, width = image.shape[:2]
    right, bottom = min(left + side, width), min(top + side, height)
    x, y = max(left, 0), max(top, 0)
    if x >= right or y >= bottom:
        return np.full((*size, 3), 128, np.uint8)
    inside = image[y:bottom, x:right]
    if inside.shape[:2] != (side, side):
        inside = cv2.copyMakeBorder(
            inside, y - top, top + side - bottom, x - left, left + side - right, cv2.BORDER_CONSTANT, value=(128,) * 3
        )
    return cv2.resize(inside, size, interpolation=cv2.INTER_AREA if side > _WINDOW_PIXELS else cv2.INTER_LINEAR)


def _colours(image: np.ndarray) -> np.ndarray:
    """The shares of the colours in an image, however they lie in it."""
    sampled = np.ascontiguousarray(image[::_SAMPLED, ::_SAMPLED])
    counts = cv2.calcHist([sampled], [0, 1, 2], None, [_BINS] * 3, [0, 256] * 3)
    return counts / counts.sum()
