"""Encoded images to the network's input; the same operations in Transform, in training and in serving."""

import tensorflow as tf

GREY_WEIGHTS = (0.299, 0.587, 0.114)
"""ITU-R BT.601 luma, as Pillow's mode `L` and JPEG use it."""


def decode(encoded: tf.Tensor) -> tf.Tensor:
    """One encoded image (PNG, JPEG, GIF or BMP; a string scalar) to grey float32 `[height, width, 1]` in 0..255.

    Raises:
        tf.errors.InvalidArgumentError: the bytes are no such image.
    """
    colour = tf.cond(
        tf.io.is_jpeg(encoded),
        # TensorFlow's fast inverse transform is a level or two off what everybody else decodes.
        lambda: tf.io.decode_jpeg(encoded, channels=3, dct_method='INTEGER_ACCURATE'),
        lambda: tf.io.decode_image(encoded, channels=3, expand_animations=False),
    )
    colour = tf.cast(tf.ensure_shape(colour, [None, None, 3]), tf.float32)
    return tf.reduce_sum(colour * tf.constant(GREY_WEIGHTS), axis=-1, keepdims=True)


def decode_and_resize(encoded: tf.Tensor, size: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Encoded images `[batch]` to float32 `[batch, size, size, 1]` in 0..255 and their own sizes.

    Returns:
        The images, and float32 `[batch, 2]` with the width and height, in pixels, of each image as it came.
    """

    def one(image: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        grey = decode(image)
        resized = tf.image.resize(grey, [size, size], antialias=True)
        return tf.ensure_shape(resized, [size, size, 1]), tf.cast(tf.reverse(tf.shape(grey)[:2], [0]), tf.float32)

    signature = (tf.TensorSpec([size, size, 1], tf.float32), tf.TensorSpec([2], tf.float32))
    return tf.map_fn(one, encoded, fn_output_signature=signature)
