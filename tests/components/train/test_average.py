"""The moving average of the weights, against one that is reckoned by hand."""

import math

import keras
import numpy as np
import pytest

from components.train.average import UPDATE_EVERY, WeightAverage


@pytest.fixture
def model() -> keras.Model:
    inputs = keras.Input((3,))
    outputs = keras.layers.Dropout(0.5)(keras.layers.BatchNormalization()(keras.layers.Dense(2)(inputs)))
    built = keras.Model(inputs, outputs)
    built.compile('sgd', 'mse')
    return built


def step(model: keras.Model, average: WeightAverage, batch: int) -> list[np.ndarray]:
    """Weights of all `batch`, and what the average makes of them."""
    model.set_weights([np.full_like(weight, batch) for weight in model.get_weights()])
    average.on_train_batch_end(batch)
    return model.get_weights()


def averaged(model: keras.Model, average: WeightAverage) -> float:
    with average.applied():
        values = {float(value) for weight in model.get_weights() for value in np.unique(weight)}
    (value,) = values
    return value


def test_the_average_moves_by_its_momentum_every_few_steps(model):
    average = WeightAverage(epochs=1.5, steps=40)
    average.set_model(model)
    momentum, expected = math.exp(-UPDATE_EVERY / 60), None
    for batch in range(40):
        step(model, average, batch)
        if batch % UPDATE_EVERY == UPDATE_EVERY - 1:
            expected = batch if expected is None else momentum * expected + (1 - momentum) * batch
            assert averaged(model, average) == pytest.approx(expected, rel=1e-5)
    assert 10 < expected < 39


def test_the_weights_come_back_after_validation(model):
    average = WeightAverage(epochs=1.0, steps=2)
    average.set_model(model)
    for batch in range(2):
        step(model, average, batch)
    inputs, targets = np.random.default_rng(1).normal(size=(8, 3)), np.ones((8, 2))
    model.fit(inputs, targets, validation_data=(inputs, targets), callbacks=[average], verbose=0)
    trained = model.get_weights()
    with average.applied():
        apart = max(np.abs(one - other).max() for one, other in zip(model.get_weights(), trained, strict=True))
    assert apart > 0
    for one, other in zip(model.get_weights(), trained, strict=True):
        np.testing.assert_array_equal(one, other)


def test_without_an_update_nothing_is_changed_or_written(model, tmp_path):
    average = WeightAverage(epochs=1.0, steps=100)
    average.set_model(model)
    before = step(model, average, 0)
    with average.applied():
        for one, other in zip(model.get_weights(), before, strict=True):
            np.testing.assert_array_equal(one, other)
    average.save(tmp_path / 'average.npz')
    assert not (tmp_path / 'average.npz').exists()
    average.restore(tmp_path / 'average.npz')


def test_what_was_written_is_read(model, tmp_path):
    average, other = WeightAverage(1.0, 4), WeightAverage(1.0, 4)
    for each in (average, other):
        each.set_model(model)
    for batch in (3, 3):
        step(model, average, batch)
    average.save(tmp_path / 'average.npz')
    other.restore(tmp_path / 'average.npz')
    assert averaged(model, other) == averaged(model, average) == 3
