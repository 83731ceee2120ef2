"""Small untrained models, and a server of them, shared by the tests of the server."""

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_transform as tft

from components import faces
from components.joint.module import join
from components.settings import TrainSettings
from components.train import expression, keypoints
from components.train.export import save
from tests.components.serve import running

SMALL = TrainSettings(image_size=48, widths=(4, 8), blocks=(1, 1))
TASKS = {task.name: task for task in (expression.TASK, keypoints.TASK)}


@dataclasses.dataclass(frozen=True)
class Made:
    """Models that answer differently from other ones of the same name."""

    folders: dict[str, Path]

    def ask(self, model: str, encoded: Sequence[bytes]) -> dict[str, np.ndarray]:
        """What the SavedModel answers."""
        serve = tf.saved_model.load(str(self.folders[model])).signatures[faces.SERVING_SIGNATURE]
        return {name: value.numpy() for name, value in serve(image_bytes=tf.constant(list(encoded))).items()}


@pytest.fixture(scope='session')
def python() -> Path:
    """The interpreter of the server's environment."""
    if not running.PYTHON.exists():
        pytest.skip(f'{running.PYTHON} is missing, so the server is NOT tested: make serve sets it up')
    return running.PYTHON


@pytest.fixture(scope='session')
def made(python, transformed, tmp_path_factory) -> tuple[Made, Made]:
    """Two of each model."""
    return tuple(_make(seed, transformed, tmp_path_factory.mktemp('made')) for seed in (1, 2))


@pytest.fixture(scope='session')
def serving(made, tmp_path_factory) -> Path:
    """A folder with version 3 of each model."""
    folder = tmp_path_factory.mktemp('serving')
    for model, source in made[0].folders.items():
        running.push(source, folder, model, 3)
    return folder


@pytest.fixture(scope='session')
def server(serving, tmp_path_factory) -> Iterator[running.Server]:
    """A server of `serving`, for tests that leave it as it is."""
    log = tmp_path_factory.mktemp('server') / 'log.txt'
    with running.running(serving, log, '--client-timeout', '60') as found:
        yield found
        assert found.process.poll() is None, log.read_text()


def _make(seed: int, transformed, folder: Path) -> Made:
    folders = {}
    for name, task in TASKS.items():
        keras.utils.set_random_seed(seed)
        network = task.build(SMALL)
        _disturb(network, seed)
        folders[name] = folder / name
        save(task.export(network, tft.TFTransformOutput(str(transformed[name].transform_output))), folders[name])
    folders[faces.JOINT_MODEL] = folder / faces.JOINT_MODEL
    join(folders[faces.EXPRESSION_MODEL], folders[faces.KEYPOINT_MODEL], folders[faces.JOINT_MODEL])
    return Made(folders)


def _disturb(network: keras.Model, seed: int) -> None:
    """Gives an untrained network answers that depend on the image, and on the seed, by more than rounding."""
    generator = np.random.default_rng(seed)
    network.set_weights([w + generator.normal(0, 0.1, w.shape).clip(-0.2, 0.2) for w in network.get_weights()])
