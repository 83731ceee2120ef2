"""Lines of CSV files, compressed or not, read as a stream."""

import contextlib
import csv
import gzip
import io
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TextIO

from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems

from components import faces
from components.errors import StepError
from components.settings import IngestSettings

MAXIMUM_LINE = 1 << 20
"""Characters; the longest published row, of 96x96 pixels, has about 38,000."""

_USAGE = 'Usage'
_EMOTION = 'emotion'
_PIXELS = {faces.EXPRESSION_MODEL: 'pixels', faces.KEYPOINT_MODEL: 'Image'}


@dataclass(frozen=True)
class Columns:
    """Where a table's cells are; None for a column that it does not have or need.

    Attributes:
        count: cells in a row.
        pixels: the image's column.
        emotion: the class code's column.
        points: the 30 coordinates' columns.
        usage: the ` Usage` column.
        group: the column of a person's identity.
    """

    count: int
    pixels: int
    emotion: int | None
    points: tuple[int, ...]
    usage: int | None
    group: int | None


@contextlib.contextmanager
def open_table(path: str) -> Iterator[TextIO]:
    """Opens a `.csv` or `.csv.gz` file as text; bytes that are not UTF-8 come as U+FFFD.

    Raises:
        StepError: the file cannot be opened, is no gzip file, or ends early.
    """
    try:
        with contextlib.ExitStack() as stack:
            stream = stack.enter_context(FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED))
            if path.lower().endswith('.gz'):
                stream = stack.enter_context(gzip.GzipFile(fileobj=stream))
            yield stack.enter_context(io.TextIOWrapper(stream, encoding='utf-8-sig', errors='replace'))
    except (EOFError, zlib.error, OSError) as error:
        raise StepError(f'{path} cannot be read to its end ({error}): copy or download it again.') from error


def lines(text: TextIO) -> Iterator[str | None]:
    """The lines of a file without their ends; None for one of more than `MAXIMUM_LINE` characters."""
    while line := text.readline(MAXIMUM_LINE):
        if len(line) < MAXIMUM_LINE or line.endswith('\n'):
            yield line.rstrip('\n')
            continue
        while (rest := text.readline(MAXIMUM_LINE)) and not rest.endswith('\n'):
            pass
        yield None


def split(line: str) -> list[str]:
    """The cells of a line.

    No cell of these formats holds a line's end, so each line is parsed by itself: an unpaired quote spoils its own row
    and not those that follow.

    Raises:
        csv.Error: a cell is longer than the `csv` module's limit.
    """
    return next(csv.reader([line]), []) if '"' in line else line.split(',')


def columns(path: str, header: str | None, task: str, settings: IngestSettings) -> Columns:
    """Finds the columns by their names, blanks around them tolerated.

    Raises:
        StepError: a column that the task or the settings need is missing.
    """
    names = [name.strip() for name in split(header or '')]
    needed = [_PIXELS[task], *(faces.KEYPOINT_COLUMNS if task == faces.KEYPOINT_MODEL else [_EMOTION])]
    if settings.split == 'usage':
        needed.append(_USAGE)
    if settings.group_column:
        needed.append(settings.group_column)
    missing = [name for name in needed if name not in names]
    if missing:
        listed = ', '.join(missing[:3]) + (f' and {len(missing) - 3} more' if len(missing) > 3 else '')
        raise StepError(
            f'{path} lacks the columns {listed} that {task} data need; its header begins {(header or "")[:60]!r}.'
        )
    position = {name: index for index, name in reversed(list(enumerate(names)))}
    return Columns(
        count=len(names),
        pixels=position[_PIXELS[task]],
        emotion=position[_EMOTION] if task == faces.EXPRESSION_MODEL else None,
        points=tuple(position[name] for name in faces.KEYPOINT_COLUMNS) if task == faces.KEYPOINT_MODEL else (),
        usage=position.get(_USAGE),
        group=position[settings.group_column] if settings.group_column else None,
    )


def check_header(path: str, task: str, settings: IngestSettings) -> None:
    """Raises StepError when the table cannot be opened or lacks a column."""
    with open_table(path) as text:
        columns(path, next(lines(text), None), task, settings)
