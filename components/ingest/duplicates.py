"""Splits, and what becomes of images and persons that turn up more than once."""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from components import faces
from components.ingest.corrections import EXCLUDE
from components.ingest.parse import Face
from components.ingest.protocol import random_split
from components.settings import IngestSettings

CONTRADICTING = 'contradicting labels'
TWIN = 'twin of an evaluation row'
SAME_PERSON = 'person is in the evaluation split'

MAXIMUM_POINT_DISTANCE = 2.0
"""Pixels; annotations of one image that lie further apart contradict each other."""


class Sighting(NamedTuple):
    """One row of an image.

    Attributes:
        split: to which it would go, as `wanted_split` says it.
        label: the one that it was given, as `label_key` packs it.
        correction: index of the right label, or `EXCLUDE`; None where no correction names the row.
    """

    split: str
    label: bytes
    correction: int | None = None


@dataclass(frozen=True)
class Verdict:
    """What is to be said of all rows that show one image.

    Attributes:
        rows: how many they are.
        reason: what is wrong with them: `CONTRADICTING`, `TWIN` or nothing.
        leaks: those in the eval split, where others are in the training split.
        matched: corrections that match some of them.
        left_alone: those in the eval split that a correction matches.
    """

    rows: int
    reason: str
    leaks: int
    matched: int
    left_alone: int


def group_of(face: Face) -> str:
    """The person, where the data name one, else the content hash."""
    return face.group or face.content_hash.hex()


def wanted_split(face: Face, settings: IngestSettings) -> str:
    """The split of this row by itself: by its usage, by the hash of its group, or by chance (see protocol.py).

    Args:
        face: as it was read, before any correction.
        settings: their `protocol.in_effect`.

    Returns:
        one of `faces.SPLITS`, or the reason why the row is left out.
    """
    if settings.protocol == 'original':
        return random_split(face)
    if settings.split == 'usage':
        return faces.EVAL_SPLIT if face.usage in settings.evaluation_usages else faces.TRAIN_SPLIT
    digest = hashlib.blake2b(group_of(face).encode(), digest_size=8).digest()
    return faces.EVAL_SPLIT if int.from_bytes(digest) % 100 < settings.evaluation_percent else faces.TRAIN_SPLIT


def label_key(face: Face) -> bytes:
    """The label in few bytes: the class's index, or 30 float32."""
    return face.points.tobytes() if face.points.size else bytes([face.label])


def judge(sightings: Iterable[Sighting]) -> Verdict:
    """Compares the rows that show one image."""
    rows = list(sightings)
    evaluation = [row for row in rows if row.split == faces.EVAL_SPLIT]
    is_trained = any(row.split == faces.TRAIN_SPLIT and row.correction != EXCLUDE for row in rows)
    # As given where the eval split shows it: else a correction of a training row would move an eval row in or out.
    labels = {row.label for row in rows} if evaluation else set(_corrected_labels(rows))
    twin = TWIN if evaluation and is_trained else ''
    return Verdict(
        rows=len(rows),
        reason=CONTRADICTING if _contradict(labels) else twin,
        leaks=len(evaluation) if is_trained else 0,
        matched=len({row.label for row in rows if row.correction is not None}),
        left_alone=sum(row.correction is not None for row in evaluation),
    )


def _corrected_labels(rows: Iterable[Sighting]) -> Iterator[bytes]:
    for row in rows:
        if row.correction is None:
            yield row.label
        elif row.correction != EXCLUDE:
            yield bytes([row.correction])


def _contradict(labels: set[bytes]) -> bool:
    """Whether classes differ, or a point known in several annotations spreads too far."""
    if len(labels) < 2:
        return False
    if len(next(iter(labels))) == 1:
        return True
    points = np.stack([np.frombuffer(label, np.float32).reshape(-1, 2) for label in labels])
    # fmax and fmin pass over NaN; where all are missing the comparison is false.
    spread = np.fmax.reduce(points) - np.fmin.reduce(points)
    return bool((np.hypot(spread[:, 0], spread[:, 1]) > MAXIMUM_POINT_DISTANCE).any())
