"""Parts the training rows so that no network judges a face that it was trained on."""

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from sklearn.model_selection import StratifiedGroupKFold

from components.errors import StepError
from components.train.batches import Split


def assign_folds(split: Split, count: int) -> np.ndarray:
    """Gives each row a fold: a person in one alone, every class spread evenly over all.

    Args:
        split: of expressions.
        count: of folds.

    Returns:
        int64 `[n]`, 0 to `count - 1`.

    Raises:
        StepError: there is one class alone, or fewer persons, or fewer rows of every class, than folds.
    """
    persons = _persons(split)
    most = min(int(persons.max()) + 1, int(np.bincount(split.truth).max()))
    if most < count:
        raise StepError(
            f'audit.folds is {count}, and the training split has persons and rows of a class for {most} at most: '
            'lower it, or give more data.'
        )
    if len(np.unique(split.truth)) < 2:
        raise StepError('The training split has rows of one class alone: give others too, or set audit.folds to 0.')
    # Not shuffled: scikit-learn 1.5 then stratifies by the classes of other groups than those that it assigns.
    splitter = StratifiedGroupKFold(count)
    folds = np.empty(len(split), np.int64)
    for fold, (_, rows) in enumerate(splitter.split(folds, split.truth, persons)):
        folds[rows] = fold
    return folds


def _persons(split: Split) -> np.ndarray:
    """A number for each row's person, from 0; persons who share an image count as one, for a twin is remembered."""
    names, groups = np.unique(split.group, return_inverse=True)
    images, pictured = np.unique(split.content_hash, return_inverse=True)
    size = len(names) + len(images)
    links = coo_array((np.ones(len(split)), (groups, len(names) + pictured)), (size, size))
    return connected_components(links, directed=False)[1][groups]
