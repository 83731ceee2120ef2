"""A training that is killed, one that stops early, and one that nothing disturbs, on drawn faces."""

import json
from pathlib import Path

import keras
import numpy as np
import pytest

from components import faces
from components.train import keypoints
from components.train.average import WeightAverage
from components.train.checkpoints import Checkpoints
from components.train.fit import fit

EPOCHS = 4


class KilledError(Exception):
    pass


class KillingCheckpoints(Checkpoints):
    """Raises in the middle of the third epoch, where a killed process stops."""

    epoch = 0

    def on_epoch_begin(self, epoch, logs=None):
        super().on_epoch_begin(epoch, logs)
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        if (self.epoch, batch) == (2, 0):
            raise KilledError


class RecordingCheckpoints(Checkpoints):
    """Keeps the weights as they were after each epoch."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.weights = []

    def on_epoch_end(self, epoch, logs=None):
        super().on_epoch_end(epoch, logs)
        self.weights.append(self.model.get_weights())


@pytest.fixture(scope='module')
def train(tiny, load, tmp_path_factory):
    """Trains the keypoint network on drawn faces with these checkpoints."""
    splits = [load(faces.KEYPOINT_MODEL, split) for split in faces.SPLITS]

    def run(checkpoints: Checkpoints) -> keras.Model:
        return fit(keypoints.TASK, tiny, 5, *splits, checkpoints, tmp_path_factory.mktemp('logs'))

    return run


@pytest.fixture(scope='module')
def undisturbed(train, tmp_path_factory) -> tuple[keras.Model, RecordingCheckpoints]:
    folder = tmp_path_factory.mktemp('undisturbed')
    checkpoints = RecordingCheckpoints(folder, 'val_rmse', 'min', 20, EPOCHS)
    return train(checkpoints), checkpoints


def assert_same_weights(first: list[np.ndarray], second: list[np.ndarray]):
    for one, other in zip(first, second, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_a_killed_training_ends_as_one_that_nothing_disturbed(tmp_path, train, undisturbed):
    folder = tmp_path / 'killed'
    with pytest.raises(KilledError):
        train(KillingCheckpoints(folder, 'val_rmse', 'min', 20, EPOCHS))
    assert [path.name for path in folder.iterdir()] == ['epoch-00001']
    # What the killed process was about to write must not matter.
    (folder / '.staged').mkdir()
    (folder / '.staged' / 'latest.weights.h5').write_bytes(b'half')

    resumed = RecordingCheckpoints(folder, 'val_rmse', 'min', 20, EPOCHS)
    network = train(resumed)
    expected_network, expected = undisturbed
    assert resumed.history.keys() == {'loss', 'val_loss', 'rmse', 'val_rmse', 'learning_rate'}
    assert resumed.history.keys() == expected.history.keys()
    for name, values in expected.history.items():
        assert len(values) == EPOCHS
        np.testing.assert_allclose(resumed.history[name], values, rtol=1e-5, atol=1e-9, err_msg=name)
    assert len(resumed.weights) == 2
    assert_same_weights(resumed.weights[-1], expected.weights[-1])
    assert_same_weights(network.get_weights(), expected_network.get_weights())


def test_a_killed_training_with_averaged_weights_ends_as_one_that_nothing_disturbed(tmp_path, train, undisturbed):
    def checkpoints(kind: type[Checkpoints], folder: Path) -> Checkpoints:
        return kind(folder, 'val_rmse', 'min', 20, EPOCHS, WeightAverage(2.0, steps=2))

    whole = checkpoints(RecordingCheckpoints, tmp_path / 'whole')
    expected = train(whole)
    with pytest.raises(KilledError):
        train(checkpoints(KillingCheckpoints, tmp_path / 'killed'))
    resumed = checkpoints(RecordingCheckpoints, tmp_path / 'killed')
    network = train(resumed)
    np.testing.assert_allclose(resumed.history['val_rmse'], whole.history['val_rmse'], rtol=1e-5)
    assert_same_weights(network.get_weights(), expected.get_weights())
    # The training itself is the one without an average; what is kept is not.
    assert_same_weights(whole.weights[-1], undisturbed[1].weights[-1])
    assert np.abs(expected.get_weights()[0] - undisturbed[0].get_weights()[0]).max() > 1e-4


def test_the_best_epoch_is_returned(undisturbed):
    network, checkpoints = undisturbed
    best = int(np.argmin(checkpoints.history['val_rmse']))
    assert_same_weights(network.get_weights(), checkpoints.weights[best])


def test_patience_ends_the_training_with_the_best_weights(tmp_path, train):
    # The learning rate falls, so by this figure nothing is better than the first epoch.
    checkpoints = RecordingCheckpoints(tmp_path / 'early', 'learning_rate', 'max', 2, EPOCHS)
    network = train(checkpoints)
    assert len(checkpoints.history['loss']) == len(checkpoints.weights) == 3
    assert checkpoints.is_over()
    assert_same_weights(network.get_weights(), checkpoints.weights[0])
    assert np.abs(checkpoints.weights[2][0] - checkpoints.weights[0][0]).max() > 1e-3

    finished = RecordingCheckpoints(tmp_path / 'early', 'learning_rate', 'max', 2, EPOCHS)
    again = train(finished)
    assert not finished.weights
    assert finished.history == checkpoints.history
    assert_same_weights(again.get_weights(), network.get_weights())


def test_the_last_epoch_lies_in_the_folder_whole_until_it_is_cleared(undisturbed, tmp_path):
    _, checkpoints = undisturbed
    (last,) = checkpoints.folder.iterdir()
    assert {path.name for path in last.iterdir()} == {'latest.weights.h5', 'best.weights.h5', 'history.json'}
    assert json.loads((last / 'history.json').read_text()) == checkpoints.history
    other = Checkpoints(Path(checkpoints.folder.rename(tmp_path / 'moved')), 'val_rmse', 'min', 20, EPOCHS)
    other.clear()
    assert not (tmp_path / 'moved').exists()
    other.clear()


def test_the_learning_rate_rises_to_its_peak_and_falls_to_nothing(undisturbed, tiny):
    rates = undisturbed[1].history['learning_rate']
    assert rates[0] == pytest.approx(tiny.learning_rate, rel=1e-3)
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] == pytest.approx(0, abs=1e-6)
