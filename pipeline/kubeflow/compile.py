"""Compiles the pipeline for open-source Kubeflow Pipelines: one YAML, the PipelineSpec and what Kubernetes needs."""

import json
import re
from typing import Any, Final

import yaml
from google.protobuf import json_format
from kfp.pipeline_spec import pipeline_spec_pb2
from tfx.components import InfraValidator
from tfx.dsl.components.base.base_component import BaseComponent
from tfx.orchestration.kubeflow.v2.kubeflow_v2_dag_runner import KubeflowV2DagRunner, KubeflowV2DagRunnerConfig
from tfx.orchestration.pipeline import Pipeline

from components.errors import StepError
from components.train.job import MANIFEST
from pipeline.beam.check import refuse_on_kubeflow
from pipeline.config import Config
from pipeline.dag import create_pipeline
from pipeline.kubeflow import mend, parameters
from pipeline.kubeflow.artifacts import artifact_types, register
from pipeline.kubeflow.conclusion import Conclusion
from pipeline.kubeflow.settings import KubeflowSettings, Resources, Volume
from pipeline.kubeflow.survey import Survey
from pipeline.kubeflow.training_job import refuse_workers_in_one_pod, training_job
from pipeline.kubeflow.volumes import on_volumes

SURVEY: Final = 'Survey'
CONCLUSION: Final = 'Conclusion'

READS_OUTSIDE: Final = frozenset({SURVEY, 'DataCheck', 'DataGate', 'ServedModel', 'Pusher', 'RunReport', CONCLUSION})
"""Steps that read or change what is outside the graph, and are never taken from the cache."""

REFUSES: Final = frozenset({SURVEY, 'DataGate'})
"""Steps whose failure is an answer, the same at every attempt."""

_NAME: Final = re.compile(r'[a-z0-9]([a-z0-9-]{0,126}[a-z0-9])?')


def compile_pipeline(config: Config) -> str:
    """The pipeline as YAML: PipelineSpec 2.1.0, and the platform document of Kubernetes.

    The same configuration and code give the same bytes.

    Args:
        config: the pipeline; its folders are moved to the volumes of `config.kubeflow`.

    Raises:
        StepError: Kubeflow could not run it.
    """
    if not _NAME.fullmatch(config.name):
        raise StepError(f'name is {config.name!r}: on Kubeflow it has lower-case letters, digits and - alone.')
    refuse_on_kubeflow(config.beam)
    refuse_workers_in_one_pod(config)
    placed = on_volumes(config)
    survey = Survey(placed).with_id(SURVEY)
    outcomes, last = '', None
    if placed.hooks.command or placed.hooks.webhook:
        outcomes = str(placed.store / 'outcomes')
        last = Conclusion(placed.name, placed.hooks, outcomes).with_id(CONCLUSION)
    spec = compile_graph(create_pipeline(placed, survey.world, (survey,), outcomes), placed.kubeflow.image, last)
    mend.add_parameters(spec, parameters.parameters(placed), SURVEY)
    mend.set_commands(spec)
    _set_tasks(spec, placed.kubeflow)
    mend.refuse_templates(spec)
    json_format.ParseDict(spec, pipeline_spec_pb2.PipelineSpec())
    return _to_yaml(placed, spec, {'platforms': {'kubernetes': {'deploymentSpec': {'executors': _pods(spec, placed)}}}})


def compile_graph(graph: Pipeline, image: str, last: BaseComponent | None = None) -> mend.Spec:
    """The PipelineSpec of a TFX graph, mended as far as the graph alone demands.

    Args:
        graph: the pipeline.
        image: of every task.
        last: the exit handler, which runs whatever became of the others.

    Raises:
        StepError: Kubeflow could not run it.
    """
    for step in graph.components:
        if isinstance(step, InfraValidator):
            raise StepError(f'Task {step.id}: Kubeflow runs no InfraValidator. Use ServingCheck.')
    register(artifact_types())
    runner = KubeflowV2DagRunner(
        KubeflowV2DagRunnerConfig(
            default_image=image, default_commands=list(mend.ENTRYPOINT), use_pipeline_spec_2_1=True
        )
    )
    if last is not None:
        runner.set_exit_handler(last)
    try:
        spec = runner.run(graph, write_out=False)['pipelineSpec']
    except (ValueError, NotImplementedError) as error:
        raise StepError(f'TFX cannot compile this graph for Kubeflow: {str(error).splitlines()[0]}') from error
    mend.refuse_what_cannot_run(spec)
    mend.rename_components(spec)
    mend.drop_value_artifacts(spec)
    mend.name_producers(spec)
    return spec


def _set_tasks(spec: mend.Spec, settings: KubeflowSettings) -> None:
    """Caching, retries and resources of each task."""
    for task, executor in mend.executors(spec).items():
        step = _step(task)
        entry = mend.tasks(spec)[task]
        entry['cachingOptions'] = {'enableCache': step not in READS_OUTSIDE}
        if step not in REFUSES and settings.retries.count:
            entry['retryPolicy'] = {
                'maxRetryCount': settings.retries.count,
                'backoffDuration': f'{settings.retries.back_off}s',
                'backoffFactor': settings.retries.factor,
                'backoffMaxDuration': f'{settings.retries.maximum_back_off}s',
            }
        executor['container']['resources'] = _resources(_of(settings, task))
        if _trains_in_job(settings, task):
            # Where a training runs is no part of Kubeflow's cache key, as the environment is none.
            job = training_job(settings, task.partition('-')[2], _looked_up(settings, task))
            executor['container']['env'] = [{'name': MANIFEST, 'value': job}]


def _resources(wanted: Resources) -> dict[str, Any]:
    resources: dict[str, Any] = {
        'cpuRequest': wanted.cpu_request,
        'cpuLimit': wanted.cpu_limit,
        'memoryRequest': wanted.memory_request,
        'memoryLimit': wanted.memory_limit,
    }
    if wanted.accelerator:
        resources['accelerator'] = {'type': wanted.accelerator, 'count': str(wanted.accelerators)}
    return resources


def _pods(spec: mend.Spec, config: Config) -> dict[str, Any]:
    """What Kubernetes is told of each executor's pod."""
    settings = config.kubeflow
    hooked = CONCLUSION in mend.tasks(spec)
    pods: dict[str, Any] = {}
    for task in mend.tasks(spec):
        pod: dict[str, Any] = {}
        mounts = [{'constant': volume.claim, 'mountPath': volume.path} for volume in _volumes(settings, task, hooked)]
        if mounts:
            pod['pvcMount'] = mounts
        if _of(settings, task).node_selector:
            pod['nodeSelector'] = {'labels': _of(settings, task).node_selector}
        if settings.secrets:
            pod['secretAsEnv'] = [
                {'secretName': entry.secret, 'keyToEnv': [{'secretKey': entry.key, 'envVar': variable}]}
                for variable, entry in sorted(settings.secrets.items())
            ]
        if settings.image_pull_secrets:
            pod['imagePullSecret'] = [{'secretName': name} for name in settings.image_pull_secrets]
        if pod:
            pods[f'exec-{task}'] = pod
    return pods


def _volumes(settings: KubeflowSettings, task: str, hooked: bool) -> list[Volume]:
    """The volumes that a task reads or writes, and no others: a volume ties its pod to the volume's node."""
    readers = {
        settings.data: {SURVEY, 'FaceExampleGen'},
        settings.serving: {SURVEY, 'ServedModel', 'Pusher'},
        settings.state: {
            SURVEY,
            'DataCheck',
            'DataGate',
            'LabelAudit',
            'Trainer',
            *(['RunReport', CONCLUSION] if hooked else []),
        },
    }
    return [volume for volume, steps in readers.items() if volume.claim and _step(task) in steps]


def _of(settings: KubeflowSettings, task: str) -> Resources:
    """The resources of a task's pod, which only waits where its training is a job."""
    return _looked_up(settings, 'default' if _trains_in_job(settings, task) else task)


def _trains_in_job(settings: KubeflowSettings, task: str) -> bool:
    return settings.training == 'job' and _step(task) == 'Trainer'


def _looked_up(settings: KubeflowSettings, task: str) -> Resources:
    """The resources of the task itself, of its step, or of all."""
    found = (settings.resources.get(name) for name in (task, _step(task), 'default'))
    return next((resources for resources in found if resources is not None), Resources())


def _step(task: str) -> str:
    return task.partition('-')[0]


class _Dumper(yaml.SafeDumper):
    """YAML in which texts of several lines are blocks."""


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
    return dumper.represent_scalar('tag:yaml.org,2002:str', text, style='|' if '\n' in text else None)


_Dumper.add_representer(str, _represent_text)


def _to_yaml(config: Config, spec: mend.Spec, platform: dict[str, Any]) -> str:
    head = [
        '# PIPELINE DEFINITION',
        f'# Name: {config.name}',
        '# Inputs:',
        *(
            f'#    {parameter.name}: {parameter.kind} [Default: {json.dumps(parameter.default)}]'
            for parameter in parameters.parameters(config)
        ),
    ]
    documents = yaml.dump_all([spec, platform], Dumper=_Dumper, sort_keys=True, width=120, allow_unicode=True)
    return '\n'.join(head) + '\n' + documents
