"""The step inside TFX: run by the local runner, and compiled for Kubeflow."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tfx.dsl.components.common.importer import Importer
from tfx.orchestration.kubeflow.v2.kubeflow_v2_dag_runner import KubeflowV2DagRunner, KubeflowV2DagRunnerConfig
from tfx.orchestration.local.local_dag_runner import LocalDagRunner
from tfx.orchestration.metadata import sqlite_metadata_connection_config
from tfx.orchestration.pipeline import Pipeline
from tfx.types import artifact_utils, standard_artifacts

from components import faces
from components.behaviour.artifacts import Behaviour as BehaviourArtifact
from components.behaviour.results import Behaviour, Outcome, write_behaviour
from components.evaluate.component import FaceEvaluator
from components.evaluate.executor import SERVED_VERSION
from components.evaluate.results import is_blessed, read_figures
from components.settings import EvaluateSettings, Gate, to_json

SETTINGS = EvaluateSettings(gates={'accuracy': Gate(minimum=1.0, margin=0.0)}, slices=())
EASY = EvaluateSettings(gates={'accuracy': Gate(minimum=0.1)}, slices=())


def build(folder: Path, examples: Path, model: Path, settings: EvaluateSettings = SETTINGS) -> Pipeline:
    data = Importer(
        source_uri=str(examples),
        artifact_type=standard_artifacts.Examples,
        properties={'split_names': artifact_utils.encode_split_names(list(faces.SPLITS))},
    ).with_id('Data')
    candidate = Importer(source_uri=str(model), artifact_type=standard_artifacts.Model).with_id('Candidate')
    baseline = Importer(
        source_uri=str(folder / 'nothing'),
        artifact_type=standard_artifacts.Model,
        custom_properties={SERVED_VERSION: 0},
    ).with_id('Baseline')
    run = Importer(source_uri=str(folder / 'run'), artifact_type=standard_artifacts.ModelRun).with_id('Run')
    behaviour = Importer(source_uri=str(folder / 'behaviour'), artifact_type=BehaviourArtifact).with_id('Behaviour')
    evaluator = FaceEvaluator(
        faces.EXPRESSION_MODEL,
        data.outputs['result'],
        candidate.outputs['result'],
        baseline.outputs['result'],
        run.outputs['result'],
        behaviour.outputs['result'],
        to_json(settings),
    ).with_id('Evaluator-expression')
    return Pipeline(
        pipeline_name='evaluator',
        pipeline_root=str(folder / 'root'),
        metadata_connection_config=sqlite_metadata_connection_config(str(folder / 'metadata.db')),
        components=[data, candidate, baseline, run, behaviour, evaluator],
        beam_pipeline_args=['--direct_running_mode=in_memory', '--direct_num_workers=1'],
    )


@pytest.fixture
def evaluated(tmp_path, write_examples, save_model) -> Callable[[EvaluateSettings, bool], tuple[Path, Path]]:
    """Runs the step on a model that is right in four of five faces; gives the evaluation and the blessing."""

    def run(settings: EvaluateSettings, behaves: bool) -> tuple[Path, Path]:
        answers = np.eye(5, dtype=np.float32)[[0, 1, 2, 3, 3]]
        columns = {faces.LABEL: np.arange(5), faces.EXPRESSION: np.array(faces.EXPRESSIONS), 'answer': answers}
        examples = write_examples(tmp_path / 'examples', columns)
        model = save_model(tmp_path / 'model', 'answer', (5,), faces.PROBABILITIES)
        (tmp_path / 'run').mkdir()
        np.savez(tmp_path / 'run' / 'predictions.npz', truth=np.arange(5), prediction=answers)
        outcome = Outcome('mirror', 'invariance', 'share', 0.9, 0.98, behaves, 5)
        write_behaviour(tmp_path / 'behaviour', Behaviour(faces.EXPRESSION_MODEL, 5, (outcome,), ()))
        LocalDagRunner().run(build(tmp_path, examples, model, settings))
        (evaluation,) = (tmp_path / 'root/Evaluator-expression/evaluation').iterdir()
        (blessing,) = (tmp_path / 'root/Evaluator-expression/blessing').iterdir()
        return evaluation, blessing

    return run


def test_a_model_that_is_not_blessed_leaves_the_run_green(evaluated):
    evaluation, blessing = evaluated(SETTINGS, True)
    figures = {figure.metric: figure.value for figure in read_figures(evaluation) if figure.slice == 'overall'}
    assert figures['accuracy'] == pytest.approx(0.8)
    assert not is_blessed(blessing)


@pytest.mark.parametrize('behaves', [True, False])
def test_a_model_with_good_figures_is_blessed_only_if_it_behaves(evaluated, behaves):
    _, blessing = evaluated(EASY, behaves)
    assert is_blessed(blessing) == behaves


def test_the_step_compiles_for_kubeflow_with_plain_text_properties(tmp_path):
    compiled = tmp_path / 'pipeline.json'
    config = KubeflowV2DagRunnerConfig(default_image='registry.example/emotion:1')
    KubeflowV2DagRunner(config, output_filename=str(compiled)).run(build(tmp_path, tmp_path / 'examples', tmp_path))
    spec = json.loads(compiled.read_text())['pipelineSpec']
    parameters = spec['root']['dag']['tasks']['Evaluator-expression']['inputs']['parameters']
    assert parameters.keys() == {'task', 'settings', 'code'}
    container = spec['deploymentSpec']['executors']['Evaluator-expression_executor']['container']
    assert 'components.evaluate.executor.Executor' in container['args']
