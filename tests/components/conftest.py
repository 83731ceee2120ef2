"""Drawn faces as Examples, and what the real Transform makes of them, shared by the tests of several steps."""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
import tensorflow as tf
from tfx.dsl.components.common.importer import Importer
from tfx.orchestration.local.local_dag_runner import LocalDagRunner
from tfx.orchestration.metadata import sqlite_metadata_connection_config
from tfx.orchestration.pipeline import Pipeline
from tfx.types import artifact_utils, standard_artifacts

from components import faces
from components.ingest import images
from components.ingest.examples import to_example
from components.ingest.parse import Face
from components.settings import TrainSettings
from components.transform.component import configuration, transform
from components.validate.packaged_schema import PackagedSchema
from data.draw import draw_face
from tests.components.run_artifacts import make_artifacts

SCHEMAS = Path(__file__).parents[2] / 'schemas'
SIZES = {faces.EXPRESSION_MODEL: faces.EXPRESSION_SIZE, faces.KEYPOINT_MODEL: faces.KEYPOINT_SIZE}


@dataclasses.dataclass(frozen=True)
class Transformed:
    """Where drawn faces lie as Examples, and what Transform made of them."""

    faces: dict[str, list[Face]]
    examples: Path
    transform_output: Path

    def files(self, split: str) -> list[str]:
        return [str(self.examples / f'Split-{split}' / '*')]


def draw(task: str, count: int, seed: int) -> list[Face]:
    """Faces as FaceExampleGen reads them from published files; every third lacks two keypoints."""
    found = []
    for index in range(count):
        drawn = draw_face(seed, index, faces.EXPRESSIONS[index % 5])
        image = cv2.resize(drawn.image, (SIZES[task],) * 2, interpolation=cv2.INTER_AREA)
        points = drawn.points.astype(np.float32)
        if index % 3 == 0:
            points[[2, 11]] = np.nan
        is_expression = task == faces.EXPRESSION_MODEL
        found.append(
            Face(
                source='drawn.csv',
                row=index + 1,
                image=image,
                content_hash=images.content_hash(image),
                usage='',
                group='',
                label=index % 5 if is_expression else -1,
                points=np.zeros(0, np.float32) if is_expression else points.ravel(),
            )
        )
    return found


def write(folder: Path, splits: dict[str, Sequence[bytes]]) -> Path:
    """Serialized Examples, laid out as TFX lays them out."""
    for split, examples in splits.items():
        (folder / f'Split-{split}').mkdir(parents=True)
        path = folder / f'Split-{split}' / 'data_tfrecord-00000-of-00001.gz'
        with tf.io.TFRecordWriter(str(path), options='GZIP') as writer:
            for example in examples:
                writer.write(example)
    return folder


@pytest.fixture(scope='session')
def draw_faces() -> Callable[[str, int, int], list[Face]]:
    return draw


@pytest.fixture(scope='session')
def write_splits() -> Callable[[Path, dict[str, Sequence[bytes]]], Path]:
    return write


@pytest.fixture(scope='session')
def transformed(tmp_path_factory) -> dict[str, Transformed]:
    """Both tasks' drawn faces through the real Transform, once for all tests: it takes a while."""
    folder = tmp_path_factory.mktemp('transformed')
    steps, found = [], {}
    for task in SIZES:
        drawn = {faces.TRAIN_SPLIT: draw(task, 40, 1), faces.EVAL_SPLIT: draw(task, 15, 2)}
        examples = write(folder / task, {split: [to_example(face) for face in rows] for split, rows in drawn.items()})
        data = Importer(
            source_uri=str(examples),
            artifact_type=standard_artifacts.Examples,
            properties={'split_names': artifact_utils.encode_split_names(list(faces.SPLITS))},
        ).with_id(f'Data-{task}')
        schema = PackagedSchema(task).with_id(f'Schema-{task}')
        step = transform(
            task, data.outputs['result'], schema.outputs['schema'], configuration(TrainSettings(image_size=48))
        )
        steps += [data, schema, step.with_id(f'Transform-{task}')]
        found[task] = Transformed(drawn, examples, folder / 'root' / f'Transform-{task}' / 'transform_graph')
    LocalDagRunner().run(
        Pipeline(
            pipeline_name='transform',
            pipeline_root=str(folder / 'root'),
            metadata_connection_config=sqlite_metadata_connection_config(str(folder / 'metadata.db')),
            components=steps,
            beam_pipeline_args=['--direct_running_mode=in_memory', '--sdk_container_image=none'],
        )
    )
    return {
        task: dataclasses.replace(result, transform_output=next(result.transform_output.iterdir()))
        for task, result in found.items()
    }


@pytest.fixture(scope='session')
def folders(tmp_path_factory) -> dict[str, Path]:
    """By task, a folder with every artifact of its branch, as `run_artifacts.make_artifacts` makes them."""
    return {task: make_artifacts(tmp_path_factory.mktemp(task), task) for task in faces.TASKS}
