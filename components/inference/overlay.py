"""Photographs with what was answered drawn on them: box and points on each face, its probabilities beside the picture.

The bars stand in a column of their own, so that they are readable however small the face is and never hide another.
"""

import functools
import io
import itertools
import math
import os
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from components import faces
from components.inference.inputs import Source
from components.inference.photo import FaceAnswer

SUFFIX: Final = '.overlay.jpg'

Colour = tuple[int, int, int]

COLOURS: Final[tuple[Colour, ...]] = (
    (86, 180, 233),
    (230, 159, 0),
    (0, 175, 125),
    (240, 228, 66),
    (213, 94, 0),
    (204, 121, 167),
)
"""Of the faces in turn: Okabe and Ito's, which are told apart by the colour-blind too."""

_BACKGROUND: Final[Colour] = (24, 27, 32)
_TRACK: Final[Colour] = (55, 60, 68)
_TEXT: Final[Colour] = (236, 238, 240)
_DIM: Final[Colour] = (170, 176, 184)
_DARK: Final[Colour] = (12, 14, 16)

_SHORTEST: Final = 420  # pixels; a smaller photograph is enlarged until its shorter side has them
_LONGEST_ENLARGED: Final = 1600
_MAXIMUM_PIXELS: Final = 16_000_000  # a larger one is reduced
_MAXIMUM_SIDE: Final = 8000  # likewise
_SMALLEST_TEXT: Final = 13  # pixels
_TEXT_SHARE: Final = 0.032  # of the photograph's shorter side, where there is room for it
_WIDEST_COLUMNS: Final = 0.6  # of the photograph's width

# In units of the text's height.
_COLUMN: Final = 15.6
_MARGIN: Final = 0.8
_LINE: Final = 1.5
_LABELS: Final = 5.4
_VALUES: Final = 3.0
_LINES: Final = len(faces.EXPRESSIONS) + 2  # its heading and the space to the next face
_JPEG_QUALITY: Final = 90
_NAME_BYTES: Final = 200


def draw_overlay(photo: np.ndarray, answers: Sequence[FaceAnswer]) -> np.ndarray:
    """A photograph with its faces' boxes, points and probabilities.

    Args:
        photo: uint8 `[height, width, 3]`, RGB.
        answers: with boxes and points in pixels of it; may be empty.

    Returns:
        uint8 `[height, width, 3]`: the photograph, enlarged where it is small and reduced where it is very large, and
        beside it the probabilities.
    """
    picture, stretch = _scaled(photo)
    height, width = picture.shape[:2]
    text = _text_height(height, width, len(answers))
    rows = _faces_a_column(height, text)
    columns = max(1, math.ceil(len(answers) / rows))
    canvas = np.full((height, width + round(columns * _COLUMN * text), 3), _BACKGROUND, np.uint8)
    canvas[:, :width] = picture
    # A box may leave the photograph, and shall not be drawn on what is beside it.
    within = np.ascontiguousarray(canvas[:, :width])
    for index, answer in enumerate(answers):
        _draw_face(within, answer, stretch, text, COLOURS[index % len(COLOURS)])
    canvas[:, :width] = within
    image = Image.fromarray(canvas)
    draw = ImageDraw.Draw(image)
    for index, answer in enumerate(answers):
        colour = COLOURS[index % len(COLOURS)]
        if len(answers) > 1:
            _draw_number(draw, answer, stretch, text, colour, index + 1, (width, height))
        column, row = divmod(index, rows)
        place = (width + (column * _COLUMN + _MARGIN) * text, (_MARGIN + row * _LINES * _LINE) * text)
        _draw_probabilities(draw, answer, place, text, colour, index + 1 if len(answers) > 1 else None)
    if not answers:
        draw.text((width + _MARGIN * text, _MARGIN * text), 'no face found', _DIM, _font(text))
    return np.asarray(image)


class OverlayFolder:
    """Where overlays are written, each under a name of its own that no photograph has which is read.

    The names are those of the photographs with `.overlay.jpg` for their suffix, in the same subfolders; one that is
    taken gets its folder's name before it or a number behind it. An overlay of an earlier time is replaced.

    Args:
        folder: made where it is missing.
        sources: all photographs that are read.
    """

    def __init__(self, folder: Path, sources: Sequence[Source]):
        folder.mkdir(parents=True, exist_ok=True)
        # Compared as folders do that make no difference between small and capital letters.
        taken = {_key(Path(source.name)) for source in sources}
        self._paths: dict[int, Path] = {}
        for index, source in enumerate(sources):
            path = next(path for path in _names(folder, source) if _key(path) not in taken)
            taken.add(_key(path))
            self._paths[index] = path

    def path(self, index: int) -> Path:
        """Of the overlay of `sources[index]`."""
        return self._paths[index]

    def write(self, index: int, picture: np.ndarray) -> Path:
        """Writes an overlay, whole or not at all.

        Args:
            index: of its photograph in `sources`.
            picture: uint8 `[height, width, 3]`, RGB.

        Raises:
            OSError: the folder cannot be written.
        """
        path = self._paths[index]
        path.parent.mkdir(parents=True, exist_ok=True)
        encoded = io.BytesIO()
        Image.fromarray(picture).save(encoded, 'JPEG', quality=_JPEG_QUALITY, subsampling=0)
        beside = path.parent / f'.{uuid.uuid4().hex}.part'
        try:
            beside.write_bytes(encoded.getbuffer())
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)
        return path


def _names(folder: Path, source: Source) -> Iterator[Path]:
    inside = folder / source.inside.parent
    # A file's name may have 255 bytes, whatever is put before and behind it.
    stem = os.fsdecode(os.fsencode(source.inside.stem)[:_NAME_BYTES])
    yield inside / f'{stem}{SUFFIX}'
    above = Path(source.name).absolute().parent.name
    if above and len(os.fsencode(above + stem)) < _NAME_BYTES:
        yield inside / f'{above}-{stem}{SUFFIX}'
    for number in itertools.count(2):
        yield inside / f'{stem}-{number}{SUFFIX}'


def _key(path: Path) -> str:
    try:
        return str(path.resolve()).casefold()
    except (OSError, ValueError):
        return str(path).casefold()


def _scaled(photo: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The photograph as it is drawn on, and by how much x and y were stretched, `[2]`."""
    height, width = photo.shape[:2]
    scale = min(max(1.0, _SHORTEST / min(height, width)), max(1.0, _LONGEST_ENLARGED / max(height, width)))
    scale = min(scale, math.sqrt(_MAXIMUM_PIXELS / (height * width)), _MAXIMUM_SIDE / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    if size == (width, height):
        return photo, np.ones(2)
    scaled = cv2.resize(photo, size, interpolation=cv2.INTER_CUBIC if scale > 1 else cv2.INTER_AREA)
    return scaled, np.array([size[0] / width, size[1] / height])


def _text_height(height: int, width: int, count: int) -> int:
    """The largest text with which the columns leave the photograph its room; the smallest where none does."""
    largest = max(_SMALLEST_TEXT, round(_TEXT_SHARE * min(height, width)))
    for text in range(largest, _SMALLEST_TEXT, -1):
        columns = math.ceil(count / _faces_a_column(height, text))
        if columns * _COLUMN * text <= _WIDEST_COLUMNS * width:
            return text
    return _SMALLEST_TEXT


def _faces_a_column(height: int, text: int) -> int:
    return max(1, int((height / text - _MARGIN) / (_LINES * _LINE)))


def _draw_face(picture: np.ndarray, answer: FaceAnswer, stretch: np.ndarray, text: int, colour: Colour) -> None:
    (left, top), (right, bottom) = _corners(answer, stretch, picture.shape)
    line = max(1, round(text / 8))
    if answer.score is not None:
        for width, ink in ((line + 2 * max(1, line // 2), _DARK), (line, colour)):
            cv2.rectangle(picture, (left, top), (right, bottom), ink, width, cv2.LINE_AA)
    # A small face has small points, so that they do not hide it.
    radius = max(1.5, min(0.016 * max(right - left, bottom - top), 0.3 * text))
    for x, y in _within(answer.keypoints * stretch, picture.shape):
        for size, ink in ((radius + max(1.0, 0.35 * radius), _DARK), (radius, colour)):
            # OpenCV draws with 4 binary digits behind the point.
            centre = (round((x - 0.5) * 16), round((y - 0.5) * 16))
            cv2.circle(picture, centre, round(size * 16), ink, cv2.FILLED, cv2.LINE_AA, 4)


def _draw_number(
    draw: ImageDraw.ImageDraw,
    answer: FaceAnswer,
    stretch: np.ndarray,
    text: int,
    colour: Colour,
    number: int,
    size: tuple[int, int],
) -> None:
    """The face's number on its box's upper left corner, inside the photograph."""
    (left, top), _ = _corners(answer, stretch, (size[1], size[0]))
    font = _font(text)
    width, height = font.getlength(str(number)) + 0.7 * text, 1.3 * text
    x = min(max(0.0, left), size[0] - width)
    y = min(max(0.0, top - height), size[1] - height)
    # Its last pixels are drawn too.
    draw.rectangle((x, y, x + width - 1, y + height - 1), colour)
    draw.text((x + width / 2, y + height / 2), str(number), _DARK, font, 'mm')


def _draw_probabilities(
    draw: ImageDraw.ImageDraw,
    answer: FaceAnswer,
    place: tuple[float, float],
    text: int,
    colour: Colour,
    number: int | None,
) -> None:
    """A heading with the most probable expression, and a bar for each of the five."""
    x, y = place
    font = _font(text)
    middle = y + 0.6 * text
    if number is not None:
        width = font.getlength(str(number)) + 0.7 * text
        draw.rectangle((x, y - 0.05 * text, x + width, y + 1.25 * text), colour)
        draw.text((x + width / 2, middle), str(number), _DARK, font, 'mm')
        x += width + 0.5 * text
    draw.text((x, middle), answer.expression, _TEXT, _font(round(1.15 * text)), 'lm')
    x, start, end = place[0], place[0] + _LABELS * text, place[0] + (_COLUMN - 2 * _MARGIN - _VALUES) * text
    likeliest = int(answer.probabilities.argmax())
    for index, (name, probability) in enumerate(zip(faces.EXPRESSIONS, answer.probabilities.tolist(), strict=True)):
        middle = y + (0.75 + _LINE * (index + 1)) * text
        ink = _TEXT if index == likeliest else _DIM
        draw.text((x, middle), name, ink, font, 'lm')
        upper, lower = middle - 0.36 * text, middle + 0.36 * text
        draw.rectangle((start, upper, end, lower), _TRACK)
        length = min(max(probability, 0.0), 1.0) * (end - start)
        if length >= 1:
            draw.rectangle((start, upper, start + length, lower), colour)
        draw.text((end + _VALUES * text, middle), f'{probability:.0%}', ink, font, 'rm')


def _corners(answer: FaceAnswer, stretch: np.ndarray, shape: Sequence[int]) -> tuple[tuple[int, int], tuple[int, int]]:
    left, top, width, height = answer.box
    corners = np.array([[left, top], [left + width, top + height]]) * stretch
    upper, lower = np.round(_within(corners, shape)).astype(int).tolist()
    return tuple(upper), tuple(lower)


def _within(points: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """Points no further off the picture than its own size: OpenCV counts in 32 bits."""
    size = np.array([shape[1], shape[0]], float)
    return np.clip(points, -size, 2 * size)


@functools.lru_cache(maxsize=64)
def _font(height: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(height)
