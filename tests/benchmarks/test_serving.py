"""The serving benchmark: a short one on the real server, and the parts that count and tell."""

import dataclasses
import http.server
import io
import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
from markdown_it import MarkdownIt
from PIL import Image
from rich.console import Console

from components import faces
from components.push.versions import versions
from tests.benchmarks import engines, serving
from tests.benchmarks.serving import ALONE, OURS, RIVAL, Life, Load, Part, Results
from tests.kubeflow.serving.untrained import write_version

PYTHON = serving.ROOT / '.venv-serve' / 'bin' / 'python'
PREDICT, PHOTO = serving.requests()


def test_requests_are_what_their_titles_say():
    for request, form, size in ((PREDICT, 'PNG', (96, 96)), (PHOTO, 'JPEG', (1280, 720))):
        with Image.open(io.BytesIO(request.image)) as image:
            assert (image.format, image.size) == (form, size)
        assert f'a {form} of {size[0]}x{size[1]}' in request.title
    assert PREDICT.path == f'/v1/models/{faces.JOINT_MODEL}:predict'


def test_a_summary_has_the_percentiles_and_shares_the_processor():
    latencies = [0.001 * number for number in range(1, 101)]
    parts = [Part(latencies[:40], 1, 0.5, 0.2, 0.0), Part(latencies[40:], 2, 1.5, 0.3, 0.0)]
    load = serving.summary(OURS, PREDICT, 8, parts)
    assert load.median == pytest.approx(50.5)
    assert load.slow == pytest.approx(99.01)
    assert (load.answers, load.failures, load.rate) == (100, 3, 50.0)
    assert load.processor == pytest.approx(5.0)


@pytest.fixture
def plain_server() -> Iterator[serving.Server]:
    """Answers every second request with 503, in this process."""
    seen = iter(range(10**9))

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = 'HTTP/1.1'

        def do_POST(self) -> None:
            assert self.rfile.read(int(self.headers['Content-Length'])) == PREDICT.body
            self.send_response(503 if next(seen) % 2 else 200)
            self.send_header('Content-Length', '0')
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield serving.Server(f'http://127.0.0.1:{server.server_port}', psutil.Process(os.getpid()), 1.0, Path())
        server.shutdown()


def test_clients_ask_until_the_end_and_failures_are_counted(plain_server):
    part = serving.ask(plain_server, PREDICT, 4, 0.3)
    assert len(part.latencies) >= 4
    assert part.failures == pytest.approx(len(part.latencies) / 2, abs=1)
    assert part.seconds >= 0.3
    assert part.processor > 0
    assert 0 <= part.others <= 1.1


def test_a_server_that_is_gone_is_failures_and_no_error(plain_server):
    gone = dataclasses.replace(plain_server, url='http://127.0.0.1:9')
    part = serving.ask(gone, PREDICT, 2, 0.1)
    assert part.failures == len(part.latencies) > 0


def results(**changes: int) -> Results:
    loads = [
        dataclasses.replace(Load(engine, request.name, clients, 200, 0, 2.0, 3.14159, 9.9, 2.5), **changes)
        for request in (PREDICT, PHOTO)
        for engine in (ALONE, OURS, RIVAL)
        for clients in ((1,) if engine == ALONE else serving.CLIENTS)
    ]
    lives = [Life(OURS, 1.25, [1.0, 2.0, 1.5], 200.0, 250.4), Life(RIVAL, 8.0, [3.0], 900.0, 950.0)]
    return Results(loads, lives, 0.1, [0.01, 0.03])


def cells(text: str) -> list[list[str]]:
    """Rows of all tables as a Markdown renderer reads them."""
    rows: list[list[str]] = []
    for token in MarkdownIt('commonmark').enable('table').parse(text):
        if token.type == 'tr_open':
            rows.append([])
        elif token.type == 'inline' and rows and token.level > 3:
            rows[-1].append(token.content)
    return rows


def test_the_tables_say_what_was_measured():
    text = serving.markdown(results(), '2 cores of some processor')
    rows = cells(text)
    assert [row[0] for row in rows[:8]] == [PREDICT.title, ALONE, OURS, OURS, OURS, RIVAL, RIVAL, RIVAL]
    assert rows[1] == [ALONE, 'in process', '3.1 ms', '9.9 ms', '100', '2.5 ms']
    assert [row[1] for row in rows[2:5]] == ['1', '8', '32']
    assert rows[8][0] == PHOTO.title
    assert rows[-2] == [OURS, '1.2 s', '200 MB', '250 MB', '1.5 s, at most 2.0 s']
    assert '2 cores of some processor' in text and 'took 2% of the processor' in text and 'before was 0.1' in text
    assert 'not idle' not in text and 'not answered' not in text


def test_failures_and_a_busy_machine_are_told():
    found = results(failures=2)
    found.others.append(0.9)
    text = serving.markdown(found, 'a machine')
    assert f'{2 * len(found.loads)} requests were not answered' in text
    assert 'not idle' in text


@pytest.fixture(scope='module')
def pushed(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp('serving')
    for model in faces.MODELS:
        write_version(folder, model)
    return folder


@pytest.mark.parametrize('request_', [PREDICT, PHOTO], ids=lambda request: request.name)
def test_the_engine_alone_answers(pushed, request_):
    taken = engines.alone(pushed / faces.JOINT_MODEL / '1', request_.name, request_.image, 0.05)
    assert len(taken['wall']) == len(taken['cpu']) > 0 and taken['others'] >= 0
    assert min(taken['wall']) > 0


def test_a_short_benchmark_of_the_real_server(pushed, tmp_path, monkeypatch):
    if not PYTHON.exists():
        pytest.skip(f'{PYTHON} is missing, so the benchmark is NOT tested: make serve')
    monkeypatch.setattr(serving, 'CLIENTS', (1, 2))
    monkeypatch.setattr(serving, 'PUSHES', 2)
    monkeypatch.setattr(serving, 'ROUNDS', 2)
    found = serving.measure(PYTHON, pushed, None, 0.2, tmp_path, Console(file=io.StringIO()))
    assert [(load.engine, load.request, load.clients) for load in found.loads] == [
        (engine, request, clients)
        for request in ('predict', 'photo')
        for engine, clients in ((ALONE, 1), (OURS, 1), (OURS, 2))
    ]
    assert all(load.failures == 0 and load.processor > 0 for load in found.loads)
    (life,) = found.lives
    assert life.start > 0 and len(life.pushes) == 2 and life.idle > 50
    assert versions(pushed / faces.JOINT_MODEL) == [1], 'a copy is pushed to, not the folder itself'
    assert json.loads(json.dumps(dataclasses.asdict(found)))['lives'][0]['engine'] == OURS


def test_a_server_that_does_not_start_is_told_with_its_log(pushed, tmp_path):
    command = ['/bin/sh', '-c', 'echo no such thing; exit 1']
    log = tmp_path / 'log'
    with pytest.raises(serving.ServerFailedError, match=str(log)), serving.running(command, pushed, log):
        pass
    assert log.read_text() == 'no such thing\n'


def test_tensorflow_is_given_what_the_server_decoded():
    asked = []

    class Answer:
        def __init__(self, value: np.ndarray):
            self.value = value

        def numpy(self) -> np.ndarray:
            return self.value

    def signature(image_bytes: list[bytes]) -> dict[str, Answer]:
        asked.extend(image_bytes)
        return {
            'probabilities': Answer(np.ones((2, 5), np.float32)),
            'expressions': Answer(np.array([[b'sad']], object)),
        }

    class TensorFlow:
        constant = staticmethod(lambda values: values)

    images = [np.random.default_rng(seed).integers(0, 255, (40, 30, 3), np.uint8) for seed in range(2)]
    answers = engines.TensorFlowVersion('faces', 1, signature, TensorFlow).predict(images)
    for image, encoded in zip(images, asked, strict=True):
        assert np.array_equal(np.asarray(Image.open(io.BytesIO(encoded)).convert('RGB')), image)
    assert answers['expressions'].tolist() == [['sad']]
    assert answers['probabilities'].dtype == np.float32
