"""The metrics as a person reads them: their names, their units, and the few that sum a run up."""

import math
from typing import Final

from components import faces
from components.report.record import RunRecord

HEADLINES: Final = {
    faces.EXPRESSION_MODEL: ('accuracy', 'macro_f1'),
    faces.KEYPOINT_MODEL: ('rmse', 'mean_error_interocular'),
}
"""The figures that sum up each task."""

SLICED: Final = {
    faces.EXPRESSION_MODEL: ('example_count', 'accuracy', 'macro_f1', 'log_loss'),
    faces.KEYPOINT_MODEL: ('example_count', 'rmse', 'mean_error_interocular', 'within_10_percent'),
}
"""The figures that are shown of each slice; the second is the one by which slices are compared."""

_LABELS: Final = {
    'accuracy': 'Accuracy',
    'macro_f1': 'Macro F1',
    'log_loss': 'Log loss',
    'expected_calibration_error': 'Calibration error',
    'rmse': 'RMSE',
    'mean_error_interocular': 'Mean error / eye distance',
    'within_5_percent': 'Points within 5% of the eye distance',
    'within_10_percent': 'Points within 10% of the eye distance',
    'example_count': 'Faces',
    'auc': 'AUC',
}
_SHARES: Final = ('accuracy', 'mean_error_interocular', 'within_5_percent', 'within_10_percent')


def label(metric: str) -> str:
    """The metric's name for a person: `f1_sad` becomes `F1 (sad)`."""
    if metric in _LABELS:
        return _LABELS[metric]
    kind, _, part = metric.partition('_')
    kind = _LABELS.get(kind, kind.upper() if kind == 'f1' else kind.capitalize())
    return f'{kind} ({part.replace("_", " ")})' if part else kind


def show(metric: str, value: float | None, digits: int = 0) -> str:
    """The value with its unit, to `digits` more places than usual; a dash where there is no number."""
    if value is None or math.isnan(value):
        return '–'
    if metric in _SHARES:
        return f'{100 * value:.{1 + digits}f}%'
    if metric.startswith('rmse'):
        return f'{value:.{2 + digits}f} px'
    if metric == 'example_count':
        return f'{value:,.0f}'
    return f'{value:.{3 + digits}f}'


def kpis(record: RunRecord) -> dict[str, dict[str, float]]:
    """The headline figures of every task that was evaluated, e.g. `{'expression': {'accuracy': 0.87, …}}`."""
    from components.evaluate.results import read_figures  # it brings TFMA with it

    found = {}
    for branch in record.branches:
        if branch.evaluation is not None:
            overall = {
                figure.metric: figure.value for figure in read_figures(branch.evaluation) if figure.slice == 'overall'
            }
            found[branch.task] = {name: overall[name] for name in HEADLINES[branch.task] if name in overall}
    return found
