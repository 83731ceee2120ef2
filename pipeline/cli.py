"""The command `emotion-pipeline`. Whatever is heavy is imported by the command that needs it."""

import datetime
import hashlib
import logging
import os
import socket
import webbrowser
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click
from rich.console import Console
from rich.table import Table

from components.errors import StepError
from pipeline import config as configuration
from pipeline import history, hooks, storage
from pipeline.kubeflow.commands import kubeflow_group
from pipeline.options import Group, config_options, engine_option
from pipeline.predict_commands import predict_command
from pipeline.schedule_commands import schedule_group
from pipeline.watch_commands import watch_command

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID
    from rich.status import Status

    from pipeline.local import Result


@click.group(cls=Group, context_settings={'help_option_names': ['-h', '--help']})
@click.version_option(package_name='emotion-pipeline')
def main() -> None:
    """Trains, proves and serves the two networks that read a face."""


main.add_command(kubeflow_group, 'kubeflow')
main.add_command(schedule_group, 'schedule')
main.add_command(predict_command, 'predict')
main.add_command(watch_command, 'watch')


@main.command()
@config_options
@engine_option
@click.option('--override', 'gates', multiple=True, metavar='GATE', help='A data gate that does not stop this run.')
@click.option('--retrain', is_flag=True, help='Train although nothing has changed.')
@click.option('--verbose', is_flag=True, help='Show the log of TFX and TensorFlow too.')
def run(name: str, overrides: tuple[str, ...], gates: tuple[str, ...], retrain: bool, verbose: bool) -> None:
    """Run the pipeline: from the data to pushed models.

    Ends with status 0 when every model was pushed or nothing had changed, 3 when a model was refused, 4 when the data
    were, 1 on any other error.
    """
    settings = configuration.load(name, overrides)
    storage.check(settings)
    console = Console(stderr=False)
    run_id = _new_run_id(settings)
    log = settings.store / 'history' / run_id / 'log.txt'
    _log_to(log, console, verbose)
    console.print(
        f'Run [bold]{run_id}[/] of [bold]{settings.name}[/] (log: {_shown(settings.store)}/history/{run_id}/log.txt)'
    )
    # TensorFlow's own messages go past Python's logging; 3 leaves its errors that end a step.
    os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '0' if verbose else '3')
    _try_the_engine(settings, console)
    with console.status('Loading TensorFlow Extended …'):
        from pipeline import local
    # The faces are drawn under the lock too: another run may be reading those of the last time.
    with local.exclusive(settings):
        _draw_built_in_faces(settings, console)
        with console.status('Looking at the data …') as status:
            watch = partial(_show_step, console, status)
            result = local.run(settings, run_id, tuple(sorted(set(gates))), watch, retrain)
    _conclude(result, console)
    decision = hooks.from_entry(settings.name, result.entry)
    for warning in hooks.conclude(settings.hooks, decision):
        console.print(f'Warning: {warning}', markup=False, soft_wrap=True)
    storage.leave(settings, decision.exit_status)


@main.command()
@config_options
def runs(name: str, overrides: tuple[str, ...]) -> None:
    """List the past runs: state, figures, and what was pushed."""
    settings = configuration.load(name, overrides)
    table = Table('run', 'state', 'took', 'figures', 'pushed', 'what happened', title=f'Runs of {settings.name}')
    for entry in history.read(settings.store / 'history'):
        table.add_row(
            entry.run,
            entry.state,
            f'{entry.seconds:.0f} s' if entry.seconds else '',
            _figures(entry),
            ', '.join(f'{model}/{version}' for model, version in entry.pushed.items()),
            entry.message,
        )
    Console().print(table if table.row_count else f'No run of {settings.name} in {settings.store} yet.')


@main.command()
@config_options
@click.option('--run', 'run_id', help='Which run; the last one when left out.')
@click.option('--open', 'open_it', is_flag=True, help='Open it in a browser.')
def report(name: str, overrides: tuple[str, ...], run_id: str | None, open_it: bool) -> None:
    """Print the path of a run's report, or open it."""
    settings = configuration.load(name, overrides)
    entries = [entry for entry in history.read(settings.store / 'history') if entry.report]
    chosen = [entry for entry in entries if run_id in (None, entry.run)]
    if not chosen:
        known = ', '.join(entry.run for entry in entries[-5:]) or 'none yet'
        raise StepError(f'No report of run {run_id or "(any)"} in {settings.store}; runs with one: {known}.')
    click.echo(chosen[-1].report)
    if open_it:
        webbrowser.open(Path(chosen[-1].report).as_uri())


@main.command()
@config_options
@click.argument('model', type=click.Choice(['expression', 'keypoints', 'faces']))
@click.option('--to', 'version', type=int, help='Which version; the one before the served one when left out.')
def rollback(name: str, overrides: tuple[str, ...], model: str, version: int | None) -> None:
    """Make an older version of MODEL the served one again."""
    from components.push import versions

    settings = configuration.load(name, overrides)
    folder = settings.serving_folder(model)
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec='seconds')
    wanted, number = versions.rollback(folder, version, now)
    click.echo(f'{model}: version {wanted} is served again, as version {number}.')


@main.group('config')
def config_group() -> None:
    """Configurations."""


@config_group.command('show')
@config_options
@engine_option
def config_show(name: str, overrides: tuple[str, ...]) -> None:
    """Print the whole configuration, defaults included, as YAML."""
    click.echo(configuration.to_yaml(configuration.load(name, overrides)), nl=False)


@main.group('data')
def data_group() -> None:
    """The built-in faces, and where the published ones are."""


@data_group.command('draw')
@click.option(
    '--expressions', type=click.IntRange(0), default=4000, show_default=True, help='Rows of the expression file.'
)
@click.option('--keypoints', type=click.IntRange(0), default=2500, show_default=True, help='Rows of the keypoint file.')
@click.option('--seed', type=click.IntRange(0), default=0, show_default=True, help='Another seed draws other people.')
@click.option('--folder', type=click.Path(path_type=Path), default=Path('faces'), show_default=True)
@click.option('--sheet', is_flag=True, help='Draw a contact sheet, sheet.png, instead of the two files.')
def data_draw(expressions: int, keypoints: int, seed: int, folder: Path, sheet: bool) -> None:
    """Draw faces, in the two published CSV formats."""
    folder.mkdir(parents=True, exist_ok=True)
    if sheet:
        from data.sheet import draw_sheet

        draw_sheet(folder / 'sheet.png', seed)
        click.echo(folder / 'sheet.png')
        return
    for path in _draw(folder, expressions, keypoints, seed, Console()):
        click.echo(path)


@data_group.command('published')
def data_published() -> None:
    """Say where the published datasets are and how to fetch them."""
    from data.published import INSTRUCTIONS

    click.echo(INSTRUCTIONS)


_MARKS: Final = {'complete': '[green]✓[/]', 'cached': '[dim]·[/]', 'failed': '[red]✗[/]'}


def _new_run_id(settings: configuration.Config) -> str:
    """The time of day, and a number where two runs begin in the same second."""
    name = datetime.datetime.now().strftime('%Y%m%d-%H%M%S')
    if settings.metadata.host:
        # Other pipelines and machines write into the same database, and may begin in the same second.
        place = f'{socket.gethostname()}:{settings.store}'
        name += '-' + hashlib.blake2b(place.encode(), digest_size=3).hexdigest()
    taken = {entry.name for entry in (settings.store / 'history').glob(f'{name}*')}
    return next(
        name + suffix for suffix in ('', *(f'-{count}' for count in range(2, 1000))) if name + suffix not in taken
    )


def _log_to(path: Path, console: Console, verbose: bool) -> None:
    """Sends every log to a file, and the pipeline's own progress to the terminal as well."""
    path.parent.mkdir(parents=True, exist_ok=True)

    class ToFile(logging.FileHandler):
        def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
            """Where the disk is full, the line is lost; a stack trace on the terminal would not help."""

    file = ToFile(path, encoding='utf-8')
    file.setFormatter(logging.Formatter('%(asctime)s %(levelname)s %(name)s: %(message)s'))
    logging.basicConfig(level=logging.INFO, handlers=[file], force=True)
    logging.captureWarnings(True)
    if verbose:
        logging.getLogger().addHandler(logging.StreamHandler())

    class ToConsole(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            console.print(f'      {record.getMessage()}', style='dim', markup=False, highlight=False)

    logging.getLogger('emotion_pipeline.progress').addHandler(ToConsole())


def _show_step(console: Console, status: 'Status', node: str, state: str, seconds: float) -> None:
    if state == 'running':
        status.update(f'{node} …')
    else:
        took = 'from the cache' if state == 'cached' else f'{seconds:6.1f} s'
        console.print(f'  {_MARKS[state]} {node:<30} {took}')


def _try_the_engine(settings: configuration.Config, console: Console) -> None:
    if settings.beam.runner != 'direct':
        from pipeline.beam.check import check

        with console.status(f'Trying Beam on {settings.beam.runner} …'):
            check(settings)


def _draw_built_in_faces(settings: configuration.Config, console: Console) -> None:
    drawn = settings.draw
    if drawn.folder:
        list(_draw(Path(drawn.folder), drawn.expressions, drawn.keypoints, drawn.seed, console))


def _draw(folder: Path, expressions: int, keypoints: int, seed: int, console: Console):
    """Draws the two files; yields their paths."""
    from rich.progress import Progress

    from data.publish import FILES

    folder.mkdir(parents=True, exist_ok=True)
    with Progress(console=console, transient=True) as bar:
        for name, count in (('expressions', expressions), ('keypoints', keypoints)):
            if count:
                task = bar.add_task(f'Drawing {count} faces: {name}', total=count)
                path = folder / f'{name}.csv.gz'
                FILES[name](path, count, seed, progress=partial(_advance, bar, task))
                yield path


def _advance(bar: 'Progress', task: 'TaskID', rows: int) -> None:
    bar.update(task, completed=rows)


def _conclude(result: 'Result', console: Console) -> None:
    """The last lines: what happened, how good it is, what was pushed, and where the report lies."""
    entry = result.entry
    console.print()
    if entry.state == 'unchanged':
        console.print('Nothing has changed since the last run: every result came from the cache, nothing was pushed.')
    else:
        console.print(f'The run ended: [bold]{entry.state}[/]')
    if entry.message:
        console.print(entry.message, markup=False, soft_wrap=True)
    if entry.kpis:
        console.print(_figures(entry), markup=False, soft_wrap=True)
    for verdict in result.refusals:
        console.print(verdict, markup=False, soft_wrap=True)
    fresh = {step.node for step in result.record.steps if step.state == 'complete'}
    for pushed in result.record.pushed:
        arrived = 'pushed to' if f'Pusher-{pushed.model}' in fresh else 'unchanged in'
        what = f'{arrived} {pushed.folder}' if pushed.version else f'not pushed: {pushed.note}'
        console.print(f'{pushed.model}: {what}', markup=False, soft_wrap=True)
    for warning in result.warnings:
        console.print(f'Warning: {warning}', markup=False, soft_wrap=True)
    if entry.report:
        console.print(f'Report: {entry.report}', markup=False, soft_wrap=True)


def _figures(entry: history.Entry) -> str:
    return '; '.join(
        f'{task}: ' + ', '.join(f'{name} {value:.3f}' for name, value in figures.items())
        for task, figures in entry.kpis.items()
        if figures
    )


def _shown(path: Path) -> str:
    """Relative to where the command was typed, where that is shorter."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
