"""One run as a schedule makes it: guarded, bounded in time, remembered and told."""

import dataclasses
import datetime
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import psutil

from components.errors import StepError
from pipeline import history, hooks
from pipeline.config import Config
from pipeline.hooks import Decision, HookSettings
from pipeline.schedule import arrivals, child, duration, state
from pipeline.schedule.child import Ended, StopSignals
from pipeline.schedule.state import Data, Going

CONCLUDED: Final = (hooks.PUSHED, hooks.TRAINED, hooks.REFUSED, hooks.STOPPED, hooks.NOTHING_NEW)
"""Decisions about the data: a run of the same data would come to the same."""

_SAME: Final = 5.0
"""Seconds by which the clock may be set without the process of a run becoming another."""


def pipeline_command(name: str, overrides: tuple[str, ...]) -> tuple[str, ...]:
    """The command that runs the pipeline once."""
    # Installed beside the interpreter; a checkout that is not installed has none.
    code = 'from pipeline.cli import main; main(prog_name="emotion-pipeline")'
    script = Path(sys.executable).with_name('emotion-pipeline')
    start = (str(script),) if script.exists() else (sys.executable, '-c', code)
    sets = (part for override in overrides for part in ('--set', override))
    return (*start, 'run', '--config', name, *sets)


@dataclass(frozen=True)
class Job:
    """What a schedule runs.

    Attributes:
        settings: the pipeline, as it was configured when the schedule began.
        name: of its configuration, which each run reads anew.
        overrides: likewise.
        hooks: who is told of the decisions.
        limit: seconds after which a run is ended.
        once_per_span: whether a run needs new data.
        command: what is run.
        grace: seconds for a run to end after SIGINT, and after SIGTERM.
        say: is told, in lines, what happens.
    """

    settings: Config
    name: str
    overrides: tuple[str, ...]
    hooks: HookSettings
    limit: float
    once_per_span: bool
    command: tuple[str, ...]
    grace: tuple[float, float] = child.GRACE
    say: Callable[[str], None] = print

    @property
    def store(self) -> Path:
        return self.settings.store


def attempt(job: Job, planned: datetime.datetime, signals: StopSignals) -> Decision:
    """Runs the pipeline, unless another run is going on or there is nothing new.

    The state then holds the decision, and the hooks know of it. The planned time is done with unless the scheduler
    itself was stopped: whoever starts it again decides what becomes of it.
    """
    began = datetime.datetime.now(datetime.UTC)
    if state.is_held(job.store / 'lock'):
        return conclude(job, _decision(job, began, planned, hooks.SKIPPED, 'Another run is going on.'))
    found: dict[str, Data] = {}
    if job.once_per_span:
        found, early = _look(job, began, planned, signals)
        if early:
            return conclude(job, early, done=early.decision != hooks.INTERRUPTED)
    ended = child.run(
        job.command,
        job.limit,
        signals,
        {**os.environ, hooks.SCHEDULED: '1'},
        began=lambda process: _remember(job, planned, began, process),
        grace=job.grace,
    )
    decision = _decide(job, ended, began, planned)
    done = ended.reason != 'stop' or decision.decision in CONCLUDED
    return conclude(job, decision, found, done)


def conclude(job: Job, decision: Decision, found: dict[str, Data] | None = None, done: bool = True) -> Decision:
    """Remembers a decision and tells it.

    Args:
        job: what was to run.
        decision: what became of it.
        found: the data of the run.
        done: whether its planned time is done with.
    """
    now = state.read(job.store)
    state.write(
        job.store,
        dataclasses.replace(
            now,
            going=None,
            handled=decision.planned if done else now.handled,
            data=found if found and decision.decision in CONCLUDED else now.data,
            past=(*now.past, decision),
        ),
    )
    job.say(f'{decision.decision}: {decision.message}' if decision.message else decision.decision)
    for warning in hooks.notify(job.hooks, decision):
        job.say(f'Warning: {warning}')
    return decision


def recover(job: Job) -> None:
    """Concludes the run that a scheduler left behind that was killed: ends it if it still runs.

    A run that came to its end alone counts as it ended. Any other goes on from where it was when it is run again.
    """
    going = state.read(job.store).going
    if going is None:
        return
    if _still_runs(going):
        job.say(f'Process {going.process}, a run that an earlier scheduler left behind, is ended.')
        child.end_group(going.process, lambda: not _still_runs(going), job.grace)
    planned, began = (datetime.datetime.fromisoformat(time) for time in (going.planned, going.started))
    entry = _entry_of(job, going.process, began)
    decision = hooks.from_entry(job.settings.name, entry) if entry else None
    if decision and decision.decision in (*CONCLUDED, hooks.FAILED) and entry and entry.state != history.KILLED:
        conclude(job, dataclasses.replace(decision, planned=going.planned))
        return
    message = 'The scheduler was killed while this run was going on.'
    conclude(job, _decision(job, began, planned, hooks.INTERRUPTED, message, entry=entry, seconds=0.0), done=False)


def _look(
    job: Job, began: datetime.datetime, planned: datetime.datetime, signals: StopSignals
) -> tuple[dict[str, Data], Decision | None]:
    """The data that are there, and a decision where that is reason enough not to run."""
    with TemporaryDirectory() as folder:
        answer = Path(folder) / 'data.json'
        command = arrivals.look_command(job.name, job.overrides, answer)
        ended = child.run(command, job.limit, signals, os.environ, grace=job.grace)
        if ended.reason != 'itself':
            return {}, _decide(job, ended, began, planned)
        if ended.status or not answer.exists():
            job.say('The run will tell what is wrong with the data.')
            return {}, None
        found = arrivals.read_answer(answer)
    if arrivals.is_new(found, state.read(job.store).data):
        return found, None
    there = ', '.join(
        f'{task}: {"the same files" if data.span is None else f"span {data.span}"}' for task, data in found.items()
    )
    message = f'No new data since the last run ({there}).'
    return found, _decision(job, began, planned, hooks.NOTHING_NEW, message)


def _remember(job: Job, planned: datetime.datetime, began: datetime.datetime, process: int) -> None:
    created = psutil.Process(process).create_time()
    going = Going(planned.isoformat(), began.isoformat(), process, created)
    state.write(job.store, dataclasses.replace(state.read(job.store), going=going))


def _decide(job: Job, ended: Ended, began: datetime.datetime, planned: datetime.datetime) -> Decision:
    """What became of a run, from its entry in the history where it left one."""
    entry = _entry_of(job, ended.process, began)
    told = hooks.from_entry(job.settings.name, entry) if entry else None
    # A run that came to its end while it was being ended is a run like any other.
    if told and (ended.reason == 'itself' or told.decision in CONCLUDED):
        return dataclasses.replace(told, planned=planned.isoformat())
    if ended.reason == 'limit':
        message = f'Ended after the limit of {duration.shown(job.limit)}.'
        return _decision(job, began, planned, hooks.TIMED_OUT, message, entry=entry)
    if ended.reason == 'stop':
        return _decision(job, began, planned, hooks.INTERRUPTED, 'The scheduler was stopped.', entry=entry)
    # A run that was started by hand may have taken the store while this one loaded.
    if ended.status and state.is_held(job.store / 'lock'):
        return _decision(job, began, planned, hooks.SKIPPED, 'Another run is going on.')
    how = f'was killed by signal {-ended.status}' if ended.status < 0 else f'ended with status {ended.status}'
    return _decision(job, began, planned, hooks.FAILED, f'The run {how} before it began; its output says why.')


def _decision(
    job: Job,
    began: datetime.datetime,
    planned: datetime.datetime,
    decision: str,
    message: str,
    entry: history.Entry | None = None,
    seconds: float | None = None,
) -> Decision:
    """A decision that is no finished run's."""
    return Decision(
        pipeline=job.settings.name,
        run=entry.run if entry else '',
        report=entry.report if entry else '',
        decision=decision,
        message=message,
        started=began.isoformat(timespec='seconds'),
        seconds=time.time() - began.timestamp() if seconds is None else seconds,
        exit_status=hooks.EXIT.get(decision, 1),
        planned=planned.isoformat(),
    )


def _entry_of(job: Job, process: int, began: datetime.datetime) -> history.Entry | None:
    """The entry that this process wrote; ids of processes come again, so an older one does not count."""
    try:
        entries = history.read(job.store / 'history')
    except StepError as error:
        job.say(f'Warning: {error}')
        return None
    since = began.replace(microsecond=0)
    mine = [
        entry
        for entry in entries
        if entry.process == process and datetime.datetime.fromisoformat(entry.started) >= since
    ]
    return mine[-1] if mine else None


def _still_runs(going: Going) -> bool:
    """Whether a run that was begun is this very process still: the id may be another's by now."""
    try:
        process = psutil.Process(going.process)
        same = abs(process.create_time() - going.created) < _SAME
        return same and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
