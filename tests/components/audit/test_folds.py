"""Who is held out together."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.audit.folds import assign_folds
from components.errors import StepError
from components.train.batches import Split


def split(truth, group=None, content_hash=None) -> Split:
    own = np.array([f'{index:04x}' for index in range(len(truth))])
    group = own if group is None else np.array(group).astype('U')
    content_hash = own if content_hash is None else np.array(content_hash).astype('U')
    nothing = np.zeros((len(truth), 0))
    return Split(nothing, np.array(truth, np.int64), content_hash, own, np.arange(len(truth)), group)


@given(
    st.lists(st.tuples(st.integers(0, 4), st.integers(0, 40), st.integers(0, 200)), min_size=60, max_size=200),
    st.integers(2, 5),
)
@settings(max_examples=25, deadline=None)
@pytest.mark.filterwarnings('ignore:The least populated class')
def test_a_person_and_a_twin_lie_in_one_fold(rows, count):
    labels, group, images = zip(*rows, strict=True)
    try:
        folds = assign_folds(split(labels, group, [f'image {image}' for image in images]), count)
    except StepError:
        return
    assert set(folds) <= set(range(count))
    for names in (group, images):
        for name in set(names):
            assert len({fold for fold, other in zip(folds, names, strict=True) if other == name}) == 1


def test_rows_of_one_class_cannot_be_audited():
    with pytest.raises(StepError, match='one class alone'):
        assign_folds(split([3] * 40), 4)


def test_a_chain_of_twins_is_one_person():
    """The second person shares an image with the first and another with the third; the others are strangers."""
    group = ['a', 'b', 'b', 'c', *'defghij']
    images = ['1', '1', '2', '2', *'3456789']
    folds = assign_folds(split([0, 1] * 5 + [0], group, images), 3)
    assert len(set(folds[:4])) == 1
    assert len(set(folds)) == 3


def test_every_fold_has_its_share_of_every_class():
    labels = np.repeat(np.arange(5), [400, 10, 300, 200, 90])
    folds = assign_folds(split(np.random.default_rng(1).permutation(labels)), 5)
    mixed = np.random.default_rng(1).permutation(labels)
    shares = np.array([np.bincount(mixed[folds == fold], minlength=5) for fold in range(5)])
    np.testing.assert_allclose(shares, np.tile([80, 2, 60, 40, 18], (5, 1)), atol=1)


def test_the_assignment_is_the_same_every_time():
    labels = np.random.default_rng(2).integers(0, 5, 100)
    np.testing.assert_array_equal(assign_folds(split(labels), 4), assign_folds(split(labels), 4))


@pytest.mark.parametrize('group', [[0, 0, 0, 1, 1, 1, 0, 1, 0], None])
def test_too_few_persons_or_rows_of_a_class_are_told(group):
    labels = [0, 1, 2, 3, 4, 0, 1, 2, 3] if group is None else [0] * 9
    with pytest.raises(StepError, match='audit.folds is 3, and .* for 2 at most: lower it'):
        assign_folds(split(labels, group), 3)
