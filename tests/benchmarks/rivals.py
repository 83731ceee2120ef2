"""The original's two networks against ours: the same rows, the same minutes, the same machine.

    make bench         ten minutes on two idle cores
    make bench-full    two hours

Each network trains in a process of its own, one after the other; its result is written when it is done, and table and
chart with it. They lie in `benchmarks/short` or `benchmarks/full`: `table.md`, `chart.png`, `chart.svg` and
`results.json`.
"""

import argparse
import contextlib
import json
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from components import faces
from tests.benchmarks import processes, results, rows
from tests.benchmarks.contest import RIVALS


@dataclass(frozen=True)
class Form:
    """How long the contest is.

    Attributes:
        name: of its folder.
        seconds: of training of each network, by task.
        evaluations: points of each curve.
    """

    name: str
    seconds: dict[str, float]
    evaluations: int


SHORT: Final = Form('short', {faces.EXPRESSION_MODEL: 100.0, faces.KEYPOINT_MODEL: 55.0}, 5)
FULL: Final = Form('full', {faces.EXPRESSION_MODEL: 2280.0, faces.KEYPOINT_MODEL: 960.0}, 20)


def hold(form: Form, folder: Path, console: Console) -> None:
    """Runs the contest and shows how it goes.

    Raises:
        PartFailedError: a part of it failed; the results that are there stay.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for result in results.read(folder):
        # What an earlier contest left would stand beside this one's.
        (folder / f'{result.task}-{result.rival}.json').unlink()
    with console.status('Making the rows ready (once: about a minute) …'):
        found = rows.prepared(folder.parent / 'rows')
    console.print(f'Rows: {found.source}.')
    machine, text = results.this_machine(), ''
    for task in faces.TASKS:
        for rival in RIVALS:
            _train(task, rival, form, folder, console)
            text = results.write(results.read(folder), machine, folder)
    console.print()
    # Not through Rich, which would break long lines of the table.
    print(text)
    console.print(f'\nTable, chart and results: {folder}')


def _train(task: str, rival: str, form: Form, folder: Path, console: Console) -> None:
    seconds, name = form.seconds[task], f'{task}, {results.NAMES[rival]}'
    shutil.rmtree(folder / f'{task}-{rival}', ignore_errors=True)
    command = [sys.executable, '-W', 'ignore', '-m', 'tests.benchmarks.contest', task, rival]
    command += ['--rows', str(folder.parent / 'rows'), '--seconds', str(seconds)]
    command += ['--evaluations', str(form.evaluations), '--folder', str(folder)]
    columns = TextColumn('{task.description}'), BarColumn(), TextColumn('{task.completed:.0f} of {task.total:.0f} s')
    with Progress(*columns, console=console, transient=True) as bar:
        shown = bar.add_task(name, total=seconds)
        for line in processes.lines(command, folder / f'{task}-{rival}.log'):
            progress = json.loads(line)
            trained = progress.pop('seconds')
            bar.update(shown, completed=trained)
            if progress:
                figures = ', '.join(f'{results.LABELS[key]} {value:.3f}' for key, value in progress.items())
                console.print(f'  {name}: after {trained:.0f} s {figures}', highlight=False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--full', action='store_true', help='the form of two hours')
    for task in faces.TASKS:
        parser.add_argument(f'--{task}', type=float, metavar='SECONDS', help=f'of training of each {task} network')
    parser.add_argument('--folder', type=Path, default=Path('benchmarks'), help='where results lie (benchmarks)')
    options = parser.parse_args()
    form = FULL if options.full else SHORT
    given = {task: getattr(options, task) for task in faces.TASKS if getattr(options, task)}
    if given:
        form = Form('custom', form.seconds | given, form.evaluations)
    console = Console()
    with contextlib.suppress(KeyboardInterrupt):
        try:
            hold(form, options.folder / form.name, console)
        except processes.PartFailedError as error:
            sys.exit(str(error))


if __name__ == '__main__':
    main()
