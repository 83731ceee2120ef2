"""The residual networks, in Keras 3 layers and operations alone, so that they run on any backend.

Pre-activation is not used: at this depth the original form (He et al. 2015, arXiv:1512.03385) trains as well.
"""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

import keras
import numpy as np
from keras import layers, ops

from components import faces
from components.settings import TrainSettings

# At the default momentum of 0.99 the moving statistics lag behind on runs this short.
normalise = partial(layers.BatchNormalization, momentum=0.9, epsilon=1e-5)
convolve = partial(layers.Conv2D, padding='same', use_bias=False, kernel_initializer='he_normal')

SMALLEST_SHARE: Final = 1e-4
"""Of a class, in the logit adjustment: one that is missing has no logarithm."""


def residual_block(
    inputs: keras.KerasTensor, width: int, stride: int, squeeze: int = 0, skipped: float = 0.0
) -> keras.KerasTensor:
    """Two 3x3 convolutions beside a shortcut, which is projected where the shape changes.

    Args:
        inputs: `[batch, height, width, channels]`.
        width: channels.
        stride: of the first convolution.
        squeeze: reduction of squeeze-and-excitation; 0 for none.
        skipped: share of the training images that take the shortcut alone (stochastic depth, arXiv:1603.09382).
    """
    x = layers.ReLU()(normalise()(convolve(width, 3, strides=stride)(inputs)))
    x = normalise()(convolve(width, 3)(x))
    if squeeze:
        x = excite(x, squeeze)
    if skipped:
        # Dropout of the whole branch; it divides what is left by its share, so that nothing changes in answering.
        x = layers.Dropout(skipped, noise_shape=(None, 1, 1, 1))(x)
    shortcut = inputs
    if stride != 1 or inputs.shape[-1] != width:
        shortcut = normalise()(convolve(width, 1, strides=stride)(inputs))
    return layers.ReLU()(layers.Add()([x, shortcut]))


def excite(inputs: keras.KerasTensor, squeeze: int) -> keras.KerasTensor:
    """Weighs the channels by what all places together show (squeeze-and-excitation, arXiv:1709.01507)."""
    width = inputs.shape[-1]
    x = layers.GlobalAveragePooling2D(keepdims=True)(inputs)
    x = layers.Dense(max(1, width // squeeze), activation='relu', kernel_initializer='he_normal')(x)
    return layers.Multiply()([inputs, layers.Dense(width, activation='sigmoid')(x)])


def trunk(inputs: keras.KerasTensor, settings: TrainSettings) -> keras.KerasTensor:
    """Stem and stages; each stage after the first halves the resolution, unless the last one's stride is another."""
    x = layers.ReLU()(normalise()(convolve(settings.widths[0], 3, strides=settings.stem_stride)(inputs)))
    number, count, last = 0, sum(settings.blocks), len(settings.blocks) - 1
    for stage, (width, blocks) in enumerate(zip(settings.widths, settings.blocks, strict=True)):
        for block in range(blocks):
            number += 1
            stride = 1 if block or not stage else settings.last_stride if stage == last else 2
            x = residual_block(x, width, stride, settings.squeeze, settings.stochastic_depth * number / count)
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


def synchronise(network: keras.Model) -> None:
    """Lets batch normalisation look at the batches of all replicas, which else keep moving statistics of their own.

    Only while training under a strategy; what is learnt and exported has the same form.
    """
    for layer in network.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.synchronized = True


def averaged(networks: Sequence[keras.Model]) -> keras.Model:
    """The mean of several networks' answers to an image."""
    if len(networks) == 1:
        return networks[0]
    inputs = keras.Input(networks[0].input_shape[1:])
    # Layers of one model need different names.
    named = [keras.Model(each.input, each.output, name=f'{each.name}_{n}') for n, each in enumerate(networks, 1)]
    answers = [network(inputs) for network in named]
    return keras.Model(inputs, layers.Average(dtype='float32')(answers), name=networks[0].name)


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


def adjusted(network: keras.Model, shares: Sequence[float], adjustment: float) -> keras.Model:
    """The network with less of what it knows of how frequent each class is (logit adjustment, arXiv:2007.07314).

    Args:
        network: pixels to logits.
        shares: of the classes in what it was trained on.
        adjustment: 0 changes nothing; from 1 on, all classes count as if they were equally frequent.
    """
    inputs = keras.Input(network.input_shape[1:])
    offsets = [adjustment * math.log(max(share, SMALLEST_SHARE)) for share in shares]
    return keras.Model(inputs, network(inputs) - np.array(offsets, np.float32), name=network.name)


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
