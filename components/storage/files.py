"""Artifacts as files of this machine, wherever they lie.

What a step does with true files (weights in HDF5, ONNX, NumPy's archives, copies of folders) it does the same way for
an artifact on this machine and for one in an object store, as on Kubeflow, whose launcher copies artifacts likewise.
"""

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from components.storage.uris import is_stored

EMPTY: Final = '.empty'

if TYPE_CHECKING:
    from types import TracebackType

    from components.storage.s3 import ObjectFolder


class LocalFiles:
    """Gives the folders of artifacts, as a context manager.

    An artifact on this machine is its own folder. One in an object store is a copy, which is removed at the end; one
    that is written is uploaded then, unless an exception is on its way. TFX takes an output for whole only when its
    step has ended, so that one that was uploaded in part is never taken for it.
    """

    def __init__(self) -> None:
        self._temporary: tempfile.TemporaryDirectory | None = None
        self._copies: dict[str, Path] = {}
        self._had: dict[str, set[str]] = {}
        self._stores: dict[str, ObjectFolder] = {}

    def __enter__(self) -> 'LocalFiles':
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: 'TracebackType | None'
    ) -> None:
        try:
            if kind is None:
                for uri in self._had:
                    self._upload(uri)
        finally:
            if self._temporary is not None:
                self._temporary.cleanup()

    def read(self, uri: str, part: str = '') -> Path:
        """The folder of an artifact, to read in.

        Args:
            uri: its path or `s3://` URI.
            part: names within it begin so; of a stored one nothing else is copied.

        Raises:
            StorageError: the object store cannot be used.
        """
        if not is_stored(uri):
            return Path(uri)
        folder = self._copy(uri)
        store = self._stores[uri]
        store.download([name for name in store.list(part) if not (folder / name).exists()], folder)
        return folder

    def write(self, uri: str) -> Path:
        """The folder of an artifact that has nothing in it yet, to write in.

        Raises:
            StorageError: the object store cannot be used; at the end too.
        """
        if not is_stored(uri):
            return Path(uri)
        self._had.setdefault(uri, set())
        return self._copy(uri)

    def edit(self, uri: str) -> Path:
        """The folder of an artifact, to write in beside what is there; what is removed from it is removed.

        Raises:
            StorageError: the object store cannot be used; at the end too.
        """
        folder = self.read(uri)
        if is_stored(uri):
            self._had[uri] = _names(folder)
        return folder

    def _copy(self, uri: str) -> Path:
        """The folder of the copy, new and empty the first time."""
        from components.storage.s3 import ObjectFolder

        if uri not in self._copies:
            if self._temporary is None:
                self._temporary = tempfile.TemporaryDirectory(prefix='artifacts-')
            self._copies[uri] = Path(tempfile.mkdtemp(dir=self._temporary.name))
            self._stores[uri] = ObjectFolder(uri)
        return self._copies[uri]

    def _upload(self, uri: str) -> None:
        names = _names(self._copies[uri])
        if not names:
            # Object stores keep no empty folders, and TFX runs a step again whose outputs are not all there.
            self._stores[uri].put(EMPTY, b'')
        self._stores[uri].upload(sorted(names), self._copies[uri])
        self._stores[uri].remove(sorted(self._had[uri] - names))


def _names(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob('*') if path.is_file()}
