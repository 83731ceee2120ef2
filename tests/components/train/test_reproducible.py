"""The same seed, data and settings give the same answers to the last bit, in whichever process."""

import subprocess
import sys

import numpy as np
import pytest

# Everything random is on. Two seeds one after the other: what was trained before must not matter.
TRAIN = """
import sys
from pathlib import Path
import numpy as np
from components.settings import AugmentSettings, TrainSettings
from components.train.average import WeightAverage
from components.train.batches import Split, training_steps
from components.train.checkpoints import Checkpoints
from components.train.expression import TASK
from components.train.fit import finish, fit, predict

random = np.random.default_rng(1)
names = np.arange(64)
labels = names % 5
pixels = (random.normal(size=(64, 32, 32, 1)) + labels[:, None, None, None]).astype(np.float32)
split = Split(pixels, labels, names.astype('U'), names, names, names)
settings = TrainSettings(
    image_size=32, widths=(16, 32), blocks=(1, 1), dropout=0.3, epochs=2, batch_size=16,
    augment=AugmentSettings(mixup=0.3),
)
folder = Path(sys.argv[1])
for seed in map(int, sys.argv[2:]):
    average = WeightAverage(1.0, training_steps(split, settings))
    checkpoints = Checkpoints(folder / f'checkpoints-{seed}', TASK.figure, TASK.mode, 9, 2, average)
    network = fit(TASK, settings, seed, split, split, checkpoints, folder / 'logs')
    answering, _ = finish(TASK, [network], settings, split.truth, split)
    np.save(folder / f'{seed}.npy', predict(answering, settings, split))
"""


@pytest.fixture(scope='module')
def answers(tmp_path_factory) -> dict[str, dict[int, np.ndarray]]:
    """By process, then by seed."""
    orders = {'one': (5,), 'other': (6, 5)}
    folders = {name: tmp_path_factory.mktemp(name) for name in orders}
    processes = [
        subprocess.Popen([sys.executable, '-c', TRAIN, str(folders[name]), *map(str, seeds)])
        for name, seeds in orders.items()
    ]
    assert [process.wait(600) for process in processes] == [0, 0]
    return {name: {seed: np.load(folders[name] / f'{seed}.npy') for seed in seeds} for name, seeds in orders.items()}


def test_the_same_seed_gives_the_same_answers_to_the_last_bit(answers):
    np.testing.assert_array_equal(answers['one'][5], answers['other'][5])
    assert np.ptp(answers['one'][5], axis=0).min() > 0


def test_another_seed_gives_other_answers(answers):
    assert np.abs(answers['other'][6] - answers['other'][5]).max() > 1e-3
