"""The pushed version that answers."""

import tempfile
from pathlib import Path

from components import faces
from components.errors import StepError
from components.inference.network import ServedVersion, load_version
from components.push.versions import Place, copy, versions
from components.storage.uris import is_stored


def load_pushed(folder: Place, version: int | None = None) -> ServedVersion:
    """Loads a version of `faces`.

    Args:
        folder: the model's serving folder, which holds a folder for each version; a path or a URI.
        version: its number; the newest where none is named.

    Raises:
        StepError: there is no such version, or it does not load.
    """
    present = versions(folder)
    if not present:
        raise StepError(
            f'Nothing is served in {folder}: run `make run` first, or name another serving folder with --serving.'
        )
    chosen = present[-1] if version is None else version
    if chosen not in present:
        raise StepError(f'{folder} holds no version {chosen}: choose one of {", ".join(map(str, present))}.')
    if not is_stored(folder):
        return load_version(Path(folder) / str(chosen), faces.JOINT_MODEL, chosen)
    with tempfile.TemporaryDirectory(prefix='version-') as temporary:
        copied = Path(temporary) / str(chosen)
        copy(folder, chosen, copied)
        return load_version(copied, faces.JOINT_MODEL, chosen)
