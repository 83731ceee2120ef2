"""Compares two runs artifact by artifact: what Beam's steps made must not depend on the engine."""

import json
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_transform as tft
from google.protobuf import json_format
from sklearn import metrics
from tensorflow_metadata.proto.v0 import anomalies_pb2, statistics_pb2

from components import faces
from tests.e2e.conftest import Workplace


def assert_same_artifacts(first: Workplace, second: Workplace) -> None:
    """Of ingest, statistics, validation and Transform: order and last digits aside."""
    for task in faces.TASKS:
        for split in faces.SPLITS:
            rows = [examples(place, task, split) for place in (first, second)]
            assert rows[0] and sorted(rows[0]) == sorted(rows[1]), f'{task}: examples of {split}'
            assert_alike(*(statistics(place, task, split) for place in (first, second)))
            assert anomalies(first, task, split) == anomalies(second, task, split)
            np.testing.assert_allclose(
                *(transformed(place, task, rows[0]) for place in (first, second)), rtol=1e-5, atol=1e-5
            )
        assert rejects(first, task) == rejects(second, task)
        assert summary(first, task) == summary(second, task)


def assert_same_figures(first: Workplace, second: Workplace) -> None:
    """Of two runs whose rows came in the same order, which train the same networks: order decides their last digits."""
    for task in faces.TASKS:
        answers = [predictions(place, task) for place in (first, second)]
        np.testing.assert_array_equal(*(answer['content_hash'] for answer in answers))
        np.testing.assert_allclose(*(answer['prediction'] for answer in answers), atol=0.02)
        figures = [evaluated(place)[task] for place in (first, second)]
        assert figures[0].keys() == figures[1].keys()
        assert figures[1] == pytest.approx(figures[0], abs=0.02)


def assert_figures_of_the_predictions(place: Workplace) -> None:
    """TFMA's figures are those that scikit-learn and numpy give of the rows' predictions, whatever their order."""
    expression, keypoints = predictions(place, faces.EXPRESSION_MODEL), predictions(place, faces.KEYPOINT_MODEL)
    accuracy = metrics.accuracy_score(expression['truth'], expression['prediction'].argmax(axis=1))
    assert evaluated(place)[faces.EXPRESSION_MODEL]['accuracy'] == pytest.approx(accuracy, abs=1e-6)
    error = np.sqrt(np.nanmean((keypoints['truth'] - keypoints['prediction']) ** 2))
    assert evaluated(place)[faces.KEYPOINT_MODEL]['rmse'] == pytest.approx(error, rel=1e-4)


def evaluated(place: Workplace) -> dict[str, dict[str, float]]:
    """The figures of the last run, as TFMA gave them."""
    return place.last()['kpis']


def predictions(place: Workplace, task: str) -> dict[str, np.ndarray]:
    with np.load(place.artifact(f'Trainer-{task}', 'model_run') / 'predictions.npz') as archive:
        return dict(archive)


def examples(place: Workplace, task: str, split: str) -> list[bytes]:
    """Serialized, in the files' order."""
    files = sorted((place.artifact(f'FaceExampleGen-{task}', 'examples') / f'Split-{split}').iterdir())
    dataset = tf.data.TFRecordDataset([str(file) for file in files], compression_type='GZIP')
    return [record.numpy() for record in dataset]


def rejects(place: Workplace, task: str) -> list[str]:
    folder = place.artifact(f'FaceExampleGen-{task}', 'rejects')
    return sorted(line for file in folder.glob('*.jsonl') for line in file.read_text(encoding='utf-8').splitlines())


def summary(place: Workplace, task: str) -> dict[str, Any]:
    return json.loads((place.artifact(f'FaceExampleGen-{task}', 'rejects') / 'summary.json').read_text())


def statistics(place: Workplace, task: str, split: str) -> dict[str, Any]:
    """Of each feature by its name."""
    found = statistics_pb2.DatasetFeatureStatisticsList.FromString(
        (place.artifact(f'StatisticsGen-{task}', 'statistics') / f'Split-{split}' / 'FeatureStats.pb').read_bytes()
    )
    (dataset,) = found.datasets
    features = {'.'.join(feature.path.step): json_format.MessageToDict(feature) for feature in dataset.features}
    return {'examples': dataset.num_examples, **features}


def anomalies(place: Workplace, task: str, split: str) -> anomalies_pb2.Anomalies:
    folder = place.artifact(f'ExampleValidator-{task}', 'anomalies') / f'Split-{split}'
    return anomalies_pb2.Anomalies.FromString((folder / 'SchemaDiff.pb').read_bytes())


def transformed(place: Workplace, task: str, rows: list[bytes]) -> np.ndarray:
    """What the run's preprocessing graph makes of the images of some rows."""
    output = tft.TFTransformOutput(str(place.artifact(f'Transform-{task}', 'transform_graph')))
    features = tf.io.parse_example(rows[:20], output.raw_feature_spec())
    return output.transform_features_layer()(features)['pixels'].numpy()


def assert_alike(one: Any, other: Any, where: str = '') -> None:
    """The same values at the same places; numbers to six digits."""
    if isinstance(one, dict) and isinstance(other, dict):
        assert one.keys() == other.keys(), where
        for key, value in one.items():
            assert_alike(value, other[key], f'{where}.{key}')
    elif isinstance(one, list) and isinstance(other, list):
        assert len(one) == len(other), where
        for index, (left, right) in enumerate(zip(one, other, strict=True)):
            assert_alike(left, right, f'{where}[{index}]')
    elif isinstance(one, float) or isinstance(other, float):
        assert other == pytest.approx(one, rel=1e-6, abs=1e-9), where
    else:
        assert one == other, where
