"""How much answers differ from one another and from the truth.

Probabilities are float `[n, 5]`, points float `[n, 15, 2]` in pixels of their images, sizes float `[n, 2]`, the images'
width and height. Answers that are not numbers are never right, nor like any other.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
import sklearn.metrics

from components import faces
from components.behaviour.results import Figure


@dataclass(frozen=True)
class Yardstick:
    """How a task's answers are measured.

    Attributes:
        figure: what `alike` and `right` give.
        alike: how like each other answers to faces before and after a change are; from both, and the images' sizes.
        right: how right answers are; from the answers, the truth and the images' sizes.
        scores: the figures of a degradation's curve, by the evaluation's names of them; from the same as `right`.
    """

    figure: Figure
    alike: Callable[[np.ndarray, np.ndarray, np.ndarray], float]
    right: Callable[[np.ndarray, np.ndarray, np.ndarray], float]
    scores: Callable[[np.ndarray, np.ndarray, np.ndarray], dict[str, float]]


def total_variation(before: np.ndarray, after: np.ndarray) -> float:
    """Mean over the faces of the total variation distance between two distributions, 0 (equal) to 1."""
    return float(np.abs(after - before).sum(axis=1).mean() / 2)


def _named(probabilities: np.ndarray) -> np.ndarray:
    """The most probable expression of each face, int64 `[n]`; -1 where the answer is not a number."""
    return np.where(np.isfinite(probabilities).all(axis=1), probabilities.argmax(axis=1), -1)


def _share_alike(before: np.ndarray, after: np.ndarray, sizes: np.ndarray) -> float:
    named = _named(before)
    return float(((named == _named(after)) & (named >= 0)).mean())


def _share_right(probabilities: np.ndarray, truth: np.ndarray, sizes: np.ndarray) -> float:
    return float((_named(probabilities) == truth).mean())


def _expression_scores(probabilities: np.ndarray, truth: np.ndarray, sizes: np.ndarray) -> dict[str, float]:
    macro_f1 = sklearn.metrics.f1_score(
        truth, _named(probabilities), labels=range(len(faces.EXPRESSIONS)), average='macro', zero_division=0
    )
    return {'accuracy': _share_right(probabilities, truth, sizes), 'macro_f1': float(macro_f1)}


def _rmse(points: np.ndarray, others: np.ndarray, sizes: np.ndarray) -> float:
    """Of all coordinates, in pixels of 96."""
    return _root_mean_square(_errors(points, others, sizes))


def _rmse_to_truth(points: np.ndarray, truth: np.ndarray, sizes: np.ndarray) -> float:
    """Of the coordinates that are known, in pixels of 96."""
    return _root_mean_square(_errors(points, truth, sizes)[~np.isnan(truth)])


def _errors(points: np.ndarray, others: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    return (points - others) * (faces.KEYPOINT_SIZE / sizes[:, None])


def _root_mean_square(errors: np.ndarray) -> float:
    return float(np.sqrt(np.square(errors).mean()))


YARDSTICKS: Final = {
    faces.EXPRESSION_MODEL: Yardstick('share', _share_alike, _share_right, _expression_scores),
    faces.KEYPOINT_MODEL: Yardstick(
        'rmse', _rmse, _rmse_to_truth, lambda points, truth, sizes: {'rmse': _rmse_to_truth(points, truth, sizes)}
    ),
}
"""By task."""
