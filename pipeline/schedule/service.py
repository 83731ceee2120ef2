"""The scheduler: waits for the next time, and runs the pipeline."""

import dataclasses
import datetime
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from pipeline import hooks
from pipeline.hooks import Decision
from pipeline.schedule import state
from pipeline.schedule.attempt import Job, attempt, conclude, recover
from pipeline.schedule.child import StopSignals
from pipeline.schedule.cron import Cron

SKIP, RUN_ONCE = 'skip', 'run-once'

_ON_TIME: Final = datetime.timedelta(minutes=1)
_LONGEST_SLEEP: Final = 20.0
"""Seconds. The clock is looked at again and again: it may be set, and a machine that sleeps counts no seconds."""


@dataclass(frozen=True)
class Plan:
    """When to run.

    Attributes:
        cron: the times.
        missed: what becomes of times that passed by: `skip`, or `run-once` for one run that makes up for all of them.
    """

    cron: Cron
    missed: str = SKIP


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


def serve(
    job: Job, plan: Plan, signals: StopSignals, run_now: bool = False, now: Callable[[], datetime.datetime] = _now
) -> None:
    """Runs the job at its times until a signal comes.

    A time is missed when it passed more than a minute ago: while no scheduler ran, while the machine slept, or while
    another run of this schedule was going on.

    Args:
        job: what to run.
        plan: when.
        signals: end it.
        run_now: run once at the beginning as well; missed times count as made up by that.
        now: the clock.

    Raises:
        StepError: another scheduler is at work for this pipeline, or the state is damaged.
    """
    with state.only_scheduler(job.store):
        recover(job)
        _begin(job, plan, now())
        if run_now:
            attempt(job, now().replace(microsecond=0), signals)
        told = None
        while not signals.wait(0.0):
            handled = datetime.datetime.fromisoformat(state.read(job.store).handled)
            planned = plan.cron.next_after(handled)
            wait = (planned - now()).total_seconds()
            if wait <= 0:
                _meet(job, plan, planned, now(), signals)
                continue
            if told != planned:
                job.say(f'Next run: {planned:%a %Y-%m-%d %H:%M %Z}.')
                told = planned
            signals.wait(min(wait, _LONGEST_SLEEP))


def once(job: Job, signals: StopSignals, now: Callable[[], datetime.datetime] = _now) -> Decision:
    """One run, for a timer that is not ours.

    Raises:
        StepError: a scheduler is at work for this pipeline, or the state is damaged.
    """
    with state.only_scheduler(job.store):
        recover(job)
        return attempt(job, now().replace(microsecond=0), signals)


def _begin(job: Job, plan: Plan, now: datetime.datetime) -> None:
    """Writes down the schedule. Under a new expression or zone no time has been missed yet."""
    before = state.read(job.store)
    same = (before.cron, before.time_zone) == (plan.cron.expression, str(plan.cron.zone))
    state.write(
        job.store,
        dataclasses.replace(
            before,
            cron=plan.cron.expression,
            time_zone=str(plan.cron.zone),
            missed=plan.missed,
            limit=job.limit,
            once_per_span=job.once_per_span,
            handled=before.handled if same and before.handled else now.isoformat(),
        ),
    )


def _meet(job: Job, plan: Plan, first: datetime.datetime, now: datetime.datetime, signals: StopSignals) -> None:
    """Runs for a time that has come; for all of them if there are several."""
    latest = plan.cron.latest(first, now) or first
    if now - latest <= _ON_TIME or plan.missed == RUN_ONCE:
        too = f', and the missed ones since {first:%a %Y-%m-%d %H:%M}' if first < latest else ''
        job.say(f'Run for {latest:%a %Y-%m-%d %H:%M %Z}{too}.')
        attempt(job, latest, signals)
        return
    missed = f'{first:%Y-%m-%d %H:%M}' + (f' to {latest:%Y-%m-%d %H:%M}' if first < latest else '')
    conclude(
        job,
        Decision(
            pipeline=job.settings.name,
            run='',
            decision=hooks.SKIPPED,
            message=f'Missed: {missed} ({plan.cron.zone}).',
            started=now.isoformat(timespec='seconds'),
            planned=latest.isoformat(),
        ),
    )
