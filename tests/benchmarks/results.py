"""The contest's results as a Markdown table and as a chart."""

import dataclasses
import json
import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from components import faces
from tests.benchmarks.contest import ORIGINAL, OURS, RIVALS, Result
from tests.benchmarks.machine import IDLE
from tests.benchmarks.tables import table

FILE_NAME: Final = 'results.json'
TABLE: Final = 'table.md'
CHART: Final = 'chart'

NAMES: Final = {ORIGINAL: "the original's", OURS: 'ours'}
TITLES: Final = {faces.EXPRESSION_MODEL: 'Expressions', faces.KEYPOINT_MODEL: 'Keypoints'}
COLOURS: Final = {ORIGINAL: '#b4531a', OURS: '#1f5fa8'}
MARKERS: Final = {ORIGINAL: 's', OURS: 'o'}
LABELS: Final = {'accuracy': 'accuracy', 'macro_f1': 'macro F1', 'rmse': 'RMSE, px of 96'}
FIGURES: Final = {faces.EXPRESSION_MODEL: ('accuracy', 'macro_f1'), faces.KEYPOINT_MODEL: ('rmse',)}


@dataclass(frozen=True)
class Machine:
    """What the contest ran on.

    Attributes:
        processor: its name.
        cores: that this process may use.
        tensorflow: version.
    """

    processor: str
    cores: int
    tensorflow: str


def this_machine() -> Machine:
    """Linux only, for the processor's name."""
    from importlib.metadata import version

    info = Path('/proc/cpuinfo').read_text(encoding='utf-8') if Path('/proc/cpuinfo').exists() else ''
    names = [line.partition(':')[2].strip() for line in info.splitlines() if line.startswith('model name')]
    return Machine(names[0] if names else platform.machine(), len(os.sched_getaffinity(0)), version('tensorflow'))


def read(folder: Path) -> list[Result]:
    """The results that are there, the expressions' first and the original's before ours."""
    paths = [folder / f'{task}-{rival}.json' for task in faces.TASKS for rival in RIVALS]
    return [Result(**json.loads(path.read_text(encoding='utf-8'))) for path in paths if path.exists()]


def write(results: Sequence[Result], machine: Machine, folder: Path) -> str:
    """Writes all results as JSON, table and chart; returns the table."""
    everything = {
        'machine': dataclasses.asdict(machine),
        'results': [dataclasses.asdict(result) for result in results],
    }
    (folder / FILE_NAME).write_text(json.dumps(everything, indent=1), encoding='utf-8')
    text = markdown(results, machine)
    (folder / TABLE).write_text(text + '\n', encoding='utf-8')
    figure = chart(results)
    figure.savefig(folder / f'{CHART}.png', dpi=160)
    figure.savefig(folder / f'{CHART}.svg', metadata={'Date': None})
    return text


def markdown(results: Sequence[Result], machine: Machine) -> str:
    """A table for each task, with a sentence that says what was measured."""
    parts = []
    for task in faces.TASKS:
        of_task = [result for result in results if result.task == task]
        if of_task:
            parts += [_sentence(of_task[0]), _table(task, of_task)]
    parts.append(
        f'{machine.cores} cores of {machine.processor}, TensorFlow {machine.tensorflow}, one network after the other, '
        'each in a process of its own; the last weights of each training are judged.'
    )
    busy = [result for result in results if result.others > IDLE]
    if busy:
        names = ', '.join(f'{result.task}, {NAMES[result.rival]} ({result.others:.0%})' for result in busy)
        parts.append(f'**Other processes took part of the processor: {names}.** Speeds and what was learnt suffer.')
    return '\n\n'.join(parts)


def _sentence(result: Result) -> str:
    return (
        f'{TITLES[result.task]}, {_duration(result.allowed)} of training each, on {result.source}: '
        f'{result.training_rows:,} rows to train on, {result.evaluation_rows:,} to judge by.'
    )


def _table(task: str, results: Sequence[Result]) -> str:
    heads = ['', *(LABELS[figure] for figure in FIGURES[task])]
    heads += ['images/s in training', 'epochs', 'parameters', 'SavedModel', 'one image']
    rows = [
        [
            NAMES[result.rival],
            *(_figure(figure, result.curve[-1][figure]) for figure in FIGURES[task]),
            f'{result.images_per_second:,.0f}',
            _epochs(result),
            f'{result.parameters / 1e6:.2f} M',
            f'{result.megabytes:.1f} MB',
            f'{result.latency:.1f} ms',
        ]
        for result in results
    ]
    return table(heads, rows)


def _epochs(result: Result) -> str:
    unfinished = f' ({result.schedule:.0%} of its schedule)' if result.schedule < 0.995 else ''
    return f'{result.epochs:.1f}{unfinished}'


def _figure(name: str, value: float) -> str:
    return f'{value:.2f} px' if name == 'rmse' else f'{value:.3f}'


def _duration(seconds: float) -> str:
    return f'{seconds:.0f} s' if seconds < 120 else f'{seconds / 60:.0f} minutes'


def chart(results: Sequence[Result]) -> Figure:
    """The figures over the training time, a panel for each."""
    panels = [(task, name) for task in faces.TASKS for name in FIGURES[task]]
    figure = Figure(figsize=(4.2 * len(panels), 3.4), layout='constrained')
    for axes, (task, name) in zip(figure.subplots(1, len(panels)), panels, strict=True):
        _draw(axes, name, [result for result in results if result.task == task])
        axes.set_title(f'{TITLES[task]}: {LABELS[name]}', fontsize=10)
    return figure


def _draw(axes: Axes, name: str, results: Sequence[Result]) -> None:
    in_minutes = any(result.allowed >= 120 for result in results)
    for result in results:
        axes.plot(
            [point['seconds'] / (60 if in_minutes else 1) for point in result.curve],
            [point[name] for point in result.curve],
            color=COLOURS[result.rival],
            marker=MARKERS[result.rival],
            markersize=4,
            label=NAMES[result.rival],
        )
    axes.set_xlim(left=0)
    axes.set_xlabel(f'training time, {"minutes" if in_minutes else "s"}')
    axes.grid(alpha=0.3)
    if name == 'rmse' and results:
        # Of the first evaluations the errors are many times the last one's.
        axes.set_yscale('log')
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter('{x:g}')
        axes.yaxis.set_minor_formatter('')
    if results:
        axes.legend(frameon=False, fontsize=9)
