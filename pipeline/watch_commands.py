"""`emotion-pipeline watch`: expressions over time, in a video file, from a camera or from a stream."""

import contextlib
import datetime
import os
import re
import signal
import sys
import threading
import time
import webbrowser
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from components import faces
from components.errors import StepError
from pipeline import config as configuration
from pipeline.options import config_options, model_options

if TYPE_CHECKING:
    from components.watch.frames import Film, Source
    from components.watch.live import LiveView
    from components.watch.watch import Watched, WatchSettings

INTERRUPTED: Final = 128
"""Plus the signal's number: the exit status of a file that was not watched to its end."""

_LONGEST: Final = 7 * 86_400.0  # seconds
_SAID_EVERY: Final = 0.25  # seconds
_MOST_SAID: Final = 20  # persons in the closing lines
_LONGEST_STEM: Final = 80  # signs


@click.command()
@click.argument('video', metavar='VIDEO_OR_CAMERA')
@click.option(
    '--output',
    type=click.Path(path_type=Path, file_okay=False),
    metavar='DIR',
    help="Where the results are written; a new folder here, with the video's name, when left out.",
)
@click.option('--force', is_flag=True, help='Replace the results that the folder has.')
@click.option(
    '--faces',
    'which',
    type=click.Choice(faces.WHICH),
    default='all',
    show_default=True,
    help='The largest face alone, until it is lost; up to 16; or no search: each frame is cut to one face already.',
)
@click.option('--every', type=click.IntRange(1, 1000), default=1, show_default=True, help='Look at every Nth frame.')
@click.option(
    '--start', type=click.FloatRange(0, _LONGEST), default=0.0, metavar='SECONDS', help='Leave out the beginning.'
)
@click.option(
    '--duration',
    type=click.FloatRange(0, _LONGEST, min_open=True),
    metavar='SECONDS',
    help='Watch no longer than this.',
)
@click.option(
    '--smoothing',
    type=click.FloatRange(0, 60),
    default=0.3,
    show_default=True,
    metavar='SECONDS',
    help='Over which the probabilities are averaged; 0 for none.',
)
@click.option('--no-video', is_flag=True, help='Write no annotated video.')
@click.option('--live', 'is_live', is_flag=True, help='Show it in the browser while it is watched.')
@model_options
@config_options
def watch_command(
    video: str,
    output: Path | None,
    force: bool,
    which: faces.Which,
    every: int,
    start: float,
    duration: float | None,
    smoothing: float,
    no_video: bool,
    is_live: bool,
    serving: str | None,
    version: int | None,
    name: str,
    overrides: tuple[str, ...],
) -> None:
    """Watch expressions over time in a video file, from a camera (0 or /dev/video0) or a stream (rtsp://, http://).

    Recognising the emotions of people at work or in education is prohibited in the EU, except for medical or safety
    reasons (AI Act, Article 5(1)(f)).

    \b
    timeline.csv     a row for each person in each frame: seconds, frame,
                     person, box, the detector's score, expression, its five
                     probabilities as the network gives them and smoothed, x
                     and y of the 15 points likewise; in pixels of the frame
    timeline.json    the same, with a summary of each person
    annotated.mp4    the video with boxes, points and probabilities, no sound
    expressions.svg  a chart of the expressions over time, for each person

    Persons are numbered in the order in which they appear. Nobody is recognised: who comes back after more than
    two seconds, or after a cut, gets another number. The model itself answers, not a server.

    Ctrl-C ends it and writes everything. Ends with status 0 at the end of the video or of --duration, also when a
    camera or a stream is ended by Ctrl-C; 130 when a file is.
    """
    # NumPy is not imported yet, nor OpenCV. Reading, looking and drawing go on at a time: threads of theirs would be in
    # the way.
    os.environ.setdefault('OPENBLAS_NUM_THREADS', '1')
    import cv2

    from components.inference.pushed import load_pushed
    from components.watch.frames import Film, parse_source
    from components.watch.watch import WatchSettings, watch

    settings = WatchSettings(which, every, start, duration, smoothing, video=not no_video)
    source = parse_source(video)
    pushed = configuration.Config(serving=serving) if serving is not None else configuration.load(name, overrides)
    model = load_pushed(pushed.serving_folder(faces.JOINT_MODEL), version)
    cv2.setNumThreads(1)
    film = Film(source, start)
    folder = _folder(source, output, force)
    began = time.monotonic()
    with _stopping() as stop, _live_view(is_live) as live, _Display(film, settings) as display:
        watched = watch(film, model, settings, folder, stop.event, display.show, live)
    _tell(watched, film, time.monotonic() - began)
    if stop.signal and not film.live:
        sys.exit(INTERRUPTED + stop.signal)
    if watched.ended == 'disk full':
        sys.exit(1)


def _folder(source: 'Source', output: Path | None, force: bool) -> Path:
    """The folder for the results, which has none of an earlier time in it."""
    from components.watch.watch import OUTPUTS

    if output is None:
        stem = re.sub(r'[^\w.-]+', '-', source.stem).strip('-.')[:_LONGEST_STEM] or 'video'
        when = '' if source.kind == 'file' else datetime.datetime.now().strftime('-%Y%m%d-%H%M%S')
        output = Path(f'{stem}{when}-watched')
    present = [output / file for file in OUTPUTS if (output / file).exists()]
    if present and not force:
        raise StepError(
            f'{present[0]} is there already: name another folder with --output, or replace it with --force.'
        )
    if source.kind == 'file' and any(Path(str(source.address)).samefile(path) for path in present):
        raise StepError(f'{source.name} is what would be replaced: name another folder with --output.')
    try:
        output.mkdir(parents=True, exist_ok=True)
        for path in present:
            path.unlink()
    except OSError as error:
        raise StepError(f'{output} cannot be written: {error.strerror}. Name another folder with --output.') from error
    return output


class _Stop:
    """Whether, and by which signal, the watching is to end."""

    def __init__(self) -> None:
        self.event = threading.Event()
        self.signal = 0

    def handle(self, number: int, frame: Any) -> None:
        self.signal = number
        self.event.set()
        # Whoever cannot wait for the end asks twice.
        signal.signal(number, signal.SIG_DFL)


@contextlib.contextmanager
def _stopping() -> Iterator[_Stop]:
    """Lets Ctrl-C and SIGTERM end the watching as the film's own end does."""
    stop = _Stop()
    before = {number: signal.signal(number, stop.handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def _live_view(wanted: bool) -> 'Iterator[LiveView | None]':
    if not wanted:
        yield None
        return
    from components.watch.live import LiveView

    view = LiveView()
    try:
        click.echo(f'Live view: {view.url}', err=True)
        # Without a screen it would be a browser in this terminal; the address is for `ssh -L` then.
        if sys.platform in ('darwin', 'win32') or any(map(os.environ.get, ('DISPLAY', 'WAYLAND_DISPLAY'))):
            webbrowser.open(view.url)
        yield view
    finally:
        view.close()


class _Display:
    """How far it has come, on standard error, where that is a terminal: a bar for what has an end, else the time."""

    def __init__(self, film: 'Film', settings: 'WatchSettings'):
        from rich import progress
        from rich.console import Console

        self._film = film
        self._began = self._said = time.monotonic()
        whole = None if film.length is None else max(film.length - settings.start, 0.1)
        lengths = [length for length in (whole, settings.duration) if length is not None]
        self._progress: progress.Progress | None = None
        if sys.stderr.isatty():
            bar: list[progress.ProgressColumn] = [
                progress.BarColumn(),
                progress.TaskProgressColumn(),
                progress.TimeRemainingColumn(),
            ]
            self._progress = progress.Progress(
                '{task.description}',
                *(bar if lengths else []),
                '{task.fields[pace]}',
                console=Console(stderr=True),
                transient=True,
                redirect_stdout=False,
                redirect_stderr=False,
            )
            self._task = self._progress.add_task('Watching', total=min(lengths, default=None), pace='')

    def __enter__(self) -> '_Display':
        if self._progress is not None:
            self._progress.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._progress is not None:
            self._progress.stop()

    def show(self, seconds: float) -> None:
        """Shows that so many seconds are watched."""
        now = time.monotonic()
        if self._progress is None or now - self._said < _SAID_EVERY:
            return
        self._said = now
        clock = f'{int(seconds) // 60}:{int(seconds) % 60:02}'
        pace = f'{clock}, Ctrl-C ends it' if self._film.live else f'{clock}, {_pace(seconds, now - self._began)}'
        self._progress.update(self._task, completed=seconds, pace=pace)


def _tell(watched: 'Watched', film: 'Film', took: float) -> None:
    """The closing lines: who was seen, what was written, and what is to be known."""
    count = len(watched.people)
    click.echo(
        f'{film.source.name}: {watched.seconds:.1f} s, {watched.frames} frames, '
        f'{count or "no"} {"person" if count == 1 else "people"}'
        + ('.' if film.live else f'; in {took:.1f} s, {_pace(watched.seconds, took)}.')
    )
    longest = sorted(watched.people, key=lambda person: -person.seconds)[:_MOST_SAID]
    for person in sorted(longest, key=lambda person: person.person):
        shares = sorted(person.shares.items(), key=lambda pair: -pair[1])
        said = ', '.join(f'{expression} {share:.0%}' for expression, share in shares if share >= 0.005)
        click.echo(f'  person {person.person}: seen {person.seconds:.1f} s from {person.first:.1f} s on; {said}')
    if count > _MOST_SAID:
        click.echo(f'  and {count - _MOST_SAID} who were seen for a shorter time')
    for path in watched.files:
        click.echo(str(path))
    for note in watched.notes:
        click.echo(f'Note: {note}', err=True)


def _pace(seconds: float, took: float) -> str:
    return f'{seconds / took:.1f}x real time'
