"""The compiled pipeline, read back: each thing that Kubeflow would refuse, and what people set of it."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from google.protobuf import json_format
from kfp import components as kfp_components
from kfp.pipeline_spec import pipeline_spec_pb2
from tfx import types
from tfx.components import CsvExampleGen, InfraValidator
from tfx.dsl.component.experimental.annotations import OutputArtifact, OutputDict, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.dsl.components.common.resolver import Resolver
from tfx.dsl.experimental.conditionals.conditional import Cond
from tfx.dsl.input_resolution.strategies.latest_artifact_strategy import LatestArtifactStrategy
from tfx.orchestration.data_types import RuntimeParameter
from tfx.orchestration.pipeline import Pipeline
from tfx.types import standard_artifacts

from components import faces
from components.errors import StepError
from components.settings import WorkerSettings, to_json
from components.train.arguments import Arguments
from components.train.job import MANIFEST, filled
from pipeline.config import load
from pipeline.kubeflow import mend
from pipeline.kubeflow.compile import compile_graph, compile_pipeline
from pipeline.kubeflow.settings import KubeflowSettings, Resources
from pipeline.kubeflow.training_job import training_job
from tests.components.train.training_operator import check_schema

ROOT = Path(__file__).parents[3]
UNCACHED = {'Survey', 'RunReport', 'Pusher-faces'} | {
    f'{step}-{task}' for step in ('DataCheck', 'DataGate', 'ServedModel', 'Pusher') for task in faces.TASKS
}


@pytest.fixture(scope='module')
def text() -> str:
    return compile_pipeline(load('full'))


@pytest.fixture(scope='module')
def spec(text) -> dict[str, Any]:
    return next(yaml.safe_load_all(text))


@pytest.fixture(scope='module')
def tasks(spec) -> dict[str, Any]:
    return mend.tasks(spec)


def executors_of(*overrides: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The containers and the pods by task."""
    spec, platform = yaml.safe_load_all(compile_pipeline(load('full', overrides)))
    pods = platform['platforms']['kubernetes']['deploymentSpec']['executors']
    containers = {task: executor['container'] for task, executor in mend.executors(spec).items()}
    return containers, {task: pods.get(f'exec-{task}', {}) for task in containers}


def parameters_of(spec: dict[str, Any], task: str) -> dict[str, Any]:
    return mend.tasks(spec)[task]['inputs']['parameters']


def test_kfp_itself_reads_it_and_knows_the_parameters(text):
    pipeline = kfp_components.load_component_from_text(text)
    assert pipeline.name == 'full'
    assert pipeline.pipeline_spec.schema_version == '2.1.0'
    assert pipeline.platform_spec.platforms['kubernetes']
    inputs = pipeline.component_spec.inputs
    assert inputs['expression_epochs'].type == 'Integer'
    assert inputs['expression_epochs'].default == load('full').train.expression.epochs
    assert inputs['retrain'].type == 'Boolean'
    assert inputs['retrain'].default is False
    assert all(given.optional for given in inputs.values())


def test_it_is_two_documents_without_an_unknown_field(text):
    spec, platform = yaml.safe_load_all(text)
    json_format.ParseDict(spec, pipeline_spec_pb2.PipelineSpec())
    json_format.ParseDict(platform, pipeline_spec_pb2.PlatformSpec())


def test_the_same_pipeline_has_the_same_bytes_and_other_code_another_key(spec, text, tmp_path):
    """In other processes, with other seeds of Python's hashes, from a copy of the code with one step edited."""
    for package in ('components', 'pipeline', 'schemas', 'data'):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns('__pycache__'))

    def compiled(seed: str) -> str:
        script = 'from pipeline.config import load; from pipeline.kubeflow.compile import compile_pipeline; '
        environment = {**os.environ, 'PYTHONPATH': str(tmp_path), 'PYTHONHASHSEED': seed}
        command = [sys.executable, '-c', f"{script} print(compile_pipeline(load('full')), end='')"]
        return subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=True).stdout

    assert compiled('1') == text
    with (tmp_path / 'components' / 'train' / 'losses.py').open('a') as source:
        source.write('# edited\n')
    edited = next(yaml.safe_load_all(compiled('2')))
    differing = {task for task in mend.tasks(spec) if parameters_of(spec, task) != parameters_of(edited, task)}
    assert differing == {'Survey', 'Trainer-expression', 'Trainer-keypoints'}


def test_every_task_that_may_be_cached_is_told_its_code(tasks):
    cached = {task for task, entry in tasks.items() if entry['cachingOptions']['enableCache']}
    assert set(tasks) - cached == UNCACHED
    for task in cached:
        given = tasks[task]['inputs']['parameters']
        assert given.keys() & {'code', 'content'}, task


def test_what_is_outside_the_graph_reaches_cached_tasks_as_parameters(tasks):
    def source(task: str, name: str) -> dict[str, str]:
        return tasks[task]['inputs']['parameters'][name]['taskOutputParameter']

    for task in faces.TASKS:
        told = {'producerTask': 'Survey', 'outputParameterKey': f'{task}_data'}
        assert source(f'FaceExampleGen-{task}', 'data') == told
        assert source(f'Trainer-{task}', 'custom_config')['outputParameterKey'] == f'{task}_train'
        assert source(f'ServedModel-{task}', 'baseline')['outputParameterKey'] == f'{task}_baseline'


def test_the_branches_stand_side_by_side_until_they_are_joined(tasks):
    def upstream(task: str) -> set[str]:
        direct = set(tasks[task].get('dependentTasks', []))
        return direct.union(*(upstream(other) for other in direct))

    for task, other in (faces.TASKS, faces.TASKS[::-1]):
        assert not [name for name in upstream(f'Pusher-{task}') if name.endswith(f'-{other}')]
        assert f'DataGate-{task}' in upstream(f'Trainer-{task}')
        assert f'Evaluator-{task}' in upstream('JointModel')
    assert set(tasks) - {'RunReport'} == upstream('RunReport') | {f'DataGate-{task}' for task in faces.TASKS}


def test_every_name_is_one_that_kubeflow_takes(tasks, spec):
    assert all(re.fullmatch(r'[A-Za-z0-9][A-Za-z0-9-]*', task) for task in tasks)
    assert all(name.startswith('comp-') for name in spec['components'])
    assert {executor.keys() & {'resolver', 'importer'} == set() for executor in mend.executors(spec).values()} == {True}


def test_every_task_starts_our_entrypoint_and_no_text_is_a_template(spec, text):
    for task, executor in mend.executors(spec).items():
        container = executor['container']
        assert container['command'] == ['python', '-m', 'pipeline.kubeflow.entrypoint']
        assert container['args'].count('{{$}}') == 1
        declared = json_format.Parse(
            container['args'][container['args'].index('--json_serialized_inputs_spec_args') + 1],
            pipeline_spec_pb2.ComponentInputsSpec(),
        )
        assert set(declared.parameters) == set(parameters_of(spec, task))
        assert max(map(len, container['args'])) < 60_000  # of Linux's 128 KiB, with the inputs' texts still to come
    assert set(re.findall(r'\{\{[^\n]*', text)) == {"{{$}}'"}


def test_output_parameters_are_no_artifacts_and_all_of_them_are_texts(spec):
    outputs = spec['components']['comp-Survey']['outputDefinitions']
    assert 'artifacts' not in outputs
    assert {kind['parameterType'] for kind in outputs['parameters'].values()} == {'STRING'}


def test_the_dashboard_gets_the_artifacts_that_it_draws(spec):
    def types_of(task: str) -> dict[str, str]:
        artifacts = spec['components'][f'comp-{task}']['outputDefinitions']['artifacts']
        return {
            name: yaml.safe_load(kind['artifactType']['instanceSchema'])['title'] for name, kind in artifacts.items()
        }

    assert types_of('RunReport')['run_report'] == 'system.HTML'
    assert types_of('DataCheck-keypoints')['data_report'] == 'system.Markdown'
    assert types_of('Evaluator-keypoints') == {
        'evaluation': 'tfx.ModelEvaluation',
        'blessing': 'tfx.ModelBlessing',
        'metrics': 'system.Metrics',
    }
    assert types_of('Evaluator-expression')['confusion_matrix'] == 'system.ClassificationMetrics'
    assert types_of('Evaluator-expression')['roc_micro_average'] == 'system.ClassificationMetrics'


def test_failed_pods_are_started_again_with_back_off_unless_they_refuse(tasks):
    refusing = {task for task, entry in tasks.items() if 'retryPolicy' not in entry}
    assert refusing == {'Survey', 'DataGate-expression', 'DataGate-keypoints'}
    assert tasks['Trainer-keypoints']['retryPolicy'] == {
        'maxRetryCount': 2,
        'backoffDuration': '30s',
        'backoffFactor': 2.0,
        'backoffMaxDuration': '600s',
    }


def test_resources_are_those_of_the_task_else_of_the_step_else_of_all():
    containers, pods = executors_of(
        'kubeflow.resources.default.memory_limit=3',
        'kubeflow.resources.Trainer={cpu_limit: 8, accelerator: nvidia.com/gpu, node_selector: {pool: gpu}}',
        'kubeflow.resources.Trainer-keypoints={cpu_limit: 6}',
    )
    assert containers['Pusher-faces']['resources']['memoryLimit'] == 3
    assert containers['Trainer-expression']['resources']['cpuLimit'] == 8
    assert containers['Trainer-expression']['resources']['accelerator'] == {'type': 'nvidia.com/gpu', 'count': '1'}
    assert containers['Trainer-keypoints']['resources']['cpuLimit'] == 6
    assert 'accelerator' not in containers['Trainer-keypoints']['resources']
    assert {task for task, pod in pods.items() if 'nodeSelector' in pod} == {'Trainer-expression'}
    assert pods['Trainer-expression']['nodeSelector'] == {'labels': {'pool': 'gpu'}}


def test_a_training_in_a_job_takes_the_trainers_resources_and_leaves_the_step_those_of_all():
    containers, pods = executors_of(
        'kubeflow.training=job',
        'kubeflow.training_job_seconds=60',
        'kubeflow.image=registry.example/faces:1',
        'kubeflow.secrets={TOKEN: {secret: store, key: token}}',
        'kubeflow.image_pull_secrets=[registry]',
        'kubeflow.resources.Trainer={cpu_limit: 8, accelerator: nvidia.com/gpu, node_selector: {pool: gpu}}',
    )
    assert {task for task, container in containers.items() if 'env' in container} == {
        f'Trainer-{task}' for task in faces.TASKS
    }
    trainer, pod = containers['Trainer-keypoints'], pods['Trainer-keypoints']
    assert trainer['resources'] == containers['Pusher-faces']['resources']
    assert 'nodeSelector' not in pod
    assert pod['pvcMount'] == [{'constant': 'faces-state', 'mountPath': '/mnt/state'}]
    ((name, text),) = [(entry['name'], entry['value']) for entry in trainer['env']]
    assert name == MANIFEST
    arguments = Arguments('keypoints', '/mnt/state/a', [], [], '', '', '', {'workers': to_json(WorkerSettings(3))})
    job = filled(json.loads(text), 'train-keypoints-0123456789abcdef', arguments, Path('/mnt/state/a/arguments.json'))
    check_schema(job)
    assert job['spec']['runPolicy'] == {
        'backoffLimit': 10,
        'cleanPodPolicy': 'Running',
        'ttlSecondsAfterFinished': 60,
    }
    workers = job['spec']['tfReplicaSpecs']['Worker']
    assert (workers['replicas'], workers['restartPolicy']) == (3, 'OnFailure')
    spec = workers['template']['spec']
    assert spec['nodeSelector'] == {'pool': 'gpu'}
    assert spec['imagePullSecrets'] == [{'name': 'registry'}]
    (container,) = spec['containers']
    assert container['image'] == 'registry.example/faces:1'
    assert container['command'] == ['python', '-m', 'components.train.worker']
    assert container['args'] == ['--arguments', '/mnt/state/a/arguments.json']
    assert container['resources']['limits'] == {'cpu': '8', 'memory': '4G', 'nvidia.com/gpu': '1'}
    assert container['volumeMounts'] == [{'name': 'state', 'mountPath': '/mnt/state'}]
    assert container['env'] == [{'name': 'TOKEN', 'valueFrom': {'secretKeyRef': {'name': 'store', 'key': 'token'}}}]


def test_several_workers_in_one_pod_are_refused():
    with pytest.raises(StepError, match='workers.count is 2 and kubeflow.training pod: set kubeflow.training to job'):
        compile_pipeline(load('full', ['workers.count=2']))
    compile_pipeline(load('full', ['workers.count=2', 'kubeflow.training=job']))


@pytest.mark.parametrize(
    'broken',
    [
        lambda job: job['spec'].update(tfReplicaSpec={}),
        lambda job: job['spec'].pop('runPolicy'),
        lambda job: job['spec']['tfReplicaSpecs']['Worker'].update(restartPolicy='Sometimes'),
        lambda job: job['spec']['tfReplicaSpecs']['Worker']['template']['spec']['containers'][0].update(name='other'),
        lambda job: job['spec']['tfReplicaSpecs']['Worker']['template']['spec']['containers'][0].update(arg=[]),
        lambda job: job['metadata'].update(name='Train'),
    ],
)
def test_the_schema_of_the_job_sees_what_is_wrong(broken):
    job = json.loads(training_job(KubeflowSettings(), 'keypoints', Resources()))
    arguments = Arguments('keypoints', '/mnt/state/a', [], [], '', '', '', {})
    filled(job, 'train', arguments, Path('/mnt/state/a/arguments.json'))
    check_schema(job)
    broken(job)
    with pytest.raises(jsonschema.ValidationError):
        check_schema(job)


def test_secrets_are_named_and_volumes_mounted_where_they_are_used():
    containers, pods = executors_of(
        'kubeflow.secrets={DB_PASSWORD: {secret: metadata, key: password}}',
        'kubeflow.image_pull_secrets=[registry]',
        'kubeflow.image=registry.example/faces@sha256:0123',
        'kubeflow.serving={claim: models, path: /models}',
    )
    for task, pod in pods.items():
        assert containers[task]['image'] == 'registry.example/faces@sha256:0123'
        assert pod['imagePullSecret'] == [{'secretName': 'registry'}]
        assert pod['secretAsEnv'] == [
            {'secretName': 'metadata', 'keyToEnv': [{'secretKey': 'password', 'envVar': 'DB_PASSWORD'}]}
        ]
    assert pods['Pusher-faces']['pvcMount'] == [{'constant': 'models', 'mountPath': '/models'}]
    assert pods['Trainer-expression']['pvcMount'] == [{'constant': 'faces-state', 'mountPath': '/mnt/state'}]
    assert len(pods['Survey']['pvcMount']) == 3
    assert 'pvcMount' not in pods['Evaluator-expression']


def test_with_a_hook_a_last_task_is_told_how_the_run_ended():
    text = compile_pipeline(load('full', ['hooks.webhook=env:WEBHOOK']))
    spec, platform = yaml.safe_load_all(text)
    outer = spec['root']['dag']['tasks']
    assert set(outer) == {'tfx-dag', 'Conclusion'}
    assert outer['Conclusion']['triggerPolicy'] == {'strategy': 'ALL_UPSTREAM_TASKS_COMPLETED'}
    assert outer['Conclusion']['dependentTasks'] == ['tfx-dag']
    given = parameters_of(spec, 'Conclusion')
    assert given['final_status'] == {'taskFinalStatus': {'producerTask': 'tfx-dag'}}
    # What a person sets goes through to the graph inside.
    names = set(spec['root']['inputDefinitions']['parameters'])
    assert set(outer['tfx-dag']['inputs']['parameters']) == names
    assert set(spec['components']['tfx-dag']['inputDefinitions']['parameters']) == names
    pods = platform['platforms']['kubernetes']['deploymentSpec']['executors']
    for task in ('RunReport', 'Conclusion'):
        assert pods[f'exec-{task}']['pvcMount'] == [{'constant': 'faces-state', 'mountPath': '/mnt/state'}]
    assert kfp_components.load_component_from_text(text).name == 'full'


def test_a_text_that_argo_would_expand_is_refused():
    with pytest.raises(StepError, match=r"has \{\{.*'.*inputs\.x") as caught:
        compile_pipeline(load('full', ['ingest.keypoints.files=["/data/{{inputs.x}}.csv"]']))
    assert '\n' not in str(caught.value)


def test_a_name_that_kubernetes_does_not_take_is_refused():
    with pytest.raises(StepError, match="name is 'My_faces'"):
        compile_pipeline(load('full', ['name=My_faces']))


def test_an_engine_whose_workers_would_not_see_a_tasks_files_is_refused():
    with pytest.raises(StepError, match='beam.runner is portable: on Kubeflow the launcher copies artifacts'):
        compile_pipeline(load('full', ['beam.runner=portable']))


@component
def Make(  # noqa: N802 - TFX's components are called like classes
    model: OutputArtifact[standard_artifacts.Model], rate: Parameter[float] = 0.1
) -> OutputDict(note=str):
    """A step with an artifact, a parameter and a text."""
    return {'note': f'{model.uri} {rate}'}


@component
def Measure() -> OutputDict(value=float):  # noqa: N802
    """A step that gives a number with a fraction."""
    return {'value': 0.5}


def graph_of(*steps: Any) -> Pipeline:
    return Pipeline('small', '/tmp', components=list(steps))


def refusal(*steps: Any) -> str:
    with pytest.raises(StepError) as caught:
        compile_graph(graph_of(*steps), 'image')
    assert '\n' not in str(caught.value)
    return str(caught.value)


def test_a_step_with_an_underscore_is_refused():
    assert "'train_a'" in refusal(Make().with_id('train_a'))


def test_a_resolver_is_refused():
    resolver = Resolver(LatestArtifactStrategy, model=types.Channel(type=standard_artifacts.Model)).with_id('Latest')
    assert 'Latest' in refusal(resolver)


def test_an_infra_validator_is_refused():
    make = Make()
    validator = InfraValidator(model=make.outputs['model'], serving_spec={'tensorflow_serving': {'tags': ['latest']}})
    assert 'ServingCheck' in refusal(make, validator)


def test_a_file_based_example_gen_is_refused():
    assert 'never see new data' in refusal(CsvExampleGen(input_base='/data'))


def test_a_condition_is_refused():
    make = Make()
    with Cond(make.outputs['model'].future()[0].custom_property('blessed') == 1):
        second = Make().with_id('Second')
    assert 'Second: conditions' in refusal(make, second)


def test_a_number_with_a_fraction_from_another_task_is_refused():
    measure = Measure()
    make = Make(rate=measure.outputs['value'].future()[0].value)
    assert 'cannot compile' in refusal(measure, make)


def test_a_pipeline_parameter_without_a_default_is_refused():
    spec = compile_graph(graph_of(Make(rate=RuntimeParameter('rate', ptype=float, default=0.3))), 'image')
    with pytest.raises(StepError, match='rate has no default'):
        mend.add_parameters(spec, (), 'Make')
