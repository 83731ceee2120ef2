"""What a run finds outside its graph: the data's state, what is served, what was accepted before, and the settings.

All of it is text that goes into the steps' execution properties, so that the cache follows the world: a step runs again
when what it reads has changed, and only then. On one machine the runner looks before it builds the graph; on Kubeflow
the graph's first task does (`pipeline.kubeflow.survey`).
"""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, fields

from components import faces
from components.audit import component as auditing
from components.evaluate.config import eval_config
from components.ingest.sources import resolve
from components.properties import Text
from components.push import versions
from components.settings import IngestSettings, to_json
from components.source import fingerprint
from components.train import component as training
from components.transform import component as transformation
from components.validate import accepted
from components.validate.findings import check_overrides
from pipeline.config import TASKS, Config, of, to_yaml

_SHARED = ('audit', 'check', 'push', 'overrides', 'configuration', 'started')


@dataclass(frozen=True)
class Surroundings:
    """Of one task.

    Attributes:
        ingest, validate, transform, train, behaviour, evaluate: what these steps are told, as JSON.
        data: fingerprint of the files.
        dataset: name of this state of the data as it is ingested, under which its statistics are accepted.
        candidate: fingerprint of the data, settings and code from which the model is made.
        baseline: the candidate fingerprint of the model to beat, or an empty text.
        accepted: the dataset whose statistics these are compared with, or an empty text.
    """

    ingest: Text
    validate: Text
    transform: Text
    train: Text
    behaviour: Text
    evaluate: Text
    data: Text
    dataset: Text
    candidate: Text
    baseline: Text
    accepted: Text


@dataclass(frozen=True)
class Destination:
    """Of one served model.

    Attributes:
        candidate, data: fingerprints that go into its provenance.
        identity: of the serving folder, so that what was lost is pushed again.
    """

    candidate: Text
    data: Text
    identity: Text


@dataclass(frozen=True)
class World:
    """Of the whole pipeline.

    Attributes:
        tasks: by task.
        destinations: by model.
        audit, check, push: what LabelAudit, ServingCheck and Pusher are told, as JSON.
        overrides: data gates that do not stop this run, separated by blanks.
        configuration: the whole configuration, as YAML.
        started: when the run began, ISO 8601; an empty text where ML Metadata knows.
    """

    tasks: dict[str, Surroundings]
    destinations: dict[str, Destination]
    audit: Text
    check: Text
    push: Text
    overrides: Text
    configuration: Text
    started: Text = ''


def to_texts(world: World) -> dict[str, Text]:
    """The world's texts by name, in which form a task hands them to others."""
    return {
        **{_name(task, key): getattr(seen, key) for task, seen in world.tasks.items() for key in _keys(Surroundings)},
        **{
            _name(f'push_{model}', key): getattr(destination, key)
            for model, destination in world.destinations.items()
            for key in _keys(Destination)
        },
        **{key: getattr(world, key) for key in _SHARED},
    }


def from_texts(texts: Mapping[str, Text]) -> World:
    """The world of which `to_texts` gave these."""
    return World(
        tasks={task: Surroundings(**{key: texts[_name(task, key)] for key in _keys(Surroundings)}) for task in TASKS},
        destinations={
            model: Destination(**{key: texts[_name(f'push_{model}', key)] for key in _keys(Destination)})
            for model in faces.MODELS
        },
        **{key: texts[key] for key in _SHARED},
    )


def text_names() -> tuple[str, ...]:
    """The names of the world's texts."""
    tasks = [_name(task, key) for task in TASKS for key in _keys(Surroundings)]
    destinations = [_name(f'push_{model}', key) for model in faces.MODELS for key in _keys(Destination)]
    return (*tasks, *destinations, *_SHARED)


def survey(config: Config, overrides: tuple[str, ...] = (), retrain: str = '') -> World:
    """Looks at the data and the folders of a run.

    Args:
        config: the pipeline.
        overrides: data gates that do not stop this run.
        retrain: a new text trains anew although nothing else has changed.

    Raises:
        StepError: data are missing, a served version is damaged, or a gate or a figure is not known.
    """
    check_overrides(overrides)
    tasks = {task: _look(config, task, retrain) for task in TASKS}
    return World(
        tasks=tasks,
        destinations={model: _destination(config, model, tasks) for model in faces.MODELS},
        audit=auditing.configuration(config.audit, config.seed, _checkpoints(config)),
        check=to_json(config.check),
        push=to_json(config.push),
        overrides=' '.join(sorted(set(overrides))),
        configuration=to_yaml(config),
    )


def _checkpoints(config: Config) -> str:
    """The folder of what a killed training goes on from."""
    return str(config.store / 'checkpoints')


def accepted_folder(config: Config, task: str) -> str:
    return str(config.store / 'accepted' / task)


def _look(config: Config, task: str, retrain: str) -> Surroundings:
    settings = of(config.train, task)
    ingest = to_json(_sharded(of(config.ingest, task), config.workers.count))
    train = training.configuration(settings, config.seed, _checkpoints(config), retrain, config.workers)
    data = resolve(of(config.ingest, task)).fingerprint
    # A wrong gate is told before the run, and not after the training.
    eval_config(task, of(config.evaluate, task))
    dataset = _hash(data, ingest, fingerprint('ingest'))
    code = fingerprint('transform', 'train')
    candidate = _hash(dataset, to_json(settings), config.seed, code, retrain, config.workers.count)
    folder = config.serving_folder(task)
    version = versions.baseline(folder, candidate)
    previous = accepted.previous(config.store / 'accepted' / task, dataset)
    return Surroundings(
        ingest=ingest,
        validate=to_json(of(config.validate, task)),
        transform=transformation.configuration(settings),
        train=train,
        behaviour=to_json(of(config.behaviour, task)),
        evaluate=to_json(of(config.evaluate, task)),
        data=data,
        dataset=dataset,
        candidate=candidate,
        baseline='' if version is None else versions.provenance(folder, version).candidate,
        accepted=previous.name if previous else '',
    )


def _sharded(ingest: IngestSettings, workers: int) -> IngestSettings:
    """Files for each worker to read alone."""
    return ingest if ingest.shards or workers == 1 else dataclasses.replace(ingest, shards=workers)


def _destination(config: Config, model: str, tasks: dict[str, Surroundings]) -> Destination:
    parts = [tasks[task] for task in TASKS if model in (task, faces.JOINT_MODEL)]
    return Destination(
        candidate='-'.join(str(part.candidate) for part in parts),
        data='-'.join(str(part.data) for part in parts),
        identity=versions.identity(config.serving_folder(model)),
    )


def _keys(kind: type) -> list[str]:
    return [field.name for field in fields(kind)]


def _name(prefix: str, key: str) -> str:
    return f'{prefix}_{key}'


def _hash(*parts: str | int) -> str:
    return hashlib.blake2b(json.dumps(parts).encode(), digest_size=8).hexdigest()
