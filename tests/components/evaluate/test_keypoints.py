"""The keypoint figures, gates and readers through TFMA, against numpy on the same predictions."""

import numpy as np
import pytest

from components import faces
from components.evaluate.results import is_blessed, read_differences, read_figures, read_intervals, read_verdicts
from components.report.metrics import SLICED
from components.settings import EvaluateSettings, Gate

LEFT, RIGHT = faces.EYE_CENTERS
PASSED = EvaluateSettings(gates={'rmse': Gate(maximum=4.0, margin=0.0)}, slices=('contrast',), batch_size=1)
REFUSED = EvaluateSettings(
    gates={'rmse': Gate(maximum=4.0), 'within_10_percent': Gate(minimum=0.99)}, slices=(), batch_size=256
)


@pytest.fixture(scope='module')
def data():
    """60 faces with missing points; in those of low contrast an eye is always missing, and so is every nose tip."""
    random = np.random.default_rng(5)
    truth = random.uniform(20, 76, (60, 15, 2)).astype(np.float32)
    truth[:, LEFT] = (66, 36)
    truth[:, RIGHT] = (32, 38)
    prediction = (truth + random.normal(0, 2.5, truth.shape)).astype(np.float32)
    truth[random.random((60, 15)) < 0.3] = np.nan
    truth[3, 7, 0] = np.nan  # half a point
    low = np.arange(60) % 3 == 0
    truth[low, LEFT] = np.nan
    truth[low, faces.KEYPOINTS.index('nose_tip')] = np.nan
    return {
        faces.POINTS: truth.reshape(60, 30),
        faces.CONTRAST: np.where(low, 'low', 'high'),
        'candidate': prediction.reshape(60, 30),
    }


@pytest.fixture(scope='module')
def folders(tmp_path_factory, write_examples, save_model, data):
    folder = tmp_path_factory.mktemp('keypoints')
    return {
        'examples': write_examples(folder / 'examples', data),
        'candidate': save_model(folder / 'candidate', 'candidate', (15, 2), faces.KEYPOINTS_OUTPUT),
        'one at a time': save_model(folder / 'one', 'candidate', (15, 2), faces.KEYPOINTS_OUTPUT, largest_batch=1),
    }


@pytest.fixture(scope='module')
def passed(tmp_path_factory, evaluate, folders):
    folder = tmp_path_factory.mktemp('run')
    return evaluate(folder, faces.KEYPOINT_MODEL, folders['examples'], folders['one at a time'], PASSED)


@pytest.fixture(scope='module')
def refused(tmp_path_factory, evaluate, folders):
    folder = tmp_path_factory.mktemp('run')
    return evaluate(
        folder, faces.KEYPOINT_MODEL, folders['examples'], folders['candidate'], REFUSED, folders['candidate']
    )


def expected_figures(truth, prediction):
    """The same figures by numpy from [n, 15, 2] arrays."""
    difference = prediction.astype(np.float64) - truth
    relative = np.linalg.norm(difference, axis=2) / np.linalg.norm(truth[:, LEFT] - truth[:, RIGHT], axis=1)[:, None]
    relative = relative[~np.isnan(relative)]
    return {
        'example_count': len(truth),
        'rmse': np.sqrt(np.nanmean(difference**2)),
        **{f'rmse_{name}': np.sqrt(np.nanmean(difference[:, i] ** 2)) for i, name in enumerate(faces.KEYPOINTS)},
        'mean_error_interocular': relative.mean(),
        'within_5_percent': (relative <= 0.05).mean(),
        'within_10_percent': (relative <= 0.10).mean(),
    }


@pytest.mark.filterwarnings('ignore:Mean of empty slice', 'ignore:invalid value')
def test_figures_are_numpys_overall_and_in_each_slice(passed, data):
    found = {}
    for figure in read_figures(passed.evaluation):
        found.setdefault(figure.slice, {})[figure.metric] = figure.value
    truth, prediction = (data[name].reshape(-1, 15, 2) for name in (faces.POINTS, 'candidate'))
    low = data[faces.CONTRAST] == 'low'
    for where, rows in {'overall': low | ~low, 'contrast=low': low, 'contrast=high': ~low}.items():
        expected = expected_figures(truth[rows], prediction[rows])
        assert found[where].keys() == expected.keys()
        for name, value in expected.items():
            np.testing.assert_allclose(found[where][name], value, rtol=1e-6, err_msg=f'{name} in {where}')
    assert np.isnan(found['contrast=low']['mean_error_interocular'])
    assert np.isnan(found['contrast=low']['rmse_nose_tip'])


def test_every_figure_has_an_interval_that_holds_it(passed):
    intervals = read_intervals(passed.evaluation)
    judged = [figure for figure in read_figures(passed.evaluation) if figure.metric != 'example_count']
    shown = {(figure.slice, figure.metric) for figure in judged if np.isfinite(figure.value)}
    found = {(where, name) for where, of_slice in intervals.items() for name in of_slice}
    assert {(where, name) for where, name in shown if where == 'overall'} <= found <= shown
    assert {('contrast=high', name) for name in SLICED[faces.KEYPOINT_MODEL][1:]} <= found
    assert ('contrast=low', 'mean_error_interocular') not in found
    for figure in judged:
        if (figure.slice, figure.metric) in found:
            interval = intervals[figure.slice][figure.metric]
            assert interval.low <= figure.value <= interval.high
            assert interval.low < interval.high


def test_without_a_baseline_the_fixed_bound_alone_decides(passed):
    (verdict,) = read_verdicts(passed.evaluation, PASSED)
    assert (verdict.kind, verdict.threshold, verdict.baseline, verdict.passed) == ('maximum', 4.0, None, True)
    assert 0 < verdict.value < 4
    assert read_differences(passed.evaluation) == {}
    assert is_blessed(passed.blessing)


def test_a_figure_below_its_minimum_refuses_the_candidate(refused):
    verdicts = read_verdicts(refused.evaluation, REFUSED)
    assert [(v.metric, v.kind, v.passed) for v in verdicts] == [
        ('rmse', 'maximum', True),
        ('within_10_percent', 'minimum', False),
    ]
    assert not is_blessed(refused.blessing)


def test_of_a_model_and_itself_no_figure_differs(refused):
    differences = read_differences(refused.evaluation)
    assert {'rmse', 'rmse_mouth_center_top_lip', 'within_5_percent'} <= differences.keys()
    assert {value for found in differences.values() for value in vars(found).values()} == {0}


def test_figures_do_not_depend_on_the_batch_size_or_the_baseline(passed, refused):
    overall = [figure for figure in read_figures(passed.evaluation) if figure.slice == 'overall']
    assert {figure.metric: figure.value for figure in read_figures(refused.evaluation)} == pytest.approx(
        {figure.metric: figure.value for figure in overall}, nan_ok=True
    )
