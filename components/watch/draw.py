"""Draws what was seen on a frame: box, points, and a plate with the person's number and five bars beside the face."""

from collections.abc import Sequence
from typing import Final

import cv2
import numpy as np

from components import faces
from components.watch.colours import ON_DARK
from components.watch.timeline import Entry

Colour = tuple[int, int, int]
Box = tuple[int, int, int, int]
"""Left, top, right and bottom."""

EXPRESSION_COLOURS: Final[tuple[Colour, ...]] = tuple(
    (int(code[5:7], 16), int(code[3:5], 16), int(code[1:3], 16)) for code in ON_DARK
)
"""Of `faces.EXPRESSIONS`; all colours here are blue, green, red."""

_PLATE: Final[Colour] = (37, 28, 23)
_TRACK: Final[Colour] = (80, 68, 58)
_TEXT: Final[Colour] = (241, 234, 230)
_DARK: Final[Colour] = (16, 12, 10)
_POINT: Final[Colour] = (59, 176, 255)

_OPACITY: Final = 0.8
_MOST_HIDDEN: Final = 0.15  # of its face, or of a plate's own size, by a plate
_LINE: Final = 0.034  # of the frame's shorter side
_SMALLEST_LINE: Final = 13.0  # pixels
_COLUMNS: Final = (5.3, 4.6, 2.9)  # names, bars, figures, in lines
_FONT: Final = cv2.FONT_HERSHEY_SIMPLEX


def draw_entries(image: np.ndarray, entries: Sequence[Entry]) -> None:
    """Draws the smoothed values of the persons in a frame.

    Args:
        image: uint8 `[height, width, 3]`, BGR; drawn on.
        entries: boxes and points in pixels of it.
    """
    line = max(_SMALLEST_LINE, _LINE * min(image.shape[:2]))
    for entry in entries:
        _draw_face(image, entry, line)
    taken = [_corners(entry) for entry in entries]
    for entry in entries:
        place = _place(image, entry, line, taken)
        if place is None:
            _draw_label(image, entry, line)
        else:
            _draw_plate(image[place[1] : place[3], place[0] : place[2]], entry, line)
            taken.append(place)


def _draw_face(image: np.ndarray, entry: Entry, line: float) -> None:
    colour = _colour(entry)
    left, top, right, bottom = _corners(entry)
    thickness = max(1, round(line / 10))
    if entry.face.score is not None:
        cv2.rectangle(image, (left, top), (right, bottom), _DARK, thickness + 2, cv2.LINE_AA)
        cv2.rectangle(image, (left, top), (right, bottom), colour, thickness, cv2.LINE_AA)
    radius = min(max(1.5, 0.013 * max(right - left, bottom - top)), 0.25 * line)
    limit = 4 * max(image.shape[:2])  # OpenCV counts in 32 bits
    for x, y in np.clip(entry.smoothed.keypoints, -limit, limit):
        centre = round(16 * (x - 0.5)), round(16 * (y - 0.5))
        cv2.circle(image, centre, round(16 * (radius + 1)), _DARK, cv2.FILLED, cv2.LINE_AA, 4)
        cv2.circle(image, centre, round(16 * radius), _POINT, cv2.FILLED, cv2.LINE_AA, 4)


def _place(image: np.ndarray, entry: Entry, line: float, taken: Sequence[Box]) -> Box | None:
    """Where the plate hides nothing: right of the face, left, below or above it; None where it would hide much."""
    width, height = round(line * (sum(_COLUMNS) + 1.0)), round(line * (len(faces.EXPRESSIONS) + 2.4))
    frame_height, frame_width = image.shape[:2]
    if width > frame_width or height > frame_height:
        return None
    own = left, top, right, bottom = _corners(entry)
    pad = round(0.5 * line)
    places = []
    for x, y in ((right + pad, top), (left - pad - width, top), (left, bottom + pad), (left, top - pad - height)):
        x, y = min(max(x, 0), frame_width - width), min(max(y, 0), frame_height - height)
        places.append((x, y, x + width, y + height))
    # A face that fills the frame is covered a little.
    size = max(1, (right - left) * (bottom - top))
    hidden = [
        sum(_shared(place, box) for box in taken if box != own) / (width * height) + _shared(place, own) / size
        for place in places
    ]
    best = int(np.argmin(hidden))
    return places[best] if hidden[best] <= _MOST_HIDDEN else None


def _shared(one: Box, other: Box) -> int:
    """Pixels that two boxes have in common."""
    across, down = min(one[2], other[2]) - max(one[0], other[0]), min(one[3], other[3]) - max(one[1], other[1])
    return max(0, across) * max(0, down)


def _draw_plate(plate: np.ndarray, entry: Entry, line: float) -> None:
    names, bars = line * _COLUMNS[0], line * _COLUMNS[1]
    pad = 0.5 * line
    cv2.addWeighted(plate, 1.0 - _OPACITY, np.full_like(plate, _PLATE), _OPACITY, 0.0, dst=plate)
    _write(plate, f'{entry.person}  {entry.expression}', pad, pad + 0.85 * line, line * 1.05, _colour(entry))
    for index, (name, share) in enumerate(zip(faces.EXPRESSIONS, entry.smoothed.probabilities.tolist(), strict=True)):
        base = pad + (index + 2.2) * line
        start, end = round(pad + names), round(pad + names + bars)
        upper, lower = round(base - 0.62 * line), round(base - 0.1 * line)
        _write(plate, name, pad, base, line * 0.85, _TEXT)
        cv2.rectangle(plate, (start, upper), (end, lower), _TRACK, cv2.FILLED)
        reach = round(start + min(max(share, 0.0), 1.0) * (end - start))
        if reach > start:
            cv2.rectangle(plate, (start, upper), (reach, lower), EXPRESSION_COLOURS[index], cv2.FILLED)
        _write(plate, f'{share:.0%}', end + 0.4 * line, base, line * 0.85, _TEXT)


def _draw_label(image: np.ndarray, entry: Entry, line: float) -> None:
    """Where a plate has no room: number and expression on the upper edge of the box."""
    left, top, _, _ = _corners(entry)
    text = f'{entry.person} {entry.expression}'
    width = round(cv2.getTextSize(text, _FONT, _scale(line), 1)[0][0] + 0.6 * line)
    height = round(1.2 * line)
    x, y = max(0, min(left, image.shape[1] - width)), max(0, min(top - height, image.shape[0] - height))
    cv2.rectangle(image, (x, y), (x + width, y + height), _PLATE, cv2.FILLED)
    _write(image, text, x + 0.3 * line, y + 0.9 * line, line, _colour(entry))


def _write(image: np.ndarray, text: str, x: float, y: float, height: float, colour: Colour) -> None:
    thickness = max(1, round(height / 17))
    cv2.putText(image, text, (round(x), round(y)), _FONT, _scale(height), colour, thickness, cv2.LINE_AA)


def _scale(height: float) -> float:
    return 0.75 * height / 22.0  # capitals of this font are 22 pixels high


def _colour(entry: Entry) -> Colour:
    return EXPRESSION_COLOURS[faces.EXPRESSIONS.index(entry.expression)]


def _corners(entry: Entry) -> Box:
    left, top, width, height = entry.face.box
    return round(left), round(top), round(left + width), round(top + height)
