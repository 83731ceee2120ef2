"""Mends the PipelineSpec that TFX compiles, so that open-source Kubeflow Pipelines runs it.

TFX writes for Vertex AI. Each function here mends, in place, one thing that Kubeflow's API server, driver or launcher
does not take, or refuses it in one line; Kubeflow itself would often take the spec and fail later, when a task starts.
"""

import json
import re
from collections.abc import Iterator
from typing import Any, Final

import yaml
from tfx.orchestration.kubeflow.utils import TFX_DAG_NAME

from components.errors import StepError
from pipeline.kubeflow.parameters import Parameter

Spec = dict[str, Any]
"""A PipelineSpec in protobuf's JSON form."""

ENTRYPOINT: Final = ('python', '-m', 'pipeline.kubeflow.entrypoint')

GRAPH: Final = TFX_DAG_NAME
"""The component into which TFX puts the graph when an exit handler follows it."""

_TASK: Final = re.compile(r'[A-Za-z0-9][A-Za-z0-9-]*')
_WHOLE_INPUT: Final = '{{$}}'


def executors(spec: Spec) -> dict[str, Spec]:
    """The executors by task."""
    return {
        task: spec['deploymentSpec']['executors'][spec['components'][entry['componentRef']['name']]['executorLabel']]
        for task, entry in tasks(spec).items()
    }


def tasks(spec: Spec) -> dict[str, Spec]:
    """The tasks by name: those of the graph, and the exit handler where there is one."""
    outer = spec['root']['dag']['tasks']
    if GRAPH not in outer:
        return outer
    return {**spec['components'][GRAPH]['dag']['tasks'], **{name: outer[name] for name in outer if name != GRAPH}}


def refuse_what_cannot_run(spec: Spec) -> None:
    """Raises StepError for what Kubeflow would refuse, or would only notice when the run has begun."""
    for task, executor in executors(spec).items():
        if not _TASK.fullmatch(task):
            raise StepError(f'Task {task!r}: a name on Kubeflow has letters, digits and - alone. Rename the step.')
        if 'resolver' in executor:
            raise StepError(f'Task {task}: Kubeflow runs no resolvers. Look the artifact up in a component.')
        if 'lifecycle' in executor.get('container', {}):
            raise StepError(
                f'Task {task}: Kubeflow ignores the driver of a file-based ExampleGen and would never see new data. '
                'Use a component that finds its own files.'
            )
        if 'condition' in tasks(spec)[task].get('triggerPolicy', {}):
            raise StepError(f'Task {task}: conditions are not compiled. Let the component itself look at its input.')


def refuse_templates(spec: Spec) -> None:
    """Raises StepError for a text with `{{`, which Argo, beneath Kubeflow, expands or chokes on."""
    for place, text in _texts(spec, ''):
        if '{{' in text and text != _WHOLE_INPUT:
            raise StepError(f'{place} has {{{{, which Kubeflow takes for a template: {_around(text)!r}. Reword it.')


def rename_components(spec: Spec) -> None:
    """`comp-` before components and `exec-` before executors, as Kubeflow's own compiler names them.

    kfp.local takes a component's prefix off without looking.
    """
    for name in [name for name in spec['components'] if name != GRAPH]:
        component = spec['components'].pop(name)
        executor = spec['deploymentSpec']['executors'].pop(component['executorLabel'])
        component['executorLabel'] = f'exec-{name}'
        spec['components'][f'comp-{name}'] = component
        spec['deploymentSpec']['executors'][f'exec-{name}'] = executor
    for entry in tasks(spec).values():
        entry['componentRef']['name'] = f'comp-{entry["componentRef"]["name"]}'


def name_producers(spec: Spec) -> None:
    """The task that gives a parameter, by its name; TFX appends `_task`."""
    for task, entry in tasks(spec).items():
        for name, given in entry.get('inputs', {}).get('parameters', {}).items():
            source = given.get('taskOutputParameter')
            if source is not None:
                source['producerTask'] = source['producerTask'].removesuffix('_task')
                if source['producerTask'] not in tasks(spec):
                    raise StepError(f'Task {task}: no task {source["producerTask"]} gives its parameter {name}.')


def drop_value_artifacts(spec: Spec) -> None:
    """Texts that tasks hand on are parameters alone; as artifacts they would hide the others in the dashboard."""
    for component in spec['components'].values():
        outputs = component.get('outputDefinitions', {})
        # TFX makes parameters of those alone that another task reads.
        unread = [name for name, kind in outputs.get('artifacts', {}).items() if _is_text(kind)]
        if unread:
            outputs.setdefault('parameters', {}).update({name: {'parameterType': 'STRING'} for name in unread})
        for name in outputs.get('parameters', {}):
            outputs.get('artifacts', {}).pop(name, None)
        if outputs.get('artifacts') == {}:
            del outputs['artifacts']


def _is_text(kind: Spec) -> bool:
    return yaml.safe_load(kind['artifactType'].get('instanceSchema', '{}')).get('title') == 'tfx.String'


def add_parameters(spec: Spec, parameters: tuple[Parameter, ...], task: str) -> None:
    """The run's parameters, with their defaults, as inputs of the pipeline and of one task."""
    entry = tasks(spec)[task]
    component = spec['components'][entry['componentRef']['name']]
    root = spec['root'].setdefault('inputDefinitions', {}).setdefault('parameters', {})
    for parameter in parameters:
        root[parameter.name] = {
            'parameterType': parameter.kind,
            'defaultValue': parameter.default,
            'description': parameter.description,
            'isOptional': True,
        }
        if GRAPH in spec['components']:
            _pass_on(spec, parameter)
        component['inputDefinitions']['parameters'][parameter.name] = {'parameterType': parameter.kind}
        entry['inputs']['parameters'][parameter.name] = {'componentInputParameter': parameter.name}
    for name, definition in root.items():
        if 'defaultValue' not in definition:
            raise StepError(f'The pipeline parameter {name} has no default: Kubeflow would not start a run without it.')


def set_commands(spec: Spec) -> None:
    """Our entrypoint in TFX's place, told of the inputs as they are now declared."""
    for entry in tasks(spec).values():
        component = spec['components'][entry['componentRef']['name']]
        container = spec['deploymentSpec']['executors'][component['executorLabel']]['container']
        container['command'] = list(ENTRYPOINT)
        place = container['args'].index('--json_serialized_inputs_spec_args') + 1
        container['args'][place] = json.dumps(component.get('inputDefinitions', {}), sort_keys=True)


def _pass_on(spec: Spec, parameter: Parameter) -> None:
    """Lets a parameter of the pipeline into the graph that stands beside an exit handler; TFX leaves it outside."""
    inside = spec['components'][GRAPH].setdefault('inputDefinitions', {}).setdefault('parameters', {})
    inside[parameter.name] = {'parameterType': parameter.kind}
    task = spec['root']['dag']['tasks'][GRAPH]
    given = task.setdefault('inputs', {}).setdefault('parameters', {})
    given[parameter.name] = {'componentInputParameter': parameter.name}


def _texts(value: Any, place: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield place, value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from _texts(inner, f'{place}.{key}' if place else key)
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from _texts(inner, f'{place}[{number}]')


def _around(text: str) -> str:
    start = max(0, text.index('{{') - 20)
    return text[start : start + 60]
