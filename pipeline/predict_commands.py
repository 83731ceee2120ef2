"""`emotion-pipeline predict`: what the pushed model says of photographs."""

import concurrent.futures
import contextlib
import csv
import io
import json
import os
import signal
import sys
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

import click

from components import faces
from components.errors import StepError
from components.storage.uris import below
from pipeline import config as configuration
from pipeline.options import config_options, model_options

if TYPE_CHECKING:
    from rich.progress import Progress
    from rich.table import Table

    from components.inference.answers import PhotoAnswer
    from components.inference.inputs import Photograph, Source
    from components.inference.overlay import OverlayFolder
    from components.inference.photo import FaceAnswer

CSV_COLUMNS: Final = (
    'file',
    'face',
    'left',
    'top',
    'width',
    'height',
    'score',
    'expression',
    *faces.EXPRESSIONS,
    *faces.KEYPOINT_COLUMNS,
    'model_version',
)
INTERRUPTED: Final = 130

_FEW: Final = 3  # photographs that need no progress bar
_REQUESTS: Final = 4  # to a server at a time
_AHEAD: Final = 8  # photographs a worker may be ahead of the one that is printed next
_TABLE_ROWS: Final = 1000  # after which a table is printed and the next one begun
_PATIENCE: Final = 3.0  # seconds that an interrupted command waits for what is under way


@click.command()
@click.argument('paths', nargs=-1, required=True, metavar='FILES_OR_FOLDERS…')
@click.option(
    '--faces',
    'which',
    type=click.Choice(faces.WHICH),
    default='largest',
    show_default=True,
    help='The largest face of each photograph, all of them, or no search: the images are cut to the face already.',
)
@click.option('--json', 'as_json', is_flag=True, help='JSON Lines: one object a photograph.')
@click.option('--csv', 'as_csv', is_flag=True, help='CSV: one row a face.')
@click.option(
    '--overlay',
    type=click.Path(path_type=Path, file_okay=False),
    metavar='DIR',
    help='Write pictures with box, points and probabilities into this folder, as NAME.overlay.jpg.',
)
@click.option('--url', metavar='URL', help='Ask a running server, e.g. http://localhost:8501.')
@model_options
@click.option(
    '--workers',
    type=click.IntRange(1, 64),
    help=f'Photographs at a time; as many as there are cores, or {_REQUESTS} with --url, when left out.',
)
@config_options
def predict_command(
    paths: tuple[str, ...],
    which: faces.Which,
    as_json: bool,
    as_csv: bool,
    overlay: Path | None,
    url: str | None,
    serving: str | None,
    version: int | None,
    workers: int | None,
    name: str,
    overrides: tuple[str, ...],
) -> None:
    """Say what the faces in photographs express, and where their keypoints are.

    Folders are searched with all below them for JPEG, PNG, WebP, BMP and GIF; - reads a photograph from standard
    input. The answers come in the order of the photographs.

    \b
    --json  {"file", "image": {"width", "height"}, "faces": [{"box", "score",
            "expression", "probabilities", "keypoints"}], "model": {"name",
            "version"}} and "overlay" where one was written; a photograph that
            cannot be read has {"file", "error"} instead.
    --csv   file, face (1 is the largest), box, score, expression, the five
            probabilities, x and y of the 15 points, version of the model. A
            relative path that a spreadsheet could take for a formula begins
            with ./, and control characters in it are written as escapes.

    Boxes and points are in pixels of the photograph as it is seen, turned by its EXIF; the score is the detector's.
    Bytes of a file's name that are no UTF-8 are written as \\xNN.

    Ends with status 0 when every photograph was answered, with or without a face in it, 1 when one could not be, and
    130 when it was interrupted.
    """
    if as_json and as_csv:
        raise click.UsageError('Choose one of --json and --csv.')
    if url is not None and (serving is not None or version is not None):
        raise click.UsageError('--url asks a server, which chooses the model: leave out --serving and --version.')
    # NumPy is not imported yet. The cores are shared out by photographs: a product of small matrices on several of them
    # spends most of its time waiting.
    os.environ.setdefault('OPENBLAS_NUM_THREADS', '1')
    try:
        sources, overlays = _plan(paths, overlay)
        at_a_time = min(len(sources), workers or (_cores() if url is None else _REQUESTS))
        if url is not None:
            engine = _server(url, which, at_a_time)
        else:
            pushed = configuration.load(name, overrides).serving_folder(faces.JOINT_MODEL)
            engine = _pushed(below(serving, faces.JOINT_MODEL) if serving else pushed, version, which)
        bar = _Bar(len(sources), beside_data=as_json or as_csv)
        output: _Output = _JsonLines() if as_json else _Csv() if as_csv else _Table(bar)
        status = _carry_out(_Work(_Task(engine, overlays), sources, at_a_time), output, bar)
    except KeyboardInterrupt:
        status = INTERRUPTED
    sys.exit(status)


@dataclass(frozen=True)
class Result:
    """What became of one photograph.

    Attributes:
        name: as it was typed or found.
        answer: None where there is none.
        error: in one line, why there is none.
        overlay: the picture that was written.
    """

    name: str
    answer: 'PhotoAnswer | None' = None
    error: str = ''
    overlay: Path | None = None


class _Engine(Protocol):
    def ask(self, photograph: 'Photograph') -> 'PhotoAnswer': ...


class _Output(Protocol):
    """Where results go; `end` is called once, whatever happened."""

    def add(self, result: Result) -> None: ...

    def end(self) -> None: ...


def _plan(paths: Sequence[str], overlay: Path | None) -> 'tuple[list[Source], OverlayFolder | None]':
    from components.inference.inputs import find_sources, printable

    if overlay is None:
        return find_sources(paths), None
    for path in map(Path, paths):
        if path.is_dir() and overlay.exists() and path.samefile(overlay):
            raise StepError(f'{printable(str(path))} is searched for photographs: name another folder for --overlay.')
    from components.inference.overlay import OverlayFolder

    sources = find_sources(paths, left_out=overlay)
    return sources, OverlayFolder(overlay, sources)


def _pushed(folder: Path | str, version: int | None, which: faces.Which) -> _Engine:
    import cv2

    from components.inference.answers import PushedModel
    from components.inference.pushed import load_pushed

    # As above: of the detector.
    cv2.setNumThreads(1)
    return PushedModel(load_pushed(folder, version), which)


def _server(url: str, which: faces.Which, at_a_time: int) -> _Engine:
    from components.inference.client import Server

    return Server(url, which, at_a_time)


def _cores() -> int:
    """That this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1


@dataclass(frozen=True)
class _Task:
    """Reads a photograph, asks about it, and draws the answer."""

    engine: _Engine
    overlays: 'OverlayFolder | None'

    def __call__(self, index: int, source: 'Source') -> Result:
        from components.inference.images import ImageError
        from components.inference.inputs import PhotoError, Photograph

        try:
            photograph = Photograph(source.read())
            answer = self.engine.ask(photograph)
            picture = self._draw(photograph, answer)
        except (ImageError, PhotoError) as error:
            return Result(source.name, error=str(error))
        except StepError:
            raise
        except Exception as error:
            # OpenCV's and Pillow's errors are of many kinds; one photograph does not end the work of the others.
            reason = (str(error).splitlines() or [''])[0]
            return Result(source.name, error=str(StepError(f'It defeats us ({type(error).__name__}: {reason}).')))
        path = self.overlays.write(index, picture) if self.overlays is not None else None
        return Result(source.name, answer, overlay=path)

    def _draw(self, photograph: 'Photograph', answer: 'PhotoAnswer') -> Any:
        if self.overlays is None:
            return None
        from components.inference.overlay import draw_overlay

        return draw_overlay(photograph.pixels, answer.faces)


class _Work:
    """Several photographs at a time, their results in order; never many more than are worked at are held in memory."""

    def __init__(self, task: _Task, sources: 'Sequence[Source]', at_a_time: int):
        self._task = task
        self._sources = sources
        self._ahead = _AHEAD * at_a_time
        self._pool = concurrent.futures.ThreadPoolExecutor(at_a_time)
        self._pending: deque[concurrent.futures.Future[Result]] = deque()

    def results(self) -> Iterator[Result]:
        coming = iter(enumerate(self._sources))
        while True:
            while len(self._pending) < self._ahead and (place := next(coming, None)) is not None:
                self._pending.append(self._pool.submit(self._task, *place))
            if not self._pending:
                return
            # Left in its place until it has been brought to the output: an interruption loses none.
            yield self._pending[0].result()
            self._pending.popleft()

    def stop(self) -> bool:
        """Begins nothing more; whether what was under way has come to its end."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        # One that was cancelled before it began counts as not done for ever.
        begun = [future for future in self._pending if not future.cancelled()]
        return not concurrent.futures.wait(begun, _PATIENCE).not_done

    def finished(self) -> Iterator[Result]:
        """What was done when the work was stopped; of what was brought to the output, the last one at most."""
        for future in self._pending:
            if future.done() and not future.cancelled() and future.exception() is None:
                yield future.result()


def _carry_out(work: _Work, output: _Output, bar: '_Bar') -> int:
    """Brings the results to the output, and says what went wrong; the exit status."""
    failed: list[Result] = []
    last: Result | None = None
    status = 0
    trouble: StepError | OSError | None = None
    try:
        with bar:
            for result in work.results():
                with _unbroken():
                    _add(result, output, failed)
                    last = result
                bar.advance()
    except KeyboardInterrupt:
        status = INTERRUPTED
    except BrokenPipeError:
        # Who reads has read enough, as `head` does.
        _close_standard_output()
    except (StepError, OSError) as error:
        trouble = error
    has_ended = work.stop()
    with contextlib.suppress(BrokenPipeError):
        if status == INTERRUPTED:
            for result in work.finished():
                if result is not last:
                    _add(result, output, failed)
        output.end()
        sys.stdout.flush()
    _tell(failed)
    if trouble is not None:
        raise trouble
    status = status or (1 if failed else 0)
    if not has_ended:
        # A request that waits for its answer would hold the process until its time is up.
        sys.stderr.flush()
        os._exit(status)
    return status


@contextlib.contextmanager
def _unbroken() -> Iterator[None]:
    """Puts an interruption off, so that a result is at the output whole or not at all; a second one comes at once."""
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    came = False

    def put_off(number: int, frame: object) -> None:
        nonlocal came
        if came:
            raise KeyboardInterrupt
        came = True

    signal.signal(signal.SIGINT, put_off)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if came:
        raise KeyboardInterrupt


def _add(result: Result, output: _Output, failed: list[Result]) -> None:
    if result.answer is None:
        failed.append(result)
    output.add(result)


def _close_standard_output() -> None:
    """So that Python does not complain, as it ends, of what cannot be written any more."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def _tell(failed: Sequence[Result]) -> None:
    from components.inference.inputs import printable

    for result in failed:
        click.echo(f'{printable(result.name)}: {result.error}', err=True)


class _Bar:
    """A progress bar on standard error: for more than a few photographs, on a terminal that no data are printed on."""

    def __init__(self, count: int, beside_data: bool):
        self._progress: Progress | None = None
        if count <= _FEW or not sys.stderr.isatty() or (beside_data and sys.stdout.isatty()):
            return
        from rich import progress
        from rich.console import Console

        console = Console(stderr=True)
        columns = (progress.BarColumn(), progress.MofNCompleteColumn(), progress.TimeRemainingColumn())
        # Else Rich would send to standard error what is meant for standard output.
        self._progress = progress.Progress(
            *columns, console=console, transient=True, redirect_stdout=False, redirect_stderr=False
        )
        self._progress.add_task('photographs', total=count)

    def __enter__(self) -> None:
        if self._progress is not None:
            self._progress.start()

    def __exit__(self, *error: object) -> None:
        if self._progress is not None:
            self._progress.stop()

    def advance(self) -> None:
        if self._progress is not None:
            self._progress.advance(self._progress.task_ids[0])

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Off the terminal, so that something else can be printed there."""
        is_shown = self._progress is not None and self._progress.live.is_started
        if self._progress is not None and is_shown:
            self._progress.stop()
        yield
        if self._progress is not None and is_shown:
            self._progress.start()


class _JsonLines:
    """One object a photograph, each in a line that is written at once."""

    def add(self, result: Result) -> None:
        from components.inference.inputs import to_unicode

        values: dict[str, Any] = {'file': to_unicode(result.name)}
        if result.answer is None:
            values['error'] = result.error
        else:
            values.update(result.answer.to_json())
        if result.overlay is not None:
            values['overlay'] = to_unicode(str(result.overlay))
        _write(json.dumps(values, ensure_ascii=False, allow_nan=False) + '\n')

    def end(self) -> None:
        pass


class _Csv:
    """One row a face; text is always in quotes, so that a spreadsheet splits it at no sign."""

    def __init__(self) -> None:
        _write(_csv_row(CSV_COLUMNS))

    def add(self, result: Result) -> None:
        if result.answer is None:
            return
        for number, face in enumerate(result.answer.faces, 1):
            _write(_csv_row(_cells(result.name, number, face, result.answer.version)))

    def end(self) -> None:
        pass


def _cells(name: str, number: int, face: 'FaceAnswer', version: int) -> list[Any]:
    box = [round(value, 3) for value in face.box]
    score = '' if face.score is None else round(face.score, 6)
    probabilities = [round(value, 6) for value in face.probabilities.tolist()]
    points = [round(value, 3) for value in face.keypoints.ravel().tolist()]
    return [_no_formula(name), number, *box, score, face.expression, *probabilities, *points, version]


def _no_formula(name: str) -> str:
    """The path so that no spreadsheet takes it for a formula, as the same path still."""
    from components.inference.inputs import STANDARD_INPUT, printable

    shown = printable(name)
    is_plain = shown == STANDARD_INPUT or shown[:1].isalnum() or shown[:1] in ('/', '.', '_')
    return shown if is_plain else f'./{shown}'


def _csv_row(cells: Sequence[Any]) -> str:
    row = io.StringIO()
    csv.writer(row, quoting=csv.QUOTE_NONNUMERIC, lineterminator='\n').writerow(cells)
    return row.getvalue()


def _write(line: str) -> None:
    # Whatever the terminal's encoding is.
    sys.stdout.buffer.write(line.encode())
    sys.stdout.buffer.flush()


class _Table:
    """For people: a row a face, and what it was about in a last line."""

    def __init__(self, bar: _Bar):
        self._bar = bar
        self._table = _empty_table()
        self._photographs = self._faces = self._without = 0
        self._models: dict[str, None] = {}

    def add(self, result: Result) -> None:
        from components.inference.inputs import printable

        answer = result.answer
        if answer is None:
            return
        self._photographs += 1
        self._faces += len(answer.faces)
        self._models[f'version {answer.version} of {answer.model}'] = None
        if not answer.faces:
            self._without += 1
            self._row(printable(result.name), '', 'no face', '', '')
        for number, face in enumerate(answer.faces, 1):
            self._row(printable(result.name), str(number), *_in_words(face))
        if self._table.row_count >= _TABLE_ROWS:
            with self._bar.paused():
                self._print()

    def end(self) -> None:
        self._print()
        if self._photographs:
            without = f', {self._without} without a face' if self._without else ''
            click.echo(
                f'{_count(self._photographs, "photograph")}, {_count(self._faces, "face")}{without}. '
                f'Answered by {" and ".join(self._models)}.'
            )

    def _row(self, *cells: str) -> None:
        from rich.text import Text

        # A file's name is no markup.
        self._table.add_row(*map(Text, cells), style='dim' if not cells[1] else None)

    def _print(self) -> None:
        if self._table.row_count:
            _print_table(self._table)
        self._table = _empty_table()


def _in_words(face: 'FaceAnswer') -> tuple[str, str, str]:
    """Expression with its probability; the others that are not next to none; the box."""
    order = sorted(zip(face.probabilities.tolist(), faces.EXPRESSIONS, strict=True), reverse=True)
    (first, name), *others = order
    rest = ', '.join(f'{other} {share:.0%}' for share, other in others if share >= 0.005)
    left, top, width, height = (round(value) for value in face.box)
    return f'{name} {first:.0%}', rest, f'{width}x{height} at {left},{top}'


def _count(number: int, noun: str) -> str:
    return f'{number} {noun}{"" if number == 1 else "s"}'


def _empty_table() -> 'Table':
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column('file', overflow='fold')
    table.add_column('face', justify='right', no_wrap=True)
    table.add_column('expression', no_wrap=True)
    table.add_column('others')
    table.add_column('box', no_wrap=True)
    return table


def _print_table(table: 'Table') -> None:
    """On a terminal as wide as it is; else as wide as it needs, for the program that reads it."""
    from rich.console import Console

    class Plain(Console):
        def on_broken_pipe(self) -> None:
            raise BrokenPipeError

    console = Plain()
    if not console.is_terminal and 'COLUMNS' not in os.environ:
        console.width = 1_000_000
        console.width = console.measure(table).maximum
    console.print(table)
