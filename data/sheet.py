"""A contact sheet of drawn faces, to look at."""

from pathlib import Path
from typing import Final

import cv2
import numpy as np

from components import faces
from data.draw import draw_face

_ZOOM: Final = 2
_LABEL_WIDTH: Final = 96
_POINT_COLOUR: Final = (80, 230, 80)


def draw_sheet(path: Path, seed: int, columns: int = 10) -> None:
    """Writes a PNG with one row of `columns` people for each expression, the keypoints on every second face.

    Raises:
        StepError: the seed is negative.
    """
    rows = [_draw_row(seed, row, expression, columns) for row, expression in enumerate(faces.EXPRESSIONS)]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cv2.imencode('.png', np.vstack(rows))[1].tobytes())


def _draw_row(seed: int, row: int, expression: str, columns: int) -> np.ndarray:
    label = np.full((faces.KEYPOINT_SIZE * _ZOOM, _LABEL_WIDTH, 3), 255, np.uint8)
    cv2.putText(label, expression, (4, faces.KEYPOINT_SIZE), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (0, 0, 0), 1, cv2.LINE_AA)
    cells = [_draw_cell(seed, row * columns + column, expression, column % 2 == 1) for column in range(columns)]
    return np.hstack([label, *cells])


def _draw_cell(seed: int, index: int, expression: str, with_points: bool) -> np.ndarray:
    face = draw_face(seed, index, expression)
    large = cv2.resize(face.image, None, fx=_ZOOM, fy=_ZOOM, interpolation=cv2.INTER_CUBIC)
    cell = cv2.cvtColor(large, cv2.COLOR_GRAY2BGR)
    if with_points:
        for x, y in np.rint((face.points * _ZOOM - 0.5) * 16).astype(int).tolist():
            cv2.circle(cell, (x, y), 24, _POINT_COLOUR, -1, cv2.LINE_AA, 4)
    return cell
