"""A run whose every part is there."""

import datetime
from collections.abc import Callable

import numpy as np
import pytest

from components import faces
from components.report.record import Check, Pushed, RunRecord, Step
from tests.components.run_artifacts import CARD, make_branch


@pytest.fixture(scope='session')
def predictions(folders) -> Callable[[str], dict[str, np.ndarray]]:
    """What the trainer left of a task."""

    def read(task: str) -> dict[str, np.ndarray]:
        with np.load(folders[task] / 'model_run' / 'predictions.npz') as arrays:
            return dict(arrays)

    return read


@pytest.fixture(scope='session')
def record(folders) -> RunRecord:
    """A run that pushed one model and held one back, with every part there."""
    nodes = ('FaceExampleGen', 'StatisticsGen', 'ExampleValidator', 'DataGate', 'Transform', 'Trainer', 'Evaluator')
    steps = [
        Step(f'{task}.{node}', 'cached' if place < 3 else 'complete', 0.4 + 7.7 * place**2 if place > 2 else 0.3)
        for task in folders
        for place, node in enumerate(nodes)
    ]
    return RunRecord(
        run='2026-11-24T21-03-11',
        pipeline='emotion-pipeline',
        state='pushed',
        message='',
        started=datetime.datetime(2026, 11, 24, 21, 3, 11, tzinfo=datetime.UTC),
        seconds=1127.0,
        commit='091b042',
        steps=(*steps, Step('ServingCheck', 'complete', 21.0), Step('Pusher-faces', 'not run', None)),
        branches=tuple(make_branch(task, folder) for task, folder in folders.items()),
        checks=(
            Check(faces.EXPRESSION_MODEL, True, ('16 questions answered as in training, to 0.00001',), 0.0121),
            Check(faces.JOINT_MODEL, False, ('keypoints differ by 0.4 px, and 0.001 px may',), 0.031),
        ),
        pushed=(
            Pushed(faces.EXPRESSION_MODEL, 3, '/srv/serving/expression/3', card=CARD),
            Pushed(faces.JOINT_MODEL, 0, '', 'the serving check failed'),
        ),
        overrides=('leak', 'train.expression.epochs=2'),
        configuration='train:\n  expression:\n    epochs: 2\n',
    )
