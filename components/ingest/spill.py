"""Rows on their way from the first pass to the second: in files beside the outputs, so that no runner keeps them."""

import pickle
import uuid
from collections.abc import Iterator
from types import TracebackType
from typing import Final, NamedTuple

from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems

from components.ingest.parse import LeftOut, Rejected

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
        pickle.dump(self._block, self._stream, protocol=pickle.HIGHEST_PROTOCOL)
        self._block, self._bytes = [], 0


def read(path: str) -> Iterator[list[Row]]:
    """The blocks of rows of one file, in their order."""
    with FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED) as stream:
        while True:
            try:
                yield pickle.load(stream)  # noqa: S301 - written by this run's own workers
            except EOFError:
                return
