"""The expression figures, gates and readers through TFMA, against scikit-learn on the same predictions."""

import warnings

import numpy as np
import pytest
import sklearn.metrics

from components import faces
from components.evaluate.bootstrap import resampled_figures
from components.evaluate.results import (
    describe,
    is_blessed,
    read_confusion,
    read_differences,
    read_figures,
    read_intervals,
    read_verdicts,
)
from components.evaluate.rows import read_rows
from components.report.metrics import SLICED
from components.settings import EvaluateSettings, Gate

CLASSES = range(len(faces.EXPRESSIONS))
SETTINGS = EvaluateSettings(
    gates={
        'accuracy': Gate(minimum=0.3),
        'log_loss': Gate(maximum=5.0),
        'macro_f1': Gate(minimum=0.1, margin=0.0),
        'recall_anger': Gate(minimum=0.2, margin=1.0),
    },
    batch_size=64,
)


def probabilities(random, labels, sharpness, never=None):
    """Random predictions, float32 [n, 5], that are right more often the larger the sharpness."""
    scores = random.normal(size=(len(labels), 5)) + sharpness * np.eye(5)[labels]
    if never is not None:
        scores[:, never] = -20
    return (np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture(scope='module')
def data():
    """220 faces, none of them surprised; the candidate never says disgust, and the baseline is better."""
    random = np.random.default_rng(3)
    labels = random.choice(4, size=220, p=[0.4, 0.1, 0.2, 0.3])
    # In dark images the candidate is wrong, so that the slice's figures lie below bounds that the overall ones pass.
    dark = random.random(220) < 0.3
    candidate = probabilities(random, labels, 1.5, never=1)
    candidate[dark] = probabilities(random, (labels[dark] + 2) % 4, 3.0, never=1)
    return {
        faces.LABEL: labels,
        faces.EXPRESSION: np.array(faces.EXPRESSIONS)[labels],
        faces.BRIGHTNESS: np.where(dark, 'dark', 'bright'),
        faces.CONTRAST: np.full(220, 'low'),
        faces.SOURCE: random.choice(['a.csv', 'b.csv'], 220),
        faces.POINTS_PRESENT: np.ones((220, 15), int),
        'candidate': candidate,
        'baseline': probabilities(random, labels, 4.0),
    }


@pytest.fixture(scope='module')
def folders(tmp_path_factory, write_examples, save_model, data):
    folder = tmp_path_factory.mktemp('expression')
    models = {name: save_model(folder / name, name, (5,), faces.PROBABILITIES) for name in ('candidate', 'baseline')}
    return {'examples': write_examples(folder / 'examples', data), **models}


@pytest.fixture(scope='module')
def against_better(tmp_path_factory, evaluate, folders):
    return evaluate(
        tmp_path_factory.mktemp('run'),
        faces.EXPRESSION_MODEL,
        folders['examples'],
        folders['candidate'],
        SETTINGS,
        folders['baseline'],
    )


@pytest.fixture(scope='module')
def against_itself(tmp_path_factory, evaluate, folders):
    return evaluate(
        tmp_path_factory.mktemp('run'),
        faces.EXPRESSION_MODEL,
        folders['examples'],
        folders['candidate'],
        SETTINGS,
        folders['candidate'],
    )


def expected_calibration_error(labels, scores):
    """Guo et al.'s sum over 15 bins, each open below and closed above."""
    confidence, right = scores.max(axis=1), scores.argmax(axis=1) == labels
    gaps = []
    for low in np.arange(15) / 15:
        inside = (low < confidence) & (confidence <= low + 1 / 15)
        if inside.any():
            gaps.append(inside.mean() * abs(right[inside].mean() - confidence[inside].mean()))
    return sum(gaps)


def expected_figures(labels, scores):
    """The same figures by scikit-learn from labels and probabilities."""
    predicted = scores.argmax(axis=1)
    precision, recall, f1, _ = sklearn.metrics.precision_recall_fscore_support(
        labels, predicted, labels=CLASSES, zero_division=0
    )
    figures = {
        'example_count': len(labels),
        'accuracy': sklearn.metrics.accuracy_score(labels, predicted),
        'macro_f1': sklearn.metrics.f1_score(labels, predicted, labels=CLASSES, average='macro', zero_division=0),
        'log_loss': sklearn.metrics.log_loss(labels, scores, labels=CLASSES),
        'expected_calibration_error': expected_calibration_error(labels, scores.astype(np.float64)),
    }
    for index, name in enumerate(faces.EXPRESSIONS):
        truth = labels == index
        has_both = truth.any() and not truth.all()
        figures |= {
            f'precision_{name}': precision[index],
            f'recall_{name}': recall[index],
            f'f1_{name}': f1[index],
            f'auc_{name}': sklearn.metrics.roc_auc_score(truth, scores[:, index]) if has_both else np.nan,
        }
    return figures


def test_figures_are_scikit_learns_overall_and_in_each_slice(against_better, data):
    found = {}
    for figure in read_figures(against_better.evaluation):
        found.setdefault(figure.slice, {})[figure.metric] = figure.value
    values = {
        name: np.unique(data[name]) for name in (faces.BRIGHTNESS, faces.CONTRAST, faces.SOURCE, faces.EXPRESSION)
    }
    chosen = {f'{name}={value}': data[name] == value for name in values for value in values[name]}
    chosen['overall'] = np.full(len(data[faces.LABEL]), True)
    assert found.keys() == chosen.keys()
    for where, rows in chosen.items():
        with warnings.catch_warnings(action='ignore'):
            expected = expected_figures(data[faces.LABEL][rows], data['candidate'][rows])
        assert found[where].keys() == expected.keys()
        for name, value in expected.items():
            tolerance = 1e-3 if name.startswith('auc') else 1e-5
            np.testing.assert_allclose(found[where][name], value, atol=tolerance, err_msg=f'{name} in {where}')


def test_figures_begin_with_the_overall_ones_of_the_candidate(against_better, data):
    figures = read_figures(against_better.evaluation)
    assert [figure.slice for figure in figures[:5]] == ['overall'] * 5
    assert len({(figure.metric, figure.slice) for figure in figures}) == len(figures)


def test_confusion_has_the_truth_in_its_rows(against_better, data):
    expected = sklearn.metrics.confusion_matrix(data[faces.LABEL], data['candidate'].argmax(axis=1), labels=CLASSES)
    np.testing.assert_array_equal(read_confusion(against_better.evaluation), expected)
    assert expected[0, 1] == 0 and expected[1].sum() > 0


def test_a_better_baseline_refuses_the_candidate_by_the_change_alone(against_better, data):
    verdicts = read_verdicts(against_better.evaluation, SETTINGS)
    assert [(verdict.metric, verdict.kind, verdict.passed) for verdict in verdicts] == [
        ('accuracy', 'minimum', True),
        ('log_loss', 'maximum', True),
        ('macro_f1', 'minimum', True),
        ('macro_f1', 'change', False),
        ('recall_anger', 'minimum', True),
        ('recall_anger', 'change', False),
    ]
    change, recall = (verdict for verdict in verdicts if verdict.kind == 'change')
    candidate, baseline = (expected_figures(data[faces.LABEL], data[name]) for name in ('candidate', 'baseline'))
    assert change.value == pytest.approx(candidate['macro_f1'])
    assert change.baseline == pytest.approx(baseline['macro_f1'])
    assert change.threshold == 0
    assert change.difference == pytest.approx(candidate['macro_f1'] - baseline['macro_f1'])
    assert change.low < change.difference < change.high < 0
    assert (change.finding, recall.finding) == (
        'worse',
        'worse',
    )  # the one beyond no margin, the other within a wide one
    assert not is_blessed(against_better.blessing)
    assert (against_better.blessing / 'NOT_BLESSED').exists()


def test_gates_apply_to_the_overall_figures_only(against_better):
    recall = {
        figure.slice: figure.value
        for figure in read_figures(against_better.evaluation)
        if figure.metric == 'recall_anger'
    }
    minimum = SETTINGS.gates['recall_anger'].minimum
    assert recall['brightness=dark'] < minimum < recall['overall']
    assert next(v for v in read_verdicts(against_better.evaluation, SETTINGS) if v.metric == 'recall_anger').passed


def test_an_equal_baseline_lets_the_candidate_pass_at_margin_zero(against_itself):
    verdicts = read_verdicts(against_itself.evaluation, SETTINGS)
    assert all(verdict.passed for verdict in verdicts)
    change = next(verdict for verdict in verdicts if verdict.kind == 'change')
    assert change.baseline == change.value
    assert (change.finding, change.difference, change.low, change.high) == ('no worse', 0, 0, 0)
    assert is_blessed(against_itself.blessing)


def test_a_figure_that_nothing_is_known_of_is_not_shown_to_be_no_worse(against_itself):
    (verdict,) = read_verdicts(against_itself.evaluation, EvaluateSettings(gates={'auc_surprise': Gate(margin=1.0)}))
    assert (verdict.finding, verdict.passed, verdict.difference) == ('not shown to be no worse', False, None)
    assert describe(verdict).endswith('no interval, not shown to be no worse by the margin of 1')


def test_every_figure_has_an_interval_overall_and_the_summary_ones_in_slices(against_better):
    intervals = read_intervals(against_better.evaluation)
    figures = [figure for figure in read_figures(against_better.evaluation) if np.isfinite(figure.value)]
    overall = {figure.metric for figure in figures if figure.slice == 'overall'} - {'example_count'}
    assert intervals['overall'].keys() == overall
    assert {'recall_disgust', 'auc_sad', 'expected_calibration_error'} <= overall
    assert 'auc_surprise' not in overall
    assert {figure.slice for figure in figures} == intervals.keys()
    for where, of_slice in intervals.items():
        assert set(SLICED[faces.EXPRESSION_MODEL]) - {'example_count'} <= of_slice.keys(), where
    for figure in figures:
        if interval := intervals[figure.slice].get(figure.metric):
            assert interval.low - 1e-3 <= figure.value <= interval.high + 1e-3, figure


def test_differences_are_of_the_same_rows(against_better, data):
    differences = read_differences(against_better.evaluation)
    truth = data[faces.LABEL]
    candidate, baseline = (expected_figures(truth, data[name]) for name in ('candidate', 'baseline'))
    for name, found in differences.items():
        tolerance = 1e-3 if name.startswith('auc') else 1e-5
        assert found.difference == pytest.approx(candidate[name] - baseline[name], abs=tolerance), name
    right = [data[name].argmax(axis=1) == truth for name in ('candidate', 'baseline')]
    gains = right[0].astype(float) - right[1]
    half = 1.96 * gains.std() / np.sqrt(len(gains))  # of a mean of paired differences
    accuracy = differences['accuracy']
    assert (accuracy.low, accuracy.high) == pytest.approx((gains.mean() - half, gains.mean() + half), abs=half / 5)


def test_the_bootstrap_starts_from_the_figures_that_tfma_gives(against_better, folders):
    files = [str(path) for path in (folders['examples'] / 'Split-eval').iterdir()]
    models = {'candidate': folders['candidate'] / 'Format-Serving'}
    rows = read_rows(files, faces.EXPRESSION_MODEL, (faces.BRIGHTNESS, faces.EXPRESSION), models, batch_size=50)
    slices = {'overall': np.arange(220)} | {
        f'{name}={value}': np.flatnonzero(rows.slices[name] == value)
        for name in rows.slices
        for value in np.unique(rows.slices[name])
    }
    found = resampled_figures(
        faces.EXPRESSION_MODEL, rows.truth, rows.answers['candidate'], slices, np.arange(220), resamples=0
    )
    given = {(figure.slice, figure.metric): figure.value for figure in read_figures(against_better.evaluation)}
    assert len(found) == 7
    for where, of_slice in found.items():
        for name, values in of_slice.items():
            np.testing.assert_allclose(values, [given[where, name]], rtol=1e-9, err_msg=f'{name} in {where}')
