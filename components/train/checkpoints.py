"""Checkpoints at the end of each epoch, from which a killed training goes on as if nothing had happened."""

import json
import logging
import shutil
import time
from pathlib import Path

import keras

from components.train.average import WeightAverage

progress = logging.getLogger('emotion_pipeline.progress')

LATEST, BEST, HISTORY = 'latest.weights.h5', 'best.weights.h5', 'history.json'
AVERAGE = 'average.npz'


class Checkpoints(keras.callbacks.Callback):
    """Keeps the last epoch and the best one, stops early, and reports progress.

    Everything that later epochs depend on (weights, the optimizer's state, the history with which early stopping is
    decided) is written to one folder an epoch, which appears whole or not at all.

    Args:
        folder: this training's own; emptied by `clear`.
        figure: the name in the history by which the best epoch is chosen.
        mode: `max` or `min`.
        patience: epochs without a better figure before the training stops.
        epochs: how many there will be, for the progress report.
        average: of the weights, where validation sees it: the best weights are the averaged ones then.
        worker, workers: the index of this one among those that train together, of which the first one alone writes, and
            how many there are. All of them read.
        title: of the training, for the progress report; the network's name where it is left out.
    """

    def __init__(
        self,
        folder: Path,
        figure: str,
        mode: str,
        patience: int,
        epochs: int,
        average: WeightAverage | None = None,
        worker: int = 0,
        workers: int = 1,
        title: str = '',
    ):
        super().__init__()
        self.average = average
        self.worker, self.workers = worker, workers
        self.folder, self.figure, self.mode = folder, figure, mode
        self.patience, self.epochs = patience, epochs
        self.history: dict[str, list[float]] = {}
        self.title = title
        self._began = time.monotonic()

    def restore(self, model: keras.Model) -> int:
        """Loads the last epoch into the compiled model, if there is one; returns the next epoch's number, from 0."""
        # Made in the first step, its variables would have that step traced twice.
        model.optimizer.build(model.trainable_variables)
        last = self._last()
        if last is None:
            return 0
        model.load_weights(last / LATEST)
        if self.average is not None:
            self.average.restore(last / AVERAGE)
        self.history = json.loads((last / HISTORY).read_text(encoding='utf-8'))
        if self.worker == 0:
            progress.info('%s: goes on after epoch %d', self.title or model.name, self._done())
        return self._done()

    def restore_best(self, model: keras.Model) -> None:
        """Loads the weights of the best epoch."""
        last = self._last()
        if last is not None:
            model.load_weights(last / BEST)

    def clear(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    def is_over(self) -> bool:
        """Whether all epochs are done, or the last `patience` of them brought nothing better."""
        return self._done() >= self.epochs or (self._done() > 0 and self._done() - 1 - self._best() >= self.patience)

    def on_epoch_begin(self, epoch, logs=None):
        self._began = time.monotonic()
        # Keras saves no random state with the weights: dropout begins each epoch at a place of the epoch's own, and of
        # each worker's own.
        place = epoch * self.workers + self.worker
        for variable in self.model.non_trainable_variables:
            if variable.name == 'seed_generator_state':
                variable.assign([int(variable[0]), place << 16])

    def on_epoch_end(self, epoch, logs=None):
        for name, value in {**logs, 'learning_rate': float(self.model.optimizer.learning_rate)}.items():
            self.history.setdefault(name, []).append(float(value))
        if self.worker == 0:
            self._save(epoch)
            self._tell(epoch)
        if self.is_over():
            self.model.stop_training = True

    def _tell(self, epoch: int) -> None:
        progress.info(
            '%s: epoch %d of %d, %s %.4f, best %.4f, %.0f s',
            self.title or self.model.name,
            epoch + 1,
            self.epochs,
            self.figure,
            self.history[self.figure][-1],
            self.history[self.figure][self._best()],
            time.monotonic() - self._began,
        )

    def _save(self, epoch: int) -> None:
        previous, staged, final = self._last(), self.folder / '.staged', self.folder / f'epoch-{epoch:05d}'
        shutil.rmtree(staged, ignore_errors=True)
        staged.mkdir(parents=True)
        self.model.save_weights(staged / LATEST)
        if previous is not None and self._best() != epoch:
            shutil.copyfile(previous / BEST, staged / BEST)
        elif self.average is None:
            shutil.copyfile(staged / LATEST, staged / BEST)
        else:
            with self.average.applied():
                self.model.save_weights(staged / BEST)
        if self.average is not None:
            self.average.save(staged / AVERAGE)
        (staged / HISTORY).write_text(json.dumps(self.history), encoding='utf-8')
        staged.replace(final)
        if previous is not None and previous != final:
            shutil.rmtree(previous)

    def _last(self) -> Path | None:
        return max(self.folder.glob('epoch-*'), default=None)

    def _done(self) -> int:
        return len(self.history.get(self.figure, ()))

    def _best(self) -> int:
        figures = self.history[self.figure]
        return figures.index(max(figures) if self.mode == 'max' else min(figures))
