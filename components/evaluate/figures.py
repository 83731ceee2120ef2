"""The arithmetic of the figures: what a row adds to sums, and which figures follow from sums.

TFMA's metrics and the bootstrap share it, the one adding rows up one by one, the other all at once and many times over.
"""

from collections.abc import Callable
from typing import Final

import numpy as np

from components import faces

CONFUSION_MATRIX: Final = 'confusion_matrix'
CALIBRATION_ERROR: Final = 'expected_calibration_error'
CALIBRATION_BINS: Final = 15

Arrays = dict[str, np.ndarray]

_BUCKETS_PER_LOGIT: Final = 1000
_LARGEST_LOGIT: Final = 110.0  # the smallest positive float32 has log odds of -103


def expression_terms(truth: np.ndarray, probabilities: np.ndarray) -> Arrays:
    """What each row adds to the sums of an expression model.

    Args:
        truth: int [n] indices of classes.
        probabilities: float [n, 5].

    Returns:
        float64: `confusion_matrix` [n, 5, 5], 1 in the cell of the truth (first) and the prediction; `log_loss` [n];
        `calibration_gaps` [n, CALIBRATION_BINS], in the bin of the top probability that probability less 1 where it is
        the truth's.
    """
    truth, probabilities = truth.astype(np.int64), probabilities.astype(np.float64)
    rows, classes = np.arange(len(truth)), len(faces.EXPRESSIONS)
    predicted = probabilities.argmax(axis=1)
    confidence = probabilities[rows, predicted]
    # Each bin holds its upper edge, as in Guo et al.
    bins = np.clip(np.ceil(np.nan_to_num(confidence) * CALIBRATION_BINS) - 1, 0, CALIBRATION_BINS - 1).astype(np.int64)
    return {
        CONFUSION_MATRIX: np.eye(classes**2)[truth * classes + predicted].reshape(-1, classes, classes),
        'log_loss': -np.log(np.maximum(probabilities[rows, truth], np.finfo(np.float32).eps)),
        'calibration_gaps': np.eye(CALIBRATION_BINS)[bins] * (confidence - (predicted == truth))[:, None],
    }


def expression_figures(sums: Arrays) -> Arrays:
    """The figures that sum an expression model up.

    The expected calibration error is by how much the top probability and the share of right answers differ, as a mean
    over the rows in bins of the top probability (Guo et al. 2017, arXiv:1706.04599).

    Args:
        sums: of the terms, [..., *shape of a row's term].

    Returns:
        By name, float64 [...], NaN where the sums are of no row.
    """
    confusion = sums[CONFUSION_MATRIX]
    count = confusion.sum(axis=(-2, -1))
    _, _, f1 = class_scores(confusion)
    with np.errstate(invalid='ignore'):
        return {
            'accuracy': np.trace(confusion, axis1=-2, axis2=-1) / count,
            'macro_f1': np.where(count > 0, f1.mean(axis=-1), np.nan),
            'log_loss': sums['log_loss'] / count,
            CALIBRATION_ERROR: np.abs(sums['calibration_gaps']).sum(axis=-1) / count,
        }


def class_figures(sums: Arrays) -> Arrays:
    """Precision, recall and F1 of each expression, by name, from the sums that `expression_figures` takes."""
    scores = zip(('precision', 'recall', 'f1'), class_scores(sums[CONFUSION_MATRIX]), strict=True)
    return {
        f'{kind}_{name}': values[..., index] for kind, values in scores for index, name in enumerate(faces.EXPRESSIONS)
    }


def class_scores(confusion: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Precision, recall and F1 of each class, 0 for a class that is never seen or never predicted.

    Args:
        confusion: [..., 5, 5] counts: the row is the truth, the column the prediction.

    Returns:
        Three of float64 [..., 5].
    """
    right = np.diagonal(confusion, axis1=-2, axis2=-1)
    seen, predicted = confusion.sum(axis=-1), confusion.sum(axis=-2)
    return _share(right, predicted), _share(right, seen), _share(2 * right, seen + predicted)


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, out=np.zeros(part.shape), where=whole > 0)


def score_buckets(probabilities: np.ndarray) -> np.ndarray:
    """Buckets of equal width in log odds, so that a model that is very sure is ranked as finely as one that is not.

    Args:
        probabilities: float, of any shape.

    Returns:
        int64 of the same shape.
    """
    bounded = np.clip(probabilities.astype(np.float64), 0, 1)
    with np.errstate(divide='ignore'):
        log_odds = np.clip(np.log(bounded) - np.log1p(-bounded), -_LARGEST_LOGIT, _LARGEST_LOGIT)
    return np.rint(np.nan_to_num(log_odds) * _BUCKETS_PER_LOGIT).astype(np.int64)


def keypoint_terms(truth: np.ndarray, prediction: np.ndarray) -> Arrays:
    """What each row adds to the sums of a keypoint model.

    Args:
        truth: float [n, 15, 2] in pixels, NaN where missing.
        prediction: float [n, 15, 2] in the same pixels.

    Returns:
        float64: `squared_errors` and `coordinates` [n, 15], of the coordinates that are there and their number; and of
        the points that are there, in rows with a distance between the eyes, [n] each: `relative_error` (their errors as
        shares of that distance), `within_5_percent`, `within_10_percent` and `relative_points`, their numbers.
    """
    truth = truth.astype(np.float64)
    difference = prediction.astype(np.float64) - truth
    present = ~np.isnan(truth)
    left, right = faces.EYE_CENTERS
    interocular = np.linalg.norm(truth[:, left] - truth[:, right], axis=1)
    # Without both eyes, or with both at one place, a face has no relative errors.
    judged = present.all(axis=2) & (interocular > 0)[:, None]
    relative = np.linalg.norm(difference, axis=2) / np.where(interocular > 0, interocular, 1)[:, None]
    return {
        'squared_errors': np.where(present, difference**2, 0).sum(axis=2),
        'coordinates': present.sum(axis=2, dtype=np.float64),
        'relative_error': np.where(judged, relative, 0).sum(axis=1),
        'within_5_percent': (judged & (relative <= 0.05)).sum(axis=1, dtype=np.float64),
        'within_10_percent': (judged & (relative <= 0.10)).sum(axis=1, dtype=np.float64),
        'relative_points': judged.sum(axis=1, dtype=np.float64),
    }


def keypoint_figures(sums: Arrays) -> Arrays:
    """The figures that sum a keypoint model up.

    `rmse` is the root of the mean squared error of all present coordinates, as Kaggle's Facial Keypoints Detection
    scores it.

    Args:
        sums: of the terms, [..., *shape of a row's term].

    Returns:
        By name, float64 [...], NaN where there is no point to judge.
    """
    points = sums['relative_points']
    with np.errstate(invalid='ignore'):
        return {
            'rmse': np.sqrt(sums['squared_errors'].sum(axis=-1) / sums['coordinates'].sum(axis=-1)),
            'mean_error_interocular': sums['relative_error'] / points,
            'within_5_percent': sums['within_5_percent'] / points,
            'within_10_percent': sums['within_10_percent'] / points,
        }


def point_figures(sums: Arrays) -> Arrays:
    """RMSE of each keypoint, by name, from the sums that `keypoint_figures` takes."""
    with np.errstate(invalid='ignore'):
        rmse = np.sqrt(sums['squared_errors'] / sums['coordinates'])
    return {f'rmse_{name}': rmse[..., index] for index, name in enumerate(faces.KEYPOINTS)}


TERMS: Final[dict[str, Callable[[np.ndarray, np.ndarray], Arrays]]] = {
    faces.EXPRESSION_MODEL: expression_terms,
    faces.KEYPOINT_MODEL: keypoint_terms,
}
"""By task, from truths and answers to what each row adds to the sums."""

FIGURES: Final[dict[str, Callable[[Arrays], Arrays]]] = {
    faces.EXPRESSION_MODEL: expression_figures,
    faces.KEYPOINT_MODEL: keypoint_figures,
}
"""By task, from sums to the figures that sum a model up."""

DETAILS: Final[dict[str, Callable[[Arrays], Arrays]]] = {
    faces.EXPRESSION_MODEL: class_figures,
    faces.KEYPOINT_MODEL: point_figures,
}
"""By task, from sums to the figures of each expression or point; the AUCs, which no sums give, are not among them."""
