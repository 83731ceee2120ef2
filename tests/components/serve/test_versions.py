"""Versions that come, go and break while clients ask."""

import base64
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
import requests

from components import faces
from components.inference.network import onnx_file
from tests.components.serve.pictures import encode, photograph
from tests.components.serve.running import ROOT, Server, push, running, wait_until

IMAGE = encode(photograph())
ROW = {'instances': [{'b64': base64.b64encode(IMAGE).decode()}]}
SWAPS = 20


@pytest.fixture
def start(python, tmp_path) -> Iterator[Callable[..., Server]]:
    """Starts a server of a folder that looks at it often."""
    with ExitStack() as stack:

        def begin(folder: Path, *options: str) -> Server:
            log = tmp_path / 'log.txt'
            return stack.enter_context(running(folder, log, '--poll', '0.05', *options))

        yield begin


@pytest.fixture
def folder(tmp_path) -> Path:
    (tmp_path / 'serving').mkdir()
    return tmp_path / 'serving'


class Client:
    """Asks over and over, in a thread, and keeps what it was answered."""

    def __init__(self, ask: Callable[[requests.Session], tuple[int, str, list, list]]):
        self.answers: list[tuple[int, str, list, list]] = []
        self._ask = ask
        self._end = threading.Event()
        self._failure: Exception | None = None
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def finish(self) -> None:
        self._end.set()
        self._thread.join()
        if self._failure is not None:
            raise self._failure

    def _run(self) -> None:
        try:
            with requests.Session() as session:
                while not self._end.is_set():
                    self.answers.append(self._ask(session))
        except Exception as error:
            self._failure = error


def by_prediction(server: Server, path: str = '/v1/models/faces:predict'):
    def ask(session: requests.Session):
        answer = session.post(server.url + path, json=ROW, timeout=60)
        row = answer.json().get('predictions', [{}])[0]
        return answer.status_code, answer.headers['Model-Version'], row.get('probabilities'), row.get('keypoints')

    return ask


def by_photo(server: Server):
    def ask(session: requests.Session):
        answer = session.post(server.url + '/v1/photo?faces=whole', data=IMAGE, timeout=60)
        content = answer.json()
        assert str(content['model']['version']) == answer.headers['Model-Version']
        (face,) = content['faces']
        shares, points = ([*face[name].values()] for name in ('probabilities', 'keypoints'))
        return answer.status_code, answer.headers['Model-Version'], shares, points

    return ask


def by_inference(server: Server):
    tensor = {'name': 'image_bytes', 'shape': [1], 'datatype': 'BYTES', 'data': [ROW['instances'][0]['b64']]}

    def ask(session: requests.Session):
        answer = session.post(server.url + '/v2/models/faces/infer', json={'inputs': [tensor]}, timeout=60)
        content = answer.json()
        assert content['model_version'] == answer.headers['Model-Version']
        found = {one['name']: np.reshape(one['data'], one['shape'])[0].tolist() for one in content['outputs']}
        return answer.status_code, content['model_version'], found['probabilities'], found['keypoints']

    return ask


def test_twenty_versions_are_swapped_while_clients_ask(start, folder, made):
    def made_as(version: int):
        return made[version % 2]

    push(made_as(1).folders['faces'], folder, 'faces', 1)
    server = start(folder)
    clients = [Client(ask(server)) for ask in (by_prediction, by_prediction, by_photo, by_inference)]
    try:
        for version in range(2, 2 + SWAPS):
            push(made_as(version).folders['faces'], folder, 'faces', version)
            server.wait_for(version)
            if version > 3:
                # As the pipeline does, which keeps some.
                (folder / 'faces' / str(version - 3)).rename(folder / 'faces' / '.staged-gone')
                shutil.rmtree(folder / 'faces' / '.staged-gone')
    finally:
        for client in clients:
            client.finish()

    expected = [made_as(version).ask('faces', [IMAGE]) for version in (0, 1)]
    assert np.abs(expected[0]['probabilities'] - expected[1]['probabilities']).max() > 0.01
    assert np.abs(expected[0]['keypoints'] - expected[1]['keypoints']).max() > 1
    for client in clients:
        versions = [int(version) for _, version, _, _ in client.answers]
        assert versions == sorted(versions)
        assert len(set(versions)) > 3
        for status, version, probabilities, points in client.answers:
            assert status == 200
            wanted = expected[int(version) % 2]
            np.testing.assert_allclose(probabilities, wanted['probabilities'][0], atol=1e-4)
            np.testing.assert_allclose(points, wanted['keypoints'][0], rtol=1e-3, atol=2e-3)
    assert server.log.read_text().count('faces: version') == 1 + SWAPS


def states(server: Server, model: str = 'faces') -> dict[str, str]:
    status = server.get(f'/v1/models/{model}').json()['model_version_status']
    return {one['version']: one['state'] for one in status}


def test_a_version_that_does_not_load_leaves_the_old_one_and_is_tried_again_when_it_changes(start, folder, made):
    good = made[0].folders['faces']
    push(good, folder, 'faces', 1)
    server = start(folder)
    broken = folder.parent / 'broken'
    shutil.copytree(good, broken)
    (onnx_file(broken, faces.KEYPOINT_MODEL)).write_bytes(b'no network')
    push(broken, folder, 'faces', 2)
    wait_until(lambda: states(server) == {'2': 'END', '1': 'AVAILABLE'})

    (failed, _) = server.get('/v1/models/faces').json()['model_version_status']
    assert failed['status']['error_code'] != 'OK'
    assert 'no network that ONNX Runtime can load' in failed['status']['error_message']
    assert server.predict('faces', ROW).headers['Model-Version'] == '1'
    assert server.predict('faces', ROW, '/versions/2').status_code == 404

    onnx_file(broken, faces.KEYPOINT_MODEL).unlink()
    push(broken, folder, 'faces', 3)
    wait_until(lambda: states(server) == {'3': 'END', '2': 'END', '1': 'AVAILABLE'})
    assert server.metric('emotion_load_failures_total', model='faces') == 2
    failures = [line for line in server.log.read_text().splitlines() if 'does not load' in line]
    assert len(failures) == 2
    assert all('version 1 goes on answering' in line for line in failures)

    mended = onnx_file(folder / 'faces' / '2', faces.KEYPOINT_MODEL)
    shutil.copyfile(onnx_file(good, faces.KEYPOINT_MODEL), mended)
    server.wait_for(2)
    assert states(server) == {'3': 'END', '2': 'AVAILABLE'}
    assert 'Traceback' not in server.log.read_text()


def test_a_rollback_by_removal_leads_back_and_an_emptied_folder_changes_nothing(start, folder, made):
    for version in (1, 2):
        push(made[version % 2].folders['faces'], folder, 'faces', version)
    server = start(folder)
    assert states(server) == {'2': 'AVAILABLE'}
    shutil.rmtree(folder / 'faces' / '2')
    server.wait_for(1)
    assert server.predict('faces', ROW).headers['Model-Version'] == '1'
    shutil.rmtree(folder / 'faces')
    (folder / 'faces').mkdir()
    push(made[0].folders['expression'], folder, 'expression', 1)
    server.wait_for(1, 'expression')
    assert server.predict('faces', ROW).headers['Model-Version'] == '1'


def test_a_version_that_is_made_anew_under_the_same_number_is_loaded(start, folder, made):
    push(made[0].folders['expression'], folder, 'expression', 1)
    server = start(folder)
    expected = [one.ask('expression', [IMAGE])['probabilities'] for one in made]
    np.testing.assert_allclose(server.predict('expression', ROW).json()['predictions'], expected[0], atol=1e-4)
    shutil.rmtree(folder / 'expression')
    push(made[1].folders['expression'], folder, 'expression', 1)

    def renewed() -> bool:
        return np.allclose(server.predict('expression', ROW).json()['predictions'], expected[1], atol=1e-4)

    wait_until(renewed)


def test_a_folder_without_models_is_waited_for(start, folder, made):
    server = start(folder)
    assert server.get('/v2/health/live').status_code == 200
    ready = server.get('/v2/health/ready')
    assert (ready.status_code, ready.json().keys()) == (503, {'error'})
    photo = server.post('/v1/photo', data=IMAGE)
    assert (photo.status_code, photo.json().keys()) == (503, {'error'})
    assert int(photo.headers['Retry-After']) > 0
    assert server.predict('faces', ROW).status_code == 404
    assert server.get('/v1/models/faces').status_code == 404
    assert 'waiting for one' in server.log.read_text()
    for name in ('x', '01', '-1', '3.5', '9' * 200, '.staged-5'):
        (folder / 'faces' / name).mkdir(parents=True)
    (folder / 'faces' / '7').write_text('a file')
    push(made[0].folders['faces'], folder, 'faces', 4)
    server.wait_for(4)
    assert server.get('/v2/health/ready').status_code == 200
    assert server.post('/v1/photo?faces=whole', data=IMAGE).status_code == 200
    assert server.get('/v1/models/keypoints').status_code == 404


def test_a_folder_that_is_not_there_is_one_line(python, tmp_path):
    command = [python, '-m', 'components.serve', '--folder', tmp_path / 'nothing', '--http-port', '0']
    ended = subprocess.run([*map(str, command)], cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert ended.returncode == 1
    assert 'There is no folder' in ended.stderr
    assert len(ended.stderr.splitlines()) == 1


def test_told_to_stop_it_finishes_what_is_in_flight(start, serving):
    server = start(serving, '--threads', '1')
    photo = encode(photograph(3600, 2700), 'JPEG')
    answers: list[int] = []

    def ask() -> None:
        answers.append(server.post('/v1/photo?faces=all', data=photo).status_code)

    clients = [threading.Thread(target=ask) for _ in range(5)]
    for client in clients:
        client.start()

    def all_in() -> bool:
        done = server.metric('emotion_request_seconds_count', model='faces', endpoint='photo')
        return done + server.metric('emotion_requests_in_flight') >= len(clients)

    wait_until(all_in)
    assert server.stop() == 0
    for client in clients:
        client.join()
    assert answers == [200] * len(clients)
    with pytest.raises(requests.ConnectionError):
        server.get('/v2/health/live')
    assert 'Traceback' not in server.log.read_text()
