from collections.abc import Callable

import cv2
import numpy as np
import pytest

from components import faces
from components.settings import AugmentSettings
from components.train.batches import Split
from data.draw import draw_face

SIZE = 24
PLAIN = AugmentSettings(False, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)


@pytest.fixture(scope='session')
def plain() -> AugmentSettings:
    """No augmentation."""
    return PLAIN


@pytest.fixture(scope='session')
def shoot() -> Callable[[int, int, int], Split]:
    """Pictures of a few drawn people in every expression, taken several times by a noisy camera."""

    def split(people: int, times: int, seed: int) -> Split:
        random = np.random.default_rng(seed)
        pictures, labels, group = [], [], []
        for person in range(people):
            for label, expression in enumerate(faces.EXPRESSIONS):
                image = cv2.resize(draw_face(3, person, expression).image, (SIZE, SIZE), interpolation=cv2.INTER_AREA)
                pictures += [image + random.normal(0, 6, image.shape) for _ in range(times)]
                labels += [label] * times
                group += [f'person {person}'] * times
        pixels = (np.stack(pictures)[..., None] - 128) / 64
        names = np.array([f'{seed:08x}{index:08x}' for index in range(len(labels))])
        return Split(
            pixels=pixels.astype(np.float32),
            truth=np.array(labels, np.int64),
            content_hash=names,
            source=np.full(len(labels), 'drawn.csv'),
            row=np.arange(1, len(labels) + 1),
            group=np.array(group),
        )

    return split
