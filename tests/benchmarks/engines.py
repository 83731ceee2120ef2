"""What runs in the server's environment for `serving.py`: the engine alone, and the server with TensorFlow in it.

python -m tests.benchmarks.engines alone FOLDER REQUEST IMAGE SECONDS    prints the seconds of each answer
python -m tests.benchmarks.engines tensorflow ARGUMENTS…                is `python -m components.serve ARGUMENTS…`
"""

import json
import os
import runpy
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from components import faces
from components.inference import network
from components.inference.images import decode
from components.inference.photo import read_photo
from tests.benchmarks.machine import processor_seconds, share_of_others

PHOTO = 'photo'
PREDICT = 'predict'


def alone(folder: Path, request: str, encoded: bytes, seconds: float) -> dict[str, Any]:
    """Asks the engine without a server, one image after the other, for so many seconds.

    Args:
        folder: of a version of `faces`.
        request: `predict` or `photo`.
        encoded: the image.
        seconds: to go on for, after a tenth of it that is not counted.

    Returns:
        Of each answer its seconds (`wall`) and those of the processor (`cpu`); of all, the share of the processor that
        other processes took (`others`).
    """
    # As the server does.
    cv2.setNumThreads(1)
    answer = _answerer(network.load_version(folder, faces.JOINT_MODEL, int(folder.name)), request)
    _go_on(answer, encoded, seconds / 10)
    whole, own, began = processor_seconds(), time.process_time(), time.perf_counter()
    found = _go_on(answer, encoded, seconds)
    whole, own, elapsed = processor_seconds() - whole, time.process_time() - own, time.perf_counter() - began
    return {**found, 'others': share_of_others(whole, own, elapsed)}


def _answerer(model: network.ServedVersion, request: str) -> Callable[[bytes], object]:
    if request == PREDICT:
        return lambda encoded: model.predict([decode(encoded)])
    finder = _finder()
    return lambda encoded: read_photo(decode(encoded, upright=True), model, finder, 'largest')


def _finder() -> Any:
    from components.inference.detect import FaceDetector

    return FaceDetector()


def _go_on(answer: Callable[[bytes], object], encoded: bytes, seconds: float) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {'wall': [], 'cpu': []}
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or not found['wall']:
        wall, cpu = time.perf_counter(), time.process_time()
        answer(encoded)
        found['wall'].append(time.perf_counter() - wall)
        found['cpu'].append(time.process_time() - cpu)
    return found


@dataclass(frozen=True)
class TensorFlowVersion:
    """A `ServedVersion` that asks the SavedModel itself, through its `serving_default`.

    It takes encoded images, and so what the server has decoded is written as BMP, which costs next to nothing.
    """

    model: str
    version: int
    signature: Callable[..., dict[str, Any]]
    tensorflow: Any

    def predict(self, images: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
        encoded = [cv2.imencode('.bmp', image[..., ::-1])[1].tobytes() for image in images]
        answers = self.signature(image_bytes=self.tensorflow.constant(encoded))
        return {name: _text(answer.numpy()) for name, answer in answers.items()}


def load_tensorflow(folder: Path, model: str, version: int, threads: int = 1) -> TensorFlowVersion:
    """As `components.inference.network.load_version`, with TensorFlow's own threads."""
    import tensorflow as tf

    loaded = tf.saved_model.load(str(folder))
    found = TensorFlowVersion(model, version, loaded.signatures[faces.SERVING_SIGNATURE], tf)
    found.predict([np.zeros((faces.KEYPOINT_SIZE, faces.KEYPOINT_SIZE, 3), np.uint8)])
    return found


def _text(answer: np.ndarray) -> np.ndarray:
    return answer.astype(str) if answer.dtype == object else answer


def serve_tensorflow(arguments: Sequence[str]) -> None:
    """The server, with this loader in place of its own."""
    os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')
    network.load_version = load_tensorflow  # type: ignore[assignment]
    sys.argv = ['components.serve', *arguments]
    runpy.run_module('components.serve', run_name='__main__')


def main() -> None:
    part, *arguments = sys.argv[1:]
    if part == 'tensorflow':
        serve_tensorflow(arguments)
        return
    folder, request, path, seconds = arguments
    print(json.dumps(alone(Path(folder), request, Path(path).read_bytes(), float(seconds))))


if __name__ == '__main__':
    main()
