"""The step, as TFX runs it."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import tensorflow as tf
from tfx.dsl.components.base.base_executor import BaseExecutor
from tfx.dsl.components.common.importer import Importer
from tfx.orchestration.kubeflow.v2.kubeflow_v2_dag_runner import KubeflowV2DagRunner, KubeflowV2DagRunnerConfig
from tfx.orchestration.pipeline import Pipeline
from tfx.types import Artifact, standard_artifacts

from components import faces
from components.behaviour.artifacts import Behaviour
from components.behaviour.component import BATCH_SIZE, BehaviourTest, Executor
from components.behaviour.results import FILE_NAME, read_behaviour
from components.ingest.examples import to_example
from components.ingest.images import to_png
from components.settings import (
    BehaviourSettings,
    ExpressionBehaviour,
    ExpressionLimits,
    KeypointBehaviour,
    to_json,
)
from tests.components.behaviour.models import framed, name_first_where, save_model


def unsure(images: tf.Tensor) -> tf.Tensor:
    return tf.fill([len(images), 5], 0.2)


def in_the_middle(images: tf.Tensor) -> tf.Tensor:
    return tf.fill([len(images), 15, 2], 24.0)


@pytest.fixture
def execute(draw_faces, write_splits, tmp_path) -> Callable[..., tuple[Artifact, Path]]:
    """Runs the executor as TFX does, on a few drawn faces."""

    def at(kind: type[Artifact], folder: Path) -> list[Artifact]:
        artifact = kind()
        artifact.uri = str(folder)
        return [artifact]

    def run(task: str, answer: Callable[[tf.Tensor], tf.Tensor], settings: BehaviourSettings) -> tuple[Artifact, Path]:
        drawn = [to_example(face) for face in draw_faces(task, 6, 3)]
        inputs = {
            'examples': at(standard_artifacts.Examples, write_splits(tmp_path / 'data', {faces.EVAL_SPLIT: drawn})),
            'model': at(standard_artifacts.Model, tmp_path / 'model'),
        }
        save_model(tmp_path / 'model' / 'Format-Serving', task, answer)
        behaviour = at(Behaviour, tmp_path / 'behaviour')
        properties = {'task': task, 'settings': to_json(settings), 'code': ''}
        Executor(BaseExecutor.Context()).Do(inputs, {'behaviour': behaviour}, properties)
        return behaviour[0], tmp_path / 'behaviour'

    return run


def test_a_model_that_passes_is_marked_so(execute):
    limits = ExpressionLimits(drawn=None)
    artifact, folder = execute(faces.EXPRESSION_MODEL, unsure, ExpressionBehaviour(faces=4, limits=limits))
    found = read_behaviour(folder)
    assert found.passed and artifact.get_int_custom_property('passed') == 1
    assert (found.task, found.faces) == (faces.EXPRESSION_MODEL, 4)
    assert [(outcome.test, outcome.limit) for outcome in found.outcomes if outcome.limit is None] == [('drawn', None)]
    assert [path.name for path in folder.iterdir()] == [FILE_NAME]


def test_a_model_that_misses_a_limit_is_marked_so_and_fails_nothing(execute):
    artifact, folder = execute(faces.KEYPOINT_MODEL, in_the_middle, KeypointBehaviour(faces=50))
    found = read_behaviour(folder)
    assert artifact.get_int_custom_property('passed') == 0
    # Its answers are the middle of an image of 48 pixels, whatever was sent: faces of 96 have theirs elsewhere.
    assert {outcome.test for outcome in found.missed} == {'mirror', 'shift', 'drawn'}
    assert found.faces == 6, 'all there are'


def test_many_images_are_asked_about_in_batches_and_keep_their_order(ask_model):
    def answer(pixels):
        with tf.control_dependencies([tf.debugging.assert_less_equal(tf.shape(pixels)[0], BATCH_SIZE)]):
            return tf.identity(name_first_where(pixels[:, 24, 24] > 100))

    images = framed(BATCH_SIZE + 3, lambda random: random.choice([60, 180]))
    answers = ask_model(faces.EXPRESSION_MODEL, answer)([to_png(image) for image in images])
    assert answers.argmax(axis=1).tolist() == [0 if image[24, 24] > 100 else 1 for image in images]


def test_the_step_compiles_for_kubeflow_with_plain_text_properties(tmp_path):
    kinds = (standard_artifacts.Examples, standard_artifacts.Model)
    examples, model = (Importer(source_uri=str(tmp_path), artifact_type=kind).with_id(kind.__name__) for kind in kinds)
    step = BehaviourTest(
        faces.EXPRESSION_MODEL,
        examples=examples.outputs['result'],
        model=model.outputs['result'],
        settings=to_json(ExpressionBehaviour()),
    ).with_id('BehaviourTest-expression')
    assert step.outputs['behaviour'].type is Behaviour
    compiled = tmp_path / 'pipeline.json'
    config = KubeflowV2DagRunnerConfig(default_image='registry.example/emotion:1')
    KubeflowV2DagRunner(config, output_filename=str(compiled)).run(
        Pipeline(pipeline_name='behaviour', pipeline_root=str(tmp_path), components=[examples, model, step])
    )
    spec = json.loads(compiled.read_text())['pipelineSpec']
    assert set(spec['root']['dag']['tasks']['BehaviourTest-expression']['inputs']['parameters']) == {
        'task',
        'settings',
        'code',
    }
