"""Whether new data have arrived since the last run.

The look is a process of its own: it imports Apache Beam and reads every file, which is to be bounded in time, and whose
memory a scheduler that waits for weeks need not hold.
"""

import dataclasses
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import dacite

from pipeline import config as configuration
from pipeline.schedule.state import Data


def look_command(name: str, overrides: Sequence[str], answer: Path) -> list[str]:
    """The command that writes what it finds to `answer`."""
    code = f'import sys; from {__name__} import look; sys.exit(look(*sys.argv[1:]))'
    return [sys.executable, '-W', 'ignore', '-c', code, name, str(answer), *overrides]


def look(name: str, answer: str, *overrides: str) -> str | None:
    """Writes the data of every task, as JSON; returns why it could not.

    Args:
        name: of the configuration.
        answer: path of the file.
        overrides: `section.key=value`.
    """
    try:
        from components.ingest import sources

        settings = configuration.load(name, overrides)
        found = {task: sources.resolve(configuration.of(settings.ingest, task)) for task in configuration.TASKS}
    except Exception as error:  # whatever it is, the run meets it too, and tells it in its report
        return f'The data cannot be looked at: {" ".join(str(error).split())}'
    data = {task: dataclasses.asdict(Data(each.span, each.fingerprint)) for task, each in found.items()}
    Path(answer).write_text(json.dumps(data), encoding='utf-8')
    return None


def read_answer(answer: Path) -> dict[str, Data]:
    """What `look` wrote."""
    found = json.loads(answer.read_text(encoding='utf-8'))
    return {task: dacite.from_dict(Data, data) for task, data in found.items()}


def is_new(found: Mapping[str, Data], handled: Mapping[str, Data]) -> bool:
    """Whether a task has a newer span than at the last run, or, without spans, other files."""
    return any(_is_newer(data, handled.get(task)) for task, data in found.items())


def _is_newer(data: Data, handled: Data | None) -> bool:
    if handled is None:
        return True
    if data.span is None or handled.span is None:
        return data.fingerprint != handled.fingerprint
    return data.span > handled.span
