"""The original project's two networks and their trainings, for comparison.

What is known of them, and from where:

- `../shared/design.md`: a notebook; a 7x7 stem, two stages of bottleneck residual blocks, a 4096-2048 dense head for
  the keypoints; FER2013's five classes up-scaled to 96x96; a flip that does not swap left and right points; augmented
  copies that are trained on.
- Issue 3: 1.17 M and 18 M parameters, 96x96.
- The notebook itself, *Emotion AI*, as it stands in many public repositories: everything else below. Filters [64, 64,
  256] and [128, 128, 512]; a third stage of [256, 256, 1024] is there as a comment in most copies, and with it the
  counts would not be those of the issue.

What had to be assumed, because copies differ or the frame here is another one:

- Pooling before the expression head is 4x4, as in the notebook; both 4x4 and 2x2 (the keypoints') give 1.17 M.
- The copies of the keypoints' rows are the notebook's mirrored and brightened ones; its exercise at the end adds
  upside-down ones, and to the expressions' generator a vertical flip and a brightness range: left out.
- The notebook holds rows of its own out of the training (early stopping, best weights). Here all training rows are
  trained on, and the last weights count, as for the rival.
- Bicubic up-scaling is TensorFlow's, so that training and the exported model share it; the notebook's is OpenCV's,
  whose kernel differs slightly.
- Keypoint rows that lack points (the notebook's file has none, the built-in faces do) count with the points they have.
- `jit_compile=False`, as for the rival.
"""

from functools import partial
from pathlib import Path
from typing import Final

import keras
import numpy as np
import tensorflow as tf
from keras import layers, ops
from keras.src.legacy.preprocessing.image import ImageDataGenerator

from components import faces
from components.transform.images import decode

SIZE: Final = 96
"""Width and height of both networks' inputs, in pixels."""

BATCH_SIZES: Final = {faces.EXPRESSION_MODEL: 64, faces.KEYPOINT_MODEL: 32}

DECODE_BATCH: Final = 256

convolve = partial(layers.Conv2D, kernel_initializer='glorot_uniform')


def bottleneck(x: keras.KerasTensor, filters: tuple[int, int, int], pool: bool) -> keras.KerasTensor:
    """1x1, 3x3 and 1x1 convolutions; the first may be halved in resolution by max pooling."""
    reduced, middle, _ = filters
    x = convolve(reduced, 1)(x)
    if pool:
        x = layers.MaxPooling2D(2)(x)
    x = layers.ReLU()(layers.BatchNormalization()(x))
    x = layers.ReLU()(layers.BatchNormalization()(convolve(middle, 3, padding='same')(x)))
    return layers.BatchNormalization()(convolve(filters[2], 1)(x))


def stage(x: keras.KerasTensor, filters: tuple[int, int, int]) -> keras.KerasTensor:
    """A block with a projected shortcut, at half the resolution, and two with the identity as theirs."""
    shortcut = layers.BatchNormalization()(layers.MaxPooling2D(2)(convolve(filters[2], 1)(x)))
    x = layers.ReLU()(layers.Add()([bottleneck(x, filters, pool=True), shortcut]))
    for _ in range(2):
        x = layers.ReLU()(layers.Add()([bottleneck(x, filters, pool=False), x]))
    return x


def trunk(inputs: keras.KerasTensor) -> keras.KerasTensor:
    """96x96 pixels to 512 channels of 5x5."""
    x = convolve(64, 7, strides=2)(layers.ZeroPadding2D(3)(inputs))
    x = layers.MaxPooling2D(3, strides=2)(layers.ReLU()(layers.BatchNormalization()(x)))
    return stage(stage(x, (64, 64, 256)), (128, 128, 512))


def expression_network() -> keras.Model:
    """Pixels in 0..1, float32 `[batch, 96, 96, 1]`, to probabilities, float32 `[batch, 5]`; compiled."""
    inputs = keras.Input((SIZE, SIZE, 1))
    x = layers.Flatten()(layers.AveragePooling2D(4)(trunk(inputs)))
    outputs = layers.Dense(len(faces.EXPRESSIONS), 'softmax')(x)
    network = keras.Model(inputs, outputs, name='original_expression')
    network.compile('adam', 'categorical_crossentropy', metrics=['accuracy'], jit_compile=False)
    return network


def keypoint_network() -> keras.Model:
    """Pixels in 0..1, float32 `[batch, 96, 96, 1]`, to coordinates in pixels, float32 `[batch, 30]`; compiled."""
    inputs = keras.Input((SIZE, SIZE, 1))
    x = layers.Flatten()(layers.AveragePooling2D(2)(trunk(inputs)))
    x = layers.Dropout(0.2)(layers.Dense(4096, 'relu')(x))
    x = layers.Dropout(0.1)(layers.Dense(2048, 'relu')(x))
    outputs = layers.Dense(2 * len(faces.KEYPOINTS), 'relu')(x)
    network = keras.Model(inputs, outputs, name='original_keypoints')
    network.compile(keras.optimizers.Adam(1e-4), mean_squared_error, jit_compile=False)
    return network


NETWORKS: Final = {faces.EXPRESSION_MODEL: expression_network, faces.KEYPOINT_MODEL: keypoint_network}


def mean_squared_error(truth: keras.KerasTensor, prediction: keras.KerasTensor) -> keras.KerasTensor:
    """Over the known coordinates, in px²; where all are known it is Keras's own.

    Args:
        truth: float32 `[batch, 30]`, NaN where missing.
        prediction: float32 `[batch, 30]`.

    Returns:
        float32 `[batch]`.
    """
    known = ops.logical_not(ops.isnan(truth))
    difference = ops.where(known, truth, 0.0) - ops.where(known, prediction, 0.0)
    return ops.sum(ops.square(difference), axis=-1) / ops.maximum(ops.sum(ops.cast(known, 'float32'), axis=-1), 1.0)


def to_pixels(encoded: tf.Tensor) -> tf.Tensor:
    """Encoded images `[batch]` to the networks' input, float32 `[batch, 96, 96, 1]`, 0..1 but for bicubic overshoot."""

    def one(image: tf.Tensor) -> tf.Tensor:
        return tf.image.resize(decode(image), [SIZE, SIZE], 'bicubic')

    enlarged = tf.map_fn(one, encoded, fn_output_signature=tf.TensorSpec([SIZE, SIZE, 1], tf.float32))
    return enlarged / 255.0


def load_split(files: list[str], task: str) -> tuple[np.ndarray, np.ndarray]:
    """Reads and decodes a split.

    Args:
        files: patterns of gzipped TFRecord files, as the pipeline's ingest writes them.
        task: `expression` or `keypoints`.

    Returns:
        Pixels as `to_pixels` gives them, and int64 `[n]` classes or float32 `[n, 30]` coordinates in pixels.
    """
    is_expression = task == faces.EXPRESSION_MODEL
    key = faces.LABEL if is_expression else faces.POINTS
    truth = tf.io.FixedLenFeature(*(([], tf.int64) if is_expression else ([len(faces.KEYPOINT_COLUMNS)], tf.float32)))
    specification = {faces.IMAGE: tf.io.FixedLenFeature([], tf.string), key: truth}

    def read(serialized: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        features = tf.io.parse_example(serialized, specification)
        return to_pixels(features[faces.IMAGE]), features[key]

    names = sorted(name for pattern in files for name in tf.io.gfile.glob(pattern))
    records = tf.data.TFRecordDataset(names, compression_type='GZIP').batch(DECODE_BATCH)
    pixels, truths = zip(*records.map(read, num_parallel_calls=2).as_numpy_iterator(), strict=True)
    return np.concatenate(pixels), np.concatenate(truths)


def with_copies(pixels: np.ndarray, points: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The rows, their mirror images and brightened copies of them, three times as many, as the notebook adds them.

    In a mirrored row x becomes 96 - x, and a left point keeps its name although it is the right one now.

    Args:
        pixels: float32 `[n, 96, 96, 1]` in 0..1.
        points: float32 `[n, 30]`, in pixels.
        seed: of the brightness, a factor of 1.5 to 2.
    """
    mirrored_points = points.copy()
    mirrored_points[:, ::2] = SIZE - mirrored_points[:, ::2]
    factors = np.random.default_rng(seed).uniform(1.5, 2.0, (len(pixels), 1, 1, 1)).astype(np.float32)
    return (
        np.concatenate([pixels, pixels[:, :, ::-1], np.clip(factors * pixels, 0.0, 1.0)]),
        np.concatenate([points, mirrored_points, points]),
    )


def training(pixels: np.ndarray, truth: np.ndarray, task: str, seed: int) -> dict:
    """What `fit` takes for an epoch over the rows that `load_split` gives."""
    if task == faces.KEYPOINT_MODEL:
        copies, points = with_copies(pixels, truth, seed)
        return {'x': copies, 'y': points, 'batch_size': BATCH_SIZES[task]}
    generator = ImageDataGenerator(
        rotation_range=15,
        width_shift_range=0.1,
        height_shift_range=0.1,
        shear_range=0.1,
        zoom_range=0.1,
        horizontal_flip=True,
        fill_mode='nearest',
    )
    targets = keras.utils.to_categorical(truth, len(faces.EXPRESSIONS))
    return {'x': generator.flow(pixels, targets, batch_size=BATCH_SIZES[task], seed=seed)}


class OriginalModel(tf.Module):
    """A network behind decoding and up-scaling, with the signature and the answers of the rival."""

    def __init__(self, core: keras.Model, task: str):
        super().__init__()
        self.core = core
        self._task = task

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name=faces.SERVING_INPUT)])
    def serve(self, image_bytes):
        """`probabilities`, float32 `[batch, 5]`, or `keypoints`, float32 `[batch, 15, 2]`, in pixels of 96."""
        answers = self.core(to_pixels(image_bytes), training=False)
        if self._task == faces.EXPRESSION_MODEL:
            return {faces.PROBABILITIES: answers}
        return {faces.KEYPOINTS_OUTPUT: tf.reshape(answers, [-1, len(faces.KEYPOINTS), 2])}


def save(core: keras.Model, task: str, folder: Path) -> None:
    """Writes the SavedModel."""
    # As ours, without the optimizer's state.
    model = OriginalModel(keras.Model(core.input, core.output), task)
    tf.saved_model.save(model, str(folder), signatures={faces.SERVING_SIGNATURE: model.serve})
