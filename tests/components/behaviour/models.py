"""Small SavedModels, and faces made for them."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import tensorflow as tf

from components import faces
from components.behaviour.component import OUTPUTS
from components.transform.images import decode_and_resize

Answer = Callable[[tf.Tensor], tf.Tensor]
SIZE = 48


def save_model(folder: Path, task: str, answer: Answer, of_bytes: bool = False) -> Path:
    """A SavedModel that gives `answer` of its images' pixels, float32 [n, 48, 48], or of their bytes."""

    def serve(image_bytes):
        given = image_bytes if of_bytes else decode_and_resize(image_bytes, SIZE)[0][..., 0]
        return {OUTPUTS[task]: answer(given)}

    specification = tf.TensorSpec([None], tf.string, name=faces.SERVING_INPUT)
    function = tf.function(serve, input_signature=[specification]).get_concrete_function()
    tf.saved_model.save(tf.Module(), str(folder), signatures={faces.SERVING_SIGNATURE: function})
    return folder


def name_first_where(condition: tf.Tensor) -> tf.Tensor:
    """Probabilities of a model that is sure of the first expression where the condition holds, else of the second."""
    return tf.one_hot(tf.where(condition, 0, 1), len(faces.EXPRESSIONS))


def framed(count: int, middle: Callable[[np.random.Generator], np.ndarray]) -> list[np.ndarray]:
    """Grey images whose middle 24 x 24 pixels are something else: a shift moves nothing out of the image."""
    random = np.random.default_rng(1)
    images = []
    for _ in range(count):
        image = np.full((SIZE, SIZE), 100, np.uint8)
        image[12:36, 12:36] = middle(random)
        images.append(image)
    return images
