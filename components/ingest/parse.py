"""Rows of tables and image files to faces, or to the reason why not."""

import csv
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import PurePosixPath

import numpy as np
from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems

from components import faces
from components.errors import StepError
from components.ingest import images, tables
from components.ingest.images import UnreadableError
from components.ingest.sources import is_table
from components.ingest.tables import Columns
from components.settings import IngestSettings

_NO_POINTS = np.zeros(0, np.float32)


@dataclass(frozen=True, slots=True)
class Face:
    """A row that can be used.

    Attributes:
        source: the file's base name.
        row: 1 for the first row after the header; 0 for an image file.
        image: uint8 [height, width].
        content_hash: 16 bytes.
        usage: value of ` Usage`, or name of the split folder; may be empty.
        group: the person's identity; empty when no column names it.
        label: index of the expression; -1 for keypoints.
        points: float32 [30], pixels, NaN where missing; empty for expressions.
    """

    source: str
    row: int
    image: np.ndarray
    content_hash: bytes
    usage: str
    group: str
    label: int
    points: np.ndarray


@dataclass(frozen=True, slots=True)
class Rejected:
    """A row that cannot be used, and why; `image` where its pixels could be decoded."""

    source: str
    row: int
    reason: str
    detail: str
    image: np.ndarray | None


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A sound row that the settings leave out."""

    source: str
    row: int
    reason: str


Outcome = Face | Rejected | LeftOut


class _LeftOutError(Exception):
    """Ends the parsing of a row that the settings leave out."""


def check(files: tuple[str, ...], task: str, settings: IngestSettings) -> None:
    """Raises StepError for settings that contradict each other or the files, and for tables that lack a column."""
    foreign = set(settings.mapping.values()) - set(faces.EXPRESSIONS)
    if foreign:
        raise StepError(
            f'ingest.mapping names {sorted(foreign)[0]!r}, which is no expression: use {", ".join(faces.EXPRESSIONS)}.'
        )
    if settings.split not in ('hash', 'usage'):
        raise StepError(f'ingest.split is {settings.split!r}: use hash or usage.')
    if settings.corrections and task == faces.KEYPOINT_MODEL:
        raise StepError('ingest.keypoints.corrections is set: only the labels of expressions can be corrected.')
    for path in files:
        if is_table(path):
            tables.check_header(path, task, settings)
        elif task == faces.KEYPOINT_MODEL:
            raise StepError(f'{path} is an image file: keypoints are read from CSV files alone.')
        elif settings.group_column:
            raise StepError(f'ingest.group_column is set, but {path} is an image file and has no columns.')


def read(path: str, task: str, settings: IngestSettings) -> Iterator[Outcome]:
    """What each row of a table, or an image file, turns out to be; the file is streamed.

    Raises:
        StepError: the file cannot be read to its end.
    """
    source = PurePosixPath(path).name
    if not is_table(path):
        yield _outcome(source, 0, lambda: _parse_image(path, settings))
        return
    with tables.open_table(path) as text:
        lines = tables.lines(text)
        columns = tables.columns(path, next(lines, None), task, settings)
        classes = _classes(settings)
        for row, line in enumerate(lines, start=1):
            if settings.limit and row > settings.limit:
                return
            if line != '':
                yield _outcome(source, row, partial(_parse_line, source, row, line, columns, classes, settings))


def _outcome(source: str, row: int, parse: Callable[[], Face]) -> Outcome:
    try:
        return parse()
    except UnreadableError as error:
        return Rejected(source, row, error.reason, error.detail, error.image)
    except _LeftOutError as error:
        return LeftOut(source, row, str(error))


def _classes(settings: IngestSettings) -> tuple[str, ...]:
    return settings.classes or faces.EXPRESSIONS


def _parse_line(
    source: str, row: int, line: str | None, columns: Columns, classes: tuple[str, ...], settings: IngestSettings
) -> Face:
    cells = _cells(line, columns)
    usage = '' if columns.usage is None else cells[columns.usage].strip()
    _check_usage(usage, settings)
    group = '' if columns.group is None else _identity(cells[columns.group])
    label, points, size = -1, _NO_POINTS, faces.KEYPOINT_SIZE
    if columns.emotion is not None:
        label, size = _label(_class_name(cells[columns.emotion], classes), settings), faces.EXPRESSION_SIZE
    image = images.from_text(cells[columns.pixels], size)
    images.check_contrast(image)
    if columns.points:
        points = _points([cells[index] for index in columns.points], image)
    return Face(source, row, image, images.content_hash(image), usage, group, label, points)


def _parse_image(path: str, settings: IngestSettings) -> Face:
    split_folder, class_folder, name = PurePosixPath(path).parts[-3:]
    _check_usage(split_folder, settings)
    label = _label(class_folder, settings)
    try:
        with FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED) as stream:
            encoded = stream.read(images.MAXIMUM_FILE_BYTES + 1)
    except OSError as error:
        raise UnreadableError('file cannot be opened', str(error)[:80]) from error
    image = images.from_file(encoded, settings.maximum_image_pixels)
    images.check_contrast(image)
    return Face(name, 0, image, images.content_hash(image), split_folder, '', label, _NO_POINTS)


def _cells(line: str | None, columns: Columns) -> list[str]:
    if line is None:
        raise UnreadableError('row too long', f'more than {tables.MAXIMUM_LINE} characters')
    try:
        cells = tables.split(line)
    except csv.Error as error:
        raise UnreadableError('row too long', str(error)) from error
    if len(cells) != columns.count:
        raise UnreadableError('wrong number of columns', f'{len(cells)} instead of {columns.count}')
    return cells


def _check_usage(usage: str, settings: IngestSettings) -> None:
    if usage in settings.unused_usages:
        raise _LeftOutError('unused usage')


def _identity(cell: str) -> str:
    """A row whose person is unknown could lie in another split than that person's other rows."""
    if not cell.strip():
        raise UnreadableError('no identity in the group column')
    return cell.strip()


def _class_name(code: str, classes: tuple[str, ...]) -> str:
    code = code.strip()
    # Not every character that str.isdigit takes is a digit that int takes.
    if not (code.isascii() and code.isdigit() and len(code) < 4 and int(code) < len(classes)):
        raise UnreadableError('unknown label', repr(code[:20]))
    return classes[int(code)]


def _label(class_name: str, settings: IngestSettings) -> int:
    expression = settings.mapping.get(class_name, class_name)
    if expression not in faces.EXPRESSIONS:
        raise _LeftOutError(f'class {class_name}')
    return faces.EXPRESSIONS.index(expression)


def _points(cells: list[str], image: np.ndarray) -> np.ndarray:
    """float32 [30]; an empty cell is a missing coordinate."""
    try:
        points = np.array([_coordinate(cell) for cell in cells])
    except ValueError as error:
        raise UnreadableError('a coordinate is no number', str(error)[:60], image) from error
    missing = np.isnan(points).reshape(-1, 2)
    if (missing[:, 0] != missing[:, 1]).any():
        raise UnreadableError('half of a point is missing', faces.KEYPOINTS[(missing.sum(1) == 1).argmax()], image)
    if missing.all():
        raise UnreadableError('no point is known', '', image)
    outside = (points < 0) | (points > faces.KEYPOINT_SIZE)
    if outside.any():
        index = outside.argmax()
        raise UnreadableError(
            'a coordinate outside the image', f'{faces.KEYPOINT_COLUMNS[index]} is {points[index]:g}', image
        )
    return points.astype(np.float32)


def _coordinate(cell: str) -> float:
    if not cell or cell.isspace():
        return math.nan
    value = float(cell)
    # float also takes 'nan' and digits set apart by underscores.
    if math.isnan(value) or '_' in cell:
        raise ValueError(f'{cell!r} is no coordinate')
    return value
