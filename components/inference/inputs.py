"""Photographs that were named on a command line: files, folders and standard input."""

import functools
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from components.errors import StepError, one_line

if TYPE_CHECKING:
    import numpy as np

SUFFIXES: Final = ('.jpg', '.jpeg', '.jpe', '.jfif', '.png', '.webp', '.bmp', '.gif')
"""Of the files that a folder is searched for, in small letters."""

STANDARD_INPUT: Final = '-'
MAXIMUM_BYTES: Final = 128 * 2**20
"""Of one encoded photograph."""


class PhotoError(StepError):
    """This photograph cannot be answered about; others may be."""


@dataclass(frozen=True)
class Source:
    """Where a photograph comes from.

    Attributes:
        name: its path as it was typed, or found in the folder that was; `-` for standard input.
        inside: the path below the folder that was searched; the file's name where it was named itself.
    """

    name: str
    inside: Path

    def read(self) -> bytes:
        """The encoded photograph.

        Raises:
            PhotoError: it cannot be read, or is too large.
        """
        try:
            if self.name == STANDARD_INPUT:
                encoded = sys.stdin.buffer.read(MAXIMUM_BYTES + 1)
            else:
                with Path(self.name).open('rb') as file:
                    encoded = file.read(MAXIMUM_BYTES + 1)
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            raise PhotoError(f'The file cannot be read: {reason}.') from error
        if len(encoded) > MAXIMUM_BYTES:
            raise PhotoError(f'The file has more than {MAXIMUM_BYTES // 2**20} MiB: send a smaller one.')
        return encoded


@dataclass(frozen=True)
class Photograph:
    """An encoded photograph, which is decoded where its pixels are asked for, once."""

    encoded: bytes

    @functools.cached_property
    def pixels(self) -> 'np.ndarray':
        """uint8 `[height, width, 3]`, RGB, turned upright.

        Raises:
            ImageError: it is no image that can be read.
        """
        from components.inference.images import decode

        return decode(self.encoded, upright=True)


def find_sources(arguments: Sequence[str], left_out: Path | None = None) -> list[Source]:
    """The photographs that arguments name, in their order; those of a folder by path.

    A folder is searched with all below it for files with one of `SUFFIXES`; what is hidden is skipped, and links to
    folders are not followed. A file that is missing is a source too, which cannot be read.

    Args:
        arguments: paths of files and folders, and `-` for standard input.
        left_out: a folder that is skipped in the search.

    Raises:
        StepError: a folder has no photograph, or standard input is named twice.
    """
    if arguments.count(STANDARD_INPUT) > 1:
        raise StepError(f'Standard input can be read once only: name {STANDARD_INPUT} once.')
    return [source for argument in arguments for source in _sources(argument, left_out)]


def printable(name: str) -> str:
    """A file's name as text that can be printed, in one line: control characters and bytes of no UTF-8 as escapes."""
    return one_line(to_unicode(name))


def to_unicode(name: str) -> str:
    r"""A file's name as text that has a UTF-8 form: each byte of it that is no UTF-8 as `\xNN`."""
    return os.fsencode(name).decode('utf-8', 'backslashreplace')


def _sources(argument: str, left_out: Path | None) -> list[Source]:
    if argument == STANDARD_INPUT:
        return [Source(argument, Path('stdin'))]
    if not os.path.isdir(argument):  # noqa: PTH112 - a path with a zero byte is a missing file, not an exception
        return [Source(argument, Path(Path(argument).name))]
    found = sorted(_photographs(argument, left_out), key=lambda path: path.parts)
    if not found:
        raise StepError(f'{printable(argument)} has no photograph in it: name a folder with {", ".join(SUFFIXES)}.')
    return [Source(os.path.join(argument, path), path) for path in found]  # noqa: PTH118 - keeps a leading ./


def _photographs(folder: str, left_out: Path | None) -> Iterator[Path]:
    """Paths below the folder; of folders too where they cannot be searched."""
    unread: list[OSError] = []
    for here, folders, names in os.walk(folder, onerror=unread.append):
        at = Path(here)
        folders[:] = [name for name in folders if not name.startswith('.') and not _is_same(at / name, left_out)]
        for name in names:
            if not name.startswith('.') and name.lower().endswith(SUFFIXES) and (at / name).is_file():
                yield (at / name).relative_to(folder)
    for error in unread:
        yield Path(error.filename).relative_to(folder)


def _is_same(one: Path, other: Path | None) -> bool:
    return other is not None and other.exists() and one.samefile(other)
