"""The residual networks, in Keras 3 layers and operations alone, so that they run on any backend.

Pre-activation is not used: at this depth the original form (He et al. 2015, arXiv:1512.03385) trains as well.
"""

from collections.abc import Callable
from functools import partial

import keras
import numpy as np
from keras import layers, ops

from components import faces
from components.settings import TrainSettings

# At the default momentum of 0.99 the moving statistics lag behind on runs this short.
normalise = partial(layers.BatchNormalization, momentum=0.9, epsilon=1e-5)
convolve = partial(layers.Conv2D, padding='same', use_bias=False, kernel_initializer='he_normal')


def residual_block(inputs: keras.KerasTensor, width: int, stride: int) -> keras.KerasTensor:
    """Two 3x3 convolutions beside a shortcut, which is projected where the shape changes."""
    x = layers.ReLU()(normalise()(convolve(width, 3, strides=stride)(inputs)))
    x = normalise()(convolve(width, 3)(x))
    shortcut = inputs
    if stride != 1 or inputs.shape[-1] != width:
        shortcut = normalise()(convolve(width, 1, strides=stride)(inputs))
    return layers.ReLU()(layers.Add()([x, shortcut]))


def trunk(inputs: keras.KerasTensor, settings: TrainSettings) -> keras.KerasTensor:
    """Stem and stages; each stage after the first halves the resolution."""
    x = layers.ReLU()(normalise()(convolve(settings.widths[0], 3, strides=settings.stem_stride)(inputs)))
    for stage, (width, blocks) in enumerate(zip(settings.widths, settings.blocks, strict=True)):
        for block in range(blocks):
            x = residual_block(x, width, stride=2 if stage and not block else 1)
    return x


def expression_network(settings: TrainSettings) -> keras.Model:
    """Pixels float32 `[batch, size, size, 1]` to logits float32 `[batch, 5]`."""
    inputs = keras.Input((settings.image_size, settings.image_size, 1))
    x = layers.GlobalAveragePooling2D()(trunk(inputs, settings))
    x = layers.Dropout(settings.dropout)(x)
    return keras.Model(inputs, layers.Dense(len(faces.EXPRESSIONS), dtype='float32')(x), name='expression')


def keypoint_network(settings: TrainSettings) -> keras.Model:
    """Pixels float32 `[batch, size, size, 1]` to points float32 `[batch, 15, 2]`, as shares of the image's size."""
    inputs = keras.Input((settings.image_size, settings.image_size, 1))
    # Where a feature lies is the answer here, so the last map is not averaged away.
    x = layers.Flatten()(trunk(inputs, settings))
    x = layers.Dropout(settings.dropout)(x)
    x = layers.Dense(2 * len(faces.KEYPOINTS), dtype='float32')(x)
    # Points lie within a few tenths of the image's middle: so scaled, the head's first steps are no leaps.
    x = layers.Rescaling(0.1, 0.5, dtype='float32')(x)
    x = layers.Reshape((len(faces.KEYPOINTS), 2), dtype='float32')(x)
    return keras.Model(inputs, x, name='keypoints')


def averaged_over_mirror(
    network: keras.Model, mirror_answer: Callable[[keras.KerasTensor], keras.KerasTensor]
) -> keras.Model:
    """The mean of a network's answers to an image and to its mirror image.

    Args:
        network: pixels to answers.
        mirror_answer: from the answer to a mirror image to that to the image itself.
    """
    inputs = keras.Input(network.input_shape[1:])
    mirrored = mirror_answer(network(ops.flip(inputs, axis=2)))
    return keras.Model(inputs, layers.Average(dtype='float32')([network(inputs), mirrored]), name=network.name)


def at_temperature(network: keras.Model, temperature: float) -> keras.Model:
    """The network with its logits divided by a temperature, which changes its probabilities and no order of them."""
    inputs = keras.Input(network.input_shape[1:])
    scaled = layers.Rescaling(1.0 / temperature, dtype='float32')(network(inputs))
    return keras.Model(inputs, scaled, name=network.name)


def mirror_points(points: keras.KerasTensor) -> keras.KerasTensor:
    """Points `[batch, 15, 2]`, as shares of the image's size, where they are in the mirror image."""
    # Arrays of numpy: a backend's own tensors would become inputs of the ONNX form.
    swapped = ops.take(points, np.array(faces.FLIP_ORDER), axis=1)
    return swapped * np.array([-1.0, 1.0], np.float32) + np.array([1.0, 0.0], np.float32)
