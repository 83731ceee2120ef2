"""What a schedule remembers across restarts: `schedule.json` in the pipeline's store."""

import dataclasses
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import dacite
import filelock

from components.errors import StepError
from pipeline.hooks import Decision

FILE_NAME: Final = 'schedule.json'
LOCK_NAME: Final = 'schedule.lock'
KEPT: Final = 50
_LARGEST: Final = 1 << 24


@dataclass(frozen=True)
class Data:
    """The data of one task.

    Attributes:
        span: the newest span; None where the files have none.
        fingerprint: of the files.
    """

    span: int | None
    fingerprint: str


@dataclass(frozen=True)
class Going:
    """A run that was begun and is not concluded.

    Attributes:
        planned: the time that it was planned for, ISO 8601.
        started: ISO 8601.
        process: its id, and that of its group.
        created: when the process was, in seconds since 1970.
    """

    planned: str
    started: str
    process: int
    created: float


@dataclass(frozen=True)
class State:
    """What a schedule remembers.

    Attributes:
        cron: the expression; an empty text for runs that a timer outside starts.
        time_zone: in which it is read.
        missed: what becomes of missed times: `skip` or `run-once`.
        limit: seconds after which a run is ended.
        once_per_span: whether a run needs new data.
        handled: the last planned time that is done with, ISO 8601; an empty text before the first.
        going: the run in progress.
        data: the data of the last run that concluded, by task.
        past: the last decisions, oldest first.
    """

    cron: str = ''
    time_zone: str = ''
    missed: str = 'skip'
    limit: float = 0.0
    once_per_span: bool = False
    handled: str = ''
    going: Going | None = None
    data: dict[str, Data] = field(default_factory=dict)
    past: tuple[Decision, ...] = ()


def read(store: Path) -> State:
    """The state of the schedule of this store; an empty one before the first.

    Raises:
        StepError: the file is damaged.
    """
    path = store / FILE_NAME
    try:
        with path.open('rb') as file:
            text = file.read(_LARGEST)
        return dacite.from_dict(State, json.loads(text), dacite.Config(cast=[tuple], strict=True))
    except FileNotFoundError:
        return State()
    except (ValueError, TypeError, AttributeError, dacite.DaciteError) as error:
        raise StepError(f'{path} is damaged: remove it; the schedule then begins anew.') from error


def write(store: Path, state: State) -> None:
    """Writes the state, whole or not at all, with the last `KEPT` decisions."""
    staged = store / f'.{FILE_NAME}'
    kept = dataclasses.replace(state, past=state.past[-KEPT:])
    with staged.open('w', encoding='utf-8') as file:
        json.dump(dataclasses.asdict(kept), file, indent=1)
        file.flush()
        # What a machine that loses power remembers is the old state or the new one.
        os.fsync(file.fileno())
    staged.replace(store / FILE_NAME)


@contextmanager
def only_scheduler(store: Path) -> Iterator[None]:
    """Holds the schedule of this store.

    Raises:
        StepError: another scheduler holds it.
    """
    store.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(store / LOCK_NAME)
    try:
        # `is_held` may have its hand on it for an instant.
        lock.acquire(timeout=1)
    except filelock.Timeout as error:
        raise StepError(
            f'Another scheduler is at work in {store}: end it first, or name another pipeline with --set name=….'
        ) from error
    try:
        yield
    finally:
        lock.release()


def is_held(lock: Path) -> bool:
    """Whether a living process holds this lock."""
    if not lock.exists():
        return False
    try:
        with filelock.FileLock(lock).acquire(timeout=0):
            return False
    except filelock.Timeout:
        return True
