"""The figures by which models are judged, as TFMA metrics.

TFMA's built-in precision and recall are wrong for a class that is never predicted, and it has nothing for keypoints.
The two metrics here add up small sums over the examples of a slice and give all figures of their task at the end.
"""

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
    keypoint_figures,
    point_figures,
    score_buckets,
)

CANDIDATE: Final = 'candidate'
BASELINE: Final = 'baseline'
EXAMPLE_COUNT: Final = 'example_count'
OVERALL: Final = 'overall'
"""The name of the slice that holds every example."""

_BLOCK_ROWS: Final = 256
_FEWEST_NEW: Final = 4096
_BUCKETS: Final = 1 << 20  # more than `score_buckets` has, half of them for negative log odds

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


class _Answer(tfma.metrics.Preprocessor):
    """An example's label and what a model says of it: looked up once, and not again in each slice."""

    def __init__(self, model_name: str, eval_config: tfma.EvalConfig):
        super().__init__(name=f'answer of {model_name}')
        self._model_name = model_name
        self._eval_config = eval_config

    def process(self, extracts: tfma.Extracts) -> Iterable[tuple[np.ndarray, np.ndarray]]:
        label, prediction, _ = next(
            tfma.metrics.to_label_prediction_example_weight(
                tfma.metrics.StandardMetricInputs(extracts),
                eval_config=self._eval_config,
                model_name=self._model_name,
                flatten=False,
            )
        )
        yield label, prediction


class _FigureCombiner(beam.CombineFn):
    """Adds up the examples of one slice for one model, then gives its figures."""

    def __init__(self, model_name: str):
        self._model_name = model_name

    def add_input(self, accumulator: Any, element: tuple[np.ndarray, np.ndarray]) -> Any:
        accumulator.add(*element)
        return accumulator

    def merge_accumulators(self, accumulators: Iterable[Any]) -> Any:
        total = self.create_accumulator()
        for accumulator in accumulators:
            total.merge(accumulator)
        return total

    def compact(self, accumulator: Any) -> Any:
        accumulator.settle()
        return accumulator

    def extract_output(self, accumulator: Any) -> dict[tfma.metrics.MetricKey, Any]:
        return {_key(name, self._model_name): value for name, value in accumulator.figures().items()}


def _key(name: str, model_name: str) -> tfma.metrics.MetricKey:
    # `MetricsSpec.per_slice_thresholds` applies to keys whose `example_weighted` is None.
    return tfma.metrics.MetricKey(name=name, model_name=model_name, example_weighted=None)


class _Sums:
    """The sums of the rows' terms; rows wait until there are enough of them for numpy to be worth its while."""

    def __init__(self, task: str, truth: tuple[int, ...], answer: tuple[int, ...]) -> None:
        self._task, self._truth, self._answer = task, truth, answer
        self._sums = _no_sums(task, truth, answer)
        self._waiting: list[tuple[np.ndarray, np.ndarray]] = []

    def add(self, label: np.ndarray, prediction: np.ndarray) -> None:
        """Adds one example.

        Args:
            label: the class's index, one integer, or 30 coordinates in pixels, NaN where missing.
            prediction: [5] probabilities, or [15, 2] (or flat) coordinates in the same pixels.
        """
        self._waiting.append((label.reshape(self._truth), prediction.reshape(self._answer)))
        if len(self._waiting) >= _BLOCK_ROWS:
            self.settle()

    def settle(self) -> None:
        """Adds the rows that wait."""
        if self._waiting:
            truths, answers = (np.stack(column) for column in zip(*self._waiting, strict=True))
            self._waiting = []
            self._add_rows(truths, answers)

    def merge(self, other: Any) -> None:
        """Adds the sums of other examples."""
        self.settle()
        other.settle()
        _add(self._sums, other._sums)

    def _add_rows(self, truths: np.ndarray, answers: np.ndarray) -> None:
        terms = TERMS[self._task](truths, answers)
        _add(self._sums, {name: values.sum(axis=0) for name, values in terms.items()})


class ExpressionSums(_Sums):
    """The sums of the rows' terms, and the histograms of scores behind the AUCs."""

    def __init__(self) -> None:
        super().__init__(faces.EXPRESSION_MODEL, (), (len(faces.EXPRESSIONS),))
        self._scores = _Histogram()

    def merge(self, other: 'ExpressionSums') -> None:
        super().merge(other)
        self._scores.merge(other._scores)

    def figures(self) -> dict[str, Any]:
        """All figures of the task; the macro F1 averages all five."""
        self.settle()
        confusion = self._sums[CONFUSION_MATRIX].astype(np.int64)
        return {
            EXAMPLE_COUNT: float(confusion.sum()),
            CONFUSION_MATRIX: confusion,
            **_numbers(expression_figures(self._sums)),
            **_numbers(class_figures(self._sums)),
            **self._aucs(),
        }

    def _add_rows(self, truths: np.ndarray, answers: np.ndarray) -> None:
        super()._add_rows(truths, answers)
        classes = np.arange(len(faces.EXPRESSIONS))
        kinds = 2 * classes + (truths.astype(np.int64)[:, None] == classes)
        self._scores.add(kinds * _BUCKETS + score_buckets(answers) + _BUCKETS // 2)

    def _aucs(self) -> dict[str, float]:
        """Area under the ROC curve of each class against all others; NaN where the slice lacks one of the two."""
        codes, counts = self._scores.counted()
        kinds, buckets = np.divmod(codes, _BUCKETS)
        areas = {}
        for index, name in enumerate(faces.EXPRESSIONS):
            rows = kinds // 2 == index
            is_truth = kinds[rows] % 2
            has_both = len(np.unique(is_truth)) == 2
            areas[f'auc_{name}'] = (
                float(sklearn.metrics.roc_auc_score(is_truth, buckets[rows], sample_weight=counts[rows]))
                if has_both
                else float('nan')
            )
        return areas


class _Histogram:
    """How often each code occurs: 16 bytes a code, as there may be a slice for each source file."""

    def __init__(self) -> None:
        self._codes, self._counts = np.zeros(0, np.int64), np.zeros(0, np.int64)
        self._new: list[tuple[np.ndarray, np.ndarray]] = []
        self._new_codes = 0

    def add(self, codes: np.ndarray) -> None:
        """Counts each code once more, int64 of any shape."""
        self._add(*np.unique(codes, return_counts=True))

    def merge(self, other: '_Histogram') -> None:
        self._add(*other.counted())

    def counted(self) -> tuple[np.ndarray, np.ndarray]:
        """The codes, rising, and how often each occurs, int64 [n] both."""
        if self._new:
            codes = np.concatenate([self._codes, *(codes for codes, _ in self._new)])
            counts = np.concatenate([self._counts, *(counts for _, counts in self._new)])
            self._codes, place = np.unique(codes, return_inverse=True)
            self._counts = np.bincount(place, counts).astype(np.int64)
            self._new, self._new_codes = [], 0
        return self._codes, self._counts

    def _add(self, codes: np.ndarray, counts: np.ndarray) -> None:
        self._new.append((codes, counts))
        self._new_codes += len(codes)
        # As many as there are: each is then sorted a few times in all, however many rows follow.
        if self._new_codes > max(len(self._codes), _FEWEST_NEW):
            self.counted()


class KeypointSums(_Sums):
    """The number of examples and the sums of their terms."""

    def __init__(self) -> None:
        points = (len(faces.KEYPOINTS), 2)
        super().__init__(faces.KEYPOINT_MODEL, points, points)
        self._examples = 0

    def merge(self, other: 'KeypointSums') -> None:
        super().merge(other)
        self._examples += other._examples

    def figures(self) -> dict[str, Any]:
        """All figures of the task; NaN where there is no point to judge."""
        self.settle()
        return {
            EXAMPLE_COUNT: float(self._examples),
            **_numbers(keypoint_figures(self._sums)),
            **_numbers(point_figures(self._sums)),
        }

    def _add_rows(self, truths: np.ndarray, answers: np.ndarray) -> None:
        super()._add_rows(truths, answers)
        self._examples += len(truths)


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
    return [_computation(names, eval_config, model, _ExpressionCombiner(model)) for model in model_names]


def _keypoint_computations(
    name: str, eval_config: tfma.EvalConfig, model_names: list[str]
) -> list[tfma.metrics.MetricComputation]:
    names = [*DIRECTIONS[faces.KEYPOINT_MODEL]]
    return [_computation(names, eval_config, model, _KeypointCombiner(model)) for model in model_names]


def _computation(
    names: list[str], eval_config: tfma.EvalConfig, model: str, combiner: beam.CombineFn
) -> tfma.metrics.MetricComputation:
    keys = [_key(name, model) for name in names]
    return tfma.metrics.MetricComputation(keys=keys, preprocessors=[_Answer(model, eval_config)], combiner=combiner)


METRICS: Final = {faces.EXPRESSION_MODEL: ExpressionMetrics, faces.KEYPOINT_MODEL: KeypointMetrics}
