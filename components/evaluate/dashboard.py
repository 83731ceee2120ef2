"""What Kubeflow's dashboard draws of an evaluation: the figures, the confusion matrix and a ROC curve."""

import math
from pathlib import Path
from typing import Final

import numpy as np
import sklearn.metrics
import tensorflow_model_analysis as tfma
from absl import logging

from components import faces
from components.dashboard import ClassificationMetrics, Metrics
from components.evaluate.metrics import EXAMPLE_COUNT
from components.evaluate.results import OVERALL, is_blessed, read_confusion, read_figures

BLESSED: Final = 'blessed'
CHANGE: Final = '_change'

CURVE: Final = 'curve'
AREA: Final = 'area_under_curve'
MICRO_AVERAGE: Final = 'Micro-averaged, one against the rest: every face counts once for each of the expressions.'

CURVE_POINTS: Final = 200
LARGEST_AREA_ERROR: Final = 0.001


def write_metrics(metrics: Metrics, evaluation: Path, blessing: Path) -> None:
    """Sets the candidate's overall figures, those that are finite, under their own names.

    Where a served model was evaluated too, `<figure>_change` is by how much the candidate's figure exceeds its.
    `blessed` is 1 where every gate passed, else 0.

    Args:
        metrics: the artifact.
        evaluation: folder of a ModelEvaluation artifact.
        blessing: folder of the ModelBlessing artifact beside it.
    """
    values = {figure.metric: figure.value for figure in read_figures(evaluation) if figure.slice == OVERALL}
    for name, value in (values | _changes(evaluation)).items():
        if math.isfinite(value):
            metrics.set_float_custom_property(name, float(value))
    metrics.set_int_custom_property(BLESSED, int(is_blessed(blessing)))


def write_confusion_matrix(matrix: ClassificationMetrics, evaluation: Path) -> None:
    """Sets the counts that the gates judged: the row is the truth, the column the prediction.

    Args:
        matrix: the artifact.
        evaluation: folder of an expression model's ModelEvaluation artifact.
    """
    value = {
        'annotationSpecs': [{'displayName': name} for name in faces.EXPRESSIONS],
        'rows': [{'row': [int(count) for count in row]} for row in read_confusion(evaluation)],
    }
    matrix.set_json_value_custom_property('confusionMatrix', value)


def write_roc(curve: ClassificationMetrics, predictions: Path) -> None:
    """Sets the micro-averaged ROC curve of an expression model and the area under it.

    The artifact has room for one curve. Of five classes that is the one of all decisions "this face shows this
    expression", with the expression's probability as the score, five a face. At most about `CURVE_POINTS` of its points
    are kept, which change the area by `LARGEST_AREA_ERROR` at most. Predictions that are not numbers have no curve.

    Args:
        curve: the artifact.
        predictions: the trainer's `predictions.npz`, which holds what the candidate says of the eval split.
    """
    with np.load(predictions, allow_pickle=False) as arrays:
        truth, scores = arrays['truth'], arrays['prediction'].astype(np.float64)
    if not np.isfinite(scores).all():
        logging.warning('%s: predictions that are not numbers have no ROC curve.', predictions)
        return
    is_truth = np.eye(len(faces.EXPRESSIONS))[truth]
    false_positives, recall, thresholds = sklearn.metrics.roc_curve(is_truth.ravel(), scores.ravel())
    # The curve starts where nothing is named; scikit-learn says infinity there, which JSON cannot.
    thresholds[0] = np.nextafter(scores.max(), math.inf)
    points = [
        {
            'confidenceThreshold': float(thresholds[index]),
            'falsePositiveRate': float(false_positives[index]),
            'recall': float(recall[index]),
        }
        for index in _thinned(false_positives, recall)
    ]
    curve.set_json_value_custom_property('confidenceMetrics', points)
    curve.set_string_custom_property(CURVE, MICRO_AVERAGE)
    curve.set_float_custom_property(AREA, float(sklearn.metrics.auc(false_positives, recall)))


def _changes(evaluation: Path) -> dict[str, float]:
    """Differences of the candidate's overall figures to the served model's, as TFMA gives them."""
    return {
        f'{entry.key.name}{CHANGE}': entry.value.double_value.value
        for of_slice in tfma.load_metrics(str(evaluation))
        if not of_slice.slice_key.single_slice_keys
        for entry in of_slice.metric_keys_and_values
        if entry.key.is_diff and entry.key.name != EXAMPLE_COUNT and entry.value.HasField('double_value')
    }


def _thinned(false_positives: np.ndarray, recall: np.ndarray) -> np.ndarray:
    """Indices of points at about equal distances along the curve, both ends among them."""
    along = false_positives + recall  # from 0 to 2, as both only rise
    if len(along) <= CURVE_POINTS:
        return np.arange(len(along))
    area = sklearn.metrics.auc(false_positives, recall)
    count = CURVE_POINTS
    while True:
        kept = np.unique([0, *np.searchsorted(along, np.linspace(0, 2, count)[1:-1]), len(along) - 1])
        if abs(sklearn.metrics.auc(false_positives[kept], recall[kept]) - area) <= LARGEST_AREA_ERROR:
            return kept
        count *= 2
