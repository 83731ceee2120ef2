"""A compiled pipeline as it is submitted: its name, its version, its run-time parameters."""

import difflib
import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from components.errors import StepError

_LARGEST_FILE: Final = 32 * 1024 * 1024  # The server takes no more.
_WHOLE_NUMBERS: Final = 2**53  # The server keeps numbers as doubles.


@dataclass(frozen=True)
class Parameter:
    """A run-time parameter.

    Attributes:
        kind: `NUMBER_INTEGER`, `NUMBER_DOUBLE`, `BOOLEAN`, `STRING`, `LIST` or `STRUCT`.
        required: whether a run needs a value for it.
        default: its value in a run that gives none.
    """

    kind: str
    required: bool
    default: Any = None


@dataclass(frozen=True)
class Specification:
    """A PipelineSpec, and what follows from it.

    Attributes:
        text: YAML, as it is uploaded.
        name: of the pipeline.
        parameters: by name.
        tasks: names of those that run a container.
    """

    text: str
    name: str
    parameters: Mapping[str, Parameter]
    tasks: tuple[str, ...]

    @property
    def version(self) -> str:
        """Name of the version: the beginning of the content's SHA-256."""
        return hashlib.sha256(self.text.encode()).hexdigest()[:12]

    def arguments(self, assignments: Sequence[str]) -> dict[str, Any]:
        """The values that a run is given.

        Args:
            assignments: `NAME=VALUE`, read by the parameter's type.

        Raises:
            StepError: a parameter is unknown, lacks a value, or has one of another type.
        """
        values: dict[str, Any] = {}
        for assignment in assignments:
            name, separator, text = assignment.partition('=')
            if not separator:
                raise StepError(f'--parameter {assignment!r}: write it as NAME=VALUE.')
            if name not in self.parameters:
                raise StepError(f'Pipeline {self.name} has no parameter {name!r}: {self._nearest(name)}')
            values[name] = _value(name, self.parameters[name].kind, text)
        missing = [name for name, parameter in self.parameters.items() if parameter.required and name not in values]
        if missing:
            raise StepError(
                f'Pipeline {self.name} needs a value for {", ".join(missing)}: give --parameter {missing[0]}=….'
            )
        return values

    def _nearest(self, name: str) -> str:
        close = difflib.get_close_matches(name, self.parameters, n=1, cutoff=0.5)
        if close:
            return f'did you mean {close[0]}?'
        return f'it has {", ".join(self.parameters)}.' if self.parameters else 'it has none.'


def read(text: str, where: str = 'The compiled pipeline', name: str = '') -> Specification:
    """Reads the YAML that the compiler wrote.

    Args:
        text: a PipelineSpec, and perhaps a second document with the platforms' settings.
        where: names it in an error.
        name: of the pipeline; the one in the specification when left out.

    Raises:
        StepError: it is no such YAML.
    """
    specification = _documents(text, where)[0]
    inputs = _mapping(specification['root'].get('inputDefinitions')).get('parameters')
    name = name or str(_mapping(specification.get('pipelineInfo')).get('name') or '')
    if not name:
        raise StepError(f'{where} has no name: pipelineInfo.name is missing.')
    parameters = {str(key): _parameter(_mapping(value)) for key, value in _mapping(inputs).items()}
    components = _mapping(specification.get('components'))
    tasks = tuple(key for key, task in _tasks(specification) if 'executorLabel' in _component(components, task))
    return Specification(text, name, parameters, tasks)


def read_file(path: Path) -> Specification:
    """Reads a file that the compiler wrote.

    Raises:
        StepError: there is no such file, it is larger than the server takes, or no compiled pipeline.
    """
    try:
        with path.open('rb') as file:
            content = file.read(_LARGEST_FILE + 1)
        if len(content) > _LARGEST_FILE:
            raise StepError(f'{path} is larger than 32 MiB, the most that the server takes.')
        return read(content.decode(), str(path))
    except OSError as error:
        raise StepError(f'{path} cannot be read: {error.strerror}.') from error
    except UnicodeDecodeError as error:
        raise StepError(f'{path} is no text in UTF-8: give the YAML that `kubeflow compile` writes.') from error


def without_cache(specification: Specification) -> Specification:
    """The same pipeline with every task's cache off.

    A run of an uploaded version has no such switch: there, `kfp.Client.run_pipeline` does not heed `enable_caching`.
    """
    documents = _documents(specification.text, specification.name)
    for _, task in _tasks(documents[0]):
        task['cachingOptions'] = {'enableCache': False}
    text = yaml.safe_dump_all(documents, sort_keys=True, allow_unicode=True, width=120)
    return read(text, specification.name, specification.name)


def _documents(text: str, where: str) -> list[Any]:
    try:
        documents = list(yaml.safe_load_all(text))
    except (yaml.YAMLError, RecursionError) as error:
        raise StepError(f'{where} cannot be read as YAML: {" ".join(str(error).split())}') from error
    first = documents[0] if documents else None
    if not isinstance(first, dict) or not isinstance(first.get('root'), dict):
        raise StepError(f'{where} is no compiled pipeline: its first document has no root. Give what `compile` writes.')
    return documents


def _tasks(specification: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every task, also of a DAG inside another."""
    components = _mapping(specification.get('components'))
    for component in (specification['root'], *components.values()):
        for name, task in _mapping(_mapping(_mapping(component).get('dag')).get('tasks')).items():
            if isinstance(task, dict):
                yield str(name), task


def _component(components: Mapping[str, Any], task: Mapping[str, Any]) -> Mapping[str, Any]:
    return _mapping(components.get(str(_mapping(task.get('componentRef')).get('name'))))


def _parameter(definition: Mapping[str, Any]) -> Parameter:
    required = 'defaultValue' not in definition and not definition.get('isOptional')
    return Parameter(str(definition.get('parameterType')), required, definition.get('defaultValue'))


def _value(name: str, kind: str, text: str) -> Any:
    try:
        value = text if kind == 'STRING' else json.loads(text)
    except ValueError:
        value = None
    kinds: dict[str, tuple[type, ...]] = {
        'STRING': (str,),
        'NUMBER_INTEGER': (int,),
        'NUMBER_DOUBLE': (int, float),
        'BOOLEAN': (bool,),
        'LIST': (list,),
        'STRUCT': (dict,),
    }
    # To Python, true is a whole number.
    if not isinstance(value, kinds.get(kind, ())) or (isinstance(value, bool) and kind != 'BOOLEAN'):
        raise StepError(f'--parameter {name}={text}: {_EXPECTED.get(kind, f"its type {kind} is not known here.")}')
    if abs(value) > _WHOLE_NUMBERS if isinstance(value, int) else isinstance(value, float) and not math.isfinite(value):
        raise StepError(f'--parameter {name}={text}: the number is too large.')
    return value


_EXPECTED: Final = {
    'NUMBER_INTEGER': 'expected a whole number.',
    'NUMBER_DOUBLE': 'expected a number.',
    'BOOLEAN': 'expected true or false.',
    'LIST': 'expected a list in JSON, such as ["a", "b"].',
    'STRUCT': 'expected an object in JSON, such as {"a": 1}.',
}


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
