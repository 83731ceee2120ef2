"""What a network looks at in its best and worst faces: Grad-CAM (Selvaraju et al. 2017, arXiv:1610.02391)."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import keras
import numpy as np
import tensorflow as tf

from components.train.batches import Split

FILE_NAME: Final = 'attention.npz'

FACES_CONSIDERED: Final = 20_000
"""Of an eval split, the first ones: those that the report can show."""

SMALLEST_MAP: Final = 6
"""Cells along a side; the last stage of a 48x48 network has three, which tell an eye from a mouth and no more."""


@dataclass(frozen=True)
class Question:
    """What a map of a task answers, and for which faces.

    Attributes:
        quantity: from the network's outputs for some rows, the predictions of the whole split and the rows' numbers, to
            float `[rows]`: what the map explains.
        is_pooled: whether the network's head sees the mean over all places, not each place by itself.
        rightness: from truths and predictions to float `[n]`, larger where the prediction is better; NaN where that is
            unknown.
        kind: from truths to int `[n]`; each kind of face has its own best and worst.
        count: faces of each kind, of the best and as many of the worst.
    """

    quantity: Callable[[tf.Tensor, np.ndarray, np.ndarray], tf.Tensor]
    is_pooled: bool
    rightness: Callable[[np.ndarray, np.ndarray], np.ndarray]
    kind: Callable[[np.ndarray], np.ndarray]
    count: int


def write_attention(
    folder: Path, question: Question, network: keras.Model, evaluation: Split, truth: np.ndarray, prediction: np.ndarray
) -> None:
    """The maps of the best and the worst eval faces: `best` bool, `maps` float16 `[n, height, width]`, and their keys.

    Args:
        folder: where `attention.npz` goes.
        question: of the task.
        network: the trained one itself, not averaged over the mirror image.
        evaluation: the eval split.
        truth, prediction: of the eval split, as `predictions.npz` has them.
    """
    ranked = ranking(question, evaluation, truth, prediction)
    rows, best = np.concatenate(ranked), np.repeat([True, False], [len(side) for side in ranked])
    chosen = evaluation.at(rows)
    maps = grad_cam(
        network, chosen.pixels, lambda outputs: question.quantity(outputs, prediction, rows), question.is_pooled
    )
    np.savez_compressed(
        folder / FILE_NAME,
        content_hash=chosen.content_hash,
        source=chosen.source,
        row=chosen.row,
        best=best,
        maps=maps.astype(np.float16),
    )


def ranking(
    question: Question, evaluation: Split, truth: np.ndarray, prediction: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Rows of the best faces, the best first, and of the worst, the worst first, kind after kind.

    Faces that are equally good follow each other by content hash, source and row, as in the report's galleries.
    """
    first = np.arange(min(len(evaluation), FACES_CONSIDERED))
    rightness = question.rightness(truth[first], prediction[first])
    kinds = question.kind(truth[first])
    keys = (evaluation.row[first], evaluation.source[first], evaluation.content_hash[first])

    def ordered(badness: np.ndarray) -> np.ndarray:
        order = np.lexsort((*keys, badness))
        order = order[~np.isnan(badness[order])]
        return np.concatenate([order[kinds[order] == kind][: question.count] for kind in np.unique(kinds)])

    return ordered(-rightness), ordered(rightness)


def grad_cam(
    network: keras.Model, pixels: np.ndarray, quantity: Callable[[tf.Tensor], tf.Tensor], is_pooled: bool
) -> np.ndarray:
    """How much each place of the last map that is not too small adds to a quantity.

    Grad-CAM weights a channel by its gradient's mean over all places, which a head that pools does too. A head that
    knows the places gives a channel another weight in each: its gradient is taken place by place (HiResCAM, Draelos and
    Carin 2020, arXiv:2011.08891), where the mean leaves the maps of many faces empty.

    Args:
        network: pixels to outputs.
        pixels: float32 `[n, size, size, 1]`.
        quantity: from outputs `[n, ...]` to float `[n]`.
        is_pooled: whether the network's head sees the mean over all places.

    Returns:
        float32 `[n, height, width]`, 0 to 1; the most that any place of a face adds is 1.
    """
    inside = keras.Model(network.inputs, [_looked_at(network).output, network.output])

    @tf.function  # a graph leaves out the gradients of the weights, which an eager tape reckons too
    def differentiate(images):
        with tf.GradientTape() as tape:
            tape.watch(images)
            maps, outputs = inside(images, training=False)
            total = tf.reduce_sum(quantity(outputs))
        return maps, tape.gradient(total, maps)

    maps, gradient = differentiate(tf.constant(pixels))
    if is_pooled:
        gradient = tf.reduce_mean(gradient, axis=(1, 2), keepdims=True)
    found = tf.nn.relu(tf.reduce_sum(tf.cast(gradient * maps, tf.float32), axis=3))
    return tf.math.divide_no_nan(found, tf.reduce_max(found, axis=(1, 2), keepdims=True)).numpy()


def _looked_at(network: keras.Model) -> keras.layers.Layer:
    """The last layer that gives a map of at least `SMALLEST_MAP` cells a side, or the largest map where none does."""
    sides = {
        layer: layer.output.shape[1]
        for layer in network.layers
        if len(layer.output.shape) == 4 and not isinstance(layer, keras.layers.InputLayer)
    }
    enough = min(SMALLEST_MAP, max(sides.values()))
    return [layer for layer, side in sides.items() if side >= enough][-1]
