"""Models as the step loads them."""

from collections.abc import Callable

import pytest

from components.behaviour.component import load
from components.behaviour.examine import Ask
from tests.components.behaviour.models import Answer, save_model


@pytest.fixture
def ask_model(tmp_path) -> Callable[..., Ask]:
    """Saves a model that gives these answers, and loads it."""

    def ask(task: str, answer: Answer, of_bytes: bool = False) -> Ask:
        return load(str(save_model(tmp_path / 'saved', task, answer, of_bytes)), task)

    return ask
