"""Networks that judge what they were not trained on, whether or not the run is killed in between."""

import dataclasses
import logging
from collections.abc import Iterator

import numpy as np
import pytest

from components.audit.folds import assign_folds
from components.audit.issues import find_issues
from components.audit.predictions import cross_validate
from components.settings import AuditSettings

PROGRESS = 'emotion_pipeline.progress'
SWAPPED = 20


class KilledError(Exception):
    pass


class Killer(logging.Handler):
    """Stops the process, as far as it can tell, when the progress report says this."""

    def __init__(self, words: str):
        super().__init__()
        self.words = words

    def emit(self, record):
        if self.words in record.getMessage():
            raise KilledError


@pytest.fixture(scope='module')
def tiny(plain) -> AuditSettings:
    return AuditSettings(folds=2, widths=(16,), blocks=(1,), dropout=0.2, epochs=3, batch_size=8, augment=plain)


@pytest.fixture(scope='module')
def small(shoot):
    """Training rows, eval rows, and the folds of the former."""
    training, evaluation = shoot(4, 4, 1), shoot(3, 1, 2)
    return training, evaluation, assign_folds(training, 2)


@pytest.fixture(scope='module')
def undisturbed(small, tiny, tmp_path_factory) -> tuple[np.ndarray, np.ndarray]:
    return cross_validate(*small, tiny, 5, tmp_path_factory.mktemp('undisturbed') / 'audit')


@pytest.fixture
def killed_at() -> Iterator:
    logger = logging.getLogger(PROGRESS)
    handlers = []

    def listen(words: str) -> Killer:
        handlers.append(Killer(words))
        logger.addHandler(handlers[-1])
        return handlers[-1]

    yield listen
    for handler in handlers:
        logger.removeHandler(handler)


def test_probabilities_are_such(small, undisturbed):
    for split, probabilities in zip(small[:2], undisturbed, strict=True):
        assert probabilities.shape == (len(split), 5)
        np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)
        assert np.ptp(probabilities, axis=0).max() > 1e-3


def test_a_fold_has_no_part_in_its_own_network(small, undisturbed, tiny, tmp_path):
    """Other labels in one fold change what the other network says, and nothing of what its own says of it."""
    training, evaluation, folds = small
    truth = np.where(folds == 0, (training.truth + 1) % 5, training.truth)
    held_out, of_evaluation = cross_validate(
        dataclasses.replace(training, truth=truth), evaluation, folds, tiny, 5, tmp_path / 'audit'
    )
    np.testing.assert_allclose(held_out[folds == 0], undisturbed[0][folds == 0], atol=1e-4)
    assert np.abs(held_out[folds == 1] - undisturbed[0][folds == 1]).max() > 1e-2
    assert np.abs(of_evaluation - undisturbed[1]).max() > 1e-3


def test_a_killed_audit_ends_as_one_that_nothing_disturbed(small, undisturbed, tiny, tmp_path, killed_at, caplog):
    caplog.set_level(logging.INFO, PROGRESS)
    folder = tmp_path / 'audit'
    killer = killed_at('audit-fold-2-of-2: epoch 2 of 3')
    with pytest.raises(KilledError):
        cross_validate(*small, tiny, 5, folder)
    assert sorted(path.name for path in folder.iterdir()) == ['fold-0.npz', 'fold-1']
    killer.words = 'audit-fold-1-of-2'  # which is done

    found = cross_validate(*small, tiny, 5, folder)
    assert 'audit-fold-2-of-2: goes on after epoch 2' in caplog.text
    assert sorted(path.name for path in folder.iterdir()) == ['fold-0.npz', 'fold-1.npz']
    for one, other in zip(found, undisturbed, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4)


def test_swapped_labels_come_out_on_top(shoot, plain, tmp_path):
    training, evaluation = shoot(3, 40, 1), shoot(3, 2, 2)
    random = np.random.default_rng(4)
    swapped = random.choice(len(training), SWAPPED, replace=False)
    truth = training.truth.copy()
    truth[swapped] = (truth[swapped] + random.integers(1, 5, SWAPPED)) % 5
    # No persons are named, so that each one is trained on as well: the networks are good after a few seconds.
    training = dataclasses.replace(training, truth=truth, group=training.content_hash)
    settings = AuditSettings(
        folds=2,
        widths=(16, 32),
        blocks=(1, 1),
        dropout=0.0,
        epochs=10,
        batch_size=12,
        learning_rate=4e-3,
        augment=plain,
    )
    predictions = cross_validate(training, evaluation, assign_folds(training, 2), settings, 1, tmp_path / 'audit')
    issues, _ = find_issues(training, evaluation, *predictions, settings)
    is_swapped = [issue.content_hash in training.content_hash[swapped] for issue in issues]
    # By chance the first 20 of 630 rows would hold less than one of them.
    assert sum(is_swapped[:SWAPPED]) >= 8
