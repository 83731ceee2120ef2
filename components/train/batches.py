"""From Examples to batches for `fit`: decoded once, shuffled and augmented anew in each epoch."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Final

import numpy as np
import tensorflow as tf
import tensorflow_transform as tft

from components import faces
from components.errors import StepError
from components.settings import TrainSettings
from components.transform.augment import augment, blend
from components.transform.preprocessing import LABEL, PIXELS, POINTS

DECODE_BATCH = 256

MINIMUM_CALIBRATION: Final = 50
"""Rows; a temperature that is fitted on fewer says more of them than of the network."""


@dataclass(frozen=True)
class Split:
    """One split, decoded.

    Attributes:
        pixels: float32 `[n, size, size, 1]`, normalised.
        truth: int64 `[n]` classes, or float32 `[n, 15, 2]` points as shares of the image, NaN where missing.
        content_hash, source, row: where each Example comes from; `[n]`.
        group: the person, or the content hash where none is known; `[n]`.
    """

    pixels: np.ndarray
    truth: np.ndarray
    content_hash: np.ndarray
    source: np.ndarray
    row: np.ndarray
    group: np.ndarray

    def __len__(self) -> int:
        return len(self.pixels)

    def at(self, rows: np.ndarray) -> 'Split':
        """These rows alone, given by their indices or by bool `[n]`."""
        return Split(**{field.name: getattr(self, field.name)[rows] for field in fields(self)})


@dataclass(frozen=True)
class Share:
    """What one worker has of each batch.

    Attributes:
        steps: batches in an epoch.
        size: rows of this worker's share.
        worker: its index.
    """

    steps: int
    size: int
    worker: int = 0


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
    origin_keys = (faces.CONTENT_HASH, faces.SOURCE, faces.ROW, faces.GROUP)

    def preprocess(serialized: tf.Tensor) -> dict[str, tf.Tensor]:
        features = tf.io.parse_example(serialized, specification)
        transformed = layer(features)
        return {key: transformed[key] for key in (PIXELS, truth_key)} | {key: features[key] for key in origin_keys}

    names = split_files(files)
    records = tf.data.TFRecordDataset(names, compression_type='GZIP').batch(DECODE_BATCH)
    batches = list(records.map(preprocess, num_parallel_calls=2).as_numpy_iterator())
    if not batches:  # a file without rows
        batches = [{key: value.numpy() for key, value in preprocess(tf.constant([], tf.string)).items()}]
    whole = {key: np.concatenate([batch[key] for batch in batches]) for key in batches[0]}
    return Split(
        whole[PIXELS],
        whole[truth_key],
        _text(whole[faces.CONTENT_HASH]),
        _text(whole[faces.SOURCE]),
        whole[faces.ROW],
        _text(whole[faces.GROUP]),
    )


def _text(encoded: np.ndarray) -> np.ndarray:
    return np.char.decode(encoded.astype('S'), 'utf-8')


def split_files(patterns: list[str]) -> list[str]:
    """The files of a split, in an order that is always the same."""
    return sorted(name for pattern in patterns for name in tf.io.gfile.glob(pattern))


def load_own(
    patterns: list[str], transform_output: tft.TFTransformOutput, task: str, worker: int, workers: int
) -> Split:
    """One worker's part of a split: its own files, so that no two workers read or hold the same rows.

    Args:
        patterns, transform_output, task: as `load_split` takes them.
        worker, workers: the index of this one, and how many there are.

    Returns:
        The rows in an order that does not depend on that in which ingest wrote them.

    Raises:
        StepError: there are fewer files than workers.
    """
    files = split_files(patterns)
    if len(files) < workers:
        raise StepError(
            f'{workers} workers cannot share {len(files)} files ({", ".join(patterns)}): ingest the {task} data anew '
            f'with ingest.{task}.shards at {workers} or more.'
        )
    split = load_split(files[worker::workers], transform_output, task)
    return split.at(np.lexsort((split.row, split.source, split.content_hash)))


def hold_out(training: Split, percent: float, total: Callable[[int], int] = lambda rows: rows) -> tuple[Split, Split]:
    """Parts the rows that a temperature is fitted on from those that are trained on, by the hash of the person.

    Args:
        training: the training split, or one worker's part of it.
        percent: share that is held out.
        total: from the rows that this worker holds out to those of all workers.

    Returns:
        What is trained on, and what is held out; nothing is where it would be fewer rows than `MINIMUM_CALIBRATION`.
    """
    held_out = _is_held_out(training, percent)
    if total(int(held_out.sum())) < MINIMUM_CALIBRATION:
        held_out[:] = False
    return training.at(~held_out), training.at(held_out)


def load_held_out(
    patterns: list[str], transform_output: tft.TFTransformOutput, task: str, percent: float
) -> tuple[np.ndarray, Split]:
    """What `hold_out` parts, of a split of which each worker has held a part: never more than one file is in memory.

    Returns:
        The truths of what is trained on, and the rows that are held out.
    """
    trained, held_out = [], []
    for file in split_files(patterns):
        split = load_split([file], transform_output, task)
        is_held_out = _is_held_out(split, percent)
        trained.append(split.truth[~is_held_out])
        held_out.append(split.at(is_held_out))
    rows = _joined(held_out)
    if len(rows) < MINIMUM_CALIBRATION:
        return np.concatenate([*trained, rows.truth]), rows.at(np.zeros(len(rows), bool))
    return np.concatenate(trained), rows


def training_batches(
    split: Split,
    settings: TrainSettings,
    seed: int,
    first_epoch: int,
    encode: Callable[[tf.Tensor], tf.Tensor],
    share: Share | None = None,
) -> tf.data.Dataset:
    """Batches of all epochs from `first_epoch` on, one after the other.

    Order and augmentation depend on the seed and the number of the epoch alone, so that a training that goes on after
    it was killed sees what it would have seen. A worker that has fewer rows than its share of an epoch begins its order
    again; one that has more leaves some out, others in each epoch.

    Args:
        split: the training split, or one worker's part of it.
        settings, seed: of the training.
        first_epoch: from 0.
        encode: from a batch of truths to the target of the loss.
        share: what this worker has of each batch; all of it where it is left out.
    """
    # Constants would be copied into the graph; captured tensors are not.
    pixels, truth = tf.convert_to_tensor(split.pixels), tf.convert_to_tensor(split.truth)
    is_keypoints = split.truth.ndim == 3
    if share is None:
        share = Share(training_steps(split, settings), min(settings.batch_size, len(split)))
    rows = share.steps * share.size

    def epoch(number: tf.Tensor) -> tf.data.Dataset:
        order = tf.random.experimental.stateless_shuffle(tf.range(len(split)), seed=[seed, tf.cast(number, tf.int32)])
        # Batches of one size: the rest would cost a second trace, and with it and fewer than 16 channels oneDNN's
        # backward pass corrupts the heap (TensorFlow 2.16, AVX-512). The order is another in each epoch.
        order = tf.gather(order, tf.range(rows) % len(split))
        batches = tf.data.Dataset.from_tensor_slices(order).batch(share.size, drop_remainder=True)
        return batches.enumerate(number * share.steps)

    def load(step: tf.Tensor, index: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        images, targets = tf.gather(pixels, index), tf.gather(truth, index)
        points = targets if is_keypoints else tf.zeros([tf.shape(index)[0], len(faces.KEYPOINTS), 2])
        of_step = tf.stack([seed, tf.cast(step, tf.int32)])
        if share.worker:
            of_step = tf.random.fold_in(of_step, 1 + share.worker)
        images, points = augment(images, points, of_step, settings.augment)
        if is_keypoints:
            return images, encode(points)
        return blend(images, encode(targets), tf.random.fold_in(of_step, 1), settings.augment)

    numbers = tf.data.Dataset.range(first_epoch, settings.epochs)
    return numbers.flat_map(epoch).map(load, num_parallel_calls=2).prefetch(4)


def evaluation_batches(
    split: Split, settings: TrainSettings, encode: Callable[[tf.Tensor], tf.Tensor]
) -> tf.data.Dataset:
    """The split in its order, not augmented."""
    slices = tf.data.Dataset.from_tensor_slices((split.pixels, split.truth)).batch(settings.batch_size)
    return slices.map(lambda pixels, truth: (pixels, encode(truth))).prefetch(2)


def evaluation_shares(
    split: Split, settings: TrainSettings, encode: Callable[[tf.Tensor], tf.Tensor], replicas: int
) -> list[tuple[np.ndarray, tf.Tensor]]:
    """One worker's part of the eval split in batches of nearly one size, so that each replica has a row of every one.

    The images stay where they are until a batch is asked about: as tensors they would fill a GPU.

    Raises:
        StepError: there are more replicas than rows.
    """
    if len(split) < replicas:
        raise StepError(
            f'{len(split)} eval rows are too few for {replicas} devices: train on fewer, or give more data.'
        )
    count = min(evaluation_steps(split, settings), len(split) // replicas)
    parts = zip(np.array_split(split.pixels, count), np.array_split(split.truth, count), strict=True)
    return [(pixels, encode(tf.constant(truth))) for pixels, truth in parts]


def training_steps(split: Split, settings: TrainSettings) -> int:
    """Whole batches in an epoch."""
    return max(1, len(split) // settings.batch_size)


def evaluation_steps(split: Split, settings: TrainSettings) -> int:
    """Batches of the split, the last one smaller."""
    return -(-len(split) // settings.batch_size)


def _joined(splits: list[Split]) -> Split:
    return Split(
        **{field.name: np.concatenate([getattr(split, field.name) for split in splits]) for field in fields(Split)}
    )


def _is_held_out(training: Split, percent: float) -> np.ndarray:
    return np.array([_percentile(group) < percent for group in training.group.tolist()], bool)


def _percentile(group: str) -> float:
    """Where the person's hash lies between 0 and 100; another hash than the one that ingest splits by."""
    digest = hashlib.blake2b(group.encode(), digest_size=8, person=b'calibration').digest()
    return 100.0 * int.from_bytes(digest) / 2**64
