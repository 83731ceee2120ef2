"""Chooses faces and makes small pictures of them."""

import base64
import heapq
import io
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

import cv2
import numpy as np
from PIL import Image

from components import faces
from components.ingest.rejects import RejectedPicture
from components.report.artifacts import Face, Predictions

THUMBNAIL: Final = 96  # pixels, the longer side
SAMPLES: Final = 20  # expression faces of a grid, which shows four of each
POINT_SAMPLES: Final = 12  # keypoint faces of a grid, which are shown larger
AVERAGED: Final = 300  # faces in the mean face
MAXIMUM_PIXELS: Final = 16_000_000

Point = tuple[float, float]


@dataclass(frozen=True)
class Tile:
    """A picture in a grid.

    Attributes:
        picture: PNG as a data URI.
        width, height: of the full image, the pixels that the points are given in.
        alt: what is seen, in words.
        lines: the caption.
        right: whether the prediction is right, where there is one and it can be.
        truth, prediction: points (x, y).
    """

    picture: str
    width: int
    height: int
    alt: str
    lines: tuple[str, ...]
    right: bool | None = None
    truth: tuple[Point, ...] = ()
    prediction: tuple[Point, ...] = ()


def sample_tiles(found: Iterable[Face]) -> tuple[Tile, ...]:
    """The same faces every time: those with the smallest content hashes, as many of each expression."""
    chosen = _pick(found, lambda face: face.key)
    return tuple(
        _tile(face, (face.expression or 'a face') + _origin(face), (face.expression,) if face.expression else ())
        for face in chosen
    )


def expression_tiles(found: Iterable[Face], predictions: Predictions, best: bool) -> tuple[Tile, ...]:
    """The faces whose own expression got the highest (or the lowest) probability, as many of each expression."""
    rows = {key: row for row, key in enumerate(predictions.keys)}
    sign = -1 if best else 1

    def order(face: Face) -> tuple[float, Any]:
        row = rows[face.key]
        return sign * float(predictions.prediction[row, predictions.truth[row]]), face.key

    tiles = []
    for face in _pick(_known(found, rows), order):
        probabilities = predictions.prediction[rows[face.key]]
        guess = faces.EXPRESSIONS[int(probabilities.argmax())]
        said = f'{guess} {100 * probabilities.max():.0f}%'
        right = guess == face.expression
        lines = (said,) if right else (said, f'is {face.expression}')
        tiles.append(_tile(face, f'{face.expression}, predicted {said}{_origin(face)}', lines, right))
    return tuple(tiles)


def keypoint_tiles(found: Iterable[Face], predictions: Predictions, best: bool) -> tuple[Tile, ...]:
    """The faces whose points were missed by least (or by most), as the root of the mean square over both axes."""
    with np.errstate(invalid='ignore'):
        known = ~np.isnan(predictions.truth)
        squares = np.where(known, (predictions.prediction - predictions.truth) ** 2, 0).sum((1, 2))
        errors = np.sqrt(squares / known.sum((1, 2)))
    rows = {key: row for row, key in enumerate(predictions.keys) if np.isfinite(errors[row])}
    sign = 1 if best else -1
    tiles = []
    for face in _pick(_known(found, rows), lambda face: (sign * errors[rows[face.key]], face.key)):
        row = rows[face.key]
        said = f'{errors[row]:.2f} px'
        alt = f'A face with its true and its predicted points, {said} apart{_origin(face)}'
        tiles.append(_tile(face, alt, (said,), prediction=_points(predictions.prediction[row])))
    return tuple(tiles)


def reject_tiles(pictures: Iterable[RejectedPicture], limit: int = SAMPLES) -> tuple[Tile, ...]:
    """Rows that were set aside although their image can be decoded."""
    tiles = []
    for rejected in islice(pictures, limit):
        picture, width, height = thumbnail(base64.b64decode(rejected.png))
        place = f'{rejected.source}, row {rejected.row}'
        tiles.append(Tile(picture, width, height, f'Rejected: {rejected.reason} ({place})', (rejected.reason, place)))
    return tuple(tiles)


def mean_face(found: Iterable[Face]) -> tuple[str, np.ndarray] | None:
    """The mean of some faces, each turned and scaled onto their mean shape first.

    Returns:
        The picture as a data URI, and the mean shape, float [15, 2] in its pixels; None where no face has points.
    """
    pictured = [face for face in islice(found, AVERAGED) if np.isfinite(face.points).any()]
    if not pictured:
        return None
    points = np.stack([face.points for face in pictured])
    known = np.isfinite(points)
    shape = np.where(known, points, 0).sum(0) / np.maximum(known.sum(0), 1)
    aligned = [image for face in pictured if (image := _align(face, shape)) is not None]
    if not aligned:
        return None
    return _data_uri(Image.fromarray(np.mean(aligned, 0).round().astype(np.uint8))), shape


def thumbnail(png: bytes) -> tuple[str, int, int]:
    """A small PNG as a data URI, and the full image's width and height.

    Raises:
        ValueError: the image is larger than the ingest lets pass.
    """
    image = _open(png)
    width, height = image.size
    image.thumbnail((THUMBNAIL, THUMBNAIL))
    return _data_uri(image), width, height


def _pick(found: Iterable[Face], order: Callable[[Face], Any]) -> Iterator[Face]:
    """The first faces by `order`, as many of each expression, without ever holding many more."""
    kept: dict[str | None, list[Face]] = defaultdict(list)
    for face in found:
        limit = _limit(face.expression)
        kept[face.expression].append(face)
        if len(kept[face.expression]) >= 4 * limit:
            kept[face.expression] = heapq.nsmallest(limit, kept[face.expression], key=order)
    for expression in (*faces.EXPRESSIONS, None):
        yield from heapq.nsmallest(_limit(expression), kept[expression], key=order)


def _limit(expression: str | None) -> int:
    return SAMPLES // len(faces.EXPRESSIONS) if expression else POINT_SAMPLES


def _known(found: Iterable[Face], rows: dict[tuple[str, str, int], int]) -> Iterator[Face]:
    return (face for face in found if face.key in rows)


def _tile(
    face: Face, alt: str, lines: tuple[str, ...], right: bool | None = None, prediction: tuple[Point, ...] = ()
) -> Tile:
    picture, width, height = thumbnail(face.png)
    return Tile(picture, width, height, alt, lines, right, _points(face.points), prediction)


def _points(points: np.ndarray) -> tuple[Point, ...]:
    return tuple((round(float(x), 1), round(float(y), 1)) for x, y in points if np.isfinite(x) and np.isfinite(y))


def _origin(face: Face) -> str:
    _, source, row = face.key
    return f' ({source}, row {row})' if row else f' ({source})'


def _align(face: Face, shape: np.ndarray) -> np.ndarray | None:
    """The face's pixels, moved by the similarity that takes its points nearest to the shape."""
    known = np.isfinite(face.points).all(1)
    if known.sum() < 4:
        return None
    # A threshold wider than the image makes every point an inlier, and the result the least-squares fit.
    matrix, _ = cv2.estimateAffinePartial2D(
        face.points[known], shape[known].astype(np.float32), ransacReprojThreshold=4 * faces.KEYPOINT_SIZE
    )
    if matrix is None:
        return None
    pixels = np.asarray(_open(face.png).convert('L'))
    size = (faces.KEYPOINT_SIZE, faces.KEYPOINT_SIZE)
    return cv2.warpAffine(pixels, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def _open(png: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(png), formats=['PNG'])
    if image.width * image.height > MAXIMUM_PIXELS:
        raise ValueError(f'an image has {image.width} x {image.height} pixels')
    return image


def _data_uri(image: Image.Image) -> str:
    encoded = io.BytesIO()
    image.convert('L').save(encoded, 'PNG', optimize=True)
    return 'data:image/png;base64,' + base64.b64encode(encoded.getvalue()).decode()
