"""The serving folder: `serving/<model>/<version>/` in TensorFlow Serving's layout, which serves the highest version.

Every version appears whole or not at all: it is staged beside the others under a name that servers overlook, and then
renamed. Beside the SavedModel lies its provenance.
"""

import dataclasses
import json
import shutil
import tempfile
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import filelock

from components.errors import StepError

PROVENANCE: Final = 'assets.extra/provenance.json'
MODEL_CARD: Final = 'assets.extra/model_card.md'
IDENTITY: Final = '.identity'


@dataclass(frozen=True)
class Provenance:
    """Where a served version comes from.

    Attributes:
        model: `expression`, `keypoints` or `faces`.
        candidate: fingerprint of the data, the configuration and the code that it was made of.
        artifact: the Model artifact that was pushed.
        run: the run that pushed it.
        commit: the git commit of the code, or an empty text.
        data: fingerprint of the data.
        created: when it was pushed, ISO 8601 with time zone.
        kpis: its figures on the eval split.
        made_of: of the joint model, the models that were joined and the code that joined them.
        rollback_of: the version of which this one is a copy, when a rollback made it.
    """

    model: str
    candidate: str
    artifact: str
    run: str
    commit: str
    data: str
    created: str
    kpis: dict[str, float] = field(default_factory=dict)
    made_of: str = ''
    rollback_of: int | None = None


def versions(folder: Path) -> list[int]:
    """The whole versions of a model, oldest first."""
    if not folder.is_dir():
        return []
    return sorted(int(entry.name) for entry in folder.iterdir() if _is_version(entry))


def served(folder: Path) -> int | None:
    """The version that a server of this folder answers with."""
    return max(versions(folder), default=None)


def provenance(folder: Path, version: int) -> Provenance:
    path = folder / str(version) / PROVENANCE
    try:
        return Provenance(**json.loads(path.read_text(encoding='utf-8')))
    except (OSError, ValueError, TypeError) as error:
        raise StepError(
            f'{path} is missing or damaged: remove version {version} of this model or push it again.'
        ) from error


def baseline(folder: Path, candidate: str, artifact: str | None = None) -> int | None:
    """The version that a candidate has to beat: the newest that is not the candidate itself.

    When a run is repeated, its own model is already served; what it had to beat stays the same, and so does its result.

    Args:
        folder: the model's serving folder.
        candidate: its fingerprint.
        artifact: the Model artifact, where it is known: one that was trained anew from the same is not the served one.
    """
    others = [
        version
        for version in versions(folder)
        for facts in [provenance(folder, version)]
        if facts.candidate != candidate or artifact not in (None, facts.artifact)
    ]
    return max(others, default=None)


def identity(folder: Path) -> str:
    """A text that stays with the folder and changes when it is made anew, so that what was lost is pushed again."""
    path = folder / IDENTITY
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        path.write_text(uuid.uuid4().hex, encoding='utf-8')
    return path.read_text(encoding='utf-8')


def publish(saved_model: Path, folder: Path, facts: Provenance, warmup: Path | None, keep: int, card: str = '') -> int:
    """Makes a SavedModel the served version, and removes the oldest versions beyond `keep`.

    Args:
        saved_model: the SavedModel's folder.
        folder: the model's serving folder.
        facts: its provenance.
        warmup: TensorFlow Serving's warm-up requests.
        keep: versions that stay, this one included.
        card: its model card, in Markdown; an empty text keeps the one that the folder brings along.

    Returns:
        The new version; the served one where that is this very model, pushed by a run that was killed afterwards; 0
        where an older version is: since then it was replaced or rolled back, and a repeated run does not undo that.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(folder / '.lock'):
        current = served(folder)
        if facts.rollback_of is None:
            same = [version for version in versions(folder) if _is_the_same(provenance(folder, version), facts)]
            if same:
                return same[-1] if same[-1] == current else 0
        staged = Path(tempfile.mkdtemp(prefix='.staged-', dir=folder))
        shutil.copytree(saved_model, staged, dirs_exist_ok=True)
        (staged / PROVENANCE).parent.mkdir(exist_ok=True)
        (staged / PROVENANCE).write_text(json.dumps(dataclasses.asdict(facts), indent=1), encoding='utf-8')
        if card:
            (staged / MODEL_CARD).write_text(card, encoding='utf-8')
        if warmup is not None:
            shutil.copyfile(warmup, staged / 'assets.extra' / 'tf_serving_warmup_requests')
        staged.chmod(0o755)
        version = (current or 0) + 1
        staged.rename(folder / str(version))
        _prune(folder, keep)
    return version


def rollback(folder: Path, version: int | None, created: str) -> tuple[int, int]:
    """Makes an older version the served one again, as a copy with a higher number.

    Args:
        folder: the model's serving folder.
        version: which; None for the one before the served one.
        created: now, ISO 8601.

    Returns:
        The version that was asked for, and the number under which it is served now.

    Raises:
        StepError: there is no such version.
    """
    present = versions(folder)
    if len(present) < 2:
        raise StepError(f'{folder} holds {len(present)} version(s): there is none to go back to.')
    wanted = present[-2] if version is None else version
    if wanted not in present:
        raise StepError(f'{folder} holds no version {wanted}: choose one of {", ".join(map(str, present))}.')
    facts = dataclasses.replace(provenance(folder, wanted), created=created, rollback_of=wanted)
    return wanted, publish(folder / str(wanted), folder, facts, None, len(present) + 1)


def _is_version(entry: Path) -> bool:
    name = entry.name
    return name.isascii() and name.isdecimal() and name == str(int(name)) and entry.is_dir()


def _is_the_same(one: Provenance, other: Provenance) -> bool:
    return one.artifact == other.artifact or one.made_of == other.made_of != ''


def _prune(folder: Path, keep: int) -> None:
    for leftover in folder.glob('.staged-*'):
        shutil.rmtree(leftover)
    for version in versions(folder)[: -max(1, keep)]:
        # A reader never sees half a version go, either.
        doomed = folder / f'.staged-{version}'
        (folder / str(version)).rename(doomed)
        shutil.rmtree(doomed)
