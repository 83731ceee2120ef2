"""What a run finds outside its graph: the data's state, and what is served and was accepted before.

The values go into the steps' execution properties, so that the cache follows the world: a step runs again when what it
reads has changed, and only then.
"""

import hashlib
import json
from dataclasses import dataclass

from components.ingest.sources import resolve
from components.push import versions
from components.settings import to_json
from components.source import fingerprint
from components.validate import accepted
from pipeline.config import TASKS, Config, of


@dataclass(frozen=True)
class Surroundings:
    """Of one task.

    Attributes:
        data: fingerprint of the files.
        dataset: name of this state of the data as it is ingested, under which its statistics are accepted.
        candidate: fingerprint of the data, settings and code from which the model is made.
        baseline: the candidate fingerprint of the model to beat, or an empty text.
        accepted: the dataset whose statistics these are compared with, or an empty text.
    """

    data: str
    dataset: str
    candidate: str
    baseline: str
    accepted: str


def survey(config: Config) -> dict[str, Surroundings]:
    """Looks at the data and the folders of a run, by task.

    Raises:
        StepError: data are missing, or a served version is damaged.
    """
    return {task: _survey(config, task) for task in TASKS}


def accepted_folder(config: Config, task: str) -> str:
    return str(config.store / 'accepted' / task)


def _survey(config: Config, task: str) -> Surroundings:
    data = resolve(of(config.ingest, task)).fingerprint
    dataset = _hash(data, to_json(of(config.ingest, task)), fingerprint('ingest'))
    candidate = _hash(dataset, to_json(of(config.train, task)), config.seed, fingerprint('transform', 'train'))
    folder = config.serving_folder(task)
    version = versions.baseline(folder, candidate)
    previous = accepted.previous(config.store / 'accepted' / task, dataset)
    return Surroundings(
        data=data,
        dataset=dataset,
        candidate=candidate,
        baseline='' if version is None else versions.provenance(folder, version).candidate,
        accepted=previous.name if previous else '',
    )


def _hash(*parts: str | int) -> str:
    return hashlib.blake2b(json.dumps(parts).encode(), digest_size=8).hexdigest()
