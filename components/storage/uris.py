"""Tells the addresses of an object store from paths of this machine, without importing what reads either."""

from pathlib import Path
from typing import Final

SCHEME: Final = 's3://'


def is_stored(place: object) -> bool:
    """Whether this is a URI of an object store, such as `s3://bucket/prefix`, rather than a path."""
    return str(place).startswith(SCHEME)


def below(place: Path | str, name: str) -> Path | str:
    """What has this name in a folder, or below a URI."""
    return f'{str(place).rstrip("/")}/{name}' if is_stored(place) else Path(place) / name


def parts(uri: str) -> tuple[str, str]:
    """The bucket and the key (or the prefix of keys, without a slash at its end) of a URI."""
    bucket, _, key = uri.removeprefix(SCHEME).partition('/')
    return bucket, key.strip('/')
