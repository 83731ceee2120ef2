"""The measurements of `scale.py` as a line, a table and a chart."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from matplotlib.figure import Figure

from components import faces
from tests.benchmarks.machine import IDLE
from tests.benchmarks.tables import table

TABLE: Final = 'table.md'
CHART: Final = 'chart'
TITLES: Final = {faces.EXPRESSION_MODEL: 'Expressions', faces.KEYPOINT_MODEL: 'Keypoints'}


@dataclass(frozen=True)
class Measurement:
    """What one stage took for one number of faces.

    Attributes:
        stage, task: what was measured.
        faces: of the dataset.
        rows: those of them that the stage reads: ingest all, the Evaluator the eval split.
        wall: seconds.
        processor: seconds of user and system, children included.
        peak: bytes, the most that the process and its children held at once, imports included.
        others: share of the processor, 0..1, that other processes took meanwhile.
        cores: of the machine.
        machine: its kind.
    """

    stage: str
    task: str
    faces: int
    rows: int
    wall: float
    processor: float
    peak: int
    others: float
    cores: int
    machine: str

    @property
    def is_busy(self) -> bool:
        """Whether something else ran on the machine."""
        return self.others > IDLE


def line(result: Measurement) -> str:
    """One measurement, for the terminal."""
    return (
        f'{result.task:<11} {result.stage:<11} {result.faces:>9,} faces {_speed(result.rows, result.wall):>7} rows/s '
        f'{_speed(result.rows, result.processor):>7} rows/s of a processor {result.peak / 1e6:>6,.0f} MB'
    )


def write(results: Sequence[Measurement], folder: Path) -> str:
    """Writes the table and the chart; returns the table."""
    text = markdown(results)
    (folder / TABLE).write_text(text + '\n', encoding='utf-8')
    figure = chart(results)
    figure.savefig(folder / f'{CHART}.png', dpi=120)
    figure.savefig(folder / f'{CHART}.svg', metadata={'Date': None})
    return text


def markdown(results: Sequence[Measurement]) -> str:
    """A table for each task: a line for each stage, columns for each number of faces."""
    parts = []
    for task in faces.TASKS:
        of_task = {(one.stage, one.faces): one for one in results if one.task == task}
        if not of_task:
            continue
        sizes = sorted({faces for _, faces in of_task})
        heads = [TITLES[task]]
        for kind in ('rows/s', 'rows/s of a processor', 'peak MB'):
            heads += [f'{kind}, {size:,}' for size in sizes]
        lines = []
        for stage in dict.fromkeys(stage for stage, _ in of_task):
            found = [of_task.get((stage, size)) for size in sizes]
            lines.append(
                [
                    stage,
                    *(_speed(one.rows, one.wall) if one else '' for one in found),
                    *(_speed(one.rows, one.processor) if one else '' for one in found),
                    *(f'{one.peak / 1e6:,.0f}' if one else '' for one in found),
                ]
            )
        parts.append(table(heads, lines))
    busy = sum(one.is_busy for one in results)
    if busy:
        parts.append(
            f'**The machine was busy with something else during {busy} of {len(results)} measurements** (up to '
            f'{max(one.others for one in results):.0%} of its processor): rows/s suffer from that, rows/s of a '
            'processor less.'
        )
    return '\n\n'.join(parts)


def _speed(rows: int, seconds: float) -> str:
    return f'{rows / seconds:,.0f}' if rows and seconds else ''


def chart(results: Sequence[Measurement]) -> Figure:
    """Processor time and peak memory over the number of faces, a panel for each and each task."""
    tasks = [task for task in faces.TASKS if any(one.task == task for one in results)]
    stages = list(dict.fromkeys(one.stage for one in results))
    figure = Figure(figsize=(9, 3.4 * max(1, len(tasks))), layout='constrained')
    lines = {}
    for (seconds, memory), task in zip(figure.subplots(max(1, len(tasks)), 2, squeeze=False), tasks, strict=False):
        for number, stage in enumerate(stages):
            found = [one for one in results if (one.task, one.stage) == (task, stage) and one.rows]
            sizes, style = [one.faces for one in found], f'C{number}o-'
            (lines[stage],) = seconds.plot(sizes, [one.processor / one.faces * 1e6 for one in found], style)
            memory.plot(sizes, [one.peak / 1e6 for one in found], style)
        seconds.set_title(f'{TITLES[task]}: processor time, µs a face', fontsize=10)
        memory.set_title(f'{TITLES[task]}: peak memory, MB', fontsize=10)
        seconds.set_yscale('log')
        memory.set_ylim(bottom=0)
        for axes in (seconds, memory):
            axes.set_xscale('log')
            axes.set_xlabel('faces')
            axes.grid(alpha=0.3)
    figure.legend(lines.values(), lines.keys(), loc='outside lower center', ncols=6, frameon=False, fontsize=9)
    return figure
