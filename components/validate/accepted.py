"""The statistics of the data that earlier runs accepted: beside the runs, one folder for each state of the data."""

import os
import shutil
import tempfile
from pathlib import Path


def previous(folder: Path, data: str) -> Path | None:
    """The newest accepted statistics other than those of the data named `data`.

    Leaving out the data themselves keeps the answer the same for a second run with nothing changed.
    """
    if not folder.is_dir():
        return None
    others = [entry for entry in folder.iterdir() if entry.name != data and not entry.name.startswith('.')]
    return max(others, key=lambda entry: (entry.stat().st_mtime_ns, entry.name), default=None)


def accept(folder: Path, data: str, statistics: Path) -> None:
    """Keeps a copy of the statistics artifact under the name of the data, as the newest; whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    staged = Path(tempfile.mkdtemp(prefix='.', dir=folder))
    shutil.copytree(statistics, staged, dirs_exist_ok=True)
    final = folder / data
    if final.exists():
        shutil.rmtree(final)
    staged.rename(final)
    os.utime(final)
