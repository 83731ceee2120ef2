"""A model's serving folder on this machine: a version appears, and goes, by a rename."""

import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Final

import filelock

IDENTITY: Final = '.identity'


class LocalFolder:
    """Every version appears whole or not at all: it is staged beside the others under a name that servers overlook, and
    then renamed.

    Args:
        path: `<serving>/<model>`.
    """

    def __init__(self, path: Path):
        self.path = path

    def __str__(self) -> str:
        return str(self.path)

    def numbers(self) -> list[int]:
        """The whole versions, oldest first."""
        if not self.path.is_dir():
            return []
        return sorted(int(entry.name) for entry in self.path.iterdir() if is_version(entry.name) and entry.is_dir())

    def read(self, version: int, name: str) -> str:
        """A text of a version; raises OSError or UnicodeDecodeError where there is none."""
        return (self.path / str(version) / name).read_text(encoding='utf-8')

    def identity(self) -> str:
        """A text that stays with the folder and changes when it is made anew."""
        path = self.path / IDENTITY
        if not path.exists():
            self.path.mkdir(parents=True, exist_ok=True)
            path.write_text(uuid.uuid4().hex, encoding='utf-8')
        return path.read_text(encoding='utf-8')

    def exclusive(self) -> AbstractContextManager:
        """Keeps other pushers of this folder out."""
        self.path.mkdir(parents=True, exist_ok=True)
        return filelock.FileLock(self.path / '.lock')

    @contextmanager
    def staging(self) -> Iterator[Path]:
        """A new folder for what will be a version."""
        yield Path(tempfile.mkdtemp(prefix='.staged-', dir=self.path))

    def add(self, staged: Path) -> int:
        """Makes what was staged the newest version; its number."""
        staged.chmod(0o755)
        version = max(self.numbers(), default=0) + 1
        staged.rename(self.path / str(version))
        return version

    def copy(self, version: int, destination: Path) -> None:
        """Copies a version to a folder that is made for it."""
        shutil.copytree(self.path / str(version), destination)

    def prune(self, keep: int) -> None:
        """Removes the oldest versions beyond `keep`, and what pushes that were killed have left."""
        for leftover in self.path.glob('.staged-*'):
            shutil.rmtree(leftover)
        for version in self.numbers()[: -max(1, keep)]:
            # A reader never sees half a version go, either.
            doomed = self.path / f'.staged-{version}'
            (self.path / str(version)).rename(doomed)
            shutil.rmtree(doomed)


def is_version(name: str) -> bool:
    """Whether a folder of this name is a version to a server."""
    return name.isascii() and name.isdecimal() and name == str(int(name))
