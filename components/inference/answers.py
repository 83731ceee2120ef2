"""What is answered about a photograph, by the pushed model itself in this process."""

import math
import threading
from dataclasses import dataclass
from typing import Any

from components.faces import Which
from components.inference.detect import FaceDetector
from components.inference.inputs import Photograph
from components.inference.network import ServedVersion
from components.inference.photo import FaceAnswer, face_from_json, read_photo


@dataclass(frozen=True)
class PhotoAnswer:
    """The answer about one photograph.

    Attributes:
        width, height: of the upright photograph, in pixels.
        faces: largest first; none is an ordinary answer.
        model: which model answered.
        version: its version.
    """

    width: int
    height: int
    faces: tuple[FaceAnswer, ...]
    model: str
    version: int

    def to_json(self) -> dict[str, Any]:
        """Everything by name, as the server's `/v1/photo` answers."""
        return {
            'image': {'width': self.width, 'height': self.height},
            'faces': [face.to_json() for face in self.faces],
            'model': {'name': self.model, 'version': self.version},
        }


def answer_from_json(values: Any) -> PhotoAnswer:
    """What `PhotoAnswer.to_json` wrote, or the server.

    Raises:
        ValueError: it is no such answer, or one with figures that are none.
    """
    try:
        found = tuple(face_from_json(face) for face in values['faces'])
        answer = PhotoAnswer(
            int(values['image']['width']),
            int(values['image']['height']),
            found,
            str(values['model']['name']),
            int(values['model']['version']),
        )
        figures = [float(figure) for face in found for figure in _figures(face)]
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise ValueError(f'no answer about a photograph ({error})') from error
    if not all(map(math.isfinite, figures)) or any(face.keypoints.shape != (15, 2) for face in found):
        raise ValueError('figures that are none')
    return answer


class PushedModel:
    """Answers about photographs with a pushed version of `faces`.

    May be asked from several threads at once: each has a detector of its own, so that they do not wait in turn.

    Args:
        model: a version of `faces`.
        which: faces are answered about.
    """

    def __init__(self, model: ServedVersion, which: Which):
        self._model = model
        self._which = which
        self._own = threading.local()

    def ask(self, photograph: Photograph) -> PhotoAnswer:
        """What the model says of a photograph.

        Raises:
            ImageError: it is no image that can be read.
            StepError: the detector is not installed.
        """
        if not hasattr(self._own, 'finder'):
            self._own.finder = FaceDetector()
        pixels = photograph.pixels
        found = read_photo(pixels, self._model, self._own.finder, self._which)
        height, width = pixels.shape[:2]
        return PhotoAnswer(width, height, tuple(found), self._model.model, self._model.version)


def _figures(face: FaceAnswer) -> list[Any]:
    score = [] if face.score is None else [face.score]
    return [*face.box, *score, *face.keypoints.ravel(), *face.probabilities]
