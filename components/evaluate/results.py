"""Readers of what the evaluator wrote."""

import dataclasses
import math
from pathlib import Path
from typing import Any, Literal

import numpy as np
import tensorflow_model_analysis as tfma
from tfx.components.evaluator import constants

from components.evaluate.metrics import BASELINE, CONFUSION_MATRIX
from components.settings import EvaluateSettings

OVERALL = 'overall'


@dataclasses.dataclass(frozen=True)
class Figure:
    """One figure of the candidate.

    Attributes:
        metric: the figure's name.
        slice: `overall`, or such as `brightness=dark`.
        value: NaN where the slice has nothing to compute it from.
    """

    metric: str
    slice: str
    value: float


@dataclasses.dataclass(frozen=True)
class Verdict:
    """One bound of one gate.

    Attributes:
        metric: the figure's name.
        value: the candidate's overall figure; NaN where the evaluation lacks it.
        kind: which bound.
        threshold: the least or largest value that passes, or by how much the figure may be worse than the baseline's.
        baseline: the served model's figure, for `change` only.
        passed: whether TFMA let it pass.
    """

    metric: str
    value: float
    kind: Literal['minimum', 'maximum', 'change']
    threshold: float
    baseline: float | None
    passed: bool


def describe(verdict: Verdict) -> str:
    """The verdict in words, with by how much a figure passed or failed."""
    if verdict.kind == 'change':
        bound = f'{verdict.baseline:.4f} of the served model, which it may miss by {verdict.threshold:g}'
    else:
        bound = f'the {verdict.kind} of {verdict.threshold:g}'
    reference = verdict.baseline if verdict.kind == 'change' else verdict.threshold
    gap = verdict.value - (reference if reference is not None else math.nan)
    return f'{verdict.metric} {verdict.value:.4f} against {bound} ({gap:+.4f})'


def read_figures(evaluation: Path) -> list[Figure]:
    """The candidate's figures, overall first, then by slice.

    Args:
        evaluation: folder of a ModelEvaluation artifact.
    """
    values = {key: value for key, value in _read_values(evaluation).items() if key[1] != BASELINE}
    figures = [
        Figure(metric, where, value) for (where, _, metric), value in values.items() if metric != CONFUSION_MATRIX
    ]
    return sorted(figures, key=lambda figure: (figure.slice != OVERALL, figure.slice))


def read_confusion(evaluation: Path) -> np.ndarray:
    """The candidate's overall confusion matrix.

    Args:
        evaluation: folder of an expression model's ModelEvaluation artifact.

    Returns:
        int64 [5, 5] counts: the row is the truth, the column the prediction.
    """
    values = _read_values(evaluation)
    return next(
        value
        for (where, model, metric), value in values.items()
        if where == OVERALL and metric == CONFUSION_MATRIX and model != BASELINE
    )


def read_verdicts(evaluation: Path, settings: EvaluateSettings) -> list[Verdict]:
    """One verdict for each bound of each gate; the model was blessed if and only if all of them passed.

    Args:
        evaluation: folder of a ModelEvaluation artifact.
        settings: those that the evaluation ran with.
    """
    values = _read_values(evaluation)
    overall = {
        (model == BASELINE, metric): value for (where, model, metric), value in values.items() if where == OVERALL
    }
    has_baseline = any(is_baseline for is_baseline, _ in overall)
    failures = _read_failures(evaluation)
    verdicts = []
    for metric, gate in settings.gates.items():
        value = overall.get((False, metric), float('nan'))
        bound_passed = bool(overall) and (metric, False) not in failures
        if gate.minimum is not None:
            verdicts.append(Verdict(metric, value, 'minimum', gate.minimum, None, bound_passed))
        if gate.maximum is not None:
            verdicts.append(Verdict(metric, value, 'maximum', gate.maximum, None, bound_passed))
        if gate.tolerance is not None and has_baseline:
            change_passed = (metric, True) not in failures
            verdicts.append(Verdict(metric, value, 'change', gate.tolerance, overall[True, metric], change_passed))
    return verdicts


def is_blessed(blessing: Path) -> bool:
    """Whether the evaluator let the candidate pass.

    Args:
        blessing: folder of a ModelBlessing artifact.
    """
    return (blessing / constants.BLESSED_FILE_NAME).exists()


def _read_values(evaluation: Path) -> dict[tuple[str, str, str], Any]:
    """Values by slice, model name and metric, without the differences of two models."""
    return {
        (_slice_name(of_slice.slice_key), entry.key.model_name, entry.key.name): _value(entry.value)
        for of_slice in tfma.load_metrics(str(evaluation))
        for entry in of_slice.metric_keys_and_values
        if not entry.key.is_diff
    }


def _slice_name(key: Any) -> str:
    parts = []
    for part in key.single_slice_keys:
        value = getattr(part, part.WhichOneof('kind'))
        parts.append(f'{part.column}={value.decode() if isinstance(value, bytes) else value}')
    return ','.join(parts) or OVERALL


def _value(value: Any) -> Any:
    if value.HasField('array_value'):
        return np.array(value.array_value.int64_values).reshape(tuple(value.array_value.shape))
    return value.double_value.value


def _read_failures(evaluation: Path) -> set[tuple[str, bool]]:
    """Names of the figures that failed, and whether it was their change."""
    result = tfma.load_validation_result(str(evaluation))
    return {
        (failure.metric_key.name, failure.metric_key.is_diff)
        for of_slice in result.metric_validations_per_slice
        for failure in of_slice.failures
    }
