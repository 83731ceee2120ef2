"""What the evaluator writes, and the readers of it."""

import dataclasses
import json
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import tensorflow_model_analysis as tfma
from tfx.components.evaluator import constants

from components.evaluate.bootstrap import LEVEL, RESAMPLES, Difference, Interval, Intervals
from components.evaluate.compare import PASSING, Finding, compare
from components.evaluate.figures import CONFUSION_MATRIX
from components.evaluate.metrics import BASELINE, OVERALL, more_is_better
from components.settings import EvaluateSettings

INTERVALS: Final = 'intervals.json'


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
        kind: which bound; `change` is the comparison with the served model.
        threshold: the least or largest value that passes, or the margin of the comparison.
        baseline: the served model's figure, for `change` only, as all below.
        passed: whether TFMA, or the comparison, let it pass.
        difference: by how much the candidate's figure exceeds the baseline's; None where no interval is known.
        low, high: its paired interval.
        finding: what the interval says of the candidate.
    """

    metric: str
    value: float
    kind: Literal['minimum', 'maximum', 'change']
    threshold: float
    baseline: float | None
    passed: bool
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    finding: Finding | None = None


def describe(verdict: Verdict) -> str:
    """The verdict in words, with by how much a figure passed or failed."""
    figure = f'{verdict.metric} {verdict.value:.4f} against'
    if verdict.kind != 'change':
        return f'{figure} the {verdict.kind} of {verdict.threshold:g} ({verdict.value - verdict.threshold:+.4f})'
    if verdict.difference is None:
        gap = 'no interval'
    else:
        gap = f'{verdict.difference:+.4f} (95%: {verdict.low:+.4f} to {verdict.high:+.4f})'
    is_by_margin = verdict.finding in ('no worse', 'not shown to be no worse')
    margin = f' by the margin of {verdict.threshold:g}' if is_by_margin else ''
    return f'{figure} {verdict.baseline:.4f} of the served model: {gap}, {verdict.finding}{margin}'


def write_intervals(evaluation: Path, intervals: Intervals) -> None:
    """Writes them into the folder of a ModelEvaluation artifact."""
    content = {
        'level': LEVEL,
        'resamples': RESAMPLES,
        'unit': intervals.unit,
        'figures': {
            where: {name: [interval.low, interval.high] for name, interval in of_slice.items()}
            for where, of_slice in intervals.figures.items()
        },
        'differences': {name: dataclasses.asdict(found) for name, found in intervals.differences.items()},
    }
    (evaluation / INTERVALS).write_text(json.dumps(content, indent=1), encoding='utf-8')


def read_intervals(evaluation: Path) -> dict[str, dict[str, Interval]]:
    """The intervals of the candidate's figures, by slice and metric; small slices, and figures that are NaN, have none.

    Args:
        evaluation: folder of a ModelEvaluation artifact.
    """
    return {
        where: {name: Interval(*bounds) for name, bounds in of_slice.items()}
        for where, of_slice in _read_intervals(evaluation)['figures'].items()
    }


def read_differences(evaluation: Path) -> dict[str, Difference]:
    """By metric, the candidate's overall figure less the served model's; empty where nothing was served.

    Args:
        evaluation: folder of a ModelEvaluation artifact.
    """
    return {name: Difference(**found) for name, found in _read_intervals(evaluation)['differences'].items()}


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
    failures, differences = _read_failures(evaluation), read_differences(evaluation)
    verdicts = []
    for metric, gate in settings.gates.items():
        value = overall.get((False, metric), float('nan'))
        bound_passed = bool(overall) and metric not in failures
        if gate.minimum is not None:
            verdicts.append(Verdict(metric, value, 'minimum', gate.minimum, None, bound_passed))
        if gate.maximum is not None:
            verdicts.append(Verdict(metric, value, 'maximum', gate.maximum, None, bound_passed))
        if gate.margin is not None and has_baseline:
            verdicts.append(_change(metric, value, overall[True, metric], gate.margin, differences.get(metric)))
    return verdicts


def _change(metric: str, value: float, baseline: float, margin: float, found: Difference | None) -> Verdict:
    finding = compare(found, margin, more_is_better(metric))
    interval = {} if found is None else dataclasses.asdict(found)
    return Verdict(metric, value, 'change', margin, baseline, finding in PASSING, finding=finding, **interval)


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


def _read_intervals(evaluation: Path) -> dict[str, Any]:
    return json.loads((evaluation / INTERVALS).read_text(encoding='utf-8'))


def _read_failures(evaluation: Path) -> set[str]:
    """Names of the figures that missed a bound."""
    result = tfma.load_validation_result(str(evaluation))
    return {
        failure.metric_key.name for of_slice in result.metric_validations_per_slice for failure in of_slice.failures
    }
