"""Losses and metrics of points against numpy."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from components.train.losses import RootMeanSquaredError, mean_absolute_error

few = settings(max_examples=50, deadline=None)


@st.composite
def points(draw) -> tuple[np.ndarray, np.ndarray]:
    """Truths of which any share is missing, and predictions."""
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    shape = (draw(st.integers(1, 6)), 15, 2)
    truth = random.uniform(0, 1, shape).astype(np.float32)
    truth[random.random(shape[:2]) < draw(st.sampled_from([0.0, 0.3, 0.9, 1.0]))] = np.nan
    return truth, random.uniform(-0.5, 1.5, shape).astype(np.float32)


@few
@given(points())
def test_the_loss_is_the_mean_over_the_known_coordinates_of_each_face(pair):
    truth, prediction = pair
    known = ~np.isnan(truth)
    total = np.where(known, np.abs(truth - prediction), 0).sum(axis=(1, 2))
    expected = total / np.maximum(known.sum(axis=(1, 2)), 1)
    np.testing.assert_allclose(mean_absolute_error(truth, prediction), expected, rtol=1e-4, atol=1e-6)


@few
@given(points())
def test_the_gradient_is_finite_and_none_where_nothing_is_known(pair):
    truth, prediction = map(tf.constant, pair)
    with tf.GradientTape() as tape:
        tape.watch(prediction)
        loss = tf.reduce_sum(mean_absolute_error(truth, prediction))
    gradient = tape.gradient(loss, prediction).numpy()
    assert np.isfinite(gradient).all()
    np.testing.assert_array_equal(gradient[np.isnan(truth)], 0)
    assert (gradient[~np.isnan(truth)] != 0).all()


def test_a_face_of_which_nothing_is_known_costs_nothing():
    unknown, prediction = np.full((2, 15, 2), np.nan, np.float32), np.ones((2, 15, 2), np.float32)
    assert mean_absolute_error(unknown, prediction).numpy().tolist() == [0, 0]


@few
@given(st.lists(points(), min_size=1, max_size=3))
def test_the_metric_is_in_pixels_over_all_batches(batches):
    metric = RootMeanSquaredError()
    for truth, prediction in batches:
        metric.update_state(truth, prediction)
    squares = np.concatenate([((truth - prediction) * 96).ravel() ** 2 for truth, prediction in batches])
    known = squares[~np.isnan(squares)]
    expected = np.sqrt(known.mean()) if known.size else 0.0
    assert float(metric.result()) == pytest.approx(expected, rel=1e-4)


def test_the_metric_begins_anew():
    metric = RootMeanSquaredError()
    metric.update_state(np.zeros((1, 15, 2), np.float32), np.ones((1, 15, 2), np.float32))
    assert float(metric.result()) == pytest.approx(96)
    metric.reset_state()
    assert float(metric.result()) == 0
