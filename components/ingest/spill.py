"""Rows on their way from the first pass to the second: in files beside the outputs, so that no runner keeps them."""

import struct
import uuid
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Final, NamedTuple

import numpy as np
from apache_beam.coders import BytesCoder, ListCoder, StrUtf8Coder, TupleCoder, VarIntCoder
from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems

from components.ingest.parse import LeftOut, Rejected

_PREPARED, _REJECTED, _LEFT_OUT, _FAULT = range(4)
_LENGTH: Final = struct.Struct('<Q')
_BLOCK_ROWS: Final = 256
_BLOCK_BYTES: Final = 4 << 20  # of Examples; encoded images may have many megabytes each


class Prepared(NamedTuple):
    """A row that can be used, with the Example that it becomes unless the second pass decides otherwise.

    Attributes:
        source, row, content_hash, group, label: as the `Face` has them.
        split: to which it would go, as `duplicates.wanted_split` says it.
        example: the serialized Example.
    """

    source: str
    row: int
    content_hash: bytes
    group: str
    label: int
    split: str
    example: bytes


class Fault(NamedTuple):
    """A file that could not be read on, and the whole message that says so."""

    path: str
    message: str


Row = Prepared | Rejected | LeftOut | Fault


class Writer:
    """Writes rows, in blocks, into a new file of a folder that all workers reach.

    Attributes:
        path: of the file.
    """

    def __init__(self, folder: str):
        # A worker that repeats another one's work writes another file; nobody reads what is left of the first.
        self.path = f'{folder}/{uuid.uuid4().hex}'
        self._stream = FileSystems.create(self.path, compression_type=CompressionTypes.UNCOMPRESSED)
        self._block: list[Row] = []
        self._bytes = 0

    def __enter__(self) -> 'Writer':
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if error is None:
            self._flush()
        self._stream.close()

    def add(self, row: Row) -> None:
        """Writes one more row, now or with those after it."""
        self._block.append(row)
        self._bytes += len(row.example) if isinstance(row, Prepared) else 0
        if len(self._block) >= _BLOCK_ROWS or self._bytes >= _BLOCK_BYTES:
            self._flush()

    def _flush(self) -> None:
        if self._block:
            encoded = _coder().encode([_fields(row) for row in self._block])
            self._stream.write(_LENGTH.pack(len(encoded)) + encoded)
        self._block, self._bytes = [], 0


def read(path: str) -> Iterator[list[Row]]:
    """The blocks of rows of one file, in their order."""
    coder = _coder()
    with FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED) as stream:
        while length := stream.read(_LENGTH.size):
            yield [_row(*fields) for fields in coder.decode(stream.read(*_LENGTH.unpack(length)))]


def _coder() -> ListCoder:
    """Of the blocks: kind, texts, numbers and bytes of each row. None of these coders pickles what it does not know."""
    texts, numbers, contents = ListCoder(StrUtf8Coder()), ListCoder(VarIntCoder()), ListCoder(BytesCoder())
    return ListCoder(TupleCoder([VarIntCoder(), texts, numbers, contents]))


def _fields(row: Row) -> tuple[int, list[str], list[int], list[bytes]]:
    if isinstance(row, Prepared):
        return _PREPARED, [row.source, row.group, row.split], [row.row, row.label], [row.content_hash, row.example]
    if isinstance(row, LeftOut):
        return _LEFT_OUT, [row.source, row.reason], [row.row], []
    if isinstance(row, Fault):
        return _FAULT, [row.path, row.message], [], []
    shape, pixels = ([], []) if row.image is None else (row.image.shape, [row.image.tobytes()])
    return _REJECTED, [row.source, row.reason, row.detail], [row.row, *shape], pixels


def _row(kind: int, texts: list[str], numbers: list[int], contents: list[bytes]) -> Row:
    if kind == _PREPARED:
        (source, group, split), (row, label), (content_hash, example) = texts, numbers, contents
        return Prepared(source, row, content_hash, group, label, split, example)
    if kind == _LEFT_OUT:
        return LeftOut(texts[0], numbers[0], texts[1])
    if kind == _FAULT:
        return Fault(*texts)
    (source, reason, detail), (row, *shape) = texts, numbers
    image: Any = np.frombuffer(contents[0], np.uint8).reshape(shape) if contents else None
    return Rejected(source, row, reason, detail, image)
