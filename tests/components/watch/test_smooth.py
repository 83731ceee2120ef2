"""Smoothing counts seconds, not frames."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.watch.smooth import ExponentialAverage, OneEuroFilter

TIMES = st.lists(st.floats(0.002, 0.3), min_size=1, max_size=60).map(np.cumsum)
SURE = np.array([0.0, 0.0, 0.0, 1.0, 0.0])


def average_of_step(times: np.ndarray, time: float) -> np.ndarray:
    """What is left of another expression after it has changed at second 0."""
    average = ExponentialAverage(time)
    average(0.0, np.array([1.0, 0.0, 0.0, 0.0, 0.0]))
    for seconds in times:
        result = average(seconds, SURE)
    return result


@given(TIMES)
def test_an_average_after_a_change_depends_on_the_time_alone_not_on_the_frames(times):
    left = np.exp(-times[-1] / 0.3)
    np.testing.assert_allclose(average_of_step(times, 0.3), [left, 0.0, 0.0, 1.0 - left, 0.0], atol=1e-9)


@given(TIMES, st.lists(st.integers(0, 4), min_size=60, max_size=60))
def test_averaged_probabilities_are_probabilities(times, expressions):
    average = ExponentialAverage(0.3)
    for seconds, expression in zip(times, expressions, strict=False):
        result = average(seconds, np.eye(5)[expression])
        assert result.min() >= 0.0
        assert result.sum() == pytest.approx(1.0)


def test_without_a_time_nothing_is_averaged():
    np.testing.assert_array_equal(average_of_step(np.array([0.001]), 0.0), SURE)


def walk(rate: float, speed: float, noise: float = 0.0, seconds: float = 3.0) -> tuple[np.ndarray, np.ndarray]:
    """Where a point is that moves to the right, and where the filter says it is; faces are 100 pixels large."""
    random = np.random.default_rng(0)
    follow = OneEuroFilter()
    times = np.arange(0.0, seconds, 1.0 / rate)
    true = np.stack([100.0 + 100.0 * speed * times, np.full_like(times, 50.0)], axis=-1)[:, None]
    said = [follow(t, p + random.normal(0.0, noise, p.shape), 100.0) for t, p in zip(times, true, strict=True)]
    return true, np.array(said)


def test_a_point_at_rest_trembles_less():
    true, said = walk(30.0, speed=0.0, noise=1.0)
    assert np.std((said - true)[15:]) < 0.6


def test_a_point_that_moves_fast_is_hardly_behind():
    true, said = walk(30.0, speed=2.0)
    assert np.abs(said - true)[-1].max() < 4.0  # a fiftieth of a second


@pytest.mark.parametrize('speed', [0.0, 0.3, 2.0])
def test_a_film_of_another_rate_is_smoothed_alike(speed):
    lags = [float((true - said)[-1, 0, 0]) for true, said in (walk(rate, speed) for rate in (15.0, 30.0, 120.0))]
    assert np.ptp(lags) < 2.0  # a hundredth of a second at most


def test_a_face_twice_as_large_is_smoothed_alike():
    random = np.random.default_rng(1)
    small, large = OneEuroFilter(), OneEuroFilter()
    for index in range(50):
        points = random.normal(50.0, 5.0, (15, 2))
        one, other = small(index / 25, points, 80.0), large(index / 25, 2.0 * points, 160.0)
        np.testing.assert_allclose(2.0 * one, other)


def test_a_second_answer_at_the_same_time_changes_nothing():
    follow = OneEuroFilter()
    follow(0.0, np.zeros((1, 2)))
    before = follow(0.1, np.ones((1, 2)))
    np.testing.assert_array_equal(follow(0.1, np.full((1, 2), 9.0)), before)
