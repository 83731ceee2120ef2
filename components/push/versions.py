"""The serving folder: `serving/<model>/<version>/` in TensorFlow Serving's layout, which serves the highest version.

Every version appears whole or not at all, on this machine by a rename (`local_folder`) and in an object store by an
object that is written last (`stored_folder`). Beside the SavedModel lies its provenance.
"""

import dataclasses
import json
import shutil
import tempfile
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

from components.errors import StepError
from components.push.local_folder import LocalFolder
from components.storage.uris import is_stored

PROVENANCE: Final = 'assets.extra/provenance.json'
MODEL_CARD: Final = 'assets.extra/model_card.md'

Place = Path | str
"""A model's serving folder: a path, or the URI `s3://bucket/<serving>/<model>`."""


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


class ServingFolder(Protocol):
    """What a place must do so that versions can be pushed to it and read from it."""

    def numbers(self) -> list[int]:
        """The whole versions, oldest first."""

    def read(self, version: int, name: str) -> str:
        """A text of a version; raises OSError or UnicodeDecodeError where there is none."""

    def identity(self) -> str:
        """A text that stays with the folder and changes when it is made anew."""

    def exclusive(self) -> AbstractContextManager:
        """Keeps other pushers out, where that is needed."""

    def staging(self) -> AbstractContextManager[Path]:
        """A folder on this machine for what will be a version."""

    def add(self, staged: Path) -> int:
        """Makes what was staged a version with a number above all others, whole or not at all; that number."""

    def copy(self, version: int, destination: Path) -> None:
        """Copies a whole version to a folder that is made for it; raises OSError where there is none."""

    def prune(self, keep: int) -> None:
        """Removes the oldest versions beyond `keep`, and what pushes that were killed have left."""


def at(place: Place) -> ServingFolder:
    """The serving folder at a path or a URI."""
    if is_stored(place):
        from components.push.stored_folder import StoredFolder

        return StoredFolder(str(place))
    return LocalFolder(Path(place))


def versions(folder: Place) -> list[int]:
    """The whole versions of a model, oldest first."""
    return at(folder).numbers()


def served(folder: Place) -> int | None:
    """The version that a server of this folder answers with."""
    return max(versions(folder), default=None)


def provenance(folder: Place, version: int) -> Provenance:
    return _provenance(at(folder), version)


def _provenance(place: ServingFolder, version: int) -> Provenance:
    try:
        return Provenance(**json.loads(place.read(version, PROVENANCE)))
    except (OSError, ValueError, TypeError) as error:
        raise StepError(
            f'{place}/{version}/{PROVENANCE} is missing or damaged: remove version {version} of this model or push it '
            'again.'
        ) from error


def copy(folder: Place, version: int, destination: Path) -> None:
    """Copies a whole version to a folder that is made for it; raises OSError where there is none."""
    at(folder).copy(version, destination)


def baseline(folder: Place, candidate: str, artifact: str | None = None) -> int | None:
    """The version that a candidate has to beat: the newest that is not the candidate itself.

    When a run is repeated, its own model is already served; what it had to beat stays the same, and so does its result.

    Args:
        folder: the model's serving folder.
        candidate: its fingerprint.
        artifact: the Model artifact, where it is known: one that was trained anew from the same is not the served one.
    """
    place = at(folder)
    others = [
        version
        for version in place.numbers()
        for facts in [_provenance(place, version)]
        if facts.candidate != candidate or artifact not in (None, facts.artifact)
    ]
    return max(others, default=None)


def identity(folder: Place) -> str:
    """A text that stays with the folder and changes when it is made anew, so that what was lost is pushed again."""
    return at(folder).identity()


def publish(saved_model: Path, folder: Place, facts: Provenance, warmup: Path | None, keep: int, card: str = '') -> int:
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
    place = at(folder)
    with place.exclusive():
        if facts.rollback_of is None:
            present = place.numbers()
            same = [version for version in present if _is_the_same(_provenance(place, version), facts)]
            if same:
                return same[-1] if same[-1] == present[-1] else 0
        with place.staging() as staged:
            shutil.copytree(saved_model, staged, dirs_exist_ok=True)
            (staged / PROVENANCE).parent.mkdir(exist_ok=True)
            (staged / PROVENANCE).write_text(json.dumps(dataclasses.asdict(facts), indent=1), encoding='utf-8')
            if card:
                (staged / MODEL_CARD).write_text(card, encoding='utf-8')
            if warmup is not None:
                shutil.copyfile(warmup, staged / 'assets.extra' / 'tf_serving_warmup_requests')
            version = place.add(staged)
        place.prune(keep)
    return version


def rollback(folder: Place, version: int | None, created: str) -> tuple[int, int]:
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
    with tempfile.TemporaryDirectory(prefix='rollback-') as temporary:
        copied = Path(temporary) / str(wanted)
        copy(folder, wanted, copied)
        return wanted, publish(copied, folder, facts, None, len(present) + 1)


def _is_the_same(one: Provenance, other: Provenance) -> bool:
    return one.artifact == other.artifact or one.made_of == other.made_of != ''
