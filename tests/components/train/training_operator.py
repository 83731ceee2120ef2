"""A server on loopback that answers as Kubernetes' API does for TFJobs, with an operator that really starts their pods.

A pod is a process: the manifest's command, arguments and environment, with TF_CONFIG as the Training Operator writes
it. Only the addresses differ: there is no DNS here that would know `<job>-worker-0.<namespace>.svc`. What exits with an
error is started again, each by itself, until `backoffLimit` is reached; volumes are the folders at their mount paths.
"""

import contextlib
import datetime
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import jsonschema
import referencing
from kubernetes_validate.utils import schema_contents

NAMESPACE = 'team'
ROOT = f'/apis/kubeflow.org/v1/namespaces/{NAMESPACE}/tfjobs'
SCHEMA = Path(__file__).with_name('tf_job.schema.json')
KUBERNETES = '1.34.0'
BACK_OFF = 3.0
"""Seconds by which a pod waits longer each time; a kubelet's are ten, and double."""

Json = dict[str, Any]


def check_schema(job: Json) -> None:
    """Raises jsonschema.ValidationError."""
    definitions = schema_contents('kubernetes-json-schema/v1.34.0-local-strict/_definitions.json', KUBERNETES)
    schema = json.loads(SCHEMA.read_text(encoding='utf-8'))
    jsonschema.Draft202012Validator.check_schema(schema)
    registry = referencing.Registry().with_resource(definitions['$id'], referencing.Resource.from_contents(definitions))
    jsonschema.Draft202012Validator(schema, registry=registry).validate(job)


@dataclass
class Pod:
    """A worker's process.

    Attributes:
        command, environment: of the manifest.
        process: the one that runs now, or ran last.
        restarts: how often it was started again.
        waits_until: when it is started again, on the monotonic clock; at once the first time, later the next ones.
    """

    command: list[str]
    environment: dict[str, str]
    process: subprocess.Popen
    restarts: int = 0
    waits_until: float | None = None


@dataclass
class Cluster:
    """What the server knows.

    Attributes:
        folder: working folder of the pods, and where their logs go.
        secrets: values by `<secret>/<key>`.
        status: answered to every request in place of an answer; 0 for none.
        known: jobs by name, with their status.
        requests: method and path of each.
    """

    folder: Path
    secrets: dict[str, str] = field(default_factory=dict)
    status: int = 0
    known: dict[str, Json] = field(default_factory=dict)
    pods: dict[str, list[Pod]] = field(default_factory=dict)
    requests: list[tuple[str, str]] = field(default_factory=list)
    lock: threading.RLock = field(default_factory=threading.RLock)

    def create(self, job: Json) -> None:
        """Starts the pods of a job that is new."""
        name = job['metadata']['name']
        self.known[name] = {**job, 'status': {'conditions': []}}
        self._condition(name, 'Created', f'TFJob {name} is created.')
        self.pods[name] = [self._start(job, index, config) for index, config in enumerate(_tf_configs(job))]
        self._condition(name, 'Running', f'TFJob {NAMESPACE}/{name} is running.')

    def delete(self, name: str) -> None:
        del self.known[name]
        for pod in self.pods.pop(name, []):
            _end(pod.process)

    def reconcile(self) -> None:
        """What the operator and the kubelets do all the time."""
        for name, pods in list(self.pods.items()):
            if self._is_over(name):
                continue
            if pods[0].process.poll() == 0:
                # Worker 0 decides; cleanPodPolicy Running ends the others.
                self._condition(name, 'Succeeded', f'TFJob {NAMESPACE}/{name} successfully completed.')
                continue
            for pod in pods:
                if not pod.process.poll():
                    continue
                if pod.waits_until is None:
                    pod.waits_until = time.monotonic() + BACK_OFF * pod.restarts
                    self._condition(name, 'Restarting', f'TFJob {name} is restarting because a replica failed.')
                elif time.monotonic() >= pod.waits_until:
                    pod.restarts, pod.waits_until = pod.restarts + 1, None
                    pod.process = self._process(pod.command, pod.environment)
            if sum(pod.restarts for pod in pods) >= self.known[name]['spec']['runPolicy']['backoffLimit']:
                for pod in pods:
                    _end(pod.process)
                self._condition(
                    name, 'Failed', f'TFJob {name} has failed because it has reached the specified backoff limit'
                )

    def close(self) -> None:
        for pods in self.pods.values():
            for pod in pods:
                _end(pod.process)

    def _is_over(self, name: str) -> bool:
        return self.known[name]['status']['conditions'][-1]['type'] in ('Succeeded', 'Failed')

    def _condition(self, name: str, kind: str, message: str) -> None:
        """Appended as the operator does: what excludes the new one is False from now on, and none comes twice."""
        conditions = self.known[name]['status']['conditions']
        conditions[:] = [entry for entry in conditions if entry['type'] != kind]
        for entry in conditions:
            if entry['type'] in ('Running', 'Restarting'):
                entry['status'] = 'False'
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec='seconds')
        conditions.append(
            {'type': kind, 'status': 'True', 'message': message, 'lastTransitionTime': now, 'lastUpdateTime': now}
        )

    def _start(self, job: Json, index: int, config: str) -> Pod:
        (container,) = job['spec']['tfReplicaSpecs']['Worker']['template']['spec']['containers']
        assert container['command'][0] == 'python'
        environment = {
            'PATH': os.environ['PATH'],
            'PYTHONPATH': os.environ.get('PYTHONPATH', ''),
            'HOME': str(self.folder),
            'TF_CPP_MIN_LOG_LEVEL': '3',
            'TF_CONFIG': config,
            **{entry['name']: self._value(entry) for entry in container['env']},
        }
        command = [sys.executable, *container['command'][1:], *container['args']]
        return Pod(command, environment, self._process(command, environment))

    def _value(self, entry: Json) -> str:
        reference = entry['valueFrom']['secretKeyRef']
        return self.secrets[f'{reference["name"]}/{reference["key"]}']

    def _process(self, command: list[str], environment: dict[str, str]) -> subprocess.Popen:
        with (self.folder / 'pods.log').open('a') as log:
            return subprocess.Popen(
                command, cwd=self.folder, env=environment, stdout=log, stderr=log, start_new_session=True
            )


def _tf_configs(job: Json) -> list[str]:
    count = job['spec']['tfReplicaSpecs']['Worker']['replicas']
    with contextlib.ExitStack() as stack:
        listeners = [stack.enter_context(socket.socket()) for _ in range(count)]
        for listener in listeners:
            listener.bind(('127.0.0.1', 0))
        addresses = [f'127.0.0.1:{listener.getsockname()[1]}' for listener in listeners]
    return [
        json.dumps(
            {'cluster': {'worker': addresses}, 'task': {'type': 'worker', 'index': index}, 'environment': 'cloud'}
        )
        if count > 1
        else ''
        for index in range(count)
    ]


def _end(process: subprocess.Popen) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@contextlib.contextmanager
def serve(folder: Path) -> Iterator[tuple[Cluster, Path]]:
    """The cluster, and the kubeconfig that leads to it; the pods are gone afterwards."""
    cluster = Cluster(folder)
    server = ThreadingHTTPServer(('127.0.0.1', 0), _handler(cluster))
    over = threading.Event()
    threads = [
        threading.Thread(target=server.serve_forever, daemon=True),
        threading.Thread(target=_operate, args=(cluster, over), daemon=True),
    ]
    kubeconfig = folder / 'kubeconfig'
    kubeconfig.write_text(
        json.dumps(
            {
                'apiVersion': 'v1',
                'kind': 'Config',
                'current-context': 'test',
                'contexts': [{'name': 'test', 'context': {'cluster': 'c', 'user': 'u', 'namespace': NAMESPACE}}],
                'clusters': [{'name': 'c', 'cluster': {'server': f'http://127.0.0.1:{server.server_address[1]}'}}],
                'users': [{'name': 'u', 'user': {'token': 'secret-token'}}],
            }
        )
    )
    for thread in threads:
        thread.start()
    try:
        yield cluster, kubeconfig
    finally:
        over.set()
        threads[1].join()
        server.shutdown()
        server.server_close()
        cluster.close()


def _operate(cluster: Cluster, over: threading.Event) -> None:
    while not over.is_set():
        with cluster.lock:
            cluster.reconcile()
        time.sleep(0.1)


def _handler(cluster: Cluster) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = 'HTTP/1.1'

        def do_POST(self) -> None:  # noqa: N802
            job = json.loads(self.rfile.read(int(self.headers['Content-Length'])))
            self._answer(lambda: _create(cluster, self.path, job))

        def do_GET(self) -> None:  # noqa: N802
            self._answer(lambda: _get(cluster, self.path))

        def do_DELETE(self) -> None:  # noqa: N802
            self._answer(lambda: _delete(cluster, self.path))

        def _answer(self, act: Callable[[], tuple[int, Json]]) -> None:
            with cluster.lock:
                cluster.requests.append((self.command, self.path))
                if self.headers.get('Authorization') != 'Bearer secret-token':
                    status, body = 401, _status('Unauthorized')
                elif cluster.status:
                    status, body = cluster.status, _status('tfjobs.kubeflow.org is forbidden')
                else:
                    status, body = act()
            content = json.dumps(body).encode()
            self.send_response(status)
            self.send_header('Content-Type', 'application/json')
            self.send_header('Content-Length', str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *arguments: Any) -> None:
            pass

    return Handler


def _create(cluster: Cluster, path: str, job: Json) -> tuple[int, Json]:
    name = job['metadata']['name']
    if path != ROOT:
        return 404, _status('the server could not find the requested resource')
    if name in cluster.known:
        return 409, _status(f'tfjobs.kubeflow.org "{name}" already exists')
    try:
        check_schema(job)
    except jsonschema.ValidationError as error:
        return 422, _status(f'TFJob.kubeflow.org "{name}" is invalid: {error.json_path}: {error.message}')
    cluster.create(job)
    return 201, cluster.known[name]


def _get(cluster: Cluster, path: str) -> tuple[int, Json]:
    name = path.removeprefix(f'{ROOT}/')
    if name not in cluster.known:
        return 404, _status(f'tfjobs.kubeflow.org "{name}" not found')
    return 200, cluster.known[name]


def _delete(cluster: Cluster, path: str) -> tuple[int, Json]:
    name = path.removeprefix(f'{ROOT}/')
    if name not in cluster.known:
        return 404, _status(f'tfjobs.kubeflow.org "{name}" not found')
    cluster.delete(name)
    return 200, {'kind': 'Status', 'status': 'Success'}


def _status(message: str) -> Json:
    return {'kind': 'Status', 'apiVersion': 'v1', 'status': 'Failure', 'message': message}
