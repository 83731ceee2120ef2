"""The serving folder, watched: the highest version of each model that loads is the one that answers.

A new version is loaded beside the old one, and then takes its place in one assignment; requests hold the version that
they began with. A version that does not load leaves the old one answering, and is tried again when its files change.
A version that answers and whose folder is removed goes on answering until another is loaded: TensorFlow Serving
unloads it, but a folder that is emptied by mistake should not stop a service, and an operator who means it stops the
server.
"""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from components import faces
from components.errors import StepError
from components.inference.network import ServedVersion, load_version, onnx_file
from components.push.versions import versions
from components.serve.errors import RequestError
from components.serve.metrics import Metrics

_LOG: Final = logging.getLogger(__name__)

Stamp = tuple[tuple[int, ...], ...]
"""Changes when the files of a version do."""


@dataclass(frozen=True)
class VersionState:
    """What is known of a version; `error` is empty where it answers."""

    version: int
    error: str = ''


@dataclass
class _Model:
    served: ServedVersion | None = None
    stamp: Stamp = ()
    failures: dict[int, tuple[Stamp, str]] = field(default_factory=dict)


class Repository:
    """The models of a serving folder.

    Args:
        folder: `<folder>/<model>/<version>/`.
        metrics: are told what was loaded, and what was not.
        threads: with which one answer is computed.
        refresh: brings the folder up to date, before each look.
    """

    def __init__(self, folder: Path, metrics: Metrics, threads: int = 1, refresh: Callable[[], None] = lambda: None):
        self._folder = folder
        self._refresh = refresh
        self._metrics = metrics
        self._threads = threads
        self._models = {model: _Model() for model in faces.MODELS}
        self._stop = threading.Event()
        self._watcher: threading.Thread | None = None

    def find(self, model: str, version: int | None = None) -> ServedVersion:
        """The version that answers now.

        Args:
            model: its name.
            version: the one that is asked for; None for whichever answers.

        Raises:
            RequestError: there is no such model, it has no version that answers, or another one does.
        """
        served = self.served(model)
        if served is None or version not in (None, served.version):
            wanted = f'Latest({model})' if version is None else f'Specific({model}, {version})'
            raise RequestError(404, f'Servable not found for request: {wanted}')
        return served

    def served(self, model: str) -> ServedVersion | None:
        """The version that answers now, if there are such a model and such a version."""
        return self._models[model].served if model in self._models else None

    def states(self, model: str) -> list[VersionState]:
        """What is known of a model's versions, the highest first."""
        if model not in self._models:
            return []
        known = self._models[model]
        served = known.served
        states = [VersionState(version, error) for version, (_, error) in known.failures.items()]
        if served is not None:
            # One that was replaced by files that do not load answers all the same.
            states = [state for state in states if state.version != served.version]
            states.append(VersionState(served.version))
        return sorted(states, key=lambda state: -state.version)

    def look(self) -> None:
        """Loads what is new."""
        self._refresh()
        for model, known in self._models.items():
            try:
                self._look_at(model, known)
            except OSError as error:
                _LOG.warning('%s of %s cannot be read (%s): looking again.', model, self._folder, error.strerror)

    def watch(self, seconds: float) -> None:
        """Looks every so many seconds from now on, in a thread of its own."""
        self._watcher = threading.Thread(target=self._watch, args=(seconds,), name='watch', daemon=True)
        self._watcher.start()

    def close(self) -> None:
        """Looks no more."""
        self._stop.set()
        if self._watcher is not None:
            self._watcher.join()

    def _watch(self, seconds: float) -> None:
        while not self._stop.wait(seconds):
            try:
                self.look()
            except Exception:
                # The thread must outlive whatever is put into the folder.
                _LOG.exception('The serving folder could not be looked at: looking again.')

    def _look_at(self, model: str, known: _Model) -> None:
        present = versions(self._folder / model)[::-1]
        known.failures = {version: why for version, why in known.failures.items() if version in present}
        for version in present:
            stamp = _stamp(self._folder / model / str(version), model)
            if known.served is not None and (known.served.version, known.stamp) == (version, stamp):
                return
            if known.failures.get(version, ((), ''))[0] == stamp:
                continue
            if self._load(model, known, version, stamp):
                return

    def _load(self, model: str, known: _Model, version: int, stamp: Stamp) -> bool:
        start = time.perf_counter()
        try:
            loaded = load_version(self._folder / model / str(version), model, version, self._threads)
        except StepError as error:
            known.failures = {**known.failures, version: (stamp, str(error))}
            self._metrics.load_failed(model)
            stays = f'version {known.served.version} goes on answering' if known.served else 'no version answers'
            _LOG.error('%s: version %d does not load, %s. %s', model, version, stays, error)
            return False
        known.failures = {other: why for other, why in known.failures.items() if other != version}
        known.served, known.stamp = loaded, stamp
        self._metrics.loaded(model, version)
        _LOG.info('%s: version %d answers (loaded in %.2f s).', model, version, time.perf_counter() - start)
        return True


def _stamp(folder: Path, model: str) -> Stamp:
    found: list[tuple[int, ...]] = []
    for path in [folder, *(onnx_file(folder, task) for task in faces.parts(model))]:
        try:
            status = path.stat()
        except OSError:
            found.append(())
        else:
            found.append((status.st_ino, status.st_mtime_ns, status.st_size))
    return tuple(found)
