"""`emotion-pipeline schedule`: runs at given times, on one machine."""

import datetime
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.table import Table

from components.errors import StepError
from pipeline import config as configuration
from pipeline.hooks import Decision
from pipeline.options import Group, config_options

if TYPE_CHECKING:
    from pipeline.schedule.attempt import Job
    from pipeline.schedule.state import State


def _guard_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """What bounds a run."""
    command = click.option('--once-per-span', is_flag=True, help='Run only when new data have arrived.')(command)
    return click.option(
        '--limit', default='12h', show_default=True, metavar='DURATION', help='End a run after this time, e.g. 6h.'
    )(command)


def _time_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """When to run."""
    command = click.option(
        '--missed',
        type=click.Choice(['skip', 'run-once']),
        default='skip',
        show_default=True,
        help='What becomes of missed times: nothing, or one run for all of them.',
    )(command)
    command = click.option(
        '--time-zone', 'zone', default='', metavar='ZONE', help="Of the times, e.g. Europe/Berlin; else the machine's."
    )(command)
    return click.option(
        '--cron', default='', metavar='EXPRESSION', help='Minute, hour, day of month, month, weekday: "0 3 * * *".'
    )(command)


@click.group(cls=Group, invoke_without_command=True)
@_time_options
@_guard_options
@click.option('--run-now', is_flag=True, help='Run at once as well.')
@config_options
@click.pass_context
def schedule_group(
    context: click.Context,
    cron: str,
    zone: str,
    missed: str,
    limit: str,
    once_per_span: bool,
    run_now: bool,
    name: str,
    overrides: tuple[str, ...],
) -> None:
    """Run the pipeline at given times, in the foreground, until SIGINT or SIGTERM.

    Each run is `emotion-pipeline run` with the same --config and --set.
    """
    if context.invoked_subcommand:
        given = [option for option in context.params if _was_given(context, option)]
        if given:
            raise click.UsageError(f'Write the options after {context.invoked_subcommand}.')
        return
    from pipeline.schedule import cron as expressions
    from pipeline.schedule.child import StopSignals
    from pipeline.schedule.service import Plan, serve

    _demand(cron)
    plan = Plan(expressions.parse(cron, zone), missed)
    job = _job(name, overrides, limit, once_per_span)
    with StopSignals() as signals:
        serve(job, plan, signals, run_now)
    sys.exit(130 if signals.received[0] == signal.SIGINT else 0)


@schedule_group.command()
@_guard_options
@config_options
def once(limit: str, once_per_span: bool, name: str, overrides: tuple[str, ...]) -> None:
    """Run once, as a schedule does: for a timer of systemd or cron.

    Ends with the status of `emotion-pipeline run`; with 0 when there was nothing new or another run is going on.
    """
    from pipeline.schedule import service
    from pipeline.schedule.child import StopSignals

    job = _job(name, overrides, limit, once_per_span)
    with StopSignals() as signals:
        decision = service.once(job, signals)
    sys.exit(decision.exit_status)


@schedule_group.command()
@config_options
def status(name: str, overrides: tuple[str, ...]) -> None:
    """Show the schedule, its next run and its last ones."""
    from pipeline.schedule import state

    settings = configuration.load(name, overrides)
    now = state.read(settings.store)
    console = Console()
    console.print(_summary(now, settings.name, state.is_held(settings.store / state.LOCK_NAME)), highlight=False)
    if not now.past:
        return
    table = Table('planned', 'decision', 'run', 'took', 'figures', 'what happened')
    for decision in now.past[-10:]:
        table.add_row(
            _local(decision.planned, now.time_zone),
            decision.decision,
            decision.run,
            f'{decision.seconds:.0f} s' if decision.run else '',
            _figures(decision),
            decision.message,
        )
    console.print(table)


@schedule_group.command()
@_time_options
@_guard_options
@click.option('--timer', is_flag=True, help='A timer that starts a run at each time, instead of a service that waits.')
@click.option('--folder', type=click.Path(path_type=Path), help='Write the units there instead of printing them.')
@config_options
def systemd(
    cron: str,
    zone: str,
    missed: str,
    limit: str,
    once_per_span: bool,
    timer: bool,
    folder: Path | None,
    name: str,
    overrides: tuple[str, ...],
) -> None:
    """Print systemd units for a schedule, as typed here: this folder, this user, this installation."""
    from pipeline.schedule import cron as expressions
    from pipeline.schedule import duration
    from pipeline.schedule import systemd as units

    _demand(cron)
    times = expressions.parse(cron, zone)
    duration.read(limit)
    pipeline = configuration.load(name, overrides).name
    guards = _written(limit, once_per_span, name, overrides)
    if timer:
        written = units.timer(pipeline, [*_program(), 'once', *guards], Path.cwd(), times, zone, missed)
    else:
        at = ['--cron', times.expression, '--missed', missed, *(['--time-zone', zone] if zone else [])]
        written = units.service(pipeline, [*_program(), *at, *guards], Path.cwd())
    for unit in written:
        if folder:
            (folder / unit.name).write_text(unit.text, encoding='utf-8')
            click.echo(folder / unit.name)
        else:
            click.echo(f'# /etc/systemd/system/{unit.name}\n{unit.text}')


def _was_given(context: click.Context, option: str) -> bool:
    return context.get_parameter_source(option) is click.core.ParameterSource.COMMANDLINE


def _demand(cron: str) -> None:
    if not cron.strip():
        raise StepError('No times are given: name them, as in --cron "0 3 * * *" for every day at 3:00.')


def _job(name: str, overrides: tuple[str, ...], limit: str, once_per_span: bool) -> 'Job':
    from pipeline.schedule import duration
    from pipeline.schedule.attempt import Job, pipeline_command

    settings = configuration.load(name, overrides)
    return Job(
        settings=settings,
        name=name,
        overrides=overrides,
        hooks=settings.hooks,
        limit=duration.read(limit),
        once_per_span=once_per_span,
        command=pipeline_command(name, overrides),
        say=lambda line: click.echo(f'{datetime.datetime.now():%Y-%m-%d %H:%M:%S} {line}'),
    )


def _summary(now: 'State', name: str, runs: bool) -> str:
    """The lines above the table."""
    from pipeline.schedule import cron as expressions
    from pipeline.schedule import duration

    if not now.cron and not now.past:
        return f'No schedule of {name} yet.'
    lines = [f'Schedule of [bold]{name}[/]: ' + ('the scheduler is at work.' if runs else 'no scheduler is at work.')]
    if now.cron:
        times = expressions.parse(now.cron, now.time_zone)
        upcoming = times.next_after(datetime.datetime.now(datetime.UTC))
        span = ', only for new data' if now.once_per_span else ''
        lines += [
            f'  times    {now.cron} ({now.time_zone})',
            f'  missed   {now.missed}',
            f'  limit    {duration.shown(now.limit)}{span}',
            f'  next     {upcoming:%a %Y-%m-%d %H:%M %Z}' + ('' if runs else ', if a scheduler is started'),
        ]
    if now.going:
        lines.append(f'  running  since {_local(now.going.started, now.time_zone)}, process {now.going.process}')
    return '\n'.join(lines)


def _local(time: str, zone: str) -> str:
    from zoneinfo import ZoneInfo

    moment = datetime.datetime.fromisoformat(time)
    return f'{moment.astimezone(ZoneInfo(zone) if zone else None):%Y-%m-%d %H:%M}'


def _figures(decision: Decision) -> str:
    return '; '.join(
        f'{task}: ' + ', '.join(f'{name} {value:.3f}' for name, value in figures.items())
        for task, figures in decision.kpis.items()
        if figures
    )


def _program() -> list[str]:
    script = Path(sys.executable).with_name('emotion-pipeline')
    if not script.exists():
        raise StepError(f'There is no {script}: install the project there (make setup) before a unit names it.')
    return [str(script.absolute()), 'schedule']


def _written(limit: str, once_per_span: bool, name: str, overrides: tuple[str, ...]) -> list[str]:
    """The options of a run, as they are written in a unit."""
    config = str(Path(name).absolute()) if name.endswith(('.yaml', '.yml')) else name
    options = ['--limit', limit, *(['--once-per-span'] if once_per_span else []), '--config', config]
    return options + [part for override in overrides for part in ('--set', override)]
