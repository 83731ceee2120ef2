"""Whole photographs: the faces in them, and what both networks say of each."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np

from components import faces
from components.inference.crops import Square, crop, square, to_photograph
from components.inference.detect import Detection
from components.inference.network import ServedVersion

MAXIMUM_FACES: Final = 64
"""Of one photograph, the largest ones."""


class Finder(Protocol):
    """Finds faces, as `FaceDetector` does."""

    def find(self, image: np.ndarray) -> list[Detection]: ...


@dataclass(frozen=True)
class FaceAnswer:
    """One face of a photograph.

    Attributes:
        box: left, top, width and height, in pixels of the photograph; of the whole image where none was looked for.
        score: 0..1, how sure the detector is; None where none was looked for.
        keypoints: float32 `[15, 2]`, x and y in pixels of the photograph.
        probabilities: float32 `[5]`, in the order of `faces.EXPRESSIONS`.
    """

    box: tuple[float, float, float, float]
    score: float | None
    keypoints: np.ndarray
    probabilities: np.ndarray

    @property
    def expression(self) -> str:
        """The most probable expression."""
        return faces.EXPRESSIONS[int(self.probabilities.argmax())]

    def to_json(self) -> dict[str, Any]:
        """Everything by name; points as `[x, y]`."""
        return {
            'box': dict(zip(('left', 'top', 'width', 'height'), self.box, strict=True)),
            'score': self.score,
            'expression': self.expression,
            'probabilities': dict(zip(faces.EXPRESSIONS, self.probabilities.tolist(), strict=True)),
            'keypoints': dict(zip(faces.KEYPOINTS, self.keypoints.tolist(), strict=True)),
        }


def face_from_json(values: dict[str, Any]) -> FaceAnswer:
    """What `FaceAnswer.to_json` wrote."""
    box = values['box']
    return FaceAnswer(
        (box['left'], box['top'], box['width'], box['height']),
        values['score'],
        np.array([values['keypoints'][name] for name in faces.KEYPOINTS], np.float32),
        np.array([values['probabilities'][name] for name in faces.EXPRESSIONS], np.float32),
    )


def read_photo(photo: np.ndarray, model: ServedVersion, finder: Finder, which: faces.Which) -> list[FaceAnswer]:
    """What both networks say of the faces in a photograph, largest first; no face is an ordinary answer.

    Args:
        photo: uint8 `[height, width, 3]`, RGB.
        model: a version of `faces`.
        finder: finds the faces; not asked for `whole`.
        which: faces are answered about.
    """
    if which == 'whole':
        height, width = photo.shape[:2]
        (answer,) = _ask(model, [photo])
        return [FaceAnswer((0.0, 0.0, float(width), float(height)), None, *answer)]
    found = finder.find(photo)[: 1 if which == 'largest' else MAXIMUM_FACES]
    return read_faces(photo, model, found)


def read_faces(photo: np.ndarray, model: ServedVersion, found: Sequence[Detection]) -> list[FaceAnswer]:
    """What both networks say of faces that were found.

    Args:
        photo: uint8 `[height, width, 3]`, RGB.
        model: a version of `faces`.
        found: where the faces are.
    """
    if not found:
        return []
    squares: list[Square] = [square(face) for face in found]
    answers = _ask(model, [crop(photo, place) for place in squares])
    return [
        FaceAnswer((face.left, face.top, face.width, face.height), face.score, to_photograph(points, place), shares)
        for face, place, (points, shares) in zip(found, squares, answers, strict=True)
    ]


def _ask(model: ServedVersion, images: list[np.ndarray]) -> list[tuple[np.ndarray, np.ndarray]]:
    answers = model.predict(images)
    return list(zip(answers[faces.KEYPOINTS_OUTPUT], answers[faces.PROBABILITIES], strict=True))
