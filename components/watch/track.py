"""Which face is whose, from frame to frame.

Tracking by detection as in SORT (A. Bewley et al., 'Simple Online and Realtime Tracking', ICIP 2016, arXiv:1602.00763):
where each face is expected by its velocity, and the detections by their intersection over union with that. Unlike
there, the expectation is a constant velocity with an exponential average instead of a Kalman filter, because frames
need not come evenly; pairs are taken greedily, the closest first, which for a few faces differs little from the best
assignment; boxes are widened before they are compared (F. Yang et al., 'Hard to Track Objects with Irregular Motions
and Similar Appearances? Make It Easier by Buffering the Matching Space', WACV 2023, arXiv:2211.14317), because faces
are small beside their movements; and faces that were just seen come before lost ones (the matching cascade of N. Wojke
et al., arXiv:1703.07402).

Nobody is recognised: a number says which face went on, not who that is. Who leaves and comes back later, or is on
both sides of a cut, gets another one.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from components.inference.detect import Detection
from components.watch.smooth import OneEuroFilter

MAXIMUM_PEOPLE: Final = 16
"""Followed at the same time."""

_WIDENED, _WIDENED_LOST = 1.6, 2.2  # sides of the compared boxes, in sides of the faces'; of lost ones
_CLOSE: Final = 0.2  # intersection over union of the widened boxes of one face in two frames, at least
_SAME: Final = 0.4  # intersection over union of two detections of one face, at least
_VELOCITY_TIME: Final = 0.3  # seconds over which a velocity is averaged
_COASTING: Final = 1.0  # seconds over which the velocity of a lost face is expected to fade


@dataclass
class Track:
    """A face that is followed.

    Attributes:
        person: its number, from 1 in the order of appearance.
        face: where it was seen last, as the detector has it.
        steady: the same with the detector's trembling smoothed away, so that the networks' crops rest.
        seconds: when.
        velocity: `[2]`, of the middle of its box, in pixels a second.
        is_seen: whether it was there in the last frame that was looked at.
    """

    person: int
    face: Detection
    seconds: float
    velocity: np.ndarray = field(default_factory=lambda: np.zeros(2))
    is_seen: bool = True
    _corners: OneEuroFilter = field(default_factory=OneEuroFilter)

    def __post_init__(self) -> None:
        self.steady = self._steady()

    def expected(self, seconds: float) -> Detection:
        """Where it should be now."""
        x, y = _middle(self.face) - self.velocity * _COASTING * math.expm1(-(seconds - self.seconds) / _COASTING)
        width, height = self.steady.width, self.steady.height
        return Detection(x - 0.5 * width, y - 0.5 * height, width, height, self.face.score)

    def follow(self, seconds: float, face: Detection) -> None:
        elapsed = seconds - self.seconds
        if elapsed > 0.0:
            velocity = (_middle(face) - _middle(self.face)) / elapsed
            self.velocity = self.velocity - math.expm1(-elapsed / _VELOCITY_TIME) * (velocity - self.velocity)
        self.face, self.seconds, self.is_seen = face, seconds, True
        self.steady = self._steady()

    def _steady(self) -> Detection:
        left, top, width, height = self.face.left, self.face.top, self.face.width, self.face.height
        corners = np.array([[left, top], [left + width, top + height]])
        (left, top), (right, bottom) = self._corners(self.seconds, corners, max(width, height)).tolist()
        return Detection(left, top, right - left, bottom - top, self.face.score)


class Tracker:
    """Gives the faces of successive frames their persons' numbers.

    Attributes:
        tracks: the faces that are followed, lost ones among them, by number.

    Args:
        lost_after: seconds after which a face that is not seen any more is given up.
        most: faces followed at the same time.
    """

    def __init__(self, lost_after: float, most: int = MAXIMUM_PEOPLE):
        self._lost_after = lost_after
        self._most = most
        self._people = 0
        self.tracks: list[Track] = []

    def update(self, seconds: float, found: Sequence[Detection], everywhere: bool) -> list[Track]:
        """The tracks of the faces that were found in a frame.

        Args:
            seconds: the frame's time, later than the last one's.
            found: its faces.
            everywhere: whether the whole frame was searched; else nobody new is taken up.

        Returns:
            Those that are seen, by number.
        """
        self.give_up(seconds)
        rest = without_doubles(found)
        unseen = list(self.tracks)
        for is_seen in (True, False):
            pairs = _pairs([track for track in unseen if track.is_seen is is_seen], rest, seconds)
            for track, face in pairs:
                track.follow(seconds, face)
            followed = {id(track) for track, _ in pairs}
            taken = {id(face) for _, face in pairs}
            unseen = [track for track in unseen if id(track) not in followed]
            rest = [face for face in rest if id(face) not in taken]
        for track in unseen:
            track.is_seen = False
        if everywhere:
            self._take_up(seconds, rest)
        return [track for track in self.tracks if track.is_seen]

    def give_up(self, seconds: float) -> None:
        """Ends the tracks that were lost for too long."""
        self.tracks = [track for track in self.tracks if seconds - track.seconds <= self._lost_after]

    def clear(self) -> None:
        """Ends all tracks."""
        self.tracks = []

    def _take_up(self, seconds: float, found: Sequence[Detection]) -> None:
        for face in sorted(found, key=lambda face: face.width * face.height, reverse=True):
            if len(self.tracks) >= self._most:
                return
            self._people += 1
            self.tracks.append(Track(self._people, face, seconds))


def without_doubles(found: Sequence[Detection]) -> list[Detection]:
    """Of detections of one face the surest."""
    kept: list[Detection] = []
    for face in sorted(found, key=lambda face: -face.score):
        if all(_overlap(face, other) < _SAME for other in kept):
            kept.append(face)
    return kept


def _pairs(tracks: Sequence[Track], found: Sequence[Detection], seconds: float) -> list[tuple[Track, Detection]]:
    """Tracks and detections that are close to each other, the closest first, each once."""
    closeness = [(_closeness(track, face, seconds), track, face) for track in tracks for face in found]
    pairs: list[tuple[Track, Detection]] = []
    taken: set[int] = set()
    for value, track, face in sorted(closeness, key=lambda entry: -entry[0]):
        if value >= _CLOSE and not taken & {id(track), id(face)}:
            taken |= {id(track), id(face)}
            pairs.append((track, face))
    return pairs


def _closeness(track: Track, face: Detection, seconds: float) -> float:
    # One that is lost may as well have stayed where it was, turned away.
    places = [track.expected(seconds)] if track.is_seen else [track.expected(seconds), track.face]
    factor = _WIDENED if track.is_seen else _WIDENED_LOST
    return max(_overlap(_widened(place, factor), _widened(face, factor)) for place in places)


def _middle(face: Detection) -> np.ndarray:
    return np.array([face.left + 0.5 * face.width, face.top + 0.5 * face.height])


def _widened(face: Detection, factor: float) -> Detection:
    width, height = factor * face.width, factor * face.height
    x, y = _middle(face)
    return Detection(x - 0.5 * width, y - 0.5 * height, width, height, face.score)


def _overlap(one: Detection, other: Detection) -> float:
    """Intersection over union."""
    across = min(one.left + one.width, other.left + other.width) - max(one.left, other.left)
    down = min(one.top + one.height, other.top + other.height) - max(one.top, other.top)
    shared = max(0.0, across) * max(0.0, down)
    return shared / (one.width * one.height + other.width * other.height - shared)
