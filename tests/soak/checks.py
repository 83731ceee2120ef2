"""What must hold of a store and a serving folder after any run, however it ended."""

import contextlib
import filecmp
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlparse

from components.errors import StepError
from components.inference.network import load_version
from components.push import versions

LIVE = 2
"""ML Metadata's Artifact.State of what a component has finished."""

WITHOUT_FILES = ('system.Metrics', 'system.ClassificationMetrics')
"""Types of artifacts that say all in their properties."""

TRAINED = 'Format-Serving'
"""Where TFX's Trainer has the SavedModel in its artifact; importing its name would load TensorFlow."""


def violations(store: Path, serving: Path) -> list[str]:
    """A sentence for everything that is not as it must be; none for a store and a serving folder that are sound."""
    return [*_of_the_store(store), *_of_serving(serving)]


def _of_the_store(store: Path) -> Iterator[str]:
    path = store / 'metadata.sqlite'
    if not path.exists():
        return
    try:
        with contextlib.closing(sqlite3.connect(f'file:{path}?mode=ro', uri=True)) as database:
            answer = database.execute('PRAGMA integrity_check').fetchone()[0]
            live = database.execute(
                'SELECT uri FROM Artifact JOIN Type ON Type.id = type_id WHERE state = ? AND Type.name NOT IN (?, ?)',
                (LIVE, *WITHOUT_FILES),
            ).fetchall()
    except sqlite3.DatabaseError as error:
        answer, live = str(error), []
    if answer != 'ok':
        yield f'SQLite says of the metadata: {answer}'
    for (uri,) in live:
        path = Path(urlparse(uri).path)
        if not (path.is_file() or any(inner.is_file() for inner in path.rglob('*'))):
            yield f'an artifact is LIVE and has no file: {uri}'


def _of_serving(serving: Path) -> Iterator[str]:
    for folder in sorted(serving.iterdir()) if serving.is_dir() else ():
        seen = [entry for entry in folder.iterdir() if not entry.name.startswith('.')]
        numbers = versions.versions(folder)
        if len(seen) != len(numbers):
            yield f'{folder.name} shows a server more than its versions: {sorted(entry.name for entry in seen)}'
        for number in numbers:
            yield from _of_a_version(folder, number)


def _of_a_version(folder: Path, number: int) -> Iterator[str]:
    """It answers, and it is what was trained, file by file."""
    here = folder / str(number)
    try:
        load_version(here, folder.name, number)
        trained = Path(versions.provenance(folder, number).artifact) / TRAINED
    except StepError as error:
        yield str(error)
        return
    originals = [path.relative_to(trained) for path in trained.rglob('*') if path.is_file()]
    _, different, missing = filecmp.cmpfiles(trained, here, [str(path) for path in originals], shallow=False)
    if different or missing or not originals:
        yield f'{here} is not what was trained: {(different + missing)[:3]}'
