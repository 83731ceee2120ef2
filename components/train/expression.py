"""Trains the network that tells five expressions."""

from typing import TYPE_CHECKING

import keras
import numpy as np
import tensorflow as tf

from components import faces
from components.train.attention import Question
from components.train.export import ExpressionModel
from components.train.fit import Task
from components.train.launch import run
from components.train.network import expression_network

if TYPE_CHECKING:
    from tfx.components.trainer.fn_args_utils import FnArgs


def encode(truth: tf.Tensor) -> tf.Tensor:
    """Labels `[batch]` as shares of the classes, float32 `[batch, 5]`."""
    return tf.one_hot(truth, len(faces.EXPRESSIONS))


TASK = Task(
    name=faces.EXPRESSION_MODEL,
    build=expression_network,
    encode=encode,
    loss=lambda settings: keras.losses.CategoricalCrossentropy(
        from_logits=True, label_smoothing=settings.label_smoothing
    ),
    metric=lambda: keras.metrics.CategoricalAccuracy(name='accuracy'),
    figure='val_accuracy',
    mode='max',
    mirror_answer=lambda logits: logits,
    decode=lambda logits: tf.nn.softmax(logits).numpy(),
    to_truth=lambda label: label,
    has_probabilities=True,
    question=Question(
        # The logit of the expression that was predicted.
        quantity=lambda logits, predictions, rows: tf.gather(logits, predictions[rows].argmax(axis=1), batch_dims=1),
        is_pooled=True,
        rightness=lambda label, probabilities: probabilities[np.arange(len(label)), label],
        kind=lambda label: label,
        count=4,
    ),
    export=ExpressionModel,
)


def run_fn(arguments: 'FnArgs') -> None:
    """Called by TFX's Trainer."""
    run(TASK, arguments)
