"""The figures by which models are judged, as TFMA metrics.

TFMA's built-in precision and recall are wrong for a class that is never predicted, and it has nothing for keypoints.
The two metrics here add up small sums over the examples of a slice and give all figures of their task at the end.
"""

import collections
from collections.abc import Iterable
from typing import Any, Final

import apache_beam as beam
import numpy as np
import sklearn.metrics
import tensorflow_model_analysis as tfma

from components import faces

CANDIDATE: Final = 'candidate'
BASELINE: Final = 'baseline'
EXAMPLE_COUNT: Final = 'example_count'
CONFUSION_MATRIX: Final = 'confusion_matrix'

_MORE: Final = tfma.MetricDirection.HIGHER_IS_BETTER
_LESS: Final = tfma.MetricDirection.LOWER_IS_BETTER

DIRECTIONS: Final[dict[str, dict[str, int]]] = {
    faces.EXPRESSION_MODEL: {
        EXAMPLE_COUNT: _MORE,
        'accuracy': _MORE,
        'macro_f1': _MORE,
        'log_loss': _LESS,
        **{f'{kind}_{name}': _MORE for kind in ('precision', 'recall', 'f1', 'auc') for name in faces.EXPRESSIONS},
    },
    faces.KEYPOINT_MODEL: {
        EXAMPLE_COUNT: _MORE,
        'rmse': _LESS,
        **{f'rmse_{name}': _LESS for name in faces.KEYPOINTS},
        'mean_error_interocular': _LESS,
        'within_5_percent': _MORE,
        'within_10_percent': _MORE,
    },
}
"""Of each task, the names of its figures and whether more or less of each is better."""

_BUCKETS_PER_LOGIT = 1000
_LARGEST_LOGIT = 110.0  # the smallest positive float32 has log odds of -103


class _FigureCombiner(beam.CombineFn):
    """Adds up the examples of one slice for one model, then gives its figures."""

    def __init__(self, model_name: str, eval_config: tfma.EvalConfig):
        self._model_name = model_name
        self._eval_config = eval_config

    def add_input(self, accumulator: Any, element: tfma.metrics.StandardMetricInputs) -> Any:
        label, prediction, _ = next(
            tfma.metrics.to_label_prediction_example_weight(
                element, eval_config=self._eval_config, model_name=self._model_name, flatten=False
            )
        )
        accumulator.add(label, prediction)
        return accumulator

    def merge_accumulators(self, accumulators: Iterable[Any]) -> Any:
        total = self.create_accumulator()
        for accumulator in accumulators:
            total.merge(accumulator)
        return total

    def extract_output(self, accumulator: Any) -> dict[tfma.metrics.MetricKey, Any]:
        return {_key(name, self._model_name): value for name, value in accumulator.figures().items()}


def _key(name: str, model_name: str) -> tfma.metrics.MetricKey:
    # `MetricsSpec.per_slice_thresholds` applies to keys whose `example_weighted` is None.
    return tfma.metrics.MetricKey(name=name, model_name=model_name, example_weighted=None)


class ExpressionSums:
    """Confusion counts, summed log loss and the histograms of scores behind the AUCs."""

    def __init__(self) -> None:
        classes = len(faces.EXPRESSIONS)
        self.confusion = np.zeros((classes, classes), np.int64)
        self.log_loss = 0.0
        # Count of (class, is the truth, bucket of its score). Sparse, as there may be a slice for each source file.
        self.scores: collections.Counter[tuple[int, bool, int]] = collections.Counter()

    def add(self, label: np.ndarray, prediction: np.ndarray) -> None:
        """Adds one example.

        Args:
            label: the class's index, one integer.
            prediction: [5] probabilities.
        """
        truth = int(label.item())
        probabilities = prediction.reshape(len(faces.EXPRESSIONS)).astype(np.float64)
        self.confusion[truth, int(np.argmax(probabilities))] += 1
        self.log_loss -= np.log(np.maximum(probabilities[truth], np.finfo(np.float32).eps))
        self.scores.update((index, index == truth, bucket) for index, bucket in enumerate(_buckets(probabilities)))

    def merge(self, other: 'ExpressionSums') -> None:
        """Adds the sums of other examples."""
        self.confusion += other.confusion
        self.log_loss += other.log_loss
        self.scores.update(other.scores)

    def figures(self) -> dict[str, Any]:
        """All figures of the task; the macro F1 averages all five."""
        precision, recall, f1 = class_scores(self.confusion)
        count = self.confusion.sum()
        figures = {
            EXAMPLE_COUNT: float(count),
            CONFUSION_MATRIX: self.confusion,
            'accuracy': np.trace(self.confusion) / count,
            'macro_f1': f1.mean(),
            'log_loss': self.log_loss / count,
        }
        for index, name in enumerate(faces.EXPRESSIONS):
            figures[f'precision_{name}'] = precision[index]
            figures[f'recall_{name}'] = recall[index]
            figures[f'f1_{name}'] = f1[index]
            figures[f'auc_{name}'] = self._one_versus_rest_auc(index)
        return figures

    def _one_versus_rest_auc(self, index: int) -> float:
        """Area under the ROC curve of a class against all others; NaN where the slice lacks one of the two."""
        rows = [(is_truth, bucket, count) for (of, is_truth, bucket), count in self.scores.items() if of == index]
        is_truth, buckets, counts = zip(*rows, strict=True)
        if len(set(is_truth)) < 2:
            return float('nan')
        return float(sklearn.metrics.roc_auc_score(is_truth, buckets, sample_weight=counts))


def class_scores(confusion: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Precision, recall and F1 of each class, 0 for a class that is never seen or never predicted.

    Args:
        confusion: [5, 5] counts: the row is the truth, the column the prediction.
    """
    truth, predicted = np.indices(confusion.shape).reshape(2, -1)
    return sklearn.metrics.precision_recall_fscore_support(
        truth, predicted, sample_weight=confusion.ravel(), zero_division=0
    )[:3]


def _buckets(probabilities: np.ndarray) -> list[int]:
    """Buckets of equal width in log odds, so that a model that is very sure is ranked as finely as one that is not."""
    bounded = np.clip(probabilities, 0, 1)
    with np.errstate(divide='ignore'):
        log_odds = np.clip(np.log(bounded) - np.log1p(-bounded), -_LARGEST_LOGIT, _LARGEST_LOGIT)
    return np.rint(np.nan_to_num(log_odds) * _BUCKETS_PER_LOGIT).astype(int).tolist()


class KeypointSums:
    """Squared errors of each coordinate, and point errors relative to the distance between the eyes."""

    def __init__(self) -> None:
        self.examples = 0
        self.squared_errors = np.zeros((len(faces.KEYPOINTS), 2))
        self.coordinates = np.zeros((len(faces.KEYPOINTS), 2), np.int64)
        self.relative_error = 0.0
        self.within_5_percent = 0
        self.within_10_percent = 0
        self.relative_points = 0

    def add(self, label: np.ndarray, prediction: np.ndarray) -> None:
        """Adds one example.

        Args:
            label: 30 coordinates in pixels, NaN where missing.
            prediction: [15, 2] (or flat) coordinates in the same pixels.
        """
        truth = label.reshape(len(faces.KEYPOINTS), 2).astype(np.float64)
        difference = prediction.reshape(truth.shape).astype(np.float64) - truth
        present = ~np.isnan(truth)
        self.examples += 1
        self.squared_errors += np.where(present, difference**2, 0)
        self.coordinates += present
        self._add_relative_errors(truth, np.linalg.norm(difference, axis=1)[present.all(axis=1)])

    def _add_relative_errors(self, truth: np.ndarray, errors: np.ndarray) -> None:
        left, right = faces.EYE_CENTERS
        interocular = np.linalg.norm(truth[left] - truth[right])
        if not interocular > 0:  # an eye is missing
            return
        relative = errors / interocular
        self.relative_error += relative.sum()
        self.within_5_percent += int((relative <= 0.05).sum())
        self.within_10_percent += int((relative <= 0.10).sum())
        self.relative_points += len(relative)

    def merge(self, other: 'KeypointSums') -> None:
        """Adds the sums of other examples."""
        for name, value in vars(other).items():
            setattr(self, name, getattr(self, name) + value)

    def figures(self) -> dict[str, Any]:
        """All figures of the task; NaN where there is no point to judge.

        `rmse` is the root of the mean squared error of all present coordinates, as Kaggle's Facial Keypoints Detection
        scores it.
        """
        with np.errstate(invalid='ignore'):
            rmse_of_points = np.sqrt(self.squared_errors.sum(axis=1) / self.coordinates.sum(axis=1))
            return {
                EXAMPLE_COUNT: float(self.examples),
                'rmse': np.sqrt(self.squared_errors.sum() / self.coordinates.sum()),
                **{f'rmse_{name}': rmse for name, rmse in zip(faces.KEYPOINTS, rmse_of_points, strict=True)},
                'mean_error_interocular': np.divide(self.relative_error, self.relative_points),
                'within_5_percent': np.divide(self.within_5_percent, self.relative_points),
                'within_10_percent': np.divide(self.within_10_percent, self.relative_points),
            }


class _ExpressionCombiner(_FigureCombiner):
    def create_accumulator(self) -> ExpressionSums:
        return ExpressionSums()


class _KeypointCombiner(_FigureCombiner):
    def create_accumulator(self) -> KeypointSums:
        return KeypointSums()


class ExpressionMetrics(tfma.metrics.Metric):
    """All figures of an expression model: label int64, prediction [5] probabilities."""

    def __init__(self, name: str = 'expression_metrics'):
        super().__init__(_expression_computations, name=name)


class KeypointMetrics(tfma.metrics.Metric):
    """All figures of a keypoint model: label 30 coordinates, NaN where missing, prediction [15, 2]."""

    def __init__(self, name: str = 'keypoint_metrics'):
        super().__init__(_keypoint_computations, name=name)


def _expression_computations(
    name: str, eval_config: tfma.EvalConfig, model_names: list[str]
) -> list[tfma.metrics.MetricComputation]:
    names = [*DIRECTIONS[faces.EXPRESSION_MODEL], CONFUSION_MATRIX]
    return [_computation(names, model, _ExpressionCombiner(model, eval_config)) for model in model_names]


def _keypoint_computations(
    name: str, eval_config: tfma.EvalConfig, model_names: list[str]
) -> list[tfma.metrics.MetricComputation]:
    names = [*DIRECTIONS[faces.KEYPOINT_MODEL]]
    return [_computation(names, model, _KeypointCombiner(model, eval_config)) for model in model_names]


def _computation(names: list[str], model: str, combiner: beam.CombineFn) -> tfma.metrics.MetricComputation:
    keys = [_key(name, model) for name in names]
    return tfma.metrics.MetricComputation(keys=keys, preprocessors=None, combiner=combiner)


METRICS: Final = {faces.EXPRESSION_MODEL: ExpressionMetrics, faces.KEYPOINT_MODEL: KeypointMetrics}
