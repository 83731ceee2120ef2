"""The artifacts of an evaluation as Kubeflow's dashboard reads them, against scikit-learn on the same predictions."""

import numpy as np
import pytest
import sklearn.metrics

from components import faces
from components.dashboard import ClassificationMetrics, Metrics
from components.evaluate import dashboard
from components.settings import EvaluateSettings, Gate
from tests.components import viewer

CLASSES = range(len(faces.EXPRESSIONS))


def probabilities(random, labels, sharpness):
    """Random predictions, float32 [n, 5], that are right more often the larger the sharpness."""
    scores = random.normal(size=(len(labels), 5)) + sharpness * np.eye(5)[labels]
    return (np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture(scope='module')
def data():
    """150 faces, none of them surprised; the candidate is worse than the baseline."""
    random = np.random.default_rng(5)
    labels = random.choice(4, size=150)
    points = random.uniform(10, 80, (150, 15, 2)).astype(np.float32)
    return {
        faces.LABEL: labels,
        faces.EXPRESSION: np.array(faces.EXPRESSIONS)[labels],
        faces.BRIGHTNESS: np.full(150, 'dark'),
        faces.CONTRAST: np.full(150, 'low'),
        faces.SOURCE: np.full(150, 'a.csv'),
        faces.POINTS: points.reshape(150, 30),
        faces.POINTS_PRESENT: np.ones((150, 15), int),
        'candidate': probabilities(random, labels, 1.0),
        'baseline': probabilities(random, labels, 3.0),
        'points': (points + random.normal(size=points.shape)).reshape(150, 30).astype(np.float32),
    }


@pytest.fixture(scope='module')
def examples(tmp_path_factory, write_examples, data):
    return write_examples(tmp_path_factory.mktemp('examples') / 'data', data)


@pytest.fixture(scope='module')
def refused(tmp_path_factory, evaluate, save_model, examples):
    """An expression model that is worse than the served one."""
    folder = tmp_path_factory.mktemp('refused')
    models = [save_model(folder / name, name, (5,), faces.PROBABILITIES) for name in ('candidate', 'baseline')]
    settings = EvaluateSettings(gates={'accuracy': Gate(margin=0.0)})
    return evaluate(folder, faces.EXPRESSION_MODEL, examples, models[0], settings, models[1])


@pytest.fixture(scope='module')
def blessed(tmp_path_factory, evaluate, save_model, examples):
    """A keypoint model where nothing is served."""
    folder = tmp_path_factory.mktemp('blessed')
    model = save_model(folder / 'points', 'points', (15, 2), faces.KEYPOINTS_OUTPUT)
    settings = EvaluateSettings(gates={'rmse': Gate(maximum=5.0, margin=0.0)})
    return evaluate(folder, faces.KEYPOINT_MODEL, examples, model, settings)


def rows(evaluation):
    metrics = Metrics()
    dashboard.write_metrics(metrics, evaluation.evaluation, evaluation.blessing)
    properties = viewer.metadata(metrics)
    shown = viewer.metric_rows(properties)
    assert shown.keys() == properties.keys(), 'all of it is shown'
    return shown


def write_predictions(folder, truth, prediction):
    np.savez_compressed(folder / 'predictions.npz', truth=truth, prediction=prediction)
    return folder / 'predictions.npz'


def curve(predictions):
    artifact = ClassificationMetrics()
    dashboard.write_roc(artifact, predictions)
    return viewer.metadata(artifact)


def test_the_figures_are_those_of_the_whole_split(refused, data):
    shown, truth, prediction = rows(refused), data[faces.LABEL], data['candidate'].argmax(axis=1)
    assert shown['accuracy'] == pytest.approx(sklearn.metrics.accuracy_score(truth, prediction))
    assert shown['example_count'] == 150
    f1 = sklearn.metrics.f1_score(truth, prediction, labels=CLASSES, average=None, zero_division=0)
    assert shown['macro_f1'] == pytest.approx(f1.mean())
    for index, name in enumerate(faces.EXPRESSIONS):
        assert shown[f'f1_{name}'] == pytest.approx(f1[index])
    for index in range(4):
        area = sklearn.metrics.roc_auc_score(truth == index, data['candidate'][:, index])
        assert shown[f'auc_{faces.EXPRESSIONS[index]}'] == pytest.approx(area, abs=1e-3)


def test_a_figure_that_cannot_be_computed_is_left_out(refused):
    assert 'auc_surprise' not in rows(refused)
    assert 'auc_surprise_change' not in rows(refused)


def test_a_change_is_what_the_candidate_gains_on_the_served_model(refused, data):
    shown, truth = rows(refused), data[faces.LABEL]
    candidate, served = ((data[name].argmax(axis=1) == truth).mean() for name in ('candidate', 'baseline'))
    assert candidate < served
    assert shown['accuracy_change'] == pytest.approx(candidate - served)
    losses = [sklearn.metrics.log_loss(truth, data[name], labels=CLASSES) for name in ('candidate', 'baseline')]
    assert shown['log_loss_change'] == pytest.approx(losses[0] - losses[1], rel=1e-4)
    assert 'example_count_change' not in shown


def test_a_refused_model_is_shown_as_such(refused, blessed):
    assert rows(refused)['blessed'] == 0
    assert rows(blessed)['blessed'] == 1


def test_where_nothing_is_served_there_is_no_change(blessed, data):
    shown = rows(blessed)
    errors = data['points'] - data[faces.POINTS]
    assert shown['rmse'] == pytest.approx(np.sqrt((errors.astype(float) ** 2).mean()), rel=1e-5)
    assert len([name for name in shown if name.startswith('rmse_')]) == len(faces.KEYPOINTS)
    assert not [name for name in shown if name.endswith('_change')]


def test_the_confusion_matrix_has_the_truth_in_its_rows(refused, data):
    matrix = ClassificationMetrics()
    dashboard.write_confusion_matrix(matrix, refused.evaluation)
    labels, counts = viewer.confusion_table(viewer.metadata(matrix))
    assert labels == list(faces.EXPRESSIONS)
    expected = sklearn.metrics.confusion_matrix(data[faces.LABEL], data['candidate'].argmax(axis=1), labels=CLASSES)
    assert counts == expected.tolist()
    assert counts != expected.T.tolist(), 'the data tell rows from columns'


def test_the_roc_is_scikit_learns_of_all_decisions(tmp_path, data):
    properties = curve(write_predictions(tmp_path, data[faces.LABEL], data['candidate']))
    is_truth = np.eye(5)[data[faces.LABEL]]
    expected = sklearn.metrics.roc_curve(is_truth.ravel(), data['candidate'].ravel())
    shown = properties['confidenceMetrics']
    assert len(shown) == len(expected[0]) < dashboard.CURVE_POINTS, 'a short curve is kept whole'
    for name, values in zip(('falsePositiveRate', 'recall', 'confidenceThreshold'), expected, strict=True):
        assert [point[name] for point in shown[1:]] == pytest.approx(values[1:].tolist())
    assert (shown[0]['falsePositiveRate'], shown[0]['recall']) == (0, 0)
    assert shown[0]['confidenceThreshold'] > data['candidate'].max()
    area = sklearn.metrics.roc_auc_score(is_truth, data['candidate'], average='micro')
    assert properties['area_under_curve'] == pytest.approx(area)
    assert 'Micro-averaged' in properties['curve']


@pytest.mark.parametrize('sharpness', [0.0, 0.5, 2.0, 6.0])
def test_a_long_roc_is_thinned_and_keeps_its_area(tmp_path, sharpness):
    random = np.random.default_rng(2)
    labels = random.choice(5, size=20_000)
    prediction = probabilities(random, labels, sharpness)
    properties = curve(write_predictions(tmp_path, labels, prediction))
    assert len(properties['confidenceMetrics']) <= dashboard.CURVE_POINTS
    x, y = zip(*viewer.roc_points(properties), strict=True)
    area = sklearn.metrics.roc_auc_score(np.eye(5)[labels], prediction, average='micro')
    assert sklearn.metrics.auc(x, y) == pytest.approx(area, abs=0.002), 'as it is drawn'
    kept = [[point[name] for point in properties['confidenceMetrics']] for name in ('falsePositiveRate', 'recall')]
    assert sklearn.metrics.auc(*kept) == pytest.approx(area, abs=0.001)
    assert (x[0], x[-1], y[-1]) == (0, 1, 1)
    assert list(y) == sorted(y)


@pytest.mark.parametrize('steps', [150, 199, 600])
def test_a_curve_of_many_steps_keeps_its_area_too(tmp_path, steps):
    """Rights and wrongs take turns down the scores, so that every second corner lies on the diagonal."""
    step = np.arange(steps)[:, None]
    prediction = 1 - (2 * step + [0, 1, 1, 1, 1]) / (2 * steps)
    labels = np.zeros(steps, int)
    properties = curve(write_predictions(tmp_path, labels, prediction))
    kept = [[point[name] for point in properties['confidenceMetrics']] for name in ('falsePositiveRate', 'recall')]
    assert sklearn.metrics.auc(*kept) == pytest.approx(0.5 + 0.5 / steps, abs=0.001)
    assert len(kept[0]) <= 4 * dashboard.CURVE_POINTS


def test_a_sure_model_has_a_finite_curve(tmp_path):
    labels = np.arange(5)
    shown = curve(write_predictions(tmp_path, labels, np.eye(5, dtype=np.float32)))
    assert viewer.roc_points(shown) == [(0, 1), (1, 1)]
    assert shown['area_under_curve'] == 1


def test_predictions_that_are_no_numbers_have_no_curve(tmp_path):
    prediction = np.full((3, 5), 0.2, np.float32)
    prediction[1, 2] = np.nan
    assert curve(write_predictions(tmp_path, np.array([0, 1, 2]), prediction)) == {}


def test_the_viewer_refuses_what_the_dashboard_refuses():
    point = {'confidenceThreshold': 1.0, 'falsePositiveRate': 0.0, 'recall': 0.5}
    for wrong in ({'recall': '0.5'}, {'confidenceThreshold': None}):
        with pytest.raises(ValueError, match='expected number'):
            viewer.roc_points({'confidenceMetrics': [{**point, **wrong}]})
    annotations = [{'displayName': 'sad'}, {'displayName': 'anger'}]
    with pytest.raises(ValueError, match='not square'):
        viewer.confusion_table({'confusionMatrix': {'annotationSpecs': annotations, 'rows': [{'row': [1]}] * 2}})
    with pytest.raises(ValueError, match='rows has length 1'):
        viewer.confusion_table({'confusionMatrix': {'annotationSpecs': annotations, 'rows': [{'row': [1]}]}})
