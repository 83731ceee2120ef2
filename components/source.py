"""The fingerprint of a step's code, so that an edited step is run again instead of being taken from the cache."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).parent


def fingerprint(*steps: str) -> str:
    """Hash of the Python source of these steps' folders and of the modules that all steps share.

    Args:
        *steps: names of folders beside this module, such as `ingest`.
    """
    shared = [ROOT / 'faces.py', ROOT / 'settings.py']
    return _hash(shared + [path for step in steps for path in sorted((ROOT / step).rglob('*.py'))])


def distribution_fingerprint() -> str:
    """Hash of all Python source and schemas of this distribution."""
    folders = [ROOT.parent / name for name in ('components', 'pipeline', 'schemas', 'data')]
    return _hash(path for folder in folders for kind in ('*.py', '*.pbtxt') for path in sorted(folder.rglob(kind)))


def _hash(paths: Iterable[Path]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for path in paths:
        digest.update(path.relative_to(ROOT.parent).as_posix().encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()
