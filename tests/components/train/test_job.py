"""How a step stands by its training job, before a server that plays Kubernetes; the pods do next to nothing here."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from components.errors import StepError
from components.settings import WorkerSettings, to_json
from components.train import job
from components.train.arguments import Arguments, read
from components.train.job import State, stage, state
from pipeline.kubeflow.settings import KubeflowSettings, Resources, Volume
from pipeline.kubeflow.training_job import training_job
from tests.components.train.training_operator import NAMESPACE, ROOT, Cluster, serve

WRITES = """
import json, os, sys
from pathlib import Path
asked = json.loads(Path(sys.argv[2]).read_text())
if not os.environ['TF_CONFIG'] or json.loads(os.environ['TF_CONFIG'])['task']['index'] == 0:
    inputs = sorted(str(path.relative_to(Path(sys.argv[2]).parent)) for path in Path(sys.argv[2]).parent.rglob('*'))
    for name in ('serving_model_dir', 'model_run_dir'):
        Path(asked[name]).mkdir(parents=True)
    (Path(asked['serving_model_dir']) / 'saved_model.pb').write_text(json.dumps(inputs))
    (Path(asked['model_run_dir']) / 'history.json').write_text('{}')
"""
FAILS = """
import sys
from pathlib import Path
(Path(sys.argv[2]).parent / 'failure-1.txt').write_text('no such thing')
sys.exit(1)
"""
WAITS = 'import time; time.sleep(600)'


@pytest.fixture
def cluster(tmp_path, monkeypatch) -> Iterator[Cluster]:
    (tmp_path / 'cluster').mkdir()
    with serve(tmp_path / 'cluster') as (found, kubeconfig):
        monkeypatch.setenv('KUBECONFIG', str(kubeconfig))
        yield found


@pytest.fixture
def wanted(tmp_path) -> Arguments:
    """A training whose inputs are copies of the step's own, as on Kubeflow."""
    local = tmp_path / 's3' / 'bucket'
    for name in ('transform_graph/metadata/schema.pbtxt', 'Split-train/a.gz', 'Split-train/b.gz', 'Split-eval/a.gz'):
        (local / name).parent.mkdir(parents=True, exist_ok=True)
        (local / name).write_text(name)
    return Arguments(
        task='keypoints',
        folder=str(tmp_path / 'state' / 'checkpoints' / '0123456789abcdef'),
        train_files=[str(local / 'Split-train' / '*')],
        eval_files=[str(local / 'Split-eval' / '*')],
        transform_output=str(local / 'transform_graph'),
        serving_model_dir=str(local / 'model' / 'Format-Serving'),
        model_run_dir=str(local / 'model_run'),
        custom_config={'workers': to_json(WorkerSettings(2, restarts=1))},
    )


@pytest.fixture
def manifest(tmp_path) -> Callable[[str], str]:
    """The manifest as it is compiled, with pods that run this."""

    def made(script: str) -> str:
        settings = KubeflowSettings(state=Volume(str(tmp_path / 'state'), 'faces-state'))
        found = json.loads(training_job(settings, 'keypoints', Resources()))
        container = found['spec']['tfReplicaSpecs']['Worker']['template']['spec']['containers'][0]
        container['command'] = ['python', '-c', script]
        return json.dumps(found)

    return made


NAME = 'train-keypoints-0123456789abcdef'


def test_the_pods_see_copies_and_the_step_takes_back_what_they_wrote(cluster, wanted, manifest):
    job.train(wanted, manifest(WRITES))
    seen = json.loads((Path(wanted.serving_model_dir) / 'saved_model.pb').read_text())
    assert [path for path in seen if path.startswith('inputs/') and '.' in path] == [
        'inputs/eval/00000-a.gz',
        'inputs/train/00000-a.gz',
        'inputs/train/00001-b.gz',
        'inputs/transform/metadata/schema.pbtxt',
    ]
    assert (Path(wanted.model_run_dir) / 'history.json').exists()
    assert not Path(wanted.folder).exists()
    # It stays, with its logs, until the operator deletes it.
    assert state(cluster.known[NAME]).condition == 'Succeeded'
    assert cluster.requests[:2] == [('GET', f'{ROOT}/{NAME}'), ('POST', ROOT)]


def test_what_is_staged_is_complete_and_names_itself(wanted):
    staged = stage(wanted)
    assert read(Path(wanted.folder) / 'arguments.json') == staged
    assert all(str(value).startswith(wanted.folder) for value in (staged.folder, staged.transform_output))
    assert (
        Path(staged.transform_output, 'metadata', 'schema.pbtxt').read_text() == 'transform_graph/metadata/schema.pbtxt'
    )
    assert stage(wanted) == staged


def test_one_worker_is_a_job_too(cluster, wanted, manifest):
    alone = {'workers': to_json(WorkerSettings())}
    job.train(Arguments(**{**wanted.__dict__, 'custom_config': alone}), manifest(WRITES))
    assert cluster.known[NAME]['spec']['tfReplicaSpecs']['Worker']['replicas'] == 1


def test_a_job_that_fails_ends_in_one_line_and_the_next_attempt_makes_another(cluster, wanted, manifest):
    with pytest.raises(StepError) as caught:
        job.train(wanted, manifest(FAILS))
    assert str(caught.value).startswith(f'The training job {NAME} failed (TFJob {NAME} has failed because')
    assert '; worker 1: no such thing: kubectl --namespace team logs' in str(caught.value)
    assert '\n' not in str(caught.value)
    job.train(wanted, manifest(WRITES))
    assert ('DELETE', f'{ROOT}/{NAME}') in cluster.requests
    assert (Path(wanted.serving_model_dir) / 'saved_model.pb').exists()


def test_a_step_that_is_started_again_waits_for_the_job_that_is_there(cluster, wanted, manifest):
    staged = stage(wanted)
    with cluster.lock:
        cluster.create(job.filled(json.loads(manifest(WRITES)), NAME, staged, Path(wanted.folder) / 'arguments.json'))
    job.train(wanted, manifest(FAILS))
    assert 'POST' not in {method for method, _ in cluster.requests}
    assert (Path(wanted.serving_model_dir) / 'saved_model.pb').exists()


STEP = """
import json, sys
from pathlib import Path
from components.train import job
from components.train.arguments import read
job.train(read(Path(sys.argv[1])), Path(sys.argv[2]).read_text())
"""


def test_a_step_that_is_ended_ends_its_job(cluster, wanted, manifest, tmp_path):
    from components.train.arguments import write

    write(wanted, tmp_path / 'wanted.json')
    (tmp_path / 'manifest.json').write_text(manifest(WAITS))
    step = subprocess.Popen(
        [sys.executable, '-c', STEP, str(tmp_path / 'wanted.json'), str(tmp_path / 'manifest.json')]
    )
    try:
        wait_until(lambda: ('POST', ROOT) in cluster.requests and cluster.requests[-1][0] == 'GET')
        (pods,) = cluster.pods.values()
        step.send_signal(signal.SIGTERM)
        assert step.wait(60) == -signal.SIGTERM
    finally:
        step.kill()
        step.wait()
    assert not cluster.known
    assert all(pod.process.poll() is not None for pod in pods)


def test_a_job_that_somebody_deletes_is_told(cluster, wanted, manifest, monkeypatch):
    monkeypatch.setattr(job, 'logger', Deleting(cluster))
    monkeypatch.setattr(job, 'progress', Deleting(cluster))
    with pytest.raises(StepError, match='was deleted: run again'):
        job.train(wanted, manifest(WAITS))


class Deleting:
    """Deletes the job as soon as it is told to run."""

    def __init__(self, cluster: Cluster):
        self.cluster = cluster

    def info(self, text: str, *values: Any) -> None:
        if values[-1] == 'Running':
            with self.cluster.lock:
                self.cluster.delete(NAME)


@pytest.mark.parametrize(
    ('status', 'message'),
    [
        (403, f'may not create the training job in {NAMESPACE}.*kubeflow/manifests/training-job.yaml'),
        (401, 'may not create'),
        (500, 'The cluster refuses the training job train-keypoints-0123456789abcdef .HTTP 500.: tfjobs'),
    ],
)
def test_what_the_cluster_refuses_is_told_in_one_line(cluster, wanted, manifest, status, message):
    cluster.status = status
    with pytest.raises(StepError, match=message) as caught:
        job.train(wanted, manifest(WRITES))
    assert 'secret-token' not in str(caught.value)


def test_a_manifest_that_the_operator_does_not_take_is_told(cluster, wanted, manifest):
    broken = json.loads(manifest(WRITES))
    broken['spec']['runPolicy']['cleanPodPolicy'] = 'Sometimes'
    with pytest.raises(StepError, match="HTTP 422.*'Sometimes' is not one of"):
        job.train(wanted, json.dumps(broken))


def test_a_cluster_without_the_operator_is_told(cluster, wanted, manifest, monkeypatch):
    monkeypatch.setattr(job, 'PLURAL', 'jobs')
    with pytest.raises(StepError, match='The cluster knows no TFJob: install'):
        job.train(wanted, manifest(WRITES))


def test_no_cluster_at_all_is_told(wanted, manifest, monkeypatch, tmp_path):
    monkeypatch.setenv('KUBECONFIG', str(tmp_path / 'missing'))
    monkeypatch.delenv('KUBERNETES_SERVICE_HOST', raising=False)
    with pytest.raises(StepError, match='kubeflow.training is job, but this step finds no cluster'):
        job.train(wanted, manifest(WRITES))


def test_an_api_server_that_is_gone_is_told(wanted, manifest, monkeypatch, tmp_path):
    (tmp_path / 'cluster').mkdir()
    with serve(tmp_path / 'cluster') as (_, kubeconfig):
        pass
    monkeypatch.setenv('KUBECONFIG', str(kubeconfig))
    with pytest.raises(StepError, match="Kubernetes' API server gives no answer"):
        job.train(wanted, manifest(WRITES))


def test_the_condition_that_holds_is_the_last_true_one():
    conditions = [
        {'type': 'Created', 'status': 'True'},
        {'type': 'Failed', 'status': 'True', 'message': 'why'},
        {'type': 'Running', 'status': 'False'},
    ]
    assert state({'status': {'conditions': conditions}}) == State('Failed', 'why')
    assert state({'status': {'conditions': None}}) == state({}) == State('')


def wait_until(holds: Callable[[], bool], seconds: float = 120.0) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)
