"""Examples with their real statistics and anomalies, in the folders that TFX's steps leave."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import tensorflow as tf
import tensorflow_data_validation as tfdv
from tensorflow_data_validation.statistics import stats_impl
from tensorflow_metadata.proto.v0 import schema_pb2, statistics_pb2
from tfx_bsl.coders.example_coder import ExamplesToRecordBatchDecoder

from components import faces
from components.ingest.examples import to_example
from components.validate.statistics import options

SCHEMAS = Path(__file__).parents[3] / 'schemas'


@pytest.fixture(scope='session')
def schemas() -> dict[str, schema_pb2.Schema]:
    tasks = (faces.EXPRESSION_MODEL, faces.KEYPOINT_MODEL)
    return {task: tfdv.load_schema_text(str(SCHEMAS / f'{task}.pbtxt')) for task in tasks}


@pytest.fixture(scope='session')
def measure(schemas) -> Callable[..., statistics_pb2.DatasetFeatureStatisticsList]:
    """TFDV's statistics of serialized Examples, with the options of the pipeline's StatisticsGen."""

    def statistics(examples: Sequence[bytes], task: str = faces.EXPRESSION_MODEL):
        batch = ExamplesToRecordBatchDecoder(schemas[task].SerializeToString()).DecodeBatch(list(examples))
        return stats_impl.generate_statistics_in_memory(batch, options(schemas[task]))

    return statistics


@pytest.fixture(scope='session')
def examples(draw_faces) -> dict[str, list[bytes]]:
    """120 drawn faces of each task; the expressions take turns."""
    tasks = (faces.EXPRESSION_MODEL, faces.KEYPOINT_MODEL)
    return {task: [to_example(face) for face in draw_faces(task, 120, 1)] for task in tasks}


@pytest.fixture(scope='session')
def other_faces(draw_faces) -> list[bytes]:
    return [to_example(face) for face in draw_faces(faces.EXPRESSION_MODEL, 120, 2)]


@pytest.fixture(scope='session')
def change() -> Callable[..., bytes]:
    """An Example with other values for some features; None takes the feature away."""

    def changed(example: bytes, **values) -> bytes:
        parsed = tf.train.Example.FromString(example)
        for name, value in values.items():
            feature = parsed.features.feature[name]
            if value is None:
                del parsed.features.feature[name]
            else:
                getattr(feature, feature.WhichOneof('kind')).value[:] = [value]
        return parsed.SerializeToString()

    return changed
