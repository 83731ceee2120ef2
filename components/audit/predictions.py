"""Cross-validation: what networks say of faces that they were not trained on."""

import dataclasses
from pathlib import Path

import keras
import numpy as np
from scipy.special import softmax

from components import faces
from components.settings import AuditSettings, TrainSettings
from components.train.batches import Split
from components.train.checkpoints import Checkpoints
from components.train.expression import TASK
from components.train.fit import Task, fit, precision
from components.train.network import averaged_over_mirror


def cross_validate(
    training: Split, evaluation: Split, folds: np.ndarray, settings: AuditSettings, seed: int, folder: Path
) -> tuple[np.ndarray, np.ndarray]:
    """Trains one network for each fold, on the others, and asks it about its own fold and about the eval split.

    The best epoch is chosen by the eval split: the labels of a fold have no part in the network that judges them.

    Args:
        training, evaluation: of expressions.
        folds: int `[n]`, the fold of each training row.
        settings: of the networks.
        seed: of the first network; each further one has the next.
        folder: keeps the folds that are done, and the epochs of the one that is not, for a run that goes on after it
            was killed. The caller removes it.

    Returns:
        Probabilities float32 `[n, 5]` of the training rows, each by the network that was not trained on it; and of the
        eval rows, the mean over the networks.
    """
    held_out = np.empty((len(training), len(faces.EXPRESSIONS)), np.float32)
    of_evaluation = []
    for fold in range(settings.folds):
        path = folder / f'fold-{fold}.npz'
        if not path.exists():
            _predict(training, evaluation, folds == fold, settings, seed + fold, _task(fold, settings), path)
        with np.load(path, allow_pickle=False) as arrays:
            held_out[folds == fold] = arrays['held_out']
            of_evaluation.append(arrays['evaluation'])
    return held_out, np.mean(of_evaluation, axis=0)


def _predict(
    training: Split,
    evaluation: Split,
    is_held_out: np.ndarray,
    settings: AuditSettings,
    seed: int,
    task: Task,
    path: Path,
) -> None:
    """Trains one fold's network and writes its probabilities, whole or not at all."""
    trained = settings.training(training.pixels.shape[1])
    checkpoints = Checkpoints(path.with_suffix(''), task.figure, task.mode, trained.patience, trained.epochs)
    with precision(trained):
        network = fit(
            task, trained, seed, training.at(~is_held_out), evaluation, checkpoints, checkpoints.folder / 'logs'
        )
        network = averaged_over_mirror(network, task.mirror_answer)
        asked = {'held_out': training.pixels[is_held_out], 'evaluation': evaluation.pixels}
        answers = {
            name: softmax(network.predict(pixels, batch_size=trained.batch_size, verbose=0), axis=1)
            for name, pixels in asked.items()
        }
    staged = path.with_suffix('.staged.npz')
    np.savez(staged, **answers)
    staged.replace(path)
    checkpoints.clear()


def _task(fold: int, settings: AuditSettings) -> Task:
    """The expressions' task, whose network says in its progress which fold it is of."""

    def build(trained: TrainSettings) -> keras.Model:
        network = TASK.build(trained)
        return keras.Model(network.input, network.output, name=f'audit-fold-{fold + 1}-of-{settings.folds}')

    return dataclasses.replace(TASK, build=build)
