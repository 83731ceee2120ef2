"""Trains the network that finds 15 keypoints."""

from typing import TYPE_CHECKING

import numpy as np
import tensorflow as tf

from components import faces
from components.train.attention import Question
from components.train.export import KeypointModel
from components.train.fit import Task
from components.train.launch import run
from components.train.losses import RootMeanSquaredError, mean_absolute_error
from components.train.network import keypoint_network, mirror_points

if TYPE_CHECKING:
    from tfx.components.trainer.fn_args_utils import FnArgs


def distance_from_mean_face(points: tf.Tensor, predictions: np.ndarray, rows: np.ndarray) -> tf.Tensor:
    """Half the squared distance of the points from those of the mean predicted face.

    Its gradient with respect to a point is that point's offset: a map shows what moved the points to where this face
    has them. The points' plain sum would show what shifts the face as a whole, and cancel where two points part.
    """
    offsets = points - predictions.mean(axis=0) / faces.KEYPOINT_SIZE
    return tf.reduce_sum(tf.square(offsets), axis=(1, 2)) / 2.0


def negative_error(truth: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    """Minus the RMSE of each face's known points, float `[n]`; NaN where none is known."""
    known = ~np.isnan(truth)
    squares = np.where(known, (prediction - truth) ** 2, 0.0).sum(axis=(1, 2))
    with np.errstate(invalid='ignore'):
        return -np.sqrt(squares / known.sum(axis=(1, 2)))


TASK = Task(
    name=faces.KEYPOINT_MODEL,
    build=keypoint_network,
    encode=lambda points: points,
    loss=lambda settings: mean_absolute_error,
    metric=RootMeanSquaredError,
    figure='val_rmse',
    mode='min',
    mirror_answer=mirror_points,
    decode=lambda points: points * faces.KEYPOINT_SIZE,
    to_truth=lambda points: points * faces.KEYPOINT_SIZE,
    has_probabilities=False,
    question=Question(
        quantity=distance_from_mean_face,
        is_pooled=False,
        rightness=negative_error,
        kind=lambda points: np.zeros(len(points), int),
        count=12,
    ),
    export=KeypointModel,
)


def run_fn(arguments: 'FnArgs') -> None:
    """Called by TFX's Trainer."""
    run(TASK, arguments)
