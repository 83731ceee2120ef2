"""The preprocessing graph of each dataset. Transform traces it once; training and serving run what it traced."""

from typing import Any

import tensorflow as tf
import tensorflow_transform as tft

from components import faces
from components.settings import TrainSettings, from_json
from components.transform.images import decode_and_resize

# What the graph gives.
PIXELS = 'pixels'  # float32 [batch, size, size, 1], zero mean and unit deviation over the training split
IMAGE_SIZE = 'image_size'  # float32 [batch, 2]: width and height of the image as it came, in pixels
LABEL = faces.LABEL  # int64 [batch]
POINTS = faces.POINTS  # float32 [batch, 15, 2], as shares of the image's width and height; NaN where missing


def expression(inputs: dict[str, tf.Tensor], custom_config: dict[str, Any]) -> dict[str, tf.Tensor]:
    """Grey, resized, normalised pixels and the class."""
    return {**_pixels(inputs, custom_config), LABEL: inputs[faces.LABEL]}


def keypoints(inputs: dict[str, tf.Tensor], custom_config: dict[str, Any]) -> dict[str, tf.Tensor]:
    """Grey, resized, normalised pixels and the points."""
    points = tf.reshape(inputs[faces.POINTS], [-1, len(faces.KEYPOINTS), 2])
    return {**_pixels(inputs, custom_config), POINTS: points / faces.KEYPOINT_SIZE}


def _pixels(inputs: dict[str, tf.Tensor], custom_config: dict[str, Any]) -> dict[str, tf.Tensor]:
    size = from_json(TrainSettings, custom_config['settings']).image_size
    images, sizes = decode_and_resize(inputs[faces.IMAGE], size)
    # The pixels' mean and deviation follow from those of each image, so that analysis decodes nothing.
    mean = tft.mean(inputs[faces.MEAN])
    square = tft.mean(tf.square(inputs[faces.MEAN]) + tf.square(inputs[faces.STANDARD_DEVIATION]))
    deviation = tf.sqrt(square - tf.square(mean))
    return {PIXELS: (images - _rounded(mean)) / _rounded(deviation), IMAGE_SIZE: sizes}


def _rounded(level: tf.Tensor) -> tf.Tensor:
    """A grey level to hundredths: Beam adds up in another order each time, and a training grows last digits large."""
    return tf.round(level * 100.0) / 100.0
