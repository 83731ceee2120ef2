"""What TFMA is asked to compute, and the fixed bounds that it holds a model to."""

import difflib
from collections.abc import Iterable

import tensorflow_model_analysis as tfma

from components import faces
from components.errors import StepError
from components.evaluate import metrics
from components.settings import EvaluateSettings, Gate

_KEYS = {
    faces.EXPRESSION_MODEL: {'label_key': faces.LABEL, 'prediction_key': faces.PROBABILITIES},
    faces.KEYPOINT_MODEL: {'label_key': faces.POINTS, 'prediction_key': faces.KEYPOINTS_OUTPUT},
}
_SLICES = (faces.BRIGHTNESS, faces.CONTRAST, faces.SOURCE, faces.GROUP, faces.WIDTH, faces.HEIGHT)


def eval_config(task: str, settings: EvaluateSettings) -> tfma.EvalConfig:
    """The evaluation of a candidate and a baseline.

    The figures are computed overall and in each slice; gates apply to the overall figures only. Margins are not among
    TFMA's thresholds: it compares two figures, and knows of no interval.

    Args:
        task: `faces.EXPRESSION_MODEL` or `faces.KEYPOINT_MODEL`.
        settings: gates, slices and batch size.

    Raises:
        StepError: no gate, an unknown figure or slice, a bound on a figure's wrong side, or no batch size.
    """
    if not any(gate != Gate() for gate in settings.gates.values()):
        raise StepError(f'{task}: evaluate.gates names no threshold, so no model could pass: give at least one.')
    for name, gate in settings.gates.items():
        _check_gate(task, name, gate)
    if settings.batch_size < 1:
        raise StepError(f'{task}: evaluate.batch_size is {settings.batch_size}: give 1 or more.')
    metric = metrics.METRICS[task]
    return tfma.EvalConfig(
        model_specs=[_model_spec(task, settings), _model_spec(task, settings, is_baseline=True)],
        slicing_specs=[
            tfma.SlicingSpec(),
            *(tfma.SlicingSpec(feature_keys=[name]) for name in slice_features(task, settings)),
        ],
        metrics_specs=[
            tfma.MetricsSpec(
                metrics=[tfma.MetricConfig(class_name=metric.__name__, module=metric.__module__)],
                per_slice_thresholds={name: _overall_threshold(gate) for name, gate in _bounds(settings).items()},
            )
        ],
    )


def _check_gate(task: str, name: str, gate: Gate) -> None:
    key = f'{task}: evaluate.gates.{name}'
    directions = metrics.DIRECTIONS[task]
    if name not in directions:
        raise StepError(f'{key}: there is no such figure{_nearest(name, directions)}.')
    more_is_better = directions[name] == tfma.MetricDirection.HIGHER_IS_BETTER
    if more_is_better and gate.maximum is not None:
        raise StepError(f'{key}.maximum: more of this figure is better, so give a minimum.')
    if not more_is_better and gate.minimum is not None:
        raise StepError(f'{key}.minimum: less of this figure is better, so give a maximum.')


def _nearest(name: str, names: Iterable[str]) -> str:
    matches = difflib.get_close_matches(name, names, n=1, cutoff=0)
    return f'; the nearest name is {matches[0]}'


def _model_spec(task: str, settings: EvaluateSettings, is_baseline: bool = False) -> tfma.ModelSpec:
    return tfma.ModelSpec(
        name=metrics.BASELINE if is_baseline else metrics.CANDIDATE,
        is_baseline=is_baseline,
        model_type='tf_generic',
        signature_name=faces.EXAMPLES_SIGNATURE,
        inference_batch_size=settings.batch_size,
        **_KEYS[task],
    )


def slice_features(task: str, settings: EvaluateSettings) -> tuple[str, ...]:
    """The features to slice by; expressions are sliced by class whatever the settings say.

    Raises:
        StepError: one is no feature to slice by.
    """
    of_task = (faces.EXPRESSION,) if task == faces.EXPRESSION_MODEL else ()
    for name in settings.slices:
        if name not in _SLICES + of_task:
            nearest = _nearest(name, _SLICES + of_task)
            raise StepError(f'{task}: evaluate.slices: {name} is no feature to slice by{nearest}.')
    return tuple(dict.fromkeys(settings.slices + of_task))


def _bounds(settings: EvaluateSettings) -> dict[str, Gate]:
    """The gates that have a bound, and one that all evaluations pass: without any, TFMA would bless nothing."""
    bounds = {name: gate for name, gate in settings.gates.items() if (gate.minimum, gate.maximum) != (None, None)}
    return {metrics.EXAMPLE_COUNT: Gate(minimum=1), **bounds}


def _overall_threshold(gate: Gate) -> tfma.PerSliceMetricThresholds:
    """The gate's bounds on the overall figure. TFMA lets a figure pass that equals its bound, and none that is NaN."""
    threshold = tfma.MetricThreshold()
    if gate.minimum is not None:
        threshold.value_threshold.lower_bound.value = gate.minimum
    if gate.maximum is not None:
        threshold.value_threshold.upper_bound.value = gate.maximum
    return tfma.PerSliceMetricThresholds(
        thresholds=[tfma.PerSliceMetricThreshold(slicing_specs=[tfma.SlicingSpec()], threshold=threshold)]
    )
