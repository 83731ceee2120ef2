"""The commands `emotion-pipeline kubeflow …`. Whatever is heavy is imported by the command that needs it."""

import datetime
import functools
import inspect
import os
import sys
import time
import warnings
from collections.abc import Callable, Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
from click.core import ParameterSource
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipeline import config as configuration
from pipeline.options import Group, config_options

if TYPE_CHECKING:
    import kfp_server_api

    from pipeline.kubeflow.connection import Server
    from pipeline.kubeflow.runs import Task
    from pipeline.kubeflow.specification import Specification

ENDED_OTHERWISE, STILL_RUNNING, INTERRUPTED = 5, 6, 130
EXIT: Final = {'SUCCEEDED': 0, 'FAILED': 1, 'CANCELED': ENDED_OTHERWISE, 'SKIPPED': ENDED_OTHERWISE}

_MARKS: Final = {'SUCCEEDED': '✓', 'SKIPPED': '-', 'FAILED': '✗', 'CANCELED': '✗'}
_TOKEN = 'EMOTION_PIPELINE_KUBEFLOW_TOKEN'  # noqa: S105 - the name of a variable


@click.group(cls=Group)
def kubeflow_group() -> None:
    """Kubeflow Pipelines: compile, submit, follow, schedule."""


def server_options(command: Callable) -> Callable:
    """The options that name a server; the command gets them as `server`, connected when it is called."""
    options = (
        click.option(
            '--host',
            envvar='KF_PIPELINES_ENDPOINT',
            default='',
            show_envvar=True,
            help='Address of Kubeflow Pipelines. By way of kubeconfig, or from inside the cluster, when left out.',
        ),
        click.option(
            '--namespace',
            envvar='EMOTION_PIPELINE_KUBEFLOW_NAMESPACE',
            default='',
            show_envvar=True,
            help='Your namespace, where the installation keeps its users apart.',
        ),
        click.option(
            '--token-file',
            type=click.Path(path_type=Path),
            help=f'File of a bearer token. {_TOKEN} can hold the token itself; an option would show it to all.',
        ),
        click.option('--ca-file', default='', help='Certificates to trust instead of the public ones, in PEM.'),
        click.option('--insecure', is_flag=True, help="Do not check the server's certificate."),
        click.option('--kubeconfig', default='', help='File; the usual one when left out.'),
        click.option('--context', default='', help='Of kubeconfig; the current one when left out.'),
        click.option(
            '--service-namespace',
            default='kubeflow',
            show_default=True,
            help='Where Kubeflow Pipelines is installed, for the way by kubeconfig.',
        ),
        click.option(
            '--ui-host',
            envvar='KF_PIPELINES_UI_ENDPOINT',
            default='',
            show_envvar=True,
            help='Address of the dashboard, for links; the host when left out.',
        ),
    )

    @functools.wraps(command)
    def called(**values: Any) -> Any:
        named = {key: values.pop(key) for key in inspect.signature(_connect).parameters}
        return command(**values, server=functools.partial(_connect, **named))

    for option in reversed(options):
        called = option(called)
    return called


def pipeline_options(command: Callable) -> Callable:
    """The options that say what runs, and how."""
    for option in reversed(
        (
            click.option(
                '--file',
                type=click.Path(path_type=Path),
                help='A compiled pipeline; compiled from the configuration when left out.',
            ),
            click.option(
                '--parameter',
                'assignments',
                multiple=True,
                metavar='NAME=VALUE',
                help="A run-time parameter of the pipeline, read by the parameter's type.",
            ),
            click.option('--experiment', default='', help='Groups runs; named like the pipeline when left out.'),
            click.option(
                '--pipeline-root',
                default='',
                help='Where outputs go, s3://…, minio://… or gs://…; when left out, where the configuration says, or '
                "for --file the cluster's default.",
            ),
            click.option('--service-account', default='', help="Of the pods; the installation's when left out."),
            click.option('--no-cache', is_flag=True, help='Run every task, also those whose inputs have not changed.'),
        )
    ):
        command = option(command)
    return command


@kubeflow_group.command('compile')
@config_options
@click.option('--output', type=click.Path(path_type=Path, allow_dash=True), help='File; <name>.yaml when left out.')
def compile_command(name: str, overrides: tuple[str, ...], output: Path | None) -> None:
    """Write the pipeline as YAML for Kubeflow Pipelines; to the standard output with --output -."""
    settings = configuration.load(name, overrides)
    text = _compiled(settings)
    if output == Path('-'):
        click.echo(text, nl=False)
        return
    file = output or Path(f'{settings.name}.yaml')
    file.write_text(text, encoding='utf-8')
    click.echo(file)


@kubeflow_group.command()
@config_options
@pipeline_options
@server_options
@click.option('--wait', is_flag=True, help='Follow the run to its end.')
@click.option('--timeout', type=click.FloatRange(0), help='Seconds after which --wait goes on its way.')
@click.option(
    '--interval', type=click.FloatRange(0.05), default=5.0, show_default=True, help='Seconds between two looks.'
)
def submit(
    name: str,
    overrides: tuple[str, ...],
    file: Path | None,
    assignments: tuple[str, ...],
    experiment: str,
    pipeline_root: str,
    service_account: str,
    no_cache: bool,
    server: 'Callable[[], Server]',
    wait: bool,
    timeout: float | None,
    interval: float,
) -> None:
    """Start a run; the pipeline is uploaded once for each content.

    With --wait it ends with status 0 when the run succeeded, 1 when it failed, 5 when it was cancelled or skipped, 6
    when it goes on after --timeout, 130 on Ctrl-C, which leaves the run alone.
    """
    specification, root = _specification(name, overrides, file, pipeline_root, no_cache)
    arguments = specification.arguments(assignments)
    from pipeline.kubeflow import runs

    connected = server()
    started = runs.submit(
        connected,
        specification,
        arguments,
        experiment=experiment,
        pipeline_root=root,
        service_account=service_account,
    )
    uploaded = 'uploaded' if started.version.is_new else 'there already'
    click.echo(f'Pipeline {specification.name}, version {started.version.name}: {uploaded}')
    click.echo(f'Run {started.name}: {started.run_id}')
    click.echo(connected.run_url(started.run_id))
    if wait:
        sys.exit(_wait(connected, started.run_id, specification.tasks, interval, timeout))


@kubeflow_group.command()
@click.argument('run_id')
@server_options
def status(run_id: str, server: 'Callable[[], Server]') -> None:
    """Show a run: its state, its tasks, its parameters, and what failed."""
    from pipeline.kubeflow import runs

    connected = server()
    run = connected.client.get_run(run_id)
    tasks = runs.tasks(run)
    took = runs.duration(run.created_at, run.finished_at)
    click.echo(f'{_printable(run.display_name)}: {run.state or "PENDING"}  {took}')
    click.echo(connected.run_url(run_id))
    for name, value in sorted(((run.runtime_config and run.runtime_config.parameters) or {}).items()):
        click.echo(_printable(f'  {name} = {value!r}'))
    table = Table('task', 'state', 'began', 'took')
    for task in tasks:
        table.add_row(*map(_cell, (task.name, task.state, _time(task.start), runs.duration(task.start, task.end))))
    if tasks:
        Console().print(table)
    _echo_errors(run, tasks)


@kubeflow_group.command('runs')
@config_options
@server_options
@click.option('--recurring', metavar='NAME', help='Only those of a schedule.')
@click.option('--limit', type=click.IntRange(1, 200), default=10, show_default=True, help='How many.')
def runs_command(
    name: str, overrides: tuple[str, ...], server: 'Callable[[], Server]', recurring: str | None, limit: int
) -> None:
    """List the pipeline's last runs on Kubeflow."""
    from pipeline.kubeflow import recurring as schedules
    from pipeline.kubeflow import runs
    from pipeline.kubeflow.upload import find_pipeline

    settings = configuration.load(name, overrides)
    connected = server()
    if recurring is None:
        pipeline_id = find_pipeline(connected, settings.name)
        found = runs.recent(connected, limit, lambda run: runs.is_of(run, pipeline_id)) if pipeline_id else []
    else:
        identifiers = schedules.find(connected, recurring)
        found = runs.recent(connected, limit, lambda run: run.recurring_run_id in identifiers)
    table = Table('id', 'run', 'state', 'created', 'took')
    for run in found:
        took = runs.duration(run.created_at, run.finished_at)
        table.add_row(*map(_cell, (run.run_id, run.display_name, run.state or 'PENDING', _time(run.created_at), took)))
    what = settings.name if recurring is None else recurring
    Console().print(table if found else Text(f'No run of {what} yet.'))


@kubeflow_group.command()
@click.argument('schedule_name', metavar='[NAME]', required=False)
@click.option('--cron', help='Minute, hour, day of month, month, weekday: "0 3 * * *" is every day at 3:00.')
@click.option('--time-zone', help="Of --cron; the cluster's when left out.")
@click.option(
    '--cluster-time-zone',
    envvar='EMOTION_PIPELINE_KUBEFLOW_TIME_ZONE',
    default='UTC',
    show_default=True,
    show_envvar=True,
    help='In which Kubeflow reckons: cronScheduleTimezone of its config map pipeline-install-config.',
)
@click.option('--start', type=click.DateTime(), help='No run before; in the time zone of --cron.')
@click.option('--end', type=click.DateTime(), help='No run after.')
@click.option('--pause', 'action', flag_value='pause', help='Stop it until --resume.')
@click.option(
    '--resume',
    'action',
    flag_value='resume',
    help='Start it again; of missed runs, the last is made up.',
)
@click.option('--delete', 'action', flag_value='delete', help='Remove it; its runs stay.')
@click.option('--list', 'action', flag_value='list', help='List all.')
@config_options
@pipeline_options
@server_options
def schedule(
    schedule_name: str | None,
    cron: str | None,
    time_zone: str | None,
    cluster_time_zone: str,
    start: datetime.datetime | None,
    end: datetime.datetime | None,
    action: str | None,
    name: str,
    overrides: tuple[str, ...],
    file: Path | None,
    assignments: tuple[str, ...],
    experiment: str,
    pipeline_root: str,
    service_account: str,
    no_cache: bool,
    server: 'Callable[[], Server]',
) -> None:
    """Create, change, pause or remove the recurring run NAME.

    With --cron it is created, or changed where it differs; the same once more changes nothing. It runs one at a
    time and does not catch up.
    """
    if (cron is None) == (action is None) or (action == 'list') == (schedule_name is not None):
        raise click.UsageError('Give NAME and one of --cron, --pause, --resume and --delete, or --list alone.')
    if cron is None:
        _act(server, action or '', schedule_name or '')
        return
    from pipeline.kubeflow import recurring
    from pipeline.kubeflow.cron import in_cluster_zone

    zone = time_zone or cluster_time_zone
    cluster_cron = in_cluster_zone(cron, zone, cluster_time_zone)
    specification, root = _specification(name, overrides, file, pipeline_root, no_cache)
    wanted = recurring.Schedule(
        name=schedule_name or '',
        cron=' '.join(cron.split()),
        zone=zone,
        cluster_cron=cluster_cron,
        arguments=specification.arguments(assignments),
        start=_in_zone(start, zone),
        end=_in_zone(end, zone),
        experiment=experiment,
        pipeline_root=root,
        service_account=service_account,
    )
    applied = recurring.apply(server(), specification, wanted)
    paused = '; it is paused, --resume starts it' if applied.paused else ''
    click.echo(f'Schedule {wanted.name}: {applied.outcome}{paused}')


def _act(server: 'Callable[[], Server]', action: str, name: str) -> None:
    from pipeline.kubeflow import recurring

    connected = server()
    if action == 'list':
        _list(connected)
    elif action == 'delete':
        recurring.delete(connected, name)
        click.echo(f'Schedule {name}: deleted')
    elif action == 'pause':
        click.echo(f'Schedule {name}: {"paused" if recurring.pause(connected, name) else "was paused already"}')
    else:
        click.echo(f'Schedule {name}: {"resumed" if recurring.resume(connected, name) else "was not paused"}')


def _list(server: 'Server') -> None:
    from pipeline.kubeflow import recurring

    table = Table('name', 'cron', 'time zone', 'state', 'last run', 'next run')
    for entry in recurring.schedules(server, datetime.datetime.now(datetime.UTC)):
        state = 'enabled' if entry.enabled else 'paused'
        cells = (entry.name, entry.cron, entry.zone or "(the cluster's)", state, _time(entry.last), _time(entry.next))
        table.add_row(*map(_cell, cells))
    Console().print(table if table.row_count else 'No schedule yet.')


def _specification(
    name: str, overrides: tuple[str, ...], file: Path | None, pipeline_root: str, no_cache: bool
) -> 'tuple[Specification, str]':
    """What runs, and where its outputs go."""
    from pipeline.kubeflow import specification

    if file:
        configured = click.get_current_context().get_parameter_source('name') is ParameterSource.COMMANDLINE
        if configured or overrides:
            raise click.UsageError('--file is compiled already: leave out --config and --set.')
        found, root = specification.read_file(file), pipeline_root
    else:
        settings = configuration.load(name, overrides)
        found = specification.read(_compiled(settings), name=settings.name)
        root = pipeline_root or settings.kubeflow.pipeline_root
    return (specification.without_cache(found) if no_cache else found), root


def _compiled(settings: configuration.Config) -> str:
    os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')
    # What TFX imports warns of its own future.
    with warnings.catch_warnings(), Console(stderr=True).status('Compiling …'):
        warnings.simplefilter('ignore')
        from pipeline.kubeflow.compile import compile_pipeline

        return compile_pipeline(settings)


def _connect(
    host: str,
    namespace: str,
    token_file: Path | None,
    ca_file: str,
    insecure: bool,
    kubeconfig: str,
    context: str,
    service_namespace: str,
    ui_host: str,
) -> 'Server':
    from pipeline.kubeflow.connection import Connection, checked_token, connect, read_token

    variable = os.environ.get(_TOKEN, '')
    token = read_token(token_file) if token_file else checked_token(variable, _TOKEN) if variable else ''
    return connect(
        Connection(
            host=host,
            namespace=namespace,
            token=token,
            ca_file=ca_file,
            verify=not insecure,
            kubeconfig=kubeconfig,
            context=context,
            service_namespace=service_namespace,
            dashboard=ui_host,
        )
    )


def _wait(server: 'Server', run_id: str, names: Collection[str], interval: float, timeout: float | None) -> int:
    """Follows a run on the terminal; the exit status that tells its end."""
    from pipeline.kubeflow import runs

    console = Console()
    shown: set[str] = set()
    begun = time.monotonic()
    try:
        with console.status('PENDING …') as line:

            def show(run: 'kfp_server_api.V2beta1Run') -> None:
                tasks = runs.tasks(run, names)
                for task in tasks:
                    if task.state in runs.FINAL and task.name not in shown:
                        shown.add(task.name)
                        took = runs.duration(task.start, task.end)
                        console.print(Text(f'  {_MARKS[task.state]} {_printable(task.name):<36} {took}'))
                running = ', '.join(_printable(task.name) for task in tasks if task.state == 'RUNNING')
                clock = datetime.timedelta(seconds=round(time.monotonic() - begun))
                line.update(Text(f'{run.state or "PENDING"} {len(shown)}/{len(names)}  {clock}  {running}'))

            run = runs.follow(server, run_id, show, interval=interval, timeout=timeout)
    except KeyboardInterrupt:
        click.echo(f'The run goes on; look at it with: emotion-pipeline kubeflow status {run_id}')
        return INTERRUPTED
    if run.state not in runs.FINAL:
        click.echo(f'The run goes on after {timeout:g} s; look at it with: emotion-pipeline kubeflow status {run_id}')
        return STILL_RUNNING
    click.echo(f'The run ended: {run.state}')
    _echo_errors(run, runs.tasks(run, names))
    return EXIT[run.state]


def _echo_errors(run: 'kfp_server_api.V2beta1Run', tasks: 'list[Task]') -> None:
    """Why it failed, as far as the server tells."""
    for task in tasks:
        if task.state == 'FAILED':
            why = _printable(task.error) or 'the server does not tell why; see the log of its pod'
            click.echo(f'{_printable(task.name)} failed: {why}')
    if run.error and run.error.message:
        click.echo(f'Error: {_printable(run.error.message)}')


def _in_zone(moment: datetime.datetime | None, zone: str) -> datetime.datetime | None:
    from zoneinfo import ZoneInfo

    return moment.replace(tzinfo=ZoneInfo(zone)) if moment else None


def _time(moment: datetime.datetime | None) -> str:
    return f'{moment.astimezone():%Y-%m-%d %H:%M %Z}' if moment else ''


def _cell(text: object) -> Text:
    # Text, lest a name be read as markup.
    return Text(_printable(text), overflow='fold')


def _printable(text: object) -> str:
    """The text on one line, and nothing in it that a terminal obeys."""
    return ''.join(sign for sign in ' '.join(str(text or '').split()) if sign.isprintable())
