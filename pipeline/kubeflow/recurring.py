"""Recurring runs: one for each name, brought to what is asked for.

The API creates, deletes, enables and disables recurring runs; it changes none. A change is therefore a new one that
takes the old one's place: created disabled, then the old one is disabled, the new one enabled, the old one deleted, so
that never two are enabled. Whatever fails on the way is taken back. Two of one name are a change that was cut off
half-way, by a power cut say; the next call finishes it.

Whether a schedule is paused is no part of what is asked for: a change leaves it paused.
"""

import datetime
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

import kfp_server_api

from components.errors import StepError
from pipeline.kubeflow.connection import Server, every, named
from pipeline.kubeflow.runs import check_pipeline_root, experiment_of, recent
from pipeline.kubeflow.specification import Specification
from pipeline.kubeflow.upload import Version, upload
from pipeline.schedule import cron

CREATED, CHANGED, UNCHANGED = 'created', 'changed', 'unchanged'

# The server has no place for the zone; the description keeps it, and tells our schedules from others.
_DESCRIPTION: Final = re.compile(r'emotion-pipeline: (?P<cron>.+) in (?P<zone>\S+)')
_ONE_AT_A_TIME = 1


@dataclass(frozen=True)
class Schedule:
    """A recurring run as it is asked for.

    Attributes:
        name: of which there is one in the namespace.
        cron: five fields, as they were written.
        zone: in which they are meant.
        cluster_cron: six fields, for the controller.
        arguments: values of the pipeline's run-time parameters.
        start, end: no run before, none after; with their offset from UTC.
        experiment, pipeline_root, service_account: of its runs, as for a single one.
    """

    name: str
    cron: str
    zone: str
    cluster_cron: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    start: datetime.datetime | None = None
    end: datetime.datetime | None = None
    experiment: str = ''
    pipeline_root: str = ''
    service_account: str = ''

    @property
    def description(self) -> str:
        """Kept by the server."""
        return f'emotion-pipeline: {self.cron} in {self.zone}'


@dataclass(frozen=True)
class Listed:
    """A recurring run of the server.

    Attributes:
        name: what it is called.
        cron: as it was asked for; the controller's six fields where somebody else created it.
        zone: in which the expression is meant; empty for the controller's.
        enabled: whether it runs.
        last: when the last of its runs was created.
        next: when the next is due; known only where the zone is.
    """

    name: str
    cron: str
    zone: str
    enabled: bool
    last: datetime.datetime | None
    next: datetime.datetime | None


@dataclass(frozen=True)
class Applied:
    """What became of a schedule: created, changed or unchanged, and whether it is paused."""

    outcome: str
    paused: bool


def apply(server: Server, specification: Specification, schedule: Schedule) -> Applied:
    """Brings the recurring run of that name to what is asked for; does nothing where it already is that.

    Raises:
        StepError: somebody else's has the name, or the server refuses; then the old one goes on as before.
    """
    check_pipeline_root(schedule.pipeline_root)
    present = _ours(server, schedule.name)
    version = upload(server, specification)
    experiment_id = experiment_of(server, schedule.experiment or specification.name)
    enabled = not present or any(map(_is_enabled, present))
    wanted = [run for run in present if _fits(run, schedule, specification, version, experiment_id)]
    others = [run for run in present if run not in wanted[:1]]
    if wanted and not others:
        return Applied(UNCHANGED, not enabled)
    create = partial(_create, server, schedule, version, experiment_id)
    if not present:
        create(enabled=True)
        return Applied(CREATED, paused=False)
    if wanted and _is_enabled(wanted[0]):
        _discard(server, others)
    else:
        _replace(server, others, wanted[0].recurring_run_id if wanted else create(enabled=False), enabled)
    return Applied(CHANGED, not enabled)


def pause(server: Server, name: str) -> bool:
    """Stops a schedule until it is resumed; a run of it that goes on is left alone. Whether anything changed.

    Raises:
        StepError: there is no such schedule.
    """
    return _switch(server, name, enabled=False)


def resume(server: Server, name: str) -> bool:
    """Starts a paused schedule again. Whether anything changed.

    Of the times that it missed, the controller makes up the last one, at once; "no catch-up" spares the others.

    Raises:
        StepError: there is no such schedule, or a change of it was cut off half-way.
    """
    return _switch(server, name, enabled=True)


def delete(server: Server, name: str) -> None:
    """Removes a schedule; its runs stay.

    Raises:
        StepError: there is no such schedule.
    """
    for run in _existing(server, name):
        server.client.delete_recurring_run(run.recurring_run_id)


def schedules(server: Server, now: datetime.datetime) -> list[Listed]:
    """All recurring runs of the namespace, by name.

    The API does not tell when one ran last or runs next: the former is looked up among the runs, the latter worked out.
    """
    present = sorted(_all(server), key=lambda run: (run.display_name or '', run.recurring_run_id))
    missing = {run.recurring_run_id for run in present}
    last: dict[str, datetime.datetime] = {}

    def is_the_last(run: kfp_server_api.V2beta1Run) -> bool:
        if run.recurring_run_id not in missing:
            return False
        missing.discard(run.recurring_run_id)
        last[run.recurring_run_id] = run.created_at
        return True

    if present:
        recent(server, len(present), is_the_last)
    return [_listed(run, last.get(run.recurring_run_id), now) for run in present]


def find(server: Server, name: str) -> list[str]:
    """The ids of the recurring runs of that name.

    Raises:
        StepError: there is none.
    """
    return [run.recurring_run_id for run in _existing(server, name)]


def _all(server: Server, name: str | None = None) -> list[kfp_server_api.V2beta1RecurringRun]:
    ask = partial(
        server.client.list_recurring_runs,
        namespace=server.namespace or None,
        filter=named(name) if name is not None else None,
    )
    return [run for run in every(ask, lambda page: page.recurring_runs) if name is None or run.display_name == name]


def _ours(server: Server, name: str) -> list[kfp_server_api.V2beta1RecurringRun]:
    present = _all(server, name)
    for run in present:
        if not _DESCRIPTION.fullmatch(run.description or ''):
            raise StepError(
                f'The recurring run {name!r} ({run.recurring_run_id}) was not created by this command, which leaves it '
                'alone: choose another name, or delete it on the dashboard.'
            )
    return present


def _existing(server: Server, name: str) -> list[kfp_server_api.V2beta1RecurringRun]:
    present = _ours(server, name)
    if not present:
        known = ', '.join(sorted({run.display_name for run in _all(server)})) or 'none'
        raise StepError(f'There is no schedule {name!r}; there is: {known}.')
    return present


def _switch(server: Server, name: str, *, enabled: bool) -> bool:
    present = _existing(server, name)
    if enabled and len(present) > 1:
        raise StepError(f'A change of schedule {name!r} was cut off: apply it once more with --cron, then resume it.')
    switch = server.client.enable_recurring_run if enabled else server.client.disable_recurring_run
    turned = [run.recurring_run_id for run in present if _is_enabled(run) != enabled]
    for identifier in turned:
        switch(identifier)
    return bool(turned)


def _create(server: Server, schedule: Schedule, version: Version, experiment_id: str, *, enabled: bool) -> str:
    run = server.client.create_recurring_run(
        experiment_id,
        schedule.name,
        description=schedule.description,
        start_time=schedule.start.isoformat() if schedule.start else None,
        end_time=schedule.end.isoformat() if schedule.end else None,
        cron_expression=schedule.cluster_cron,
        max_concurrency=_ONE_AT_A_TIME,
        no_catchup=True,
        params=dict(schedule.arguments),
        pipeline_id=version.pipeline_id,
        version_id=version.version_id,
        enabled=enabled,
        pipeline_root=schedule.pipeline_root or None,
        service_account=schedule.service_account or None,
    )
    return run.recurring_run_id


def _replace(server: Server, old: Sequence[kfp_server_api.V2beta1RecurringRun], new: str, enabled: bool) -> None:
    """Puts the disabled new one in the place of the old ones.

    Raises:
        StepError: the server refuses; then the old ones are as before, or one of them is left over, disabled.
    """
    client = server.client
    active = [run.recurring_run_id for run in old if _is_enabled(run)]
    try:
        for identifier in active:
            client.disable_recurring_run(identifier)
        if enabled:
            client.enable_recurring_run(new)
    except BaseException:
        # Also on Ctrl-C. The new one goes first, lest two be enabled.
        if _succeeds(partial(client.delete_recurring_run, new)):
            for identifier in active:
                _succeeds(partial(client.enable_recurring_run, identifier))
        raise
    _discard(server, old)


def _discard(server: Server, old: Sequence[kfp_server_api.V2beta1RecurringRun]) -> None:
    for run in old:
        try:
            server.client.delete_recurring_run(run.recurring_run_id)
        except StepError as error:
            raise StepError(
                f'The schedule is changed, but the one that it replaces ({run.recurring_run_id}) is still there; '
                f'run the same command again. {error}'
            ) from error


def _succeeds(call: Callable[[], Any]) -> bool:
    try:
        call()
    except StepError:
        return False
    return True


def _fits(
    run: kfp_server_api.V2beta1RecurringRun,
    schedule: Schedule,
    specification: Specification,
    version: Version,
    experiment_id: str,
) -> bool:
    """Whether a recurring run is what is asked for, whether or not it is paused."""
    reference = run.pipeline_version_reference
    trigger = run.trigger.cron_schedule if run.trigger else None
    settings = run.runtime_config or kfp_server_api.V2beta1RuntimeConfig()
    defaults = {name: parameter.default for name, parameter in specification.parameters.items()}
    return bool(
        reference
        and trigger
        and reference.pipeline_version_id == version.version_id
        and trigger.cron == schedule.cluster_cron
        and (trigger.start_time, trigger.end_time) == (schedule.start, schedule.end)
        and run.description == schedule.description
        and run.experiment_id == experiment_id
        and run.no_catchup
        and int(run.max_concurrency or 0) == _ONE_AT_A_TIME
        and {**defaults, **(settings.parameters or {})} == {**defaults, **schedule.arguments}
        and (settings.pipeline_root or '') == schedule.pipeline_root
        # The server fills in its own where none is asked for.
        and schedule.service_account in ('', run.service_account)
    )


def _is_enabled(run: kfp_server_api.V2beta1RecurringRun) -> bool:
    return run.status == 'ENABLED'


def _listed(run: kfp_server_api.V2beta1RecurringRun, last: datetime.datetime | None, now: datetime.datetime) -> Listed:
    trigger = (run.trigger and run.trigger.cron_schedule) or kfp_server_api.V2beta1CronSchedule()
    match = _DESCRIPTION.fullmatch(run.description or '')
    enabled = _is_enabled(run)
    return Listed(
        name=run.display_name,
        cron=match['cron'] if match else trigger.cron or '',
        zone=match['zone'] if match else '',
        enabled=enabled,
        last=last,
        next=_next(match['cron'], match['zone'], trigger, now) if match and enabled else None,
    )


def _next(
    expression: str, zone: str, trigger: kfp_server_api.V2beta1CronSchedule, now: datetime.datetime
) -> datetime.datetime | None:
    try:
        time = cron.parse(expression, zone).next_after(max(now, trigger.start_time or now))
    except StepError:
        # Somebody has edited the description.
        return None
    return None if trigger.end_time and time > trigger.end_time else time
