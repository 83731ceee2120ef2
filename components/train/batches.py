"""From Examples to batches for `fit`: decoded once, shuffled and augmented anew in each epoch."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import tensorflow as tf
import tensorflow_transform as tft

from components import faces
from components.settings import TrainSettings
from components.transform.augment import augment, mix
from components.transform.preprocessing import LABEL, PIXELS, POINTS

DECODE_BATCH = 256


@dataclass(frozen=True)
class Split:
    """One split, decoded.

    Attributes:
        pixels: float32 `[n, size, size, 1]`, normalised.
        truth: int64 `[n]` classes, or float32 `[n, 15, 2]` points as shares of the image, NaN where missing.
        content_hash, source, row: where each Example comes from; `[n]`.
    """

    pixels: np.ndarray
    truth: np.ndarray
    content_hash: np.ndarray
    source: np.ndarray
    row: np.ndarray

    def __len__(self) -> int:
        return len(self.pixels)


def load_split(files: list[str], transform_output: tft.TFTransformOutput, task: str) -> Split:
    """Reads, decodes and preprocesses a split through Transform's graph.

    Args:
        files: patterns of gzipped TFRecord files.
        transform_output: gives the preprocessing graph.
        task: `expression` or `keypoints`.
    """
    layer = transform_output.transform_features_layer()
    specification = transform_output.raw_feature_spec()
    truth_key = LABEL if task == faces.EXPRESSION_MODEL else POINTS
    origin_keys = (faces.CONTENT_HASH, faces.SOURCE, faces.ROW)

    def preprocess(serialized: tf.Tensor) -> dict[str, tf.Tensor]:
        features = tf.io.parse_example(serialized, specification)
        transformed = layer(features)
        return {key: transformed[key] for key in (PIXELS, truth_key)} | {key: features[key] for key in origin_keys}

    names = sorted(name for pattern in files for name in tf.io.gfile.glob(pattern))
    records = tf.data.TFRecordDataset(names, compression_type='GZIP').batch(DECODE_BATCH)
    batches = list(records.map(preprocess, num_parallel_calls=2).as_numpy_iterator())
    whole = {key: np.concatenate([batch[key] for batch in batches]) for key in batches[0]}
    return Split(
        whole[PIXELS],
        whole[truth_key],
        whole[faces.CONTENT_HASH].astype('U'),
        whole[faces.SOURCE].astype('U'),
        whole[faces.ROW],
    )


def training_batches(
    split: Split, settings: TrainSettings, seed: int, first_epoch: int, encode: Callable[[tf.Tensor], tf.Tensor]
) -> tf.data.Dataset:
    """Batches of all epochs from `first_epoch` on, one after the other.

    Order and augmentation depend on the seed and the number of the epoch alone, so that a training that goes on after
    it was killed sees what it would have seen.

    Args:
        encode: from a batch of truths to the target of the loss.
    """
    # Constants would be copied into the graph; captured tensors are not.
    pixels, truth = tf.convert_to_tensor(split.pixels), tf.convert_to_tensor(split.truth)
    is_keypoints = split.truth.ndim == 3
    steps = training_steps(split, settings)
    size = min(settings.batch_size, len(split))

    def epoch(number: tf.Tensor) -> tf.data.Dataset:
        order = tf.random.experimental.stateless_shuffle(tf.range(len(split)), seed=[seed, tf.cast(number, tf.int32)])
        # Batches of one size: the rest would cost a second trace, and with it and fewer than 16 channels oneDNN's
        # backward pass corrupts the heap (TensorFlow 2.16, AVX-512). The order is another in each epoch.
        batches = tf.data.Dataset.from_tensor_slices(order).batch(size, drop_remainder=True)
        return batches.enumerate(number * steps)

    def load(step: tf.Tensor, index: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        images, targets = tf.gather(pixels, index), tf.gather(truth, index)
        points = targets if is_keypoints else tf.zeros([tf.shape(index)[0], len(faces.KEYPOINTS), 2])
        of_step = tf.stack([seed, tf.cast(step, tf.int32)])
        images, points = augment(images, points, of_step, settings.augment)
        if is_keypoints:
            return images, encode(points)
        if not settings.augment.mixup:
            return images, encode(targets)
        return mix(images, encode(targets), tf.random.fold_in(of_step, 1), settings.augment.mixup)

    numbers = tf.data.Dataset.range(first_epoch, settings.epochs)
    return numbers.flat_map(epoch).map(load, num_parallel_calls=2).prefetch(4)


def evaluation_batches(
    split: Split, settings: TrainSettings, encode: Callable[[tf.Tensor], tf.Tensor]
) -> tf.data.Dataset:
    """The split in its order, not augmented."""
    slices = tf.data.Dataset.from_tensor_slices((split.pixels, split.truth)).batch(settings.batch_size)
    return slices.map(lambda pixels, truth: (pixels, encode(truth))).prefetch(2)


def training_steps(split: Split, settings: TrainSettings) -> int:
    """Whole batches in an epoch."""
    return max(1, len(split) // settings.batch_size)


def evaluation_steps(split: Split, settings: TrainSettings) -> int:
    """Batches of the split, the last one smaller."""
    return -(-len(split) // settings.batch_size)
