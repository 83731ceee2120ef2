"""The eval rows and what each model says of them, side by side."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import tensorflow as tf

from components import faces
from components.errors import StepError

_TRUTHS: Final = {
    faces.EXPRESSION_MODEL: (faces.LABEL, tf.io.FixedLenFeature([], tf.int64)),
    faces.KEYPOINT_MODEL: (faces.POINTS, tf.io.FixedLenFeature([len(faces.KEYPOINTS), 2], tf.float32)),
}
_OUTPUTS: Final = {faces.EXPRESSION_MODEL: faces.PROBABILITIES, faces.KEYPOINT_MODEL: faces.KEYPOINTS_OUTPUT}
_INTEGERS: Final = (faces.ROW, faces.WIDTH, faces.HEIGHT)


@dataclass(frozen=True)
class Rows:
    """n rows of one eval split.

    Attributes:
        content_hash, source: text [n].
        row: int64 [n], the row of the source.
        person: text [n], the content hash where no person is known.
        slices: by feature, text [n].
        truth: int64 [n] indices of classes, or float32 [n, 15, 2] in pixels with NaN where missing.
        answers: by model, float32 [n, 5] probabilities or [n, 15, 2] pixels.
    """

    content_hash: np.ndarray
    source: np.ndarray
    row: np.ndarray
    person: np.ndarray
    slices: dict[str, np.ndarray]
    truth: np.ndarray
    answers: dict[str, np.ndarray]


def read_rows(
    files: Sequence[str], task: str, features: Sequence[str], models: Mapping[str, Path], batch_size: int
) -> Rows:
    """Reads all rows and puts each to all models, so that their answers can be compared row by row.

    Args:
        files: TFRecords of Examples, gzipped.
        task: `faces.EXPRESSION_MODEL` or `faces.KEYPOINT_MODEL`.
        features: names of the features to slice by.
        models: by name, a SavedModel with the signature `serving_examples`.
        batch_size: Examples that a model is asked about at once.

    Raises:
        StepError: there are no rows.
    """
    truth, truth_feature = _TRUTHS[task]
    names = (faces.CONTENT_HASH, faces.SOURCE, faces.ROW, faces.GROUP, *features)
    specification = {
        truth: truth_feature,
        **{name: tf.io.FixedLenFeature([], tf.int64 if name in _INTEGERS else tf.string) for name in names},
    }
    loaded = {name: tf.saved_model.load(str(folder)) for name, folder in models.items()}
    parts: dict[str, list[np.ndarray]] = {name: [] for name in specification}
    answers: dict[str, list[np.ndarray]] = {name: [] for name in loaded}
    for examples in tf.data.TFRecordDataset(files, compression_type='GZIP').batch(batch_size):
        for name, values in tf.io.parse_example(examples, specification).items():
            parts[name].append(values.numpy())
        for name, model in loaded.items():
            answers[name].append(_ask(model, examples, _OUTPUTS[task]))
    if not parts[truth]:
        raise StepError(f'{task}: the eval split holds no rows to evaluate a model on.')
    columns = {name: np.concatenate(values) for name, values in parts.items()}
    return Rows(
        content_hash=_texts(columns[faces.CONTENT_HASH]),
        source=_texts(columns[faces.SOURCE]),
        row=columns[faces.ROW],
        person=_texts(columns[faces.GROUP]),
        slices={name: _texts(columns[name]) for name in features},
        truth=columns[truth],
        answers={name: np.concatenate(values) for name, values in answers.items()},
    )


def _ask(model: Any, examples: tf.Tensor, output: str) -> np.ndarray:
    signature = model.signatures[faces.EXAMPLES_SIGNATURE]
    (argument,) = signature.structured_input_signature[1]
    return signature(**{argument: examples})[output].numpy()


def _texts(values: np.ndarray) -> np.ndarray:
    return np.array([value.decode() if isinstance(value, bytes) else str(value) for value in values])
