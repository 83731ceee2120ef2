"""A pipeline whose data, artifacts and served models lie in an object store."""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import pytest
import yaml

from components import faces
from components.push import versions
from components.report.ledger import read_ledger
from components.storage.s3 import ObjectFolder
from data.draw import draw_face
from data.publish import FILES
from tests.e2e.conftest import TINY

pytestmark = pytest.mark.e2e

COMMAND = str(Path(sys.executable).with_name('emotion-pipeline'))
SERVING = 's3://faces/serving'


@dataclasses.dataclass(frozen=True)
class Workplace:
    """A folder with the store alone: metadata, history and logs."""

    folder: Path
    environment: dict[str, str]

    def command(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            [COMMAND, *arguments],
            cwd=self.folder,
            env={**os.environ, **self.environment, **environment},
            capture_output=True,
            text=True,
            timeout=900,
        )

    def run(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess:
        return self.command('run', '--config', 'stored.yaml', *arguments, **environment)

    def last(self) -> dict:
        """The newest entry of the history."""
        return json.loads(max((self.folder / 'runs/tiny/history').glob('*/run.json')).read_text())

    def states(self) -> dict[str, str]:
        """How each node of the last run ended."""
        ledger = read_ledger(self.folder / 'runs/tiny/metadata.sqlite', self.last()['run'])
        return {step.node: step.state for step in ledger.steps}


@pytest.fixture(scope='module')
def workplace(object_store, tmp_path_factory) -> Workplace:
    pytest.importorskip('tensorflow_io', reason='the extra s3 is not installed: tensorflow-io is missing')
    folder = tmp_path_factory.mktemp('stored')
    configuration = yaml.safe_load(TINY.read_text())
    drawn = configuration.pop('draw')
    for name in ('expressions', 'keypoints'):
        FILES[name](folder / f'{name}.csv.gz', drawn[name], 0)
        object_store.client().upload_file(str(folder / f'{name}.csv.gz'), 'faces', f'data/{name}.csv.gz')
    configuration['ingest']['expression']['files'] = ['s3://faces/data/expr*.csv.gz']
    configuration['ingest']['keypoints']['files'] = ['s3://faces/data/keypoints.csv.gz']
    configuration |= {'artifacts': 's3://faces/runs', 'serving': SERVING}
    (folder / 'stored.yaml').write_text(yaml.safe_dump(configuration))
    return Workplace(folder, object_store.environment)


def test_what_cannot_be_used_is_told_before_anything_begins(workplace, object_store):
    refused = workplace.run('--set', 'serving=s3://nowhere/serving')
    assert refused.returncode == 1
    assert "no bucket 'nowhere'" in refused.stderr and refused.stderr.count('\n') == 1
    unreachable = workplace.run(AWS_ENDPOINT_URL='http://127.0.0.1:1')
    assert unreachable.returncode == 1 and 'cannot be reached' in unreachable.stderr
    if object_store.is_real:
        wrong = workplace.run(AWS_SECRET_ACCESS_KEY='a-wrong-secret')
        assert wrong.returncode == 1
        assert 'AWS_SECRET_ACCESS_KEY' in wrong.stderr and 'a-wrong-secret' not in wrong.stderr
    assert not (workplace.folder / 'runs').exists()


def test_a_server_that_goes_away_ends_the_run_in_one_line_and_the_next_run_goes_on(workplace, object_store):
    """The first run loses the server within a step, the second one does the whole rest."""
    if object_store.is_real:
        _lose_the_server(workplace, object_store)
    whole = workplace.run()
    assert whole.returncode == 0, whole.stdout + whole.stderr
    assert 'Traceback' not in whole.stdout + whole.stderr
    states = workplace.states()
    assert len(states) == 30 and set(states.values()) <= {'complete', 'cached'}
    assert states['Transform-expression'] == ('cached' if object_store.is_real else 'complete')
    assert states['Trainer-expression'] == 'complete'
    assert workplace.last()['pushed'] == {'expression': 1, 'keypoints': 1, 'faces': 1}
    assert not (workplace.folder / 'runs/tiny/artifacts').exists() and not (workplace.folder / 'serving').exists()
    assert 'FaceExampleGen-expression' in Path(workplace.last()['report']).read_text()


def _lose_the_server(workplace: Workplace, object_store) -> None:
    process = subprocess.Popen(
        [COMMAND, 'run', '--config', 'stored.yaml'],
        cwd=workplace.folder,
        env={**os.environ, **workplace.environment, 'PYTHONUNBUFFERED': '1'},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        said = ''
        assert process.stdout is not None
        for line in process.stdout:
            said += line
            if 'expression: epoch 1 of 3' in line:
                object_store.kill()
        assert process.wait(60) == 1, said
    finally:
        process.kill()
        process.wait()
        object_store.start()
    assert 'Traceback' not in said
    assert workplace.last()['state'] == 'failed'
    message = workplace.last()['message']
    assert 'cannot be reached' in message and 'run it again' in message


def test_a_second_run_does_no_work(workplace):
    second = workplace.run()
    assert second.returncode == 0, second.stdout + second.stderr
    assert 'Nothing has changed' in second.stdout
    assert set(workplace.states().values()) == {'cached'}


def test_what_was_pushed_answers_in_another_process_and_is_rolled_back(workplace, tmp_path, monkeypatch):
    image = tmp_path / 'face.jpg'
    cv2.imwrite(str(image), draw_face(99, 0).image)
    asked = workplace.command('predict', str(image), '--faces', 'whole', '--json', '--serving', SERVING)
    assert asked.returncode == 0, asked.stderr
    (face,) = json.loads(asked.stdout)['faces']
    for name, value in workplace.environment.items():
        monkeypatch.setenv(name, value)
    versions.copy(f'{SERVING}/{faces.JOINT_MODEL}', 1, tmp_path / '1')
    code = """
import json, sys
from pathlib import Path
import tensorflow as tf
answer = tf.saved_model.load(sys.argv[1]).signatures['serving_default'](
    image_bytes=tf.constant([Path(sys.argv[2]).read_bytes()]))
print(json.dumps(answer['probabilities'].numpy()[0].tolist()))
"""
    command = [sys.executable, '-c', code, str(tmp_path / '1'), str(image)]
    answer = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[-1])
    assert list(face['probabilities'].values()) == pytest.approx(answer, abs=1e-3)
    assert ObjectFolder(f'{SERVING}/expression').list('1/assets.extra/model_card')

    alone = workplace.command('rollback', 'faces', '--config', 'stored.yaml')
    assert alone.returncode == 1 and 'none to go back to' in alone.stderr
