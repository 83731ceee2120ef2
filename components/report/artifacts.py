"""Reads what the steps left: histories, predictions, statistics, anomalies and a bounded number of Examples."""

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from tensorflow_metadata.proto.v0 import anomalies_pb2, statistics_pb2

from components import faces

EXAMPLES_READ: Final = 20_000
"""No more Examples of a split are looked at: the report of a million rows must not take longer than their training."""


@dataclass(frozen=True)
class Face:
    """One Example.

    Attributes:
        key: content hash, source and row.
        png: encoded image.
        expression: of an expression Example, else None.
        points: of a keypoint Example, float32 [15, 2] with NaN where missing, else [0, 2].
    """

    key: tuple[str, str, int]
    png: bytes
    expression: str | None
    points: np.ndarray


@dataclass(frozen=True)
class Predictions:
    """What the trainer's model says of the eval split.

    Attributes:
        keys: content hash, source and row of each face.
        truth: int [n] or float [n, 15, 2] with NaN.
        prediction: float32 [n, 5] or [n, 15, 2].
    """

    keys: list[tuple[str, str, int]]
    truth: np.ndarray
    prediction: np.ndarray


def read_history(model_run: Path) -> dict[str, list[float]]:
    """Each logged quantity, one value an epoch."""
    history = json.loads((model_run / 'history.json').read_text(encoding='utf-8'))
    return {name: [math.nan if value is None else float(value) for value in values] for name, values in history.items()}


def read_predictions(model_run: Path) -> Predictions:
    with np.load(model_run / 'predictions.npz', allow_pickle=False) as arrays:
        names = (arrays[name].tolist() for name in ('content_hash', 'source', 'row'))
        return Predictions(list(zip(*names, strict=True)), arrays['truth'], arrays['prediction'])


def read_faces(examples: Path, split: str) -> Iterator[Face]:
    """The first `EXAMPLES_READ` faces of a split."""
    import tensorflow as tf  # nothing that only renders a stopped run needs it

    files = [str(file) for file in sorted((examples / f'Split-{split}').glob('*.gz'))]
    records = tf.data.TFRecordDataset(files, compression_type='GZIP').take(EXAMPLES_READ)
    for record in records.as_numpy_iterator():
        feature = tf.train.Example.FromString(record).features.feature
        content_hash, source, png = (
            feature[key].bytes_list.value[0] for key in (faces.CONTENT_HASH, faces.SOURCE, faces.IMAGE)
        )
        expression = feature[faces.EXPRESSION].bytes_list.value
        points = feature[faces.POINTS].float_list.value
        yield Face(
            (content_hash.decode(), source.decode(), feature[faces.ROW].int64_list.value[0]),
            png,
            expression[0].decode() if expression else None,
            np.asarray(points, np.float32).reshape(-1, 2),
        )


def read_statistics(statistics: Path, split: str) -> statistics_pb2.DatasetFeatureStatistics:
    """TFDV's statistics of a whole split."""
    file = statistics / f'Split-{split}' / 'FeatureStats.pb'
    return statistics_pb2.DatasetFeatureStatisticsList.FromString(file.read_bytes()).datasets[0]


def value_counts(statistics: statistics_pb2.DatasetFeatureStatistics, feature: str) -> dict[str, int]:
    """How often each value of a text feature occurs; empty where there is no such feature."""
    for found in statistics.features:
        if found.path.step[:] == [feature]:
            return {bucket.label: round(bucket.sample_count) for bucket in found.string_stats.rank_histogram.buckets}
    return {}


def mean_value(statistics: statistics_pb2.DatasetFeatureStatistics, feature: str) -> float | None:
    """Mean of a number feature; None where there is no such feature."""
    for found in statistics.features:
        if found.path.step[:] == [feature] and found.HasField('num_stats'):
            return found.num_stats.mean
    return None


def read_anomalies(anomalies: Path, split: str) -> list[tuple[str, str]]:
    """What TFDV found wrong: the feature (or `the whole split`), and a description."""
    file = anomalies / f'Split-{split}' / 'SchemaDiff.pb'
    found = anomalies_pb2.Anomalies.FromString(file.read_bytes())
    listed = [(feature, info.description) for feature, info in sorted(found.anomaly_info.items())]
    if found.HasField('dataset_anomaly_info'):
        listed.insert(0, ('the whole split', found.dataset_anomaly_info.description))
    return listed
