"""A model's serving folder in an object store, which has neither a rename nor a lock.

What takes their place is one object that is written last, and a condition that one of several writers meets:

1. A pusher claims a number: it writes `.claims/<number>`, which the store lets one of several do (`If-None-Match: *`).
   Who comes too late takes the next number. Claims stay, so that no number is ever used twice.
2. It writes everything of `<number>/` but `saved_model.pb`; nobody else writes there.
3. It writes `<number>/saved_model.pb`, in one request, whole or not at all. From then on the version counts.

A version goes in the opposite order: `saved_model.pb` first. So a version whose `saved_model.pb` is there before *and*
after its other objects are read is whole.
"""

import contextlib
import datetime
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Final

from components.push.local_folder import IDENTITY, is_version
from components.storage.s3 import ObjectFolder, StorageError

MARKER: Final = 'saved_model.pb'
CLAIMS: Final = '.claims'

ABANDONED: Final = datetime.timedelta(days=1)
"""A push that has not ended after so long never will."""


class StoredFolder:
    """Every version counts whole or not at all, for readers that look for its `saved_model.pb`.

    Args:
        uri: `s3://bucket/<serving>/<model>`.
    """

    def __init__(self, uri: str):
        self._objects = ObjectFolder(uri)

    def __str__(self) -> str:
        return self._objects.uri

    def numbers(self) -> list[int]:
        """The whole versions, oldest first."""
        names = (name.partition('/') for name in self._objects.list())
        return sorted(int(folder) for folder, _, name in names if name == MARKER and is_version(folder))

    def read(self, version: int, name: str) -> str:
        """A text of a version; raises OSError or UnicodeDecodeError where there is none."""
        return self._objects.read(f'{version}/{name}').decode('utf-8')

    def identity(self) -> str:
        """A text that stays with the folder and changes when it is made anew."""
        with contextlib.suppress(FileNotFoundError):
            return self._objects.read(IDENTITY).decode('utf-8')
        self._objects.put_new(IDENTITY, uuid.uuid4().hex.encode())
        return self._objects.read(IDENTITY).decode('utf-8')

    def exclusive(self) -> AbstractContextManager:
        """Keeps nobody out: each pusher has a number of its own."""
        return contextlib.nullcontext()

    @contextmanager
    def staging(self) -> Iterator[Path]:
        """A folder on this machine for what will be a version."""
        with tempfile.TemporaryDirectory(prefix='push-') as folder:
            yield Path(folder)

    def add(self, staged: Path) -> int:
        """Makes what was staged a version with a number above all others; that number."""
        version = self._claim()
        names = {path.relative_to(staged).as_posix() for path in staged.rglob('*') if path.is_file()}
        try:
            self._objects.upload(sorted(names - {MARKER}), staged, below=f'{version}/')
            self._objects.put(f'{version}/{MARKER}', (staged / MARKER).read_bytes())
        except BaseException:
            # TensorFlow Serving would try to load the half; where the store is gone, a later push removes it.
            with contextlib.suppress(StorageError):
                self._remove(version)
            raise
        return version

    def copy(self, version: int, destination: Path) -> None:
        """Copies a version to a folder that is made for it.

        Raises:
            FileNotFoundError: it was removed meanwhile, or is not there.
        """
        with tempfile.TemporaryDirectory(prefix='.staged-', dir=destination.parent) as folder:
            # A listing is no snapshot: one that begins when this is there misses nothing.
            self._objects.read(f'{version}/{MARKER}')
            self._objects.download(self._objects.list(f'{version}/'), Path(folder))
            # What is removed loses this one first: if it is still there, nothing was missing before.
            self._objects.read(f'{version}/{MARKER}')
            shutil.move(Path(folder) / str(version), destination)

    def prune(self, keep: int) -> None:
        """Removes the oldest versions beyond `keep`, and what pushes that were killed have left."""
        whole = self.numbers()
        present = {folder for name in self._objects.list() for folder in [name.partition('/')[0]] if is_version(folder)}
        leftovers = [int(folder) for folder in present if int(folder) not in whole and self._is_abandoned(int(folder))]
        for version in [*leftovers, *whole[: -max(1, keep)]]:
            self._remove(version)

    def _claim(self) -> int:
        taken = (name.removeprefix(f'{CLAIMS}/').partition('/')[0] for name in self._objects.list())
        version = max((int(name) for name in taken if is_version(name)), default=0) + 1
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec='seconds')
        while not self._objects.put_new(f'{CLAIMS}/{version}', now.encode()):
            version += 1
        return version

    def _is_abandoned(self, version: int) -> bool:
        try:
            claimed = self._objects.read(f'{CLAIMS}/{version}').decode()
        except FileNotFoundError:
            return False  # not ours: somebody copies a version here by hand
        return datetime.datetime.now(datetime.UTC) - datetime.datetime.fromisoformat(claimed) > ABANDONED

    def _remove(self, version: int) -> None:
        self._objects.remove([f'{version}/{MARKER}'])
        self._objects.remove(self._objects.list(f'{version}/'))
