"""The temperature: on which rows it is fitted, what it is, and what it does to a network's answers."""

import keras
import numpy as np
import pytest
import scipy.special
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from sklearn.metrics import log_loss

from components.settings import TrainSettings
from components.train.batches import MINIMUM_CALIBRATION, Split, hold_out
from components.train.calibration import (
    BOUND,
    Temperature,
    fit_temperature,
    read_temperature,
    write_temperature,
)
from components.train.network import at_temperature, expression_network

PERSONS = 2000


def split(rows_each: int = 2) -> Split:
    """Several rows of each person, who are mixed."""
    count = PERSONS * rows_each
    numbers = np.arange(count)
    group = np.array([f'person {number % PERSONS}' for number in numbers])
    return Split(np.zeros((count, 2, 2, 1), np.float32), numbers % 5, numbers.astype('U'), group, numbers, group)


def answers(temperature: float, count: int = 20_000, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Logits that are too large by the factor `temperature`, and the labels."""
    random = np.random.default_rng(seed)
    true_logits = random.normal(0, 2, (count, 5))
    labels = (true_logits + random.gumbel(size=true_logits.shape)).argmax(axis=1)
    return (temperature * true_logits).astype(np.float32), labels


@pytest.mark.parametrize('percent', [5.0, 20.0, 50.0])
def test_a_person_is_trained_on_or_held_out_and_the_share_is_about_right(percent):
    whole = split()
    training, calibration = hold_out(whole, percent)
    assert not set(training.group) & set(calibration.group)
    assert sorted([*training.row, *calibration.row]) == whole.row.tolist()
    assert 100 * len(calibration) / len(whole) == pytest.approx(percent, abs=3)
    for part in (training, calibration):
        assert (np.diff(part.row) > 0).all(), 'the order stays'
        np.testing.assert_array_equal(part.truth, part.row % 5)


def test_the_same_persons_are_held_out_whatever_the_order_and_whoever_is_added():
    whole = split()
    held_out = set(hold_out(whole, 10.0)[1].group)
    backwards = whole.at(np.arange(len(whole))[::-1])
    assert set(hold_out(backwards, 10.0)[1].group) == held_out
    some = whole.at(np.isin(whole.group, [f'person {number}' for number in range(1500)]))
    assert set(hold_out(some, 10.0)[1].group) == held_out & set(some.group)


@pytest.mark.parametrize(('rows_each', 'percent'), [(3, 0.0), (1, 1.0)])
def test_too_few_rows_are_not_held_out(rows_each, percent):
    training, calibration = hold_out(split(rows_each), percent)
    assert len(calibration) == 0
    assert len(training) == rows_each * PERSONS


def test_as_many_rows_as_are_needed_are_enough():
    held_out = hold_out(split(), 50.0)[1]
    for count, expected in ((MINIMUM_CALIBRATION, MINIMUM_CALIBRATION), (MINIMUM_CALIBRATION - 1, 0)):
        assert len(hold_out(held_out.at(np.arange(count)), 50.0)[1]) == expected


@pytest.mark.parametrize('temperature', [0.4, 1.0, 2.5])
def test_the_temperature_that_was_put_in_is_found(temperature):
    found = fit_temperature(*answers(temperature))
    assert found.temperature == pytest.approx(temperature, rel=0.05)
    assert found.rows == 20_000


def test_the_log_losses_are_those_of_scikit_learn():
    logits, labels = answers(1.5, 500)
    found = fit_temperature(logits, labels)
    for tried, loss in ((1.0, found.log_loss_before), (found.temperature, found.log_loss_after)):
        probabilities = scipy.special.softmax(logits.astype(float) / tried, axis=1)
        assert loss == pytest.approx(log_loss(labels, probabilities, labels=range(5)))
    assert found.log_loss_after < found.log_loss_before


@hypothesis_settings(max_examples=25, deadline=None)
@given(st.integers(0, 1000), st.floats(0.1, 8.0))
def test_no_other_temperature_has_a_smaller_log_loss(seed, temperature):
    logits, labels = answers(temperature, 200, seed)
    found = fit_temperature(logits, labels)

    def loss(tried: float) -> float:
        scaled = logits.astype(float) / tried
        return np.mean(scipy.special.logsumexp(scaled, axis=1) - scaled[np.arange(200), labels])

    assert loss(found.temperature) <= min(loss(tried) for tried in np.geomspace(0.05, 20, 60)) + 1e-6


@pytest.mark.parametrize(('right', 'expected'), [(True, 1 / BOUND), (False, BOUND)])
def test_a_network_that_is_always_right_or_always_wrong_has_a_bounded_temperature(right, expected):
    labels = np.arange(100) % 5
    logits = np.eye(5, dtype=np.float32)[labels if right else (labels + 1) % 5]
    assert fit_temperature(logits, labels).temperature == pytest.approx(expected, rel=1e-3)


def test_a_network_at_a_temperature_has_other_probabilities_and_the_same_accuracy():
    inputs = keras.Input((48, 48, 1))
    network = keras.Model(inputs, keras.layers.Dense(5)(keras.layers.Flatten()(inputs)))
    pixels = np.random.default_rng(3).normal(size=(64, 48, 48, 1)).astype(np.float32)
    before, after = network(pixels).numpy(), at_temperature(network, 2.5)(pixels).numpy()
    assert after.dtype == np.float32
    np.testing.assert_allclose(after, before / 2.5, rtol=1e-5)
    np.testing.assert_array_equal(after.argmax(axis=1), before.argmax(axis=1))
    assert len(set(before.argmax(axis=1))) > 1


def test_answers_stay_float32_in_mixed_precision():
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy('mixed_float16')
    try:
        network = at_temperature(expression_network(TrainSettings(widths=(4,), blocks=(1,))), 3.0)
        assert network(np.zeros((1, 48, 48, 1), np.float32)).dtype == 'float32'
    finally:
        keras.config.set_dtype_policy(before)


@pytest.mark.parametrize('temperature', [Temperature(), Temperature(1.7, 321, 0.9, 0.8)])
def test_what_was_written_is_read(temperature, tmp_path):
    write_temperature(tmp_path, temperature)
    assert read_temperature(tmp_path) == temperature
