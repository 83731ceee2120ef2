"""Corrections of the expressions' labels: CSV files in which a person has decided about training rows.

A correction names an image by its content hash and the label that it was given, and holds for every training row that
has both. The eval split stays as it is given: no row of it is left out or relabelled, and an image that it shows is
compared with the others as given, so that figures before and after a correction are of the same rows.
"""

import csv
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from components import faces
from components.errors import StepError
from components.ingest import tables

EXCLUDED: Final = 'excluded by a correction'
EXCLUDE: Final = -1
"""In place of the right label: the row is left out."""

MAXIMUM_CHARACTERS: Final = 64 << 20
"""Of a file; a correction takes about 90."""

_COLUMNS: Final = ('content_hash', 'label', 'suggestion', 'action')
_HASH_BYTES: Final = 16

Key = tuple[bytes, int]
"""Content hash and index of the expression that was given."""

Corrections = Mapping[Key, int]
"""The index of the right expression, or `EXCLUDE`."""


class _FaultError(Exception):
    """What is wrong with a row."""


def read(files: Iterable[str]) -> Corrections:
    """The corrections in these files.

    Columns are found by their names; others than `content_hash`, `label`, `suggestion` and `action` are not looked at.
    Rows whose action is empty, which nobody has decided about, are passed over.

    Raises:
        StepError: a file cannot be read, lacks a column or is too large, or a row is no correction or contradicts one.
    """
    found: dict[Key, tuple[int, str, int]] = {}
    for path in files:
        for row, key, label in _entries(path):
            earlier, *place = found.setdefault(key, (label, path, row))
            if earlier != label:
                raise StepError(f'{path}:{row} contradicts {place[0]}:{place[1]}: leave one action for this image.')
    return {key: label for key, (label, _, _) in found.items()}


def _entries(path: str) -> Iterator[tuple[int, Key, int]]:
    """Row, key and label of every row that has an action."""
    with tables.open_table(path) as text:
        lines = tables.lines(text)
        header = _header(path, next(lines, None))
        characters = 0
        for row, line in enumerate(lines, start=1):
            characters += len(line or '') + 1
            if characters > MAXIMUM_CHARACTERS:
                raise StepError(
                    f'{path}:{row}: the file is larger than {MAXIMUM_CHARACTERS >> 20} MiB: '
                    'remove the rows that have no action.'
                )
            if line == '':
                continue
            try:
                cells = _cells(line, header)
                if cells['action']:
                    yield row, *_correction(cells)
            except (_FaultError, csv.Error) as error:
                raise StepError(f'{path}:{row}: {error}.') from error


def _header(path: str, line: str | None) -> list[str]:
    names = [name.strip() for name in tables.split(line or '')]
    missing = [name for name in _COLUMNS if name not in names]
    if missing:
        raise StepError(
            f'{path} lacks the columns {", ".join(missing)} that corrections need; '
            f'its header begins {(line or "")[:60]!r}.'
        )
    return names


def _cells(line: str | None, header: list[str]) -> dict[str, str]:
    if line is None:
        raise _FaultError(f'the row has more than {tables.MAXIMUM_LINE} characters')
    cells = tables.split(line)
    if len(cells) != len(header):
        raise _FaultError(f'{len(cells)} cells instead of {len(header)}')
    return {name: cell.strip() for name, cell in zip(header, cells, strict=True)}


def _correction(cells: dict[str, str]) -> tuple[Key, int]:
    key = _content_hash(cells['content_hash']), _expression('label', cells['label'])
    if cells['action'] == 'exclude':
        return key, EXCLUDE
    if cells['action'] != 'relabel':
        raise _FaultError(f'action is {_short(cells["action"])}: write exclude, relabel or nothing')
    label = _expression('suggestion', cells['suggestion'])
    if label == key[1]:
        raise _FaultError(f'relabel from {cells["label"]} to the same: suggest another expression, or exclude the row')
    return key, label


def _content_hash(cell: str) -> bytes:
    try:
        content_hash = bytes.fromhex(cell)
    except ValueError:
        content_hash = b''
    if len(content_hash) != _HASH_BYTES:
        raise _FaultError(f'content_hash is {_short(cell)}, not {2 * _HASH_BYTES} hexadecimal digits')
    return content_hash


def _expression(column: str, cell: str) -> int:
    if cell not in faces.EXPRESSIONS:
        raise _FaultError(f'{column} is {_short(cell)}: use one of {", ".join(faces.EXPRESSIONS)}')
    return faces.EXPRESSIONS.index(cell)


def _short(cell: str) -> str:
    return repr(cell[:40])
