"""Keeps a folder of this machine like a serving folder in an object store."""

import logging
import shutil
from pathlib import Path
from typing import Final

from components import faces
from components.errors import StepError
from components.push import versions
from components.storage.uris import below

_LOG: Final = logging.getLogger(__name__)


class Mirror:
    """Copies whole versions alone, each of which appears here by a rename, as a push to this machine would do it.

    Args:
        uri: `s3://bucket/prefix`, which holds `<model>/<version>/`.
        folder: a folder of this machine that is this mirror's alone.

    Raises:
        StepError: the object store cannot be used.
    """

    def __init__(self, uri: str, folder: Path):
        self._folder = folder
        self._stored = {model: versions.at(below(uri, model)) for model in faces.MODELS}
        for stored in self._stored.values():
            stored.numbers()

    def update(self) -> None:
        """Fetches what is new and drops what is gone; what cannot be reached is tried again the next time."""
        for model in faces.MODELS:
            try:
                self._update(model)
            except (StepError, OSError) as error:
                _LOG.warning('%s cannot be followed: looking again. %s', model, error)

    def _update(self, model: str) -> None:
        stored, here = self._stored[model], self._folder / model
        here.mkdir(parents=True, exist_ok=True)
        wanted, present = set(stored.numbers()), set(versions.versions(here))
        for version in sorted(wanted - present, reverse=True):
            stored.copy(version, here / str(version))
        for version in present - wanted:
            # A version that answers is in memory.
            shutil.rmtree(here / str(version))
