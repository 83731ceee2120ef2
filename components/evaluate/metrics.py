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
from components.evaluate.figures import (
    CALIBRATION_ERROR,
    CONFUSION_MATRIX,
    TERMS,
    Arrays,
    class_figures,
    expression_figures,
    expression_terms,
    keypoint_figures,
    keypoint_terms,
    point_figures,
    score_buckets,
)

CANDIDATE: Final = 'candidate'
BASELINE: Final = 'baseline'
EXAMPLE_COUNT: Final = 'example_count'
OVERALL: Final = 'overall'
"""The name of the slice that holds every example."""

_MORE: Final = tfma.MetricDirection.HIGHER_IS_BETTER
_LESS: Final = tfma.MetricDirection.LOWER_IS_BETTER

DIRECTIONS: Final[dict[str, dict[str, int]]] = {
    faces.EXPRESSION_MODEL: {
        EXAMPLE_COUNT: _MORE,
        'accuracy': _MORE,
        'macro_f1': _MORE,
        'log_loss': _LESS,
        CALIBRATION_ERROR: _LESS,
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


def more_is_better(metric: str) -> bool:
    """Of a figure of either task."""
    return any(directions.get(metric) == _MORE for directions in DIRECTIONS.values())


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
    """The sums of the rows' terms, and the histograms of scores behind the AUCs."""

    def __init__(self) -> None:
        self._sums = _no_sums(faces.EXPRESSION_MODEL, (), (len(faces.EXPRESSIONS),))
        # Count of (class, is the truth, bucket of its score). Sparse, as there may be a slice for each source file.
        self._scores: collections.Counter[tuple[int, bool, int]] = collections.Counter()

    def add(self, label: np.ndarray, prediction: np.ndarray) -> None:
        """Adds one example.

        Args:
            label: the class's index, one integer.
            prediction: [5] probabilities.
        """
        truth, probabilities = label.reshape(1), prediction.reshape(1, len(faces.EXPRESSIONS))
        _add(self._sums, {name: terms[0] for name, terms in expression_terms(truth, probabilities).items()})
        buckets = score_buckets(probabilities)[0].tolist()
        self._scores.update((index, index == truth.item(), bucket) for index, bucket in enumerate(buckets))

    def merge(self, other: 'ExpressionSums') -> None:
        """Adds the sums of other examples."""
        _add(self._sums, other._sums)
        self._scores.update(other._scores)

    def figures(self) -> dict[str, Any]:
        """All figures of the task; the macro F1 averages all five."""
        confusion = self._sums[CONFUSION_MATRIX].astype(np.int64)
        return {
            EXAMPLE_COUNT: float(confusion.sum()),
            CONFUSION_MATRIX: confusion,
            **_numbers(expression_figures(self._sums)),
            **_numbers(class_figures(self._sums)),
            **{f'auc_{name}': self._one_versus_rest_auc(index) for index, name in enumerate(faces.EXPRESSIONS)},
        }

    def _one_versus_rest_auc(self, index: int) -> float:
        """Area under the ROC curve of a class against all others; NaN where the slice lacks one of the two."""
        rows = [(is_truth, bucket, count) for (of, is_truth, bucket), count in self._scores.items() if of == index]
        is_truth, buckets, counts = zip(*rows, strict=True)
        if len(set(is_truth)) < 2:
            return float('nan')
        return float(sklearn.metrics.roc_auc_score(is_truth, buckets, sample_weight=counts))


class KeypointSums:
    """The number of examples and the sums of their terms."""

    def __init__(self) -> None:
        points = (len(faces.KEYPOINTS), 2)
        self._examples = 0
        self._sums = _no_sums(faces.KEYPOINT_MODEL, points, points)

    def add(self, label: np.ndarray, prediction: np.ndarray) -> None:
        """Adds one example.

        Args:
            label: 30 coordinates in pixels, NaN where missing.
            prediction: [15, 2] (or flat) coordinates in the same pixels.
        """
        shape = (1, len(faces.KEYPOINTS), 2)
        terms = keypoint_terms(label.reshape(shape), prediction.reshape(shape))
        self._examples += 1
        _add(self._sums, {name: values[0] for name, values in terms.items()})

    def merge(self, other: 'KeypointSums') -> None:
        """Adds the sums of other examples."""
        self._examples += other._examples
        _add(self._sums, other._sums)

    def figures(self) -> dict[str, Any]:
        """All figures of the task; NaN where there is no point to judge."""
        return {
            EXAMPLE_COUNT: float(self._examples),
            **_numbers(keypoint_figures(self._sums)),
            **_numbers(point_figures(self._sums)),
        }


def _no_sums(task: str, truth: tuple[int, ...], answer: tuple[int, ...]) -> Arrays:
    """Sums over no row, of a task whose truths and answers have these shapes."""
    terms = TERMS[task](np.zeros((0, *truth)), np.zeros((0, *answer)))
    return {name: values.sum(axis=0) for name, values in terms.items()}


def _add(sums: Arrays, more: Arrays) -> None:
    for name, values in more.items():
        sums[name] = sums[name] + values


def _numbers(figures: Arrays) -> dict[str, float]:
    return {name: value.item() for name, value in figures.items()}


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
