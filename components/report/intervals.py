"""How far the headline figures would move with other faces of the same kind."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
import scipy.stats

from components import faces
from components.evaluate.metrics import class_scores
from components.report.artifacts import Predictions

LEVEL: Final = 0.95
RESAMPLES: Final = 1000

Statistic = Callable[[np.ndarray], float]
"""From the indices of rows, some of them several times, to a figure."""


@dataclass(frozen=True)
class Interval:
    """Bounds between which a figure lies in `LEVEL` of the resamples."""

    low: float
    high: float


def intervals(task: str, predictions: Predictions) -> dict[str, Interval]:
    """Percentile bootstrap over the eval rows (Efron 1979, doi:10.1214/aos/1176344552), the same at every call.

    Rows are drawn as if each showed another person; where people recur, the true intervals are wider.

    Args:
        task: `expression` or `keypoints`.
        predictions: of the eval split.

    Returns:
        By metric name; nothing for a split of fewer than two faces.
    """
    count = len(predictions.truth)
    if count < 2:
        return {}
    return {name: _bootstrap(statistic, count) for name, statistic in _STATISTICS[task](predictions).items()}


def _bootstrap(statistic: Statistic, count: int) -> Interval:
    found = scipy.stats.bootstrap(
        (np.arange(count),),
        statistic,
        n_resamples=RESAMPLES,
        confidence_level=LEVEL,
        method='percentile',
        vectorized=False,
        random_state=0,
    )
    return Interval(float(found.confidence_interval.low), float(found.confidence_interval.high))


def _expression_statistics(predictions: Predictions) -> dict[str, Statistic]:
    classes = len(faces.EXPRESSIONS)
    cells = predictions.truth * classes + predictions.prediction.argmax(axis=1)

    def confusion(rows: np.ndarray) -> np.ndarray:
        return np.bincount(cells[rows], minlength=classes**2).reshape(classes, classes)

    def accuracy(rows: np.ndarray) -> float:
        return np.trace(confusion(rows)) / len(rows)

    def macro_f1(rows: np.ndarray) -> float:
        _, _, f1 = class_scores(confusion(rows))
        return float(f1.mean())

    return {'accuracy': accuracy, 'macro_f1': macro_f1}


def _keypoint_statistics(predictions: Predictions) -> dict[str, Statistic]:
    difference = predictions.prediction.astype(np.float64) - predictions.truth
    squares = np.nansum(difference**2, axis=(1, 2))
    coordinates = np.sum(~np.isnan(difference), axis=(1, 2))
    left, right = faces.EYE_CENTERS
    interocular = np.linalg.norm(predictions.truth[:, left] - predictions.truth[:, right], axis=1)
    # Without both eyes, or with both at one place, a face has no relative errors.
    relative = np.linalg.norm(difference, axis=2) / np.where(interocular > 0, interocular, np.nan)[:, None]
    relative_sums, relative_points = np.nansum(relative, axis=1), np.sum(~np.isnan(relative), axis=1)

    def rmse(rows: np.ndarray) -> float:
        return float(np.sqrt(squares[rows].sum() / max(1, coordinates[rows].sum())))

    def mean_error_interocular(rows: np.ndarray) -> float:
        return relative_sums[rows].sum() / max(1, relative_points[rows].sum())

    return {'rmse': rmse, 'mean_error_interocular': mean_error_interocular}


_STATISTICS: Final[dict[str, Callable[[Predictions], dict[str, Statistic]]]] = {
    faces.EXPRESSION_MODEL: _expression_statistics,
    faces.KEYPOINT_MODEL: _keypoint_statistics,
}
