import numpy as np
import pytest
import sklearn.metrics
from hypothesis import given, settings
from hypothesis import strategies as st

from components import faces
from components.evaluate.metrics import ExpressionSums, KeypointSums


def expression_sums(labels, scores):
    sums = ExpressionSums()
    for label, score in zip(labels, scores, strict=True):
        sums.add(np.array([label]), score)
    return sums


def keypoint_sums(truth, prediction):
    sums = KeypointSums()
    for one_truth, one_prediction in zip(truth, prediction, strict=True):
        sums.add(one_truth.reshape(30), one_prediction)
    return sums


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 39))
def test_sums_of_parts_give_the_figures_of_the_whole(seed, split):
    random = np.random.default_rng(seed)
    labels, scores = random.integers(0, 5, 40), random.dirichlet(np.ones(5), 40).astype(np.float32)
    truth, prediction = random.uniform(0, 96, (2, 40, 15, 2))
    truth[random.random(truth.shape) < 0.2] = np.nan
    for make, first, second in ((expression_sums, labels, scores), (keypoint_sums, truth, prediction)):
        merged = make(first[:split], second[:split])
        merged.merge(make(first[split:], second[split:]))
        whole = make(first, second).figures()
        for name, value in merged.figures().items():
            np.testing.assert_allclose(value, whole[name], err_msg=name)


@pytest.mark.parametrize('temperature', [0.05, 1.0, 20.0])
def test_auc_is_scikit_learns_for_models_that_are_unsure_and_too_sure(temperature):
    random = np.random.default_rng(1)
    labels = random.choice(5, 2000, p=[0.2, 0.02, 0.28, 0.3, 0.2])
    logits = (random.normal(size=(2000, 5)) + np.eye(5)[labels]) / temperature
    scores = np.exp(logits - logits.max(axis=1, keepdims=True))
    scores = (scores / scores.sum(axis=1, keepdims=True)).astype(np.float32)
    sums = expression_sums(labels, scores)
    for index, name in enumerate(faces.EXPRESSIONS):
        expected = sklearn.metrics.roc_auc_score(labels == index, scores[:, index])
        assert sums.figures()[f'auc_{name}'] == pytest.approx(expected, abs=1e-3)


def test_a_model_that_answers_nan_has_no_log_loss_and_no_rmse():
    expression = expression_sums([0, 1], np.full((2, 5), np.nan, np.float32)).figures()
    keypoints = keypoint_sums(np.full((2, 15, 2), 5.0), np.full((2, 15, 2), np.nan)).figures()
    assert np.isnan(expression['log_loss'])
    assert np.isnan(keypoints['rmse'])


def test_a_certain_and_wrong_answer_costs_a_finite_log_loss():
    figures = expression_sums([1], np.eye(5, dtype=np.float32)[[0]]).figures()
    assert figures['log_loss'] == pytest.approx(-np.log(np.finfo(np.float32).eps))


def test_point_errors_are_shares_of_the_distance_between_the_eyes():
    truth = np.full((1, 15, 2), np.nan)
    truth[0, faces.EYE_CENTERS[0]], truth[0, faces.EYE_CENTERS[1]] = (70, 40), (30, 40)
    truth[0, faces.KEYPOINTS.index('nose_tip')] = (50, 60)
    prediction = np.nan_to_num(truth)
    prediction[0, faces.KEYPOINTS.index('nose_tip')] += (0, 3)
    figures = keypoint_sums(truth, prediction).figures()
    assert figures['mean_error_interocular'] == pytest.approx(3 / 40 / 3)
    assert figures['within_5_percent'] == pytest.approx(2 / 3)
    assert figures['within_10_percent'] == 1
    assert figures['rmse'] == pytest.approx(np.sqrt(9 / 6))
    assert figures['rmse_nose_tip'] == pytest.approx(np.sqrt(9 / 2))


@pytest.mark.parametrize('right_eye', [(np.nan, np.nan), (70, 40)], ids=['missing eye', 'eyes at one place'])
def test_faces_without_a_distance_between_the_eyes_count_for_the_rmse_alone(right_eye):
    truth = np.full((1, 15, 2), np.nan)
    truth[0, faces.EYE_CENTERS[0]], truth[0, faces.EYE_CENTERS[1]] = (70, 40), right_eye
    figures = keypoint_sums(truth, np.nan_to_num(truth) + 1).figures()
    assert figures['rmse'] == pytest.approx(1)
    assert np.isnan(figures['mean_error_interocular'])
