"""Whether `emotion-pipeline watch` is faster than real time.

    .venv-serve/bin/python -m tests.benchmarks.watching

A film of 20 s, 1280x720, 30 frames a second, with one drawn face that moves and changes its expression; watched with
and without the annotated video, beside plain decoding of the same file, which whoever reads it pays. The ways take
turns for several rounds, and a ratio is the median over the rounds of what was measured in the same round. Give it two
cores:

    taskset -c 0,1 .venv-serve/bin/python -m tests.benchmarks.watching

Where other work takes the cores, trust the CPU seconds and their ratios: with `c` CPU seconds for a second of film, two
cores that are free do it at no more than `2 / c` times real time, and at most as fast as the busiest thread.
"""

import argparse
import json
import math
import os
import resource
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import cv2

from components import faces
from components.inference.network import ServedVersion, load_version
from components.watch.frames import Film, parse_source
from components.watch.watch import WatchSettings, watch
from tests.benchmarks.tables import table
from tests.components.watch.films import Actor, Scene, write_film

SECONDS: Final = 20.0
RATE: Final = 30.0
SIZE: Final = (1280, 720)
DECODING: Final = 'plain decoding'
WAYS: Final = {
    'watch, annotated video': WatchSettings(),
    'watch, no video': WatchSettings(video=False),
    'watch, no video, every 3rd frame': WatchSettings(video=False, every=3),
}


@dataclass(frozen=True)
class Turn:
    """One way in one round, in seconds of the clock and of the processors."""

    wall: float
    cpu: float


def make_film(path: Path) -> Path:
    """The film of one face."""
    actor = Actor(
        3,
        lambda seconds: (0.5 + 0.25 * math.sin(0.9 * seconds), 0.5 + 0.05 * math.sin(2.0 * seconds)),
        lambda seconds: faces.EXPRESSIONS[int(seconds / 2.0) % len(faces.EXPRESSIONS)],
    )
    return write_film(path, [(Scene(*SIZE, [actor]), SECONDS)], RATE)


def measure(path: Path, model: ServedVersion, rounds: int) -> dict[str, list[Turn]]:
    """Every way in every round, in another order each time."""
    ways: dict[str, Callable[[], None]] = {DECODING: lambda: decode(path)}
    for name, settings in WAYS.items():
        ways[name] = lambda settings=settings: look(path, model, settings)
    turns: dict[str, list[Turn]] = {name: [] for name in ways}
    for number in range(rounds):
        names = list(ways)
        for name in names[number % len(names) :] + names[: number % len(names)]:
            turns[name].append(timed(ways[name]))
    return turns


def decode(path: Path) -> None:
    """Reads every frame, as the watching does."""
    film = Film(parse_source(str(path)))
    while film.read() is not None:
        pass
    film.close()


def look(path: Path, model: ServedVersion, settings: WatchSettings) -> None:
    """Watches the film, and makes sure that its face was seen to its end."""
    with tempfile.TemporaryDirectory() as folder:
        watched = watch(Film(parse_source(str(path))), model, settings, Path(folder), threading.Event())
    assert watched.people[0].seconds > 0.95 * SECONDS, 'the face was lost'


def timed(way: Callable[[], None]) -> Turn:
    wall, cpu = time.perf_counter(), _cpu()
    way()
    return Turn(time.perf_counter() - wall, _cpu() - cpu)


def markdown(title: str, turns: dict[str, list[Turn]]) -> str:
    """The table."""
    heads = [title, 'x real time', 'CPU s per s of film', 'cores', 'time of decoding', 'CPU of decoding']
    rows = []
    for name, measured in turns.items():
        pairs = list(zip(measured, turns[DECODING], strict=True))
        rows.append(
            [
                name,
                f'{SECONDS / statistics.median(turn.wall for turn in measured):.1f}',
                f'{statistics.median(turn.cpu for turn in measured) / SECONDS:.3f}',
                f'{statistics.median(turn.cpu / turn.wall for turn in measured):.2f}',
                f'{statistics.median(turn.wall / other.wall for turn, other in pairs):.1f}x',
                f'{statistics.median(turn.cpu / other.cpu for turn, other in pairs):.1f}x',
            ]
        )
    return table(heads, rows)


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--rounds', type=int, default=5, help='turns of each way (5)')
    parser.add_argument('--serving', type=Path, default=Path('serving'), help='where the model lies (serving)')
    parser.add_argument('--folder', type=Path, default=Path('benchmarks'), help='where results lie (benchmarks)')
    options = parser.parse_args()
    versions = options.serving / faces.JOINT_MODEL
    version = max(int(entry.name) for entry in versions.iterdir() if entry.name.isdecimal())
    model = load_version(versions / str(version), faces.JOINT_MODEL, version)
    # As the command has it.
    cv2.setNumThreads(1)
    options.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        turns = measure(make_film(Path(folder) / 'film.mp4'), model, options.rounds)
    load = os.getloadavg()[0]
    results = {name: [asdict(turn) for turn in measured] for name, measured in turns.items()}
    path = options.folder / 'watching.json'
    path.write_text(json.dumps({'load': load, **results}, indent=1), encoding='utf-8')
    cores = len(os.sched_getaffinity(0))
    print(markdown(f'720p, 30 frames/s, one face; {cores} cores, load {load:.1f}', turns))


if __name__ == '__main__':
    main()
