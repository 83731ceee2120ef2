"""The object store of a run: where its artifacts go, and whether it can be used."""

import importlib.util
import logging
import os
import re
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NoReturn

from components.storage.uris import SCHEME, is_stored
from pipeline.config import TASKS, Config, of

_PATIENCE: Final = 5.0
"""Seconds that a store may say nothing, three times, before a run."""


def pipeline_root(config: Config, run: str) -> str:
    """Where the artifacts of a run go; an empty text for the store's own folder.

    Each run has a folder of its own: artifacts are numbered by ML Metadata, and outside the store those of another
    machine, or of a store that was removed, have the same numbers.
    """
    if not config.artifacts:
        return ''
    root = config.artifacts.rstrip('/') if is_stored(config.artifacts) else str(Path(config.artifacts).absolute())
    return f'{root}/{config.name}/{run}-{uuid.uuid4().hex[:8]}'


def check(config: Config) -> None:
    """Looks whether the run's places in an object store can be used: one request each, two more where it writes.

    Raises:
        StepError: they cannot; in one line why, and what to do. After seconds at most, also where nothing answers.
    """
    if not is_used(config):
        return
    from components.storage import s3

    # Found, not imported: it takes TensorFlow along.
    if importlib.util.find_spec('tensorflow_io') is None:
        raise s3.StorageError(f's3:// addresses need tensorflow-io, and {s3.INSTALL}.')
    for uri in _data(config):
        s3.ObjectFolder(uri, _PATIENCE).check_reading()
    if is_stored(config.artifacts):
        s3.ObjectFolder(config.artifacts, _PATIENCE).check_writing()
    if is_stored(config.serving):
        s3.ObjectFolder(config.serving, _PATIENCE).check_condition()


def check_answers(config: Config) -> None:
    """Looks whether the object store of the artifacts answers: before a step, since TensorFlow notices after minutes.

    Raises:
        StepError: it does not.
    """
    if is_stored(config.artifacts):
        from components.storage import s3

        s3.ObjectFolder(config.artifacts, _PATIENCE).check_reading()


def is_used(config: Config) -> bool:
    """Whether anything of this pipeline lies in an object store."""
    return any(map(is_stored, _places(config)))


def leave(config: Config, status: int) -> NoReturn:
    """Ends the process with this status."""
    if is_used(config):
        # As it is torn down, TensorFlow's S3 client calls what is gone already, and the status would be an abort's.
        logging.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    sys.exit(status)


def _places(config: Config) -> Iterator[str]:
    yield config.artifacts
    yield config.serving
    yield from _data(config)


def _data(config: Config) -> Iterator[str]:
    """The folders, without wildcards, of the data that lie in an object store."""
    settings = [of(config.ingest, task) for task in TASKS]
    for pattern in [pattern for each in settings for pattern in (*each.files, *each.corrections)]:
        if is_stored(pattern):
            yield SCHEME + re.split(r'[*?{]', pattern.removeprefix(SCHEME) + '/')[0].rpartition('/')[0]
