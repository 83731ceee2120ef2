import functools
from collections.abc import Callable

import pytest
import tensorflow_transform as tft

from components.settings import TrainSettings
from components.train.batches import Split, load_split

TINY = TrainSettings(
    image_size=48,
    widths=(16, 16),
    blocks=(1, 1),
    last_stride=1,
    squeeze=4,
    stochastic_depth=0.2,
    dropout=0.3,
    epochs=4,
    batch_size=16,
)


@pytest.fixture(scope='session')
def tiny() -> TrainSettings:
    """A network that trains in seconds, with dropout and stochastic depth: a checkpoint must keep their randomness."""
    return TINY


@pytest.fixture(scope='session')
def load(transformed) -> Callable[[str, str], Split]:
    """Loads a split of a task's drawn faces."""

    @functools.cache
    def loaded(task: str, split: str) -> Split:
        output = tft.TFTransformOutput(str(transformed[task].transform_output))
        return load_split(transformed[task].files(split), output, task)

    return loaded
