"""How the stages that read every row grow with the rows: speed, processor time and memory of each.

    make bench-scale                                    # 10,000, 100,000 and 1,000,000 faces of both forms
    make bench-scale ARGS='--rows 10000 --task expression --stage ingest --stage notebook'

Every measurement runs in a process of its own, on Beam's direct runner, and is written down as soon as it ends: a
benchmark that was stopped goes on where it was. Memory is the peak of what the process and its children hold; pages
that several of them share are counted once.
"""

import argparse
import dataclasses
import json
import os
import platform
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Final

import psutil

from components import faces
from tests.benchmarks import growth, processes, stages
from tests.benchmarks.growth import Measurement
from tests.benchmarks.machine import own_seconds, processor_seconds, share_of_others
from tests.benchmarks.stages import NOTEBOOK, STAGES, Place

ROOT: Final = Path(__file__).resolve().parents[2]
RESULTS: Final = 'results.jsonl'
ROWS: Final = (10_000, 100_000, 1_000_000)

BYTES_A_ROW: Final = {faces.EXPRESSION_MODEL: (2_750, 2_150, 2_150), faces.KEYPOINT_MODEL: (10_950, 6_850, 6_850)}
"""Of a row on disk: drawn and compressed, as an Example, and while ingest runs once more as an Example."""

NOTEBOOK_BYTES_A_ROW: Final = {faces.EXPRESSION_MODEL: 9_500, faces.KEYPOINT_MODEL: 40_000}
"""Of memory, measured on 100,000 and 20,000 rows: the notebook's way holds the text of all rows at once."""


def main() -> None:
    options = _options()
    if options.measure:
        print(json.dumps(dataclasses.asdict(stages.measure(options.measure, _place(options, *options.of)))))
        return
    folder: Path = options.folder
    folder.mkdir(parents=True, exist_ok=True)
    _check_disk(options)
    for rows in options.rows:
        for task in options.task or faces.TASKS:
            for stage in options.stage or STAGES:
                if stage == NOTEBOOK and not _fits(task, rows):
                    print(f'{task:<11} {stage:<11} {rows:>9,} faces do not fit into memory', flush=True)
                elif options.again or not _is_done(folder, stage, task, rows):
                    result = _measured(options, stage, task, rows)
                    _write(folder / RESULTS, result)
                    print(growth.line(result), flush=True)
    print('\n' + growth.write(read(folder), folder))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--rows', type=int, nargs='+', default=list(ROWS), help='faces; several numbers')
    parser.add_argument('--task', choices=faces.TASKS, action='append', help='may be given twice; default both')
    parser.add_argument('--stage', choices=STAGES, action='append', help='may be given several times; default all')
    parser.add_argument('--again', action='store_true', help='measure what was measured before once more')
    parser.add_argument('--folder', type=Path, default=Path('benchmarks/scale'), help='of results, faces and Examples')
    parser.add_argument('--rows-per-file', type=int, default=10_000, help='of the drawn files')
    parser.add_argument('--measure', choices=STAGES, help=argparse.SUPPRESS)
    parser.add_argument('--of', nargs=2, help=argparse.SUPPRESS)
    return parser.parse_args()


def _place(options: argparse.Namespace, task: str, rows: str | int) -> Place:
    folder: Path = options.folder.absolute()
    return Place(task, int(rows), folder / f'{task}-{rows}', folder / f'{task}-model', options.rows_per_file)


def _check_disk(options: argparse.Namespace) -> None:
    """Says what will lie on the disk, and ends where there is no room for it."""
    needed = 0
    for rows in options.rows:
        for task in options.task or faces.TASKS:
            place = _place(options, task, rows)
            there = sum(path.stat().st_size for path in place.folder.rglob('*') if path.is_file())
            needed += max(0, rows * sum(BYTES_A_ROW[task]) - there)
    free = shutil.disk_usage(options.folder).free
    print(f'On disk at most {needed / 1e9:.1f} GB more in {options.folder}, of {free / 1e9:.1f} GB that are free.')
    if needed > free:
        sys.exit('There is not enough room: name fewer --rows, or another --folder.')


def _fits(task: str, rows: int) -> bool:
    return rows * NOTEBOOK_BYTES_A_ROW[task] < psutil.virtual_memory().available


def read(folder: Path) -> list[Measurement]:
    """The last measurement of each stage, task and number of rows, in the order in which they run."""
    path = folder / RESULTS
    if not path.exists():
        return []
    found = {}
    for text in path.read_text(encoding='utf-8').splitlines():
        if not text.endswith('}'):  # the benchmark was killed while it wrote
            continue
        result = Measurement(**json.loads(text))
        found[result.stage, result.task, result.faces] = result
    order = list(STAGES)
    return sorted(found.values(), key=lambda one: (faces.TASKS.index(one.task), order.index(one.stage), one.faces))


def _write(path: Path, result: Measurement) -> None:
    with path.open('ab+') as lines:
        # A benchmark that was killed may have left half a line.
        if lines.tell():
            lines.seek(-1, os.SEEK_END)
        cut = lines.tell() and lines.read(1) != b'\n'
        lines.write(b'\n' * bool(cut) + json.dumps(dataclasses.asdict(result)).encode() + b'\n')


def _is_done(folder: Path, stage: str, task: str, rows: int) -> bool:
    return any((one.stage, one.task, one.faces) == (stage, task, rows) for one in read(folder))


def _measured(options: argparse.Namespace, stage: str, task: str, rows: int) -> Measurement:
    """Measures in a process of its own."""
    log = options.folder / 'logs' / f'{stage}-{task}-{rows}.log'
    log.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, '-W', 'ignore', '-m', 'tests.benchmarks.scale', '--measure', stage]
    command += ['--of', task, str(rows), '--folder', str(options.folder.absolute())]
    command += ['--rows-per-file', str(options.rows_per_file)]
    environment = {**os.environ, 'TF_CPP_MIN_LOG_LEVEL': '3', 'TF_USE_LEGACY_KERAS': '0', 'PYTHONPATH': str(ROOT)}
    whole, own, began = processor_seconds(), own_seconds(), time.perf_counter()
    with log.open('w', encoding='utf-8') as errors:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True, env=environment)
        with Peak(process.pid) as peak:
            try:
                output, _ = process.communicate()
            finally:
                process.kill()
    if process.returncode:
        raise processes.PartFailedError(f'{" ".join(command)} ended with status {process.returncode}: see {log}.')
    whole, own, elapsed = processor_seconds() - whole, own_seconds() - own, time.perf_counter() - began
    spent = stages.Spent(**json.loads(output.splitlines()[-1]))
    return Measurement(
        stage=stage,
        task=task,
        faces=rows,
        rows=spent.rows,
        wall=spent.wall,
        processor=spent.processor,
        peak=peak.bytes,
        others=share_of_others(whole, own, elapsed),
        cores=len(os.sched_getaffinity(0)),
        machine=platform.machine(),
    )


class Peak:
    """Watches the memory of a process and its children, as long as the context lasts.

    Attributes:
        bytes: the most that they held at once, of what was seen.
    """

    EVERY: Final = 0.1  # seconds

    def __init__(self, pid: int):
        self.bytes = 0
        self._process = psutil.Process(pid)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> 'Peak':
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(self.EVERY):
            self.bytes = max(self.bytes, self._now())

    def _now(self) -> int:
        try:
            family = [self._process, *self._process.children(recursive=True)]
        except psutil.NoSuchProcess:
            return 0
        return sum(_held(process, is_first=not place) for place, process in enumerate(family))


def _held(process: psutil.Process, is_first: bool) -> int:
    """Bytes: of data, its share of each page; of libraries, all that it has mapped, which its children map too."""
    try:
        # A process that was just forked shares all data with its parent: their resident sets hold them twice.
        words = Path(f'/proc/{process.pid}/smaps_rollup').read_text(encoding='ascii').split()
        size = {name: 1024 * int(words[words.index(f'{name}:') + 1]) for name in ('Rss', 'Anonymous', 'Pss_Anon')}
        return size['Pss_Anon'] + is_first * (size['Rss'] - size['Anonymous'])
    except (OSError, ValueError):
        pass
    try:
        return process.memory_info().rss
    except psutil.Error:  # ended meanwhile
        return 0


if __name__ == '__main__':
    try:
        main()
    except processes.PartFailedError as error:
        sys.exit(str(error))
