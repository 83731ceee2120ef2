"""The protocol of the project that this one is compared with: a random split by rows, leaks included.

Its published figures were measured on rows of which one in ten has its twin among the training rows. Under this
protocol ours can be set beside them; any other use of them misleads.
"""

import dataclasses
import hashlib

from components import faces
from components.ingest.parse import Face
from components.settings import IngestSettings

THIRD_PART = 'third part of the random split'

_SEED = 'as the original'
_TRAIN_PERCENT = 90
_EVALUATION_PERCENT = 5


def in_effect(settings: IngestSettings) -> IngestSettings:
    """The settings without those that their protocol ignores: the original knows neither usages nor persons."""
    if settings.protocol == 'clean':
        return settings
    return dataclasses.replace(settings, split='hash', unused_usages=(), group_column='')


def random_split(face: Face) -> str:
    """The split of a row by its place in the data, whatever it shows, or `THIRD_PART`.

    Args:
        face: as it was read, with the label that it was given.
    """
    # An image file's row is always 0, and its name may be there again in other folders.
    place = f'{_SEED}:{face.usage}:{face.label}:{face.source}:{face.row}'
    digest = hashlib.blake2b(place.encode(), digest_size=8).digest()
    percent = int.from_bytes(digest) % 100
    if percent < _TRAIN_PERCENT:
        return faces.TRAIN_SPLIT
    return faces.EVAL_SPLIT if percent < _TRAIN_PERCENT + _EVALUATION_PERCENT else THIRD_PART
