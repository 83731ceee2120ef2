"""Splits, and what becomes of images and persons that turn up more than once."""

import hashlib
from collections.abc import Iterable

import numpy as np

from components import faces
from components.ingest.parse import Face
from components.settings import IngestSettings

CONTRADICTING = 'contradicting labels'
TWIN = 'twin of an evaluation row'
SAME_PERSON = 'person is in the evaluation split'

MAXIMUM_POINT_DISTANCE = 2.0
"""Pixels; annotations of one image that lie further apart contradict each other."""

Sighting = tuple[bool, bytes]
"""One row of an image: whether it would go to the eval split, and its label as `label_key` packs it."""


def group_of(face: Face) -> str:
    """The person, where the data name one, else the content hash."""
    return face.group or face.content_hash.hex()


def wanted_split(face: Face, settings: IngestSettings) -> str:
    """The split of this row by itself: by its usage, or by the hash of its group."""
    if settings.split == 'usage':
        return faces.EVAL_SPLIT if face.usage in settings.evaluation_usages else faces.TRAIN_SPLIT
    digest = hashlib.blake2b(group_of(face).encode(), digest_size=8).digest()
    return faces.EVAL_SPLIT if int.from_bytes(digest) % 100 < settings.evaluation_percent else faces.TRAIN_SPLIT


def label_key(face: Face) -> bytes:
    """The label in few bytes: the class's index, or 30 float32."""
    return face.points.tobytes() if face.points.size else bytes([face.label])


def judge(sightings: Iterable[Sighting]) -> tuple[int, str]:
    """How many rows show one image, and what is wrong with them: `CONTRADICTING`, `TWIN` or nothing."""
    count, in_eval, in_train, labels = 0, False, False, set()
    for is_eval, label in sightings:
        count += 1
        in_eval |= is_eval
        in_train |= not is_eval
        labels.add(label)
    if _contradict(labels):
        return count, CONTRADICTING
    return count, TWIN if in_eval and in_train else ''


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
