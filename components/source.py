"""The fingerprint of a step's code, so that an edited step is run again instead of being taken from the cache."""

import hashlib
from pathlib import Path

ROOT = Path(__file__).parent


def fingerprint(*steps: str) -> str:
    """Hash of the Python source of these steps' folders and of the modules that all steps share.

    Args:
        *steps: names of folders beside this module, such as `ingest`.
    """
    digest = hashlib.blake2b(digest_size=16)
    shared = [ROOT / 'faces.py', ROOT / 'settings.py']
    for path in shared + [path for step in steps for path in sorted((ROOT / step).rglob('*.py'))]:
        digest.update(path.relative_to(ROOT).as_posix().encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()
