"""Losses and metrics of points some of which are missing (NaN in the truth)."""

import keras
from keras import ops

from components import faces


def mean_absolute_error(truth: keras.KerasTensor, prediction: keras.KerasTensor) -> keras.KerasTensor:
    """L1 distance over the known coordinates.

    Args:
        truth: float32 `[batch, 15, 2]`, NaN where missing.
        prediction: float32 `[batch, 15, 2]`.

    Returns:
        float32 `[batch]`; 0 for a face of which nothing is known.
    """
    known, difference = _known_difference(truth, prediction)
    return ops.sum(ops.abs(difference), axis=(1, 2)) / ops.maximum(ops.sum(known, axis=(1, 2)), 1.0)


class RootMeanSquaredError(keras.metrics.Metric):
    """Root of the mean squared error over the known coordinates, in pixels of the 96x96 image."""

    def __init__(self, name: str = 'rmse'):
        super().__init__(name=name)
        self.squares = self.add_weight(name='squares', initializer='zeros')
        self.count = self.add_weight(name='count', initializer='zeros')

    def update_state(self, y_true, y_pred, sample_weight=None):
        known, difference = _known_difference(y_true, y_pred)
        self.squares.assign_add(ops.sum(ops.square(difference * faces.KEYPOINT_SIZE)))
        self.count.assign_add(ops.sum(known))

    def result(self):
        return ops.sqrt(self.squares / ops.maximum(self.count, 1.0))


def _known_difference(
    truth: keras.KerasTensor, prediction: keras.KerasTensor
) -> tuple[keras.KerasTensor, keras.KerasTensor]:
    known = ops.logical_not(ops.isnan(truth))
    # Replaced on both sides before the subtraction, so that no NaN comes near the gradient.
    difference = ops.where(known, truth, 0.0) - ops.where(known, prediction, 0.0)
    return ops.cast(known, 'float32'), difference
