"""Pictures of what a network looks at: its maps over its best and its worst faces."""

import base64
import dataclasses
import io
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2
import matplotlib
import numpy as np
from PIL import Image

from components import faces
from components.report import gallery
from components.report.artifacts import Face, Predictions

FILE_NAME: Final = 'attention.npz'  # as in components.train.attention, which would bring Keras with it

COLOURS: Final = 'inferno'
"""From black over red to yellow, as much brighter as the map is larger, also in print and for the colour-blind."""

OPACITY: Final = 0.5  # of the map over the face


@dataclass(frozen=True)
class Maps:
    """What the trainer left of some eval faces, those of which the network does best or worst.

    Attributes:
        keys: content hash, source and row of each face.
        best: bool `[n]`; a face can be among the best and among the worst of few.
        maps: float `[n, height, width]`, 0 to 1.
    """

    keys: list[tuple[str, str, int]]
    best: np.ndarray
    maps: np.ndarray


@dataclass(frozen=True)
class Attention:
    """Tiles of the best and of the worst faces, in the galleries' order."""

    best: tuple[gallery.Tile, ...]
    worst: tuple[gallery.Tile, ...]


def read_maps(model_run: Path) -> Maps:
    with np.load(model_run / FILE_NAME, allow_pickle=False) as arrays:
        names = (arrays[name].tolist() for name in ('content_hash', 'source', 'row'))
        return Maps(list(zip(*names, strict=True)), arrays['best'], arrays['maps'].astype(np.float32))


def attention(task: str, found: Iterable[Face], predictions: Predictions, maps: Maps) -> Attention:
    """The faces of which there are maps.

    Args:
        task: `expression` or `keypoints`.
        found: faces of the eval split.
        predictions: of that split; they give the captions.
        maps: from the trainer.
    """
    wanted = set(maps.keys)
    pictured = {face.key: face for face in found if face.key in wanted}
    rows = {key: row for row, key in enumerate(predictions.keys) if key in pictured}

    def tiles(is_best: bool) -> tuple[gallery.Tile, ...]:
        shown = [(key, maps.maps[place]) for place, key in enumerate(maps.keys) if maps.best[place] == is_best]
        return tuple(
            _under_map(tile, map_)
            for key, map_ in shown
            if key in rows
            for tile in _tiles(task, pictured[key], predictions, rows[key], is_best)
        )

    return Attention(tiles(True), tiles(False))


def overlay(picture: str, map_: np.ndarray) -> str:
    """A grey picture under a map.

    Args:
        picture: PNG as a data URI.
        map_: float `[height, width]`, 0 to 1, of whatever size.

    Returns:
        PNG in colours as a data URI, as large as the picture.
    """
    opened = Image.open(io.BytesIO(base64.b64decode(picture.partition(',')[2])), formats=['PNG'])
    smooth = cv2.resize(map_, opened.size, interpolation=cv2.INTER_LINEAR)
    coloured = Image.fromarray(matplotlib.colormaps[COLOURS](smooth, bytes=True)[..., :3])
    encoded = io.BytesIO()
    Image.blend(opened.convert('RGB'), coloured, OPACITY).save(encoded, 'PNG', optimize=True)
    return 'data:image/png;base64,' + base64.b64encode(encoded.getvalue()).decode()


def _tiles(task: str, face: Face, predictions: Predictions, row: int, is_best: bool) -> tuple[gallery.Tile, ...]:
    """The tile that the gallery has of this face, captions and all."""
    alone = dataclasses.replace(
        predictions, keys=[face.key], truth=predictions.truth[[row]], prediction=predictions.prediction[[row]]
    )
    draw = gallery.expression_tiles if task == faces.EXPRESSION_MODEL else gallery.keypoint_tiles
    return draw([face], alone, is_best)


def _under_map(tile: gallery.Tile, map_: np.ndarray) -> gallery.Tile:
    """The tile without its points, which would cover what the map shows."""
    return dataclasses.replace(
        tile,
        picture=overlay(tile.picture, map_),
        alt=f'What the network looks at. {tile.alt}',
        truth=(),
        prediction=(),
    )
