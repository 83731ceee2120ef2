"""From the artifacts of a run, as many as there are, to the record that its report shows."""

import datetime
import json
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, Literal

from components import faces
from components.check.component import FILE_NAME as CHECK_FILE
from components.check.component import read_check
from components.evaluate.results import is_blessed
from components.push.component import CARD_FILE, git_commit
from components.push.component import FILE_NAME as PUSHED_FILE
from components.report.record import Branch, Check, Pushed, RunRecord, Step
from components.settings import EvaluateSettings

TASKS = faces.TASKS
FOLDERS = [field.name for field in fields(Branch) if field.name not in ('task', 'settings')]


def is_read(name: str) -> bool:
    """Whether `assemble` reads the folder of this name, such as `expression_examples`."""
    return name.partition('_')[2] in (*FOLDERS, 'check', 'pushed')


def assemble(
    *,
    run: str,
    pipeline: str,
    started: datetime.datetime,
    steps: tuple[Step, ...],
    folders: Mapping[str, Path],
    settings: Mapping[str, EvaluateSettings],
    overrides: tuple[str, ...],
    configuration: str,
    ending: Mapping[str, Any] | None = None,
) -> RunRecord:
    """The record of a run.

    Args:
        run, pipeline: their names.
        started: when.
        steps: the nodes.
        folders: of the artifacts, by `<task or model>_<output>`, such as `expression_examples` or `faces_pushed`.
        settings: of the Evaluators, by task.
        overrides: data gates that did not stop the run.
        configuration: as YAML.
        ending: fields of `RunRecord` that are known of a run that did not reach its end (`state`, `message`, …).
    """
    branches = tuple(
        Branch(task, settings[task], **{name: folders.get(f'{task}_{name}') for name in FOLDERS}) for task in TASKS
    )
    facts: dict[str, Any] = {'state': _state(branches, folders), 'message': '', **(ending or {})}
    return RunRecord(
        run=run,
        pipeline=pipeline,
        started=started,
        seconds=(datetime.datetime.now(datetime.UTC) - started).total_seconds(),
        commit=git_commit(),
        steps=steps,
        branches=branches,
        checks=tuple(Check(**asdict(read_check(folder))) for folder in _present(folders, 'check', CHECK_FILE)),
        pushed=tuple(map(_pushed, _present(folders, 'pushed', PUSHED_FILE))),
        overrides=overrides,
        configuration=configuration,
        **facts,
    )


def _state(branches: tuple[Branch, ...], folders: Mapping[str, Path]) -> Literal['pushed', 'refused']:
    """Refused when any gate or check refused its model, whatever became of the other one."""
    blessed = all(branch.blessing is not None and is_blessed(branch.blessing) for branch in branches)
    checked = all(read_check(folder).passed for folder in _present(folders, 'check', CHECK_FILE))
    return 'pushed' if blessed and checked else 'refused'


def _pushed(folder: Path) -> Pushed:
    card = folder / CARD_FILE
    return Pushed(
        **json.loads((folder / PUSHED_FILE).read_text(encoding='utf-8')),
        card=card.read_text(encoding='utf-8') if card.exists() else '',
    )


def _present(folders: Mapping[str, Path], output: str, file: str) -> list[Path]:
    found = [folders.get(f'{model}_{output}') for model in faces.MODELS]
    return [folder for folder in found if folder is not None and (folder / file).exists()]
