"""What a person changes of a run from Kubeflow's dashboard, and what becomes of it in the configuration."""

import dataclasses
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal

import yaml

from pipeline.config import TASKS, Config, of

OVERRIDES: Final = 'override_gates'
RETRAIN: Final = 'retrain'
SETTINGS: Final = 'settings'

Kind = Literal['STRING', 'NUMBER_INTEGER', 'NUMBER_DOUBLE', 'BOOLEAN']
Value = str | int | float | bool


@dataclass(frozen=True)
class Parameter:
    """One parameter of the compiled pipeline.

    Attributes:
        name: as the dashboard shows it.
        kind: its type in the PipelineSpec.
        default: the configuration's value.
        description: what it does.
        key: of the configuration value that it sets; empty for those that say something of the run itself.
        is_list: whether that value is a list; its parameter is the list as text, or its only entry.
    """

    name: str
    kind: Kind
    default: Value
    description: str
    key: str = ''
    is_list: bool = False


@dataclass(frozen=True)
class Request:
    """What the parameters of a run ask for.

    Attributes:
        settings: `section.key=value` for each value of the configuration that was given.
        overrides: data gates that do not stop this run.
        retrain: whether to train although nothing has changed.
    """

    settings: tuple[str, ...]
    overrides: tuple[str, ...]
    retrain: bool


def parameters(config: Config) -> tuple[Parameter, ...]:
    """The parameters of this pipeline; those of the thresholds follow the gates that it has."""
    return (
        *(parameter for task in TASKS for parameter in _of_task(config, task)),
        Parameter(OVERRIDES, 'STRING', '', 'Data gates that do not stop this run, separated by blanks.'),
        Parameter(RETRAIN, 'BOOLEAN', False, 'Train although neither data nor settings have changed.'),
        Parameter(SETTINGS, 'STRING', '', 'Further settings, one section.key=value a line.'),
    )


def read(config: Config, values: Mapping[str, Value]) -> Request:
    """What the values of a run's parameters ask for.

    Raises:
        StepError: a line of `settings` cannot be meant.
    """
    known = {parameter.name: parameter for parameter in parameters(config)}
    lines = [line.strip() for line in str(values.get(SETTINGS, '')).splitlines()]
    return Request(
        settings=(
            *(f'{known[name].key}={_to_yaml(known[name], value)}' for name, value in values.items() if known[name].key),
            *(line for line in lines if line),
        ),
        overrides=tuple(str(values.get(OVERRIDES, '')).split()),
        retrain=bool(values.get(RETRAIN, False)),
    )


def _of_task(config: Config, task: str) -> Iterator[Parameter]:
    ingest = of(config.ingest, task)
    yield Parameter(
        f'{task}_files',
        'STRING',
        json.dumps(list(ingest.files)),
        'CSV files or class folders: a list of patterns.',
        f'ingest.{task}.files',
        is_list=True,
    )
    yield Parameter(
        f'{task}_spans',
        'STRING',
        ingest.spans,
        'Which spans: latest, latest-3 or a range such as 3-7.',
        f'ingest.{task}.spans',
    )
    yield Parameter(
        f'{task}_epochs',
        'NUMBER_INTEGER',
        of(config.train, task).epochs,
        'Passes over the training split.',
        f'train.{task}.epochs',
    )
    for metric, gate in of(config.evaluate, task).gates.items():
        for bound, value in dataclasses.asdict(gate).items():
            if value is not None:
                yield Parameter(
                    f'{task}_{metric}_{bound}',
                    'NUMBER_DOUBLE',
                    float(value),
                    f'Gate: {bound} of {metric}.',
                    f'evaluate.{task}.gates.{metric}.{bound}',
                )


def _to_yaml(parameter: Parameter, value: Value) -> str:
    """The right-hand side of a setting."""
    if not parameter.is_list:
        return json.dumps(value)
    try:
        entries = yaml.safe_load(str(value))
    except yaml.YAMLError:
        entries = None
    return json.dumps(entries if isinstance(entries, list) else [value])
