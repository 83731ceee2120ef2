"""The whole pipeline with two workers that train each network together."""

import json

import pytest

pytestmark = pytest.mark.e2e

WORKERS = (
    *('--set', 'workers.count=2'),
    *('--set', 'train.expression.epochs=2'),
    *('--set', 'train.keypoints.epochs=2'),
)


@pytest.fixture(scope='module')
def first(workplace):
    return workplace.run(*WORKERS)


def test_two_workers_push_all_three_models(workplace, first):
    assert first.returncode == 0, first.stdout + first.stderr
    assert 'Traceback' not in first.stdout + first.stderr
    assert workplace.versions() == {'expression': ['1'], 'faces': ['1'], 'keypoints': ['1']}
    for task in ('expression', 'keypoints'):
        examples = workplace.artifact(f'FaceExampleGen-{task}', 'examples')
        assert len(list((examples / 'Split-train').iterdir())) == len(list((examples / 'Split-eval').iterdir())) == 2
        history = json.loads((workplace.artifact(f'Trainer-{task}', 'model_run') / 'history.json').read_text())
        assert {len(values) for values in history.values()} == {2}
    assert not list((workplace.store / 'checkpoints').iterdir())


def test_a_second_run_with_as_many_workers_does_no_work(workplace, first):
    again = workplace.run(*WORKERS)
    assert again.returncode == 0, again.stdout + again.stderr
    assert workplace.last()['state'] == 'unchanged'
