"""What is done to a run: each fault is a context in which it runs, and ends with the run."""

import contextlib
import errno
import os
import random
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

BLOCK = 1 << 20
UNDER_LIBFAKETIME = Path(__file__).with_name('under_libfaketime')


@dataclass(frozen=True)
class Moment:
    """When something happens to a run: some seconds after so many of its steps have ended."""

    steps: int = 0
    seconds: float = 0.0

    def __str__(self) -> str:
        return f'{self.seconds:.1f} s after step {self.steps}' if self != Moment() else 'at the start'


@dataclass(frozen=True)
class Scene:
    """Where a run is disturbed.

    Attributes:
        folder: the soak's own file system, with `data`, `runs` and `serving`.
        data: the folder of this run's two files.
        steps: of a whole run.
        chance: decides when and where.
        faketime: libfaketime's library, or an empty text without it.
    """

    folder: Path
    data: Path
    steps: int
    chance: random.Random
    faketime: str

    def moment(self) -> Moment:
        return Moment(self.chance.randrange(self.steps), self.chance.uniform(0.0, 8.0))


@dataclass
class Disturbance:
    """What the fault does to the process that runs.

    Attributes:
        told: the fault in words, for the table.
        moment: when `act` is called.
        act: does the harm; None for what is done before the run.
        kills: whether the run is killed then.
        environment: variables that are added to the run's.
        leaves: what a person must remove before the next run, or None.
    """

    told: str
    moment: Moment = Moment()
    act: Callable[[], object] | None = None
    kills: bool = False
    environment: dict[str, str] = field(default_factory=dict)
    leaves: Path | None = None


Fault = Callable[[Scene], AbstractContextManager[Disturbance]]


@contextlib.contextmanager
def kill(scene: Scene) -> Iterator[Disturbance]:
    """SIGKILL to the run and all that it started."""
    moment = scene.moment()
    yield Disturbance(f'killed {moment}', moment, kills=True)


@contextlib.contextmanager
def full_disk(scene: Scene) -> Iterator[Disturbance]:
    """No block is left on the file system, or a few, from some moment on."""
    moment, left = scene.moment(), scene.chance.choice((0, 4096, BLOCK))
    ballast = scene.folder / 'ballast'
    yield Disturbance(f'disk full but for {left:,} bytes {moment}', moment, lambda: _fill(ballast, left))
    ballast.unlink(missing_ok=True)


@contextlib.contextmanager
def read_only(scene: Scene) -> Iterator[Disturbance]:
    """A folder cannot be written, from the start or from some moment on."""
    names = ('', 'runs', 'runs/soak/artifacts', 'runs/soak/history', 'runs/soak/accepted', 'serving')
    name, moment = scene.chance.choice(names), scene.chance.choice((Moment(), scene.moment()))
    with contextlib.ExitStack() as mounted:
        yield Disturbance(
            f'{name or "everything"} read-only {moment}', moment, lambda: _protect(scene.folder / name, mounted)
        )


@contextlib.contextmanager
def clock(scene: Scene) -> Iterator[Disturbance]:
    """The clock stands in the past, or jumps there at some moment, by libfaketime; the next run finds it right again.

    Not in the future: the library moves what a program reads, not what the kernel waits by, and each wait of
    TensorFlow's until a time of day would take as much longer.
    """
    jump, moment = scene.chance.choice(('-400d', '-2h')), scene.chance.choice((Moment(), scene.moment()))
    offset = scene.folder / 'clock'
    offset.write_text('+0')
    environment = {
        'LD_PRELOAD': scene.faketime,
        'FAKETIME_TIMESTAMP_FILE': str(offset),
        'FAKETIME_CACHE_DURATION': '1',
        'FAKETIME_DONT_FAKE_MONOTONIC': '1',
        'PYTHONPATH': os.pathsep.join([str(UNDER_LIBFAKETIME), *filter(None, [os.environ.get('PYTHONPATH')])]),
    }
    yield Disturbance(f'clock {jump} {moment}', moment, lambda: offset.write_text(jump), environment=environment)


@contextlib.contextmanager
def half_written_input(scene: Scene) -> Iterator[Disturbance]:
    """One of the two files is as a copy leaves it that was broken off, or damaged inside."""
    path = scene.data / scene.chance.choice(('expressions.csv.gz', 'keypoints.csv.gz'))
    whole = path.read_bytes()
    how = scene.chance.choice(('cut', 'empty', 'damaged', 'missing'))
    place = scene.chance.randrange(1, len(whole))
    if how == 'missing':
        path.unlink()
    else:
        rest = whole[place:] if how == 'damaged' else b''
        path.write_bytes(b'' if how == 'empty' else whole[: place - 1] + b'\xff' * bool(rest) + rest)
    yield Disturbance(
        f'{path.name} {how}' + (f' at byte {place:,} of {len(whole):,}' if how in ('cut', 'damaged') else '')
    )
    path.write_bytes(whole)


@contextlib.contextmanager
def half_a_version(scene: Scene) -> Iterator[Disturbance]:
    """Somebody copied a version into the serving folder by hand, and not to the end; only a person can remove that."""
    model = scene.chance.choice(('expression', 'keypoints', 'faces'))
    served = max((scene.folder / 'serving' / model).glob('[0-9]*'), key=lambda path: int(path.name))
    half = served.with_name(str(int(served.name) + 1))
    shutil.copytree(served, half)
    shutil.rmtree(half / 'assets.extra')
    yield Disturbance(f'half of {model}/{half.name} copied into serving', leaves=half)


FAULTS: dict[str, tuple[Fault, int]] = {
    'kill': (kill, 18),
    'full disk': (full_disk, 10),
    'read-only folder': (read_only, 8),
    'clock': (clock, 7),
    'half-written input': (half_written_input, 5),
    'half a version': (half_a_version, 2),
}
"""Each fault, and how often it comes among fifty."""


def find_faketime() -> str:
    """The path of libfaketime's library where Debian installs it, or an empty text without it."""
    return next((str(path) for path in Path('/usr/lib').glob('*/faketime/libfaketimeMT.so.1')), '')


def _fill(ballast: Path, left: int) -> None:
    with ballast.open('wb') as stream:
        while (size := _free(stream.fileno()) - left) > 0:
            try:
                os.posix_fallocate(stream.fileno(), 0, size)
                return
            except OSError as error:
                # The run wrote something meanwhile.
                if error.errno != errno.ENOSPC:
                    raise


def _free(file: int) -> int:
    system = os.fstatvfs(file)
    return system.f_bavail * system.f_frsize


def _protect(folder: Path, mounted: contextlib.ExitStack) -> None:
    subprocess.run(['mount', '--bind', folder, folder], check=True)
    mounted.callback(lambda: subprocess.run(['umount', '--lazy', folder], check=True))
    subprocess.run(['mount', '--options', 'remount,bind,ro', folder], check=True)
