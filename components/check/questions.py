"""What ServingCheck asks: faces of the eval split as they came, and the same faces in other clothes."""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tensorflow as tf
from PIL import Image

from components import faces


@dataclass(frozen=True)
class Questions:
    """Faces of one eval split and the trainer's predictions about them.

    Attributes:
        images: encoded images.
        examples: the serialized Examples that hold them.
        predictions: float32 `[n, 5]` or `[n, 15, 2]`.
    """

    images: list[bytes]
    examples: list[bytes]
    predictions: np.ndarray


def read_questions(examples: Path, predictions: Path, count: int) -> Questions:
    """The first `count` faces of the eval split with their predictions.

    Args:
        examples: the Examples artifact.
        predictions: the trainer's `predictions.npz`.
        count: how many.
    """
    with np.load(predictions, allow_pickle=False) as archive:
        by_hash = dict(zip(archive['content_hash'], archive['prediction'], strict=True))
    serialized = list(_eval_examples(examples, count))
    features = [tf.train.Example.FromString(example).features.feature for example in serialized]
    images = [feature[faces.IMAGE].bytes_list.value[0] for feature in features]
    hashes = [feature[faces.CONTENT_HASH].bytes_list.value[0].decode() for feature in features]
    return Questions(images, serialized, np.stack([by_hash[content_hash] for content_hash in hashes]))


def disguise(image: bytes) -> Iterator[tuple[bytes, int]]:
    """The image in forms that people send, each with the factor by which it was enlarged."""
    grey = Image.open(io.BytesIO(image))
    for mode, form, factor in (('RGB', 'PNG', 1), ('RGB', 'JPEG', 3), ('L', 'JPEG', 2)):
        buffer = io.BytesIO()
        grey.convert(mode).resize((grey.width * factor, grey.height * factor)).save(buffer, form)
        yield buffer.getvalue(), factor


def _eval_examples(examples: Path, count: int) -> Iterator[bytes]:
    files = sorted(str(path) for path in (examples / f'Split-{faces.EVAL_SPLIT}').glob('*'))
    return tf.data.TFRecordDataset(files, compression_type='GZIP').take(count).as_numpy_iterator()
