"""A pushed model without TensorFlow: its ONNX form under ONNX Runtime."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import onnxruntime

from components import faces
from components.errors import StepError
from components.inference.images import resize, to_grey

ONNX_FOLDER: Final = 'assets.extra/onnx'
"""In a SavedModel's folder: `<task>.onnx` for each of its networks."""

OUTPUTS: Final = {faces.EXPRESSION_MODEL: faces.PROBABILITIES, faces.KEYPOINT_MODEL: faces.KEYPOINTS_OUTPUT}
"""By task, the output that answers it."""


class Network:
    """One network: float32 `[batch, size, size, 1]`, grey 0..255, to its answers.

    May be asked from several threads at once.

    Args:
        task: `expression` or `keypoints`.
        path: the ONNX file.
        threads: that one answer is computed with.

    Raises:
        StepError: the file is missing or no network of this task.
    """

    def __init__(self, task: str, path: Path, threads: int = 1):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 4
        try:
            self._session = onnxruntime.InferenceSession(path.read_bytes(), options, providers=['CPUExecutionProvider'])
        except OSError as error:
            raise StepError(f'{path} cannot be read ({error.strerror}): push the model again.') from error
        except Exception as error:
            # ONNX Runtime's errors have no class in common but this one.
            raise StepError(f'{path} is no network that ONNX Runtime can load: push the model again.') from error
        inputs = self._session.get_inputs()
        if len(inputs) != 1:
            raise StepError(f'{path} has {len(inputs)} inputs instead of one: push the model again.')
        self._input = inputs[0]
        self.task = task
        self.size = _side(self._input.shape, path)

    def answer(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """The answers to images.

        Args:
            images: uint8 `[height, width, 3]` each, RGB, of any size.

        Returns:
            float32 `[batch, 5]` probabilities, or `[batch, 15, 2]` points in pixels of each image.
        """
        pixels = np.stack([resize(to_grey(image), self.size) for image in images])[..., None]
        (answers,) = self._session.run(None, {self._input.name: pixels})
        if self.task == faces.KEYPOINT_MODEL:
            answers = answers * np.array([image.shape[1::-1] for image in images], np.float32)[:, None, :]
        return answers


@dataclass(frozen=True)
class ServedVersion:
    """One version of a pushed model.

    Attributes:
        model: `expression`, `keypoints` or `faces`.
        version: its number.
        networks: by task.
    """

    model: str
    version: int
    networks: dict[str, Network]

    def predict(self, images: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
        """The outputs of the SavedModel's `serving_default`, by name.

        Args:
            images: uint8 `[height, width, 3]` each, RGB; at least one.
        """
        answers = {OUTPUTS[task]: network.answer(images) for task, network in self.networks.items()}
        if self.model != faces.JOINT_MODEL:
            return answers
        rows = (len(images), 1)
        return {
            **answers,
            faces.EXPRESSION_NAMES: np.tile(np.array(faces.EXPRESSIONS), rows),
            faces.KEYPOINT_NAMES: np.tile(np.array(faces.KEYPOINTS), rows),
        }


def load_version(folder: Path, model: str, version: int, threads: int = 1) -> ServedVersion:
    """Loads a version, and asks it once, so that what cannot answer is found here.

    Args:
        folder: of the SavedModel.
        model: `expression`, `keypoints` or `faces`.
        version: its number.
        threads: that one answer is computed with.

    Raises:
        StepError: it has no ONNX form, or one that does not load.
    """
    networks = {task: Network(task, onnx_file(folder, task), threads) for task in faces.parts(model)}
    loaded = ServedVersion(model, version, networks)
    try:
        loaded.predict([np.zeros((faces.KEYPOINT_SIZE, faces.KEYPOINT_SIZE, 3), np.uint8)])
    except Exception as error:
        raise StepError(f'Version {version} of {model} does not answer: push the model again.') from error
    return loaded


def onnx_file(folder: Path, task: str) -> Path:
    """Where a SavedModel's folder has the ONNX form of one of its networks."""
    return folder / ONNX_FOLDER / f'{task}.onnx'


def _side(shape: list, path: Path) -> int:
    if len(shape) != 4 or shape[1] != shape[2] or not isinstance(shape[1], int) or shape[3] != 1:
        raise StepError(f'{path} takes {shape} instead of square grey images: push the model again.')
    return shape[1]
