"""A moving average of the weights, which is better than the weights themselves while the learning rate is high."""

import contextlib
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import keras
import numpy as np

UPDATE_EVERY: Final = 8
"""Steps between two updates; after each one they would cost more and change little."""


class WeightAverage(keras.callbacks.Callback):
    """Exponential moving average of all weights (Polyak and Juditsky 1992, doi:10.1137/0330046).

    Validation sees the average, training goes on with the weights. Keras's own (`use_ema`, `SwapEMAWeights`) leaves out
    the moving statistics of batch normalisation, which then belong to other weights.

    Args:
        epochs: how far back the average reaches, in epochs.
        steps: of an epoch.
    """

    def __init__(self, epochs: float, steps: int):
        super().__init__()
        self._every = min(UPDATE_EVERY, steps)
        self._momentum = math.exp(-self._every / (epochs * steps))
        self._average: list[np.ndarray] | None = None
        self._kept: list[np.ndarray] = []

    def on_train_batch_end(self, batch, logs=None):
        if (batch + 1) % self._every:
            return
        weights = _values(self.model)
        if self._average is None:
            self._average = weights
        for mean, value in zip(self._average, weights, strict=True):
            mean += (1.0 - self._momentum) * (value - mean)

    def on_test_begin(self, logs=None):
        self._kept = _values(self.model)
        if self._average is not None:
            _assign(self.model, self._average)

    def on_test_end(self, logs=None):
        _assign(self.model, self._kept)

    @contextlib.contextmanager
    def applied(self) -> Iterator[None]:
        """The model has the averaged weights as long as this lasts."""
        self.on_test_begin()
        try:
            yield
        finally:
            self.on_test_end()

    def save(self, path: Path) -> None:
        """Writes the average, if there is one yet."""
        if self._average is not None:
            np.savez(path, *self._average)

    def restore(self, path: Path) -> None:
        """Reads what `save` wrote."""
        if path.exists():
            with np.load(path, allow_pickle=False) as arrays:
                self._average = [arrays[name] for name in arrays.files]


def _values(model: keras.Model) -> list[np.ndarray]:
    return [np.array(weight.numpy()) for weight in model.weights]


def _assign(model: keras.Model, values: list[np.ndarray]) -> None:
    for weight, value in zip(model.weights, values, strict=True):
        weight.assign(value)
