"""The pipeline from data to pushed models: what it leaves behind, and what a second run does."""

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from components import faces
from components.report.ledger import read_ledger
from data.draw import draw_face
from tests.e2e import engines
from tests.e2e.same import assert_figures_of_the_predictions, assert_same_artifacts, assert_same_figures

pytestmark = pytest.mark.e2e

SERVER_PYTHON = Path(__file__).parents[2] / '.venv-serve' / 'bin' / 'python'

ASK = """
import json, sys
from pathlib import Path
import numpy as np, tensorflow as tf
model = tf.saved_model.load(sys.argv[1]).signatures['serving_default']
answer = model(image_bytes=tf.constant([Path(sys.argv[2]).read_bytes()]))
print(json.dumps({name: value.numpy().tolist() if value.dtype != tf.string else value.numpy().astype('U').tolist()
                  for name, value in answer.items()}))
"""


@pytest.fixture(scope='module')
def first(workplace):
    return workplace.run()


def test_first_run_pushes_all_three_models(workplace, first):
    assert first.returncode == 0, first.stdout + first.stderr
    assert 'Traceback' not in first.stdout + first.stderr
    assert workplace.versions() == {'expression': ['1'], 'faces': ['1'], 'keypoints': ['1']}
    entry = workplace.last()
    assert entry['state'] == 'pushed'
    assert entry['report'] in first.stdout
    assert entry['pushed'] == {'expression': 1, 'keypoints': 1, 'faces': 1}


def test_metadata_store_holds_every_node_as_complete(workplace, first):
    ledger = read_ledger(workplace.store / 'metadata.sqlite', workplace.last()['run'])
    assert len(ledger.steps) == 30
    assert {step.state for step in ledger.steps} == {'complete'}


def test_kpis_are_those_of_the_predictions(workplace, first):
    assert_figures_of_the_predictions(workplace)


def test_joint_model_answers_in_other_processes_and_from_the_servers_environment(workplace, first, tmp_path):
    folder = workplace.folder / 'serving' / 'faces' / '1'
    image = tmp_path / 'face.jpg'
    cv2.imwrite(str(image), draw_face(99, 0).image)
    command = [sys.executable, '-c', ASK, str(folder), str(image)]
    process = subprocess.run(command, capture_output=True, text=True, check=True)
    answer = json.loads(process.stdout.splitlines()[-1])
    assert answer['expressions'] == [list(faces.EXPRESSIONS)]
    assert answer['keypoint_names'] == [list(faces.KEYPOINTS)]
    assert sum(answer['probabilities'][0]) == pytest.approx(1, abs=1e-5)
    assert np.shape(answer['keypoints']) == (1, 15, 2)

    options = ['--faces', 'whole', '--json', '--serving', str(folder.parents[1])]
    for python in (Path(sys.executable), SERVER_PYTHON):
        command = [str(python.with_name('emotion-pipeline')), 'predict', str(image), *options]
        process = subprocess.run(command, capture_output=True, text=True, check=True)
        (face,) = json.loads(process.stdout)['faces']
        np.testing.assert_allclose(list(face['probabilities'].values()), answer['probabilities'][0], atol=1e-3)
        np.testing.assert_allclose(list(face['keypoints'].values()), answer['keypoints'][0], atol=0.1)


def test_provenance_travels_with_the_model(workplace, first):
    path = workplace.folder / 'serving' / 'keypoints' / '1' / 'assets.extra' / 'provenance.json'
    provenance = json.loads(path.read_text())
    assert provenance['run'] == workplace.last()['run']
    assert provenance['kpis']['rmse'] == pytest.approx(workplace.last()['kpis']['keypoints']['rmse'])
    assert (path.parent / 'tf_serving_warmup_requests').stat().st_size > 0


def test_report_stands_alone_and_says_what_happened(workplace, first):
    page = Path(workplace.last()['report']).read_text(encoding='utf-8')
    assert page.lstrip().lower().startswith('<!doctype html>')
    assert 'src="http' not in page and 'href="http' not in page
    for node in ('FaceExampleGen-expression', 'Trainer-keypoints', 'Pusher-faces'):
        assert node in page


def test_second_run_does_no_work_and_says_so(workplace, first):
    report = workplace.last()['report']
    second = workplace.run()
    assert second.returncode == 0
    assert 'Nothing has changed' in second.stdout
    ledger = read_ledger(workplace.store / 'metadata.sqlite', workplace.last()['run'])
    assert {step.state for step in ledger.steps} == {'cached'}
    assert workplace.versions() == {'expression': ['1'], 'faces': ['1'], 'keypoints': ['1']}
    assert workplace.last()['report'] == report


@pytest.fixture(scope='module')
def portable(workplace, first):
    """Two runs on Beam's own job service: a worker of the first is killed in the midst of the second ingest."""
    place = workplace.beside('portable')
    with engines.job_service(place.folder / 'services') as service:
        rows = 'artifacts/FaceExampleGen-keypoints/rejects/*/spill/*'
        killed = engines.run_and_kill_a_worker(place, service, '✓ FaceExampleGen-expression', rows)
        return place, killed, place.run(*service.options)


def test_a_worker_that_is_killed_ends_the_run_in_one_line(portable):
    _, (status, printed), _ = portable
    assert status == 1, printed
    assert 'FaceExampleGen-keypoints: a worker of the Beam job died' in ' '.join(printed.split())
    assert 'Traceback' not in printed


def test_the_run_after_a_killed_worker_goes_on_from_there(portable):
    place, _, resumed = portable
    assert resumed.returncode == 0, resumed.stdout + resumed.stderr
    ledger = read_ledger(place.store / 'metadata.sqlite', place.last()['run'])
    states = {step.node: step.state for step in ledger.steps}
    assert states.pop('FaceExampleGen-expression') == 'cached'
    assert states['FaceExampleGen-keypoints'] == 'complete'
    assert place.versions() == {'expression': ['1'], 'faces': ['1'], 'keypoints': ['1']}


def test_beams_job_service_gives_what_the_direct_runner_gives(workplace, portable):
    place, *_ = portable
    assert_same_artifacts(workplace, place)
    assert_same_figures(workplace, place)


def test_another_engine_reruns_no_step_but_the_report(portable):
    place, *_ = portable
    direct = place.run('--beam', 'direct')
    assert direct.returncode == 0, direct.stdout
    ledger = read_ledger(place.store / 'metadata.sqlite', place.last()['run'])
    assert {step.node for step in ledger.steps if step.state != 'cached'} == {'RunReport'}


def test_a_model_that_is_too_weak_is_refused(workplace, first):
    refused = workplace.run('--set', 'evaluate.keypoints.gates.rmse.maximum=0.5')
    assert refused.returncode == 3
    assert 'Refused: keypoints rmse' in refused.stdout
    assert workplace.versions()['keypoints'] == ['1']
    # The change reruns what depends on it and nothing else.
    ledger = read_ledger(workplace.store / 'metadata.sqlite', workplace.last()['run'])
    rerun = {step.node for step in ledger.steps if step.state == 'complete'}
    assert 'Evaluator-keypoints' in rerun
    assert not {node for node in rerun if node.endswith('expression') or node.startswith(('Trainer', 'Transform'))}


def test_a_model_weaker_than_the_served_one_is_refused(workplace, first):
    weaker = workplace.run(
        *('--set', 'train.keypoints.learning_rate=1e-7'),
        *('--set', 'evaluate.keypoints.gates.rmse.margin=0'),
    )
    assert weaker.returncode == 3
    assert 'of the served model' in weaker.stdout
    assert workplace.versions()['keypoints'] == ['1']
    ledger = read_ledger(workplace.store / 'metadata.sqlite', workplace.last()['run'])
    states = {step.node: step.state for step in ledger.steps}
    assert states['Trainer-keypoints'] == 'complete'
    assert states['Trainer-expression'] == 'cached'


def test_broken_data_stop_the_run_with_a_report(workplace, first):
    source = workplace.folder / 'broken.csv'
    rows = [f'{index % 5},Training,{" ".join(["7"] * 2304)}' for index in range(100)]
    source.write_text('\n'.join(['emotion, Usage, pixels', *rows]) + '\n')
    stopped = workplace.run('--set', f'ingest.expression.files=[{source}]')
    assert stopped.returncode == 4
    assert 'Traceback' not in stopped.stdout + stopped.stderr
    entry = workplace.last()
    assert entry['state'] == 'stopped'
    assert 'flat' in entry['message']
    assert f'\n{entry["message"]}\n' in stopped.stdout
    assert 'flat' in Path(entry['report']).read_text(encoding='utf-8')
    assert workplace.versions()['expression'] == ['1']


def test_drifted_data_stop_the_run_and_can_be_accepted_by_name(workplace, first):
    # Mostly one class: far from the class shares that the first run accepted.
    source = workplace.folder / 'drifted.csv'
    rows = []
    for index in range(400):
        face = draw_face(5, index, 'happiness' if index % 4 else None)
        usage = 'PublicTest' if index % 5 == 0 else 'Training'
        pixels = ' '.join(map(str, face.image[::2, ::2].ravel()))
        rows.append(f'{faces.EXPRESSIONS.index(face.expression)},{usage},{pixels}')
    source.write_text('\n'.join(['emotion, Usage, pixels', *rows]) + '\n')
    stopped = workplace.run('--set', f'ingest.expression.files=[{source}]')
    assert stopped.returncode == 4
    assert '--override class-drift' in workplace.last()['message']
    assert 'class-drift' in Path(workplace.last()['report']).read_text(encoding='utf-8')
    accepted = workplace.run('--set', f'ingest.expression.files=[{source}]', '--override', 'class-drift')
    assert accepted.returncode == 0, accepted.stdout
    assert 'overridden' in Path(workplace.last()['report']).read_text(encoding='utf-8').lower()
