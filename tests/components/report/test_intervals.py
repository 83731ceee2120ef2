"""The intervals of the headline figures, against scikit-learn, numpy and what statistics says of simple cases."""

import dataclasses
import math

import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

from components import faces
from components.report.artifacts import Predictions, read_predictions
from components.report.intervals import _STATISTICS, intervals
from components.report.metrics import HEADLINES


def of_expressions(count: int, right: float, seed: int = 1) -> Predictions:
    """Predictions of which about a share is right."""
    random = np.random.default_rng(seed)
    truth = random.integers(0, 5, count)
    named = np.where(random.random(count) < right, truth, (truth + random.integers(1, 5, count)) % 5)
    return Predictions([('', '', 0)] * count, truth, np.eye(5, dtype=np.float32)[named])


def of_points(count: int, error: float, seed: int = 1) -> Predictions:
    random = np.random.default_rng(seed)
    truth = random.uniform(20, 76, (count, 15, 2))
    prediction = (truth + random.normal(0, error, truth.shape)).astype(np.float32)
    truth[random.random(truth.shape[:2]) < 0.2] = np.nan
    return Predictions([('', '', 0)] * count, truth, prediction)


@pytest.mark.parametrize('task', list(faces.TASKS))
def test_the_figures_behind_the_intervals_are_those_of_the_evaluation(record, task):
    """On all rows, each once: of the report's own branch, which the real evaluator judged."""
    from components.report.metrics import kpis

    branch = next(branch for branch in record.branches if branch.task == task)
    predictions = read_predictions(branch.model_run)
    rows = np.arange(len(predictions.truth))
    found = {name: statistic(rows) for name, statistic in _STATISTICS[task](predictions).items()}
    assert found == pytest.approx(kpis(record)[task], rel=1e-5)
    assert set(found) == set(HEADLINES[task])


def test_a_resample_has_the_figures_that_scikit_learn_gives_it():
    predictions = of_expressions(60, 0.6)
    rows = np.random.default_rng(2).integers(0, 60, 60)
    truth, named = predictions.truth[rows], predictions.prediction[rows].argmax(axis=1)
    statistics = _STATISTICS[faces.EXPRESSION_MODEL](predictions)
    assert statistics['accuracy'](rows) == pytest.approx(sklearn_metrics.accuracy_score(truth, named))
    expected = sklearn_metrics.f1_score(truth, named, labels=range(5), average='macro', zero_division=0)
    assert statistics['macro_f1'](rows) == pytest.approx(expected)


def test_the_interval_of_an_accuracy_is_as_wide_as_the_binomial_says():
    count, right = 2000, 0.8
    predictions = of_expressions(count, right)
    accuracy = (predictions.prediction.argmax(axis=1) == predictions.truth).mean()
    found = intervals(faces.EXPRESSION_MODEL, predictions)['accuracy']
    half = 1.96 * math.sqrt(accuracy * (1 - accuracy) / count)
    assert found.low == pytest.approx(accuracy - half, abs=half / 5)
    assert found.high == pytest.approx(accuracy + half, abs=half / 5)


def test_four_times_the_faces_halve_the_interval():
    few, many = (intervals(faces.KEYPOINT_MODEL, of_points(count, 2.0))['rmse'] for count in (200, 800))
    assert (few.high - few.low) / (many.high - many.low) == pytest.approx(2, rel=0.3)
    assert few.low < 2.0 < few.high


def test_most_intervals_hold_the_true_figure():
    """Of eighty eval splits of a model that is right in 70% of all faces."""
    held = 0
    for seed in range(80):
        found = intervals(faces.EXPRESSION_MODEL, of_expressions(150, 0.7, seed))['accuracy']
        held += found.low <= 0.7 <= found.high
    assert held >= 70


def test_the_same_predictions_have_the_same_interval_and_one_face_has_none():
    predictions = of_points(30, 1.0)
    assert intervals(faces.KEYPOINT_MODEL, predictions) == intervals(faces.KEYPOINT_MODEL, predictions)
    single = dataclasses.replace(predictions, truth=predictions.truth[:1], prediction=predictions.prediction[:1])
    assert intervals(faces.KEYPOINT_MODEL, single) == {}
