"""The runs of a pipeline: a folder each, with `run.json`, `log.txt` and, where the graph broke off, a report."""

import dataclasses
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from components.errors import StepError

FILE_NAME: Final = 'run.json'
RUNNING, KILLED = 'running', 'killed'


@dataclass(frozen=True)
class Entry:
    """One run, as `emotion-pipeline runs` lists it.

    Attributes:
        run: its id.
        state: `running`, `pushed`, `refused`, `stopped`, `failed`, `interrupted`, `unchanged`, or `killed`.
        started: ISO 8601.
        seconds: how long it took.
        message: the line in which it ended.
        kpis: headline figures by task.
        pushed: version by model.
        report: path of its report, or an empty text.
        process: the id of the process that runs it.
    """

    run: str
    state: str
    started: str
    seconds: float = 0.0
    message: str = ''
    kpis: dict[str, dict[str, float]] = field(default_factory=dict)
    pushed: dict[str, int] = field(default_factory=dict)
    report: str = ''
    process: int = 0


def write(folder: Path, entry: Entry) -> None:
    """Writes the entry, whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    staged = folder / f'.{FILE_NAME}'
    staged.write_text(json.dumps(dataclasses.asdict(entry), indent=1), encoding='utf-8')
    staged.replace(folder / FILE_NAME)


def read(history: Path) -> list[Entry]:
    """All runs, oldest first.

    Raises:
        StepError: an entry is damaged.
    """
    return list(_read(history))


def _read(history: Path) -> Iterator[Entry]:
    for path in sorted(history.glob(f'*/{FILE_NAME}')):
        try:
            entry = Entry(**json.loads(path.read_text(encoding='utf-8')))
        except (OSError, ValueError, TypeError) as error:
            raise StepError(f'{path} is damaged: remove the folder of this run.') from error
        if entry.state == RUNNING and not _is_alive(entry.process):
            entry = dataclasses.replace(entry, state=KILLED)
        yield entry


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
