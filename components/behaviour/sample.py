"""The faces that a model is asked about, with what is true of them."""

import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import tensorflow as tf

from components import faces
from components.errors import StepError


@dataclass(frozen=True)
class Sample:
    """Some faces.

    Attributes:
        images: grey, uint8 `[height, width]` each.
        truth: of expressions int64 `[n]`, of keypoints float32 `[n, 15, 2]` in pixels of the images, NaN where missing.
    """

    images: list[np.ndarray]
    truth: np.ndarray

    @property
    def sizes(self) -> np.ndarray:
        """Width and height of each image, float64 `[n, 2]`."""
        return np.array([image.shape[::-1] for image in self.images], np.float64)


def read_sample(examples: Path, task: str, count: int) -> Sample:
    """The `count` faces of the eval split with the smallest content hashes: at random, and the same every time.

    Args:
        examples: the Examples artifact.
        task: `expression` or `keypoints`.
        count: how many; all where there are fewer.

    Raises:
        StepError: the split is empty.
    """
    chosen = heapq.nsmallest(count, _rows(examples), key=lambda row: row[0])
    if not chosen:
        raise StepError(f'{examples}: the eval split holds no face to test the {task} model on.')
    features = [tf.train.Example.FromString(serialized).features.feature for _, serialized in chosen]
    encoded = [np.frombuffer(feature[faces.IMAGE].bytes_list.value[0], np.uint8) for feature in features]
    images = [cv2.imdecode(image, cv2.IMREAD_GRAYSCALE) for image in encoded]
    if task == faces.EXPRESSION_MODEL:
        return Sample(images, np.array([feature[faces.LABEL].int64_list.value[0] for feature in features]))
    points = np.array([feature[faces.POINTS].float_list.value for feature in features], np.float32)
    return Sample(images, points.reshape(-1, len(faces.KEYPOINTS), 2))


def _rows(examples: Path) -> Iterator[tuple[tuple[bytes, bytes, int], bytes]]:
    """Every Example of the eval split under its content hash, source and row."""
    files = sorted(str(path) for path in (examples / f'Split-{faces.EVAL_SPLIT}').glob('*'))
    for serialized in tf.data.TFRecordDataset(files, compression_type='GZIP').as_numpy_iterator():
        feature = tf.train.Example.FromString(serialized).features.feature
        content_hash, source = (feature[key].bytes_list.value[0] for key in (faces.CONTENT_HASH, faces.SOURCE))
        yield (content_hash, source, feature[faces.ROW].int64_list.value[0]), serialized
