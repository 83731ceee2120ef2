"""The fingerprint of a step's code, so that an edited step is run again instead of being taken from the cache."""

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Final

ROOT = Path(__file__).parent
SOURCES: Final = ('.py', '.html', '.css', '.md', '.pbtxt')


def fingerprint(*steps: str) -> str:
    """Hash of the source of these steps' folders, templates included, and of the modules that all steps share.

    Args:
        *steps: names of folders beside this module, such as `ingest`.
    """
    shared = [ROOT / 'faces.py', ROOT / 'settings.py']
    return _hash(shared + [path for step in steps for path in _sources(ROOT / step)])


def distribution_fingerprint() -> str:
    """Hash of all source of this distribution, templates and schemas included."""
    folders = [ROOT.parent / name for name in ('components', 'pipeline', 'schemas', 'data')]
    return _hash(path for folder in folders for path in _sources(folder))


def _sources(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob('*') if path.suffix in SOURCES)


def _hash(paths: Iterable[Path]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for path in paths:
        digest.update(path.relative_to(ROOT.parent).as_posix().encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()
