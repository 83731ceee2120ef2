"""The compiled pipeline, run task by task as Kubeflow runs it: see `kubeflow_backend`."""

import contextlib
import json
import logging
import os
import re
import subprocess
import threading
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import boto3
import numpy as np
import pytest
import tensorflow as tf
from moto.server import ThreadedMotoServer
from sklearn import metrics

from components import faces
from data.publish import write_expressions
from pipeline.config import load
from pipeline.kubeflow.compile import compile_pipeline
from tests.e2e.kubeflow_backend import CACHED, FAILED, SKIPPED, SUCCEEDED, Backend, Task, kill_soon

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(
        not os.access('/', os.W_OK), reason='NOT TESTED: only root can make /s3, where Kubeflow puts artifacts'
    ),
]
TINY = Path(__file__).with_name('tiny.yaml')
KILLED = 'Trainer-keypoints'


@dataclass
class Cluster:
    """A backend with its compiled pipeline.

    Attributes:
        backend: see there.
        folder: where volumes are mounted.
        pipeline: the compiled YAML.
        told: what the webhook was told.
    """

    backend: Backend
    folder: Path
    pipeline: str
    told: list[dict]

    def claim(self, name: str) -> Path:
        return self.backend.volumes / name

    def served(self, model: str) -> list[str]:
        return sorted(path.name for path in (self.claim('serving') / model).iterdir() if path.name.isdecimal())


@contextlib.contextmanager
def listening() -> Iterator[tuple[str, list[dict]]]:
    """The address of a webhook, and what it has been told."""
    told = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):  # noqa: N802
            told.append(json.loads(self.rfile.read(int(self.headers['Content-Length']))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *arguments):
            pass

    server = ThreadingHTTPServer(('127.0.0.1', 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f'http://127.0.0.1:{server.server_port}/decisions', told
    finally:
        server.shutdown()


@pytest.fixture(scope='module')
def cluster(tmp_path_factory):
    folder = tmp_path_factory.mktemp('cluster')
    bucket = f'faces-{uuid.uuid4().hex[:8]}'
    logging.getLogger('werkzeug').setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address='127.0.0.1', port=0)
    server.start()
    host, port = server.get_host_and_port()
    store = boto3.client(
        's3',
        endpoint_url=f'http://{host}:{port}',
        aws_access_key_id='key',
        aws_secret_access_key='secret',
        region_name='us-east-1',
    )
    store.create_bucket(Bucket=bucket)
    backend = Backend(store, bucket, folder / 'claims')
    with listening() as (address, told):
        settings = [
            *(f'kubeflow.{name}={{claim: {name}, path: {folder}/mnt/{name}}}' for name in ('data', 'serving', 'state')),
            f'hooks.webhook={address}',
        ]
        yield Cluster(backend, folder, compile_pipeline(load(str(TINY), settings)), told)
    server.stop()
    backend.clear()


@pytest.fixture(scope='module')
def first(cluster) -> dict[str, Task]:
    """A run in which the node of one task is lost while it trains."""

    def lose(task: str, attempt: int, process: subprocess.Popen) -> None:
        if task == KILLED and attempt == 0:
            threading.Thread(target=kill_soon, args=(process, cluster.claim('state')), daemon=True).start()

    cluster.backend.watch = lose
    return cluster.backend.run(cluster.pipeline)


@pytest.fixture(scope='module')
def second(cluster, first) -> dict[str, Task]:
    return cluster.backend.run(cluster.pipeline, {'retrain': True, 'keypoints_epochs': 2})


@pytest.fixture(scope='module')
def broken(cluster, second) -> dict[str, Task]:
    """A run on fewer expressions than the gate demands."""
    write_expressions(cluster.claim('data') / 'broken.csv.gz', 100, seed=5)
    files = str(cluster.folder / 'mnt' / 'data' / 'broken.csv.gz')
    return cluster.backend.run(cluster.pipeline, {'expression_files': files})


def metadata(run: dict[str, Task], task: str, output: str) -> dict:
    return run[task].artifacts[output]['metadata']


def content(cluster: Cluster, run: dict[str, Task], task: str, output: str, file: str = '') -> bytes:
    uri = run[task].artifacts[output]['uri'] + (f'/{file}' if file else '')
    key = uri.removeprefix(f's3://{cluster.backend.bucket}/')
    return cluster.backend.store.get_object(Bucket=cluster.backend.bucket, Key=key)['Body'].read()


def test_every_task_succeeds_and_all_three_models_are_served(cluster, first):
    assert {task: entry.log[-2000:] for task, entry in first.items() if entry.state != SUCCEEDED} == {}
    assert len(first) == 32
    for model in faces.MODELS:
        assert cluster.served(model)[0] == '1'
        assert metadata(first, f'Pusher-{model}', 'pushed')['pushed_version'] == 1


def test_a_task_whose_node_is_lost_is_started_again_and_goes_on_from_its_checkpoint(first):
    assert first[KILLED].attempts == 2
    assert re.search('goes on after epoch [12]', first[KILLED].log)
    assert 'epoch 3 of 3' in first[KILLED].log
    assert {entry.attempts for task, entry in first.items() if task != KILLED} == {1}


def test_what_is_served_answers_with_an_image(cluster, first):
    model = tf.saved_model.load(str(cluster.claim('serving') / 'faces' / '1'))
    image = tf.io.encode_png(tf.zeros([96, 96, 1], tf.uint8))
    answer = model.signatures['serving_default'](image_bytes=tf.stack([image]))
    assert answer['keypoints'].shape == (1, 15, 2)
    assert float(tf.reduce_sum(answer['probabilities'])) == pytest.approx(1, abs=1e-5)


def test_logs_name_the_task(first):
    assert 'Trainer-expression: ' in first['Trainer-expression'].log
    assert 'Traceback' not in ''.join(entry.log for entry in first.values())


def test_the_dashboard_gets_the_figures_of_the_predictions(cluster, first, tmp_path):
    path = tmp_path / 'predictions.npz'
    path.write_bytes(content(cluster, first, 'Trainer-expression', 'model_run', 'predictions.npz'))
    with np.load(path) as archive:
        truth, prediction = archive['truth'], archive['prediction'].argmax(axis=1)
    shown = metadata(first, 'Evaluator-expression', 'metrics')
    assert shown['accuracy'] == pytest.approx(metrics.accuracy_score(truth, prediction), abs=1e-6)
    assert 'tfx_version' not in shown
    matrix = metadata(first, 'Evaluator-expression', 'confusion_matrix')['confusionMatrix']['struct']
    counts = [row['row'] for row in matrix['rows']]
    assert counts == metrics.confusion_matrix(truth, prediction, labels=range(5)).tolist()
    assert metadata(first, 'Evaluator-expression', 'roc_micro_average')['confidenceMetrics']['list']


def test_the_dashboard_gets_one_page_each_of_the_run_and_of_the_data(cluster, first):
    page = content(cluster, first, 'RunReport', 'run_report').decode()
    assert '<html' in page[:200]
    # The run began with its first task, minutes before its report was written.
    assert ' min' in re.search('<dt>Took</dt><dd>([^<]*)', page)[1]
    assert b'# Data of the keypoints model: accepted' in content(cluster, first, 'DataCheck-keypoints', 'data_report')


def test_a_second_run_finds_the_first_ones_model_as_the_baseline(cluster, second):
    assert {task: entry.log[-2000:] for task, entry in second.items() if entry.state == FAILED} == {}
    for task in faces.TASKS:
        assert metadata(second, f'ServedModel-{task}', 'model')['served_version'] == 1
        assert second[f'Trainer-{task}'].state == SUCCEEDED
        assert second[f'FaceExampleGen-{task}'].state == second[f'Transform-{task}'].state == CACHED
        assert cluster.served(task)[:2] == ['1', '2']
    assert 'accuracy_change' in metadata(second, 'Evaluator-expression', 'metrics')
    provenance = json.loads(
        (cluster.claim('serving') / 'keypoints' / '2' / 'assets.extra' / 'provenance.json').read_text()
    )
    assert provenance['run'] in second['Pusher-keypoints'].artifacts['pushed']['uri']


def test_broken_data_are_refused_in_one_line_and_the_other_branch_goes_on(broken):
    gate = broken['DataGate-expression']
    assert (gate.state, gate.attempts) == (FAILED, 1)
    (line,) = [line for line in gate.log.splitlines() if 'were refused' in line]
    assert line.startswith('DataGate-expression: The expression data were refused')
    assert gate.log.strip().splitlines()[-1] == line
    assert 'Traceback' not in gate.log
    for task in ('Transform-expression', 'Trainer-expression', 'Pusher-expression', 'JointModel', 'Pusher-faces'):
        assert broken[task].state == SKIPPED, task
    assert broken['Trainer-keypoints'].state == CACHED


def test_the_verdict_on_refused_data_can_be_read_in_the_dashboard(cluster, broken):
    page = content(cluster, broken, 'DataCheck-expression', 'data_report')
    assert b'# Data of the expression model: refused' in page
    assert metadata(broken, 'DataCheck-expression', 'verdict')['passed'] == 0


def test_what_was_served_before_is_not_pushed_again(cluster, broken):
    """The keypoints branch of the last run came from the cache: it ends with the first run's model."""
    assert metadata(broken, 'Pusher-keypoints', 'pushed')['pushed_version'] == 0
    assert 'roll back' in metadata(broken, 'Pusher-keypoints', 'pushed')['note']
    assert cluster.served('keypoints') == ['1', '2']


def test_what_each_run_decided_is_told_once(cluster, first, second, broken):
    assert [decision['decision'] for decision in cluster.told] == ['pushed', 'pushed', 'failed']
    assert [decision['pushed'].get('faces') for decision in cluster.told] == [1, 2, None]
    assert cluster.told[0]['kpis']['expression']['accuracy'] == pytest.approx(
        metadata(first, 'Evaluator-expression', 'metrics')['accuracy']
    )
    assert cluster.told[0]['run'] in first['RunReport'].artifacts['report']['uri']
    assert broken['Conclusion'].state == SUCCEEDED
