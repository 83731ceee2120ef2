"""Born-again networks: what a generation learns from, and that a killed training goes on in the one that it was in."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

from components import faces
from components.settings import TrainSettings
from components.train import expression, fit, keypoints

SETTINGS = TrainSettings(widths=(16,), blocks=(1,), dropout=0.0, epochs=1, batch_size=16, generations=2)


def constant(logits: np.ndarray) -> keras.Model:
    """A network that gives each image the same logits."""
    inputs = keras.Input((48, 48, 1))
    network = keras.Model(inputs, keras.layers.Dense(5)(keras.layers.GlobalAveragePooling2D()(inputs)))
    network.layers[-1].set_weights([np.zeros((1, 5), np.float32), logits])
    return network


@pytest.mark.parametrize('share', [0.0, 0.3, 1.0])
def test_a_lesson_lies_between_the_labels_and_what_the_teacher_says(load, share):
    training = load(faces.EXPRESSION_MODEL, faces.TRAIN_SPLIT)
    probabilities = np.array([0.5, 0.2, 0.1, 0.1, 0.1], np.float32)
    settings = dataclasses.replace(SETTINGS, teacher_share=share)
    found = fit.taught(expression.TASK, constant(np.log(probabilities)), settings, training)
    expected = share * probabilities + (1 - share) * np.eye(5)[training.truth]
    np.testing.assert_allclose(found.truth, expected, atol=1e-5)
    assert found.truth.dtype == np.float32
    np.testing.assert_array_equal(found.row, training.row)
    np.testing.assert_array_equal(expression.encode(tf.constant(found.truth)), found.truth)


class Trainings:
    """Counts what is trained, through the real training."""

    def __init__(self, monkeypatch):
        self.truths: list[np.ndarray] = []
        self.killed = False
        real = fit.fit

        def counted(task, settings, seed, training, *others):
            self.truths.append(training.truth)
            if self.killed and len(self.truths) == 2:
                raise KeyboardInterrupt
            return real(task, settings, seed, training, *others)

        monkeypatch.setattr(fit, 'fit', counted)


def generations(task, load, folder, settings=SETTINGS):
    training, evaluation = (load(task.name, split) for split in (faces.TRAIN_SPLIT, faces.EVAL_SPLIT))
    network, history = fit.fit_generations(task, settings, 5, training, evaluation, folder, folder / 'logs')
    return fit.predict(network, settings, evaluation), history


def test_the_second_generation_learns_from_the_first(load, tmp_path, monkeypatch):
    trainings = Trainings(monkeypatch)
    _, history = generations(expression.TASK, load, tmp_path)
    labels = load(faces.EXPRESSION_MODEL, faces.TRAIN_SPLIT).truth
    first, second = trainings.truths
    np.testing.assert_array_equal(first, labels)
    assert second.shape == (len(labels), 5)
    assert len(np.unique(second.round(6), axis=0)) > 5, 'the first generation tells the images apart'
    assert {len(values) for values in history.values()} == {1}


def test_a_killed_second_generation_goes_on_from_the_first_that_is_there(load, tmp_path, monkeypatch):
    expected, _ = generations(expression.TASK, load, tmp_path / 'whole')
    trainings = Trainings(monkeypatch)
    trainings.killed = True
    with pytest.raises(KeyboardInterrupt):
        generations(expression.TASK, load, tmp_path / 'killed')
    found, _ = generations(expression.TASK, load, tmp_path / 'killed')
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_points_are_not_taught(load, tmp_path, monkeypatch):
    trainings = Trainings(monkeypatch)
    generations(keypoints.TASK, load, tmp_path)
    assert len(trainings.truths) == 1
