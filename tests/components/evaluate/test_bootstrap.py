"""Intervals against brute force, SciPy, and what statistics says of simple cases."""

import dataclasses
import math

import numpy as np
import pytest
import scipy.special
import scipy.stats
import sklearn.metrics
from hypothesis import given, settings
from hypothesis import strategies as st

from components import faces
from components.evaluate.bootstrap import PERSONS, ROWS, _Ranking, bootstrap, draws, resampled_figures
from components.evaluate.metrics import ExpressionSums, KeypointSums
from components.evaluate.rows import Rows


def make_rows(truth, answers, person=None, **slices) -> Rows:
    names = np.arange(len(truth)).astype(str)
    return Rows(names, names, np.arange(len(truth)), names if person is None else person, slices, truth, answers)


def of_expressions(count, right, seed=1, models=('candidate',), **columns) -> Rows:
    """Sure answers of which about a share is right, of each model by itself."""
    random = np.random.default_rng(seed)
    truth = random.integers(0, 5, count)
    answers = {}
    for name in models:
        named = np.where(random.random(count) < right, truth, (truth + random.integers(1, 5, count)) % 5)
        answers[name] = np.eye(5, dtype=np.float32)[named]
    return make_rows(truth, answers, **columns)


def of_points(count, error, seed=1) -> Rows:
    random = np.random.default_rng(seed)
    truth = random.uniform(20, 76, (count, 15, 2))
    answers = (truth + random.normal(0, error, truth.shape)).astype(np.float32)
    truth[random.random(truth.shape[:2]) < 0.2] = np.nan
    return make_rows(truth.astype(np.float32), {'candidate': answers})


def unsure(count, seed=1):
    """Labels, and probabilities that are right more often than not."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, 5, count)
    scores = np.exp(random.normal(size=(count, 5)) + 1.5 * np.eye(5)[labels])
    return labels, (scores / scores.sum(axis=1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize('task', faces.TASKS)
def test_a_resample_has_the_figures_of_its_rows_written_out(task):
    """Against the metrics that TFMA runs, which are compared with scikit-learn, row after row."""
    if task == faces.EXPRESSION_MODEL:
        truth, answers, sums = *unsure(60), ExpressionSums
    else:
        rows = of_points(60, 3.0)
        truth, answers, sums = rows.truth, rows.answers['candidate'], KeypointSums
    person = np.random.default_rng(2).integers(0, 25, 60)
    _, person = np.unique(person, return_inverse=True)
    slices = {'overall': np.arange(60), 'half': np.arange(0, 60, 2)}
    found = resampled_figures(task, truth, answers, slices, person, resamples=3)
    for number, counts in enumerate(draws(person.max() + 1, 3)):
        assert counts.sum() == person.max() + 1
        for where, rows in slices.items():
            total = sums()
            for row in np.repeat(rows, counts[person[rows]].astype(int)):
                total.add(truth[row], answers[row])
            expected = total.figures()
            for name, values in found[where].items():
                np.testing.assert_allclose(values[number], expected[name], rtol=1e-9, err_msg=f'{name} in {where}')
    assert found['overall'].keys() == total.figures().keys() - {'example_count', 'confusion_matrix'}
    assert 'auc_sad' not in found['half'] and 'rmse_nose_tip' not in found['half']


def test_intervals_are_as_wide_as_scipys():
    labels, answers = unsure(400)
    found = bootstrap(faces.EXPRESSION_MODEL, make_rows(labels, {'candidate': answers})).figures['overall']

    def area(rows):
        return sklearn.metrics.roc_auc_score(labels[rows] == 2, answers[rows, 2])

    def macro_f1(rows):
        return sklearn.metrics.f1_score(labels[rows], answers[rows].argmax(axis=1), average='macro')

    for name, statistic in (('auc_sad', area), ('macro_f1', macro_f1)):
        expected = scipy.stats.bootstrap(
            (np.arange(400),), statistic, n_resamples=500, method='percentile', vectorized=False, random_state=1
        ).confidence_interval
        width = expected.high - expected.low
        assert (found[name].low, found[name].high) == pytest.approx(tuple(expected), abs=width / 8), name


def test_the_interval_of_an_accuracy_is_as_wide_as_the_binomial_says():
    rows = of_expressions(2000, 0.8)
    accuracy = (rows.answers['candidate'].argmax(axis=1) == rows.truth).mean()
    found = bootstrap(faces.EXPRESSION_MODEL, rows).figures['overall']['accuracy']
    half = 1.96 * math.sqrt(accuracy * (1 - accuracy) / 2000)
    assert (found.low, found.high) == pytest.approx((accuracy - half, accuracy + half), abs=half / 5)


def test_four_times_the_faces_halve_the_interval():
    few, many = (
        bootstrap(faces.KEYPOINT_MODEL, of_points(count, 2.0)).figures['overall']['rmse'] for count in (200, 800)
    )
    assert (few.high - few.low) / (many.high - many.low) == pytest.approx(2, rel=0.3)
    assert few.low < 2.0 < few.high


def test_rows_of_a_person_that_are_alike_count_as_one():
    """Nine rows a person, all right or all wrong: as if each person had one row."""
    person = np.repeat(np.arange(60), 9)
    right = np.random.default_rng(3).random(60) < 0.7
    truth = np.zeros(540, int)
    answers = {'candidate': np.eye(5, dtype=np.float32)[np.where(right[person], 0, 1)]}
    by_person = bootstrap(faces.EXPRESSION_MODEL, make_rows(truth, answers, person.astype(str)))
    by_row = bootstrap(faces.EXPRESSION_MODEL, make_rows(truth, answers))
    single = bootstrap(faces.EXPRESSION_MODEL, make_rows(truth[::9], {'candidate': answers['candidate'][::9]}))
    assert (by_person.unit, by_row.unit) == (PERSONS, ROWS)
    widths = [
        found.figures['overall']['accuracy'].high - found.figures['overall']['accuracy'].low
        for found in (by_person, by_row, single)
    ]
    assert widths[0] / widths[1] == pytest.approx(3, rel=0.15)
    assert widths[0] == pytest.approx(widths[2])


def test_rows_of_the_same_pixels_are_drawn_together_and_are_no_persons():
    rows = of_expressions(60, 0.7)
    twins = np.repeat(np.arange(30), 2).astype(str)
    found = bootstrap(faces.EXPRESSION_MODEL, dataclasses.replace(rows, content_hash=twins, person=twins))
    assert found.unit == ROWS


def test_most_intervals_hold_the_true_figure():
    """Of a hundred eval splits of two models that are both right in 70% of all faces."""
    held = {'figure': 0, 'difference': 0}
    for seed in range(100):
        found = bootstrap(
            faces.EXPRESSION_MODEL, of_expressions(150, 0.7, seed, ('candidate', 'baseline')), resamples=100
        )
        figure, difference = found.figures['overall']['accuracy'], found.differences['accuracy']
        held['figure'] += figure.low <= 0.7 <= figure.high
        held['difference'] += difference.low <= 0 <= difference.high
    # 95 are expected, with a standard deviation of 2.2.
    assert min(held.values()) >= 88
    assert max(held.values()) < 100


def test_a_difference_on_the_same_rows_is_surer_than_the_two_figures():
    """Models that err on the same faces but for a few: their difference is known better than either."""
    rows = of_expressions(400, 0.7)
    answers = rows.answers['candidate'].copy()
    answers[:8] = np.eye(5)[(rows.truth[:8] + 1) % 5]
    found = bootstrap(faces.EXPRESSION_MODEL, dataclasses.replace(rows, answers={**rows.answers, 'baseline': answers}))
    figure, difference = found.figures['overall']['accuracy'], found.differences['accuracy']
    assert difference.low >= 0
    assert difference.high - difference.low < (figure.high - figure.low) / 3


def test_the_interval_of_a_calibration_error_lies_where_the_true_one_does():
    random = np.random.default_rng(4)
    held = 0
    for _ in range(20):
        logits = random.normal(size=(1000, 5)) * 3
        probabilities, sharper = (
            scipy.special.softmax(factor * logits, axis=1).astype(np.float32) for factor in (1.0, 1.5)
        )
        truth = (probabilities.cumsum(axis=1) > random.random((1000, 1))).argmax(axis=1)
        rows = make_rows(truth, {'candidate': sharper})
        found = bootstrap(faces.EXPRESSION_MODEL, rows, resamples=200).figures['overall']['expected_calibration_error']
        # What a million rows show: the mean gap, which has one sign as the model is too sure everywhere.
        named = sharper.argmax(axis=1)
        true = sharper.max(axis=1).mean() - probabilities[np.arange(1000), named].mean()
        held += found.low <= true <= found.high
        assert found.low >= 0
    assert held >= 17


def test_the_interval_of_a_small_calibration_error_holds_it():
    labels, answers = unsure(500)
    rows = make_rows(labels, {'candidate': np.full((500, 5), 0.2, np.float32)})
    found = bootstrap(faces.EXPRESSION_MODEL, rows).figures['overall']['expected_calibration_error']
    assert found.low == 0 <= abs((labels == 0).mean() - 0.2) <= found.high


def test_the_same_rows_have_the_same_intervals():
    rows = of_expressions(50, 0.7, models=('candidate', 'baseline'))
    assert bootstrap(faces.EXPRESSION_MODEL, rows) == bootstrap(faces.EXPRESSION_MODEL, rows)


def test_too_few_persons_have_no_interval():
    rows = of_expressions(40, 0.7, models=('candidate', 'baseline'), person=np.repeat(list('abcdefgh'), 5))
    found = bootstrap(faces.EXPRESSION_MODEL, rows)
    assert (found.figures, found.differences) == ({}, {})


def test_slices_with_too_few_persons_and_beyond_the_largest_have_none():
    sizes = [12] * 60 + [9, 20]
    names = np.repeat([f'{number}.csv' for number in range(62)], sizes)
    found = bootstrap(faces.EXPRESSION_MODEL, of_expressions(len(names), 0.7, source=names), resamples=20).figures
    assert len(found) == 1 + 50
    assert 'source=61.csv' in found
    assert 'source=60.csv' not in found
    assert found['source=61.csv'].keys() == {'accuracy', 'macro_f1', 'log_loss', 'expected_calibration_error'}


def test_answers_that_are_no_numbers_have_no_interval():
    rows = of_points(30, 1.0)
    rows.answers['candidate'][3] = np.nan
    found = bootstrap(faces.KEYPOINT_MODEL, rows).figures['overall']
    assert 'rmse' not in found
    assert 'within_5_percent' in found


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 30), st.integers(1, 8))
def test_a_weighted_area_is_scikit_learns_ties_included(seed, count, levels):
    random = np.random.default_rng(seed)
    is_truth = np.arange(count) % 2 == 0
    scores, weights = random.integers(0, levels, count), random.integers(0, 4, count).astype(float)
    weights[:2] = 1
    expected = sklearn.metrics.roc_auc_score(is_truth, scores, sample_weight=weights)
    assert _Ranking(is_truth, scores).area(weights) == pytest.approx(expected)
    assert math.isnan(_Ranking(is_truth, scores).area(weights * is_truth))
