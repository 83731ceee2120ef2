"""Runs a compiled pipeline as Kubeflow's driver and launcher do, each task in a process of its own.

What they do was seen in their own code and in genuine runs: `tests/pipeline/kubeflow/captures` holds some of what they
wrote. Everything comes from the YAML: the order of the tasks, their parameters, images' commands, retries, caching and
volumes. Artifacts go through an S3-compatible store; a task sees nothing of another one but what the store brings it.
"""

import contextlib
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

import yaml
from google.protobuf import json_format, struct_pb2
from kfp.pipeline_spec import pipeline_spec_pb2

SESSION = json.dumps({'Provider': 's3', 'Params': {'endpoint': '127.0.0.1', 'secretName': 'mlpipeline-minio-artifact'}})
SUCCEEDED, CACHED, FAILED, SKIPPED = 'SUCCEEDED', 'CACHED', 'FAILED', 'SKIPPED'

Json = dict[str, Any]


@dataclass(frozen=True)
class Task:
    """What became of one task.

    Attributes:
        state: one of the four above; a task is skipped when one that it depends on has failed.
        artifacts: by output, as the driver hands them to consumers.
        parameters: by output.
        log: what the process wrote.
        attempts: how often it was started.
    """

    state: str
    artifacts: dict[str, Json] = field(default_factory=dict)
    parameters: dict[str, Any] = field(default_factory=dict)
    log: str = ''
    attempts: int = 0


@dataclass
class Backend:
    """One cluster with its store, its cache and its volumes.

    Attributes:
        store: a boto3 client of the object store.
        bucket: whose objects appear under `/s3/<bucket>`.
        volumes: a folder for each claim.
        watch: is called with each task's process and attempt.
    """

    store: Any
    bucket: str
    volumes: Path
    watch: Callable[[str, int, subprocess.Popen], None] = lambda task, attempt, process: None
    cache: dict[str, Task] = field(default_factory=dict)
    ids: int = 0

    def run(self, text: str, arguments: Mapping[str, Any] | None = None) -> dict[str, Task]:
        """The tasks of one run, in the order in which they ended."""
        spec, platform = yaml.safe_load_all(text)
        json_format.ParseDict(spec, pipeline_spec_pb2.PipelineSpec())
        pods = platform['platforms']['kubernetes']['deploymentSpec']['executors']
        given = _arguments(spec, arguments or {})
        root = f'{spec["pipelineInfo"]["name"]}/{uuid.uuid4()}'
        inner = spec['components'].get('tfx-dag', spec['root'])
        done: dict[str, Task] = {}
        self._run_tasks(spec, pods, inner['dag']['tasks'], given, root, done)
        if inner is not spec['root']:
            # The exit handler runs whatever has become of the others.
            assert set(spec['root']['dag']['tasks']['tfx-dag']['inputs']['parameters']) == set(given)
            failed = any(task.state == FAILED for task in done.values())
            status = {'error': {}, 'pipelineTaskName': 'tfx-dag', 'state': 'FAILED' if failed else 'COMPLETE'}
            last = {name: entry for name, entry in spec['root']['dag']['tasks'].items() if name != 'tfx-dag'}
            self._run_tasks(spec, pods, last, {'final_status': json.dumps(status)}, root, done)
        return done

    def _run_tasks(self, spec: Json, pods: Json, tasks: Json, given: Json, root: str, done: dict[str, Task]) -> None:
        for name in _order(tasks):
            entry = tasks[name]
            waits_for = [done[other] for other in entry.get('dependentTasks', []) if other in done]
            if any(task.state in (FAILED, SKIPPED) for task in waits_for):
                done[name] = Task(SKIPPED)
                continue
            component = spec['components'][entry['componentRef']['name']]
            executor = spec['deploymentSpec']['executors'][component['executorLabel']]['container']
            inputs = self._inputs(entry, component, given, done)
            key = _cache_key(executor, inputs, component)
            if entry['cachingOptions']['enableCache'] and key in self.cache:
                known = self.cache[key]
                done[name] = Task(CACHED, known.artifacts, known.parameters)
                continue
            with self._mounted(pods.get(component['executorLabel'], {})):
                done[name] = self._execute(name, entry, component, executor, inputs, root)
            if done[name].state == SUCCEEDED:
                self.cache[key] = done[name]

    def clear(self) -> None:
        """Removes what the last task left of this bucket."""
        shutil.rmtree(self._local(''), ignore_errors=True)

    def _inputs(self, entry: Json, component: Json, given: Json, done: dict[str, Task]) -> Json:
        """The driver's part: what the task is given. The artifacts' types arrive empty."""
        inputs: Json = {}
        parameters = {}
        for key, source in entry.get('inputs', {}).get('parameters', {}).items():
            if 'runtimeValue' in source:
                parameters[key] = source['runtimeValue']['constant']
            elif 'taskFinalStatus' in source:
                parameters[key] = given['final_status']
            elif 'componentInputParameter' in source:
                parameters[key] = given[source['componentInputParameter']]
            else:
                producer = source['taskOutputParameter']
                parameters[key] = done[producer['producerTask']].parameters[producer['outputParameterKey']]
        for key, source in entry.get('inputs', {}).get('artifacts', {}).items():
            producer = source['taskOutputArtifact']
            artifact = done[producer['producerTask']].artifacts[producer['outputArtifactKey']]
            inputs.setdefault('artifacts', {})[key] = {'artifacts': [{**artifact, 'type': {'instanceSchema': ''}}]}
        assert set(parameters) == set(component.get('inputDefinitions', {}).get('parameters', {}))
        if parameters:
            inputs['parameterValues'] = parameters
        return inputs

    @contextlib.contextmanager
    def _mounted(self, pod: Json) -> Iterator[None]:
        """The claims that the pod names, at their paths, for as long as it runs."""
        paths = []
        for mount in pod.get('pvcMount', []):
            folder = self.volumes / mount['constant']
            folder.mkdir(parents=True, exist_ok=True)
            paths.append(Path(mount['mountPath']))
            paths[-1].parent.mkdir(parents=True, exist_ok=True)
            paths[-1].symlink_to(folder)
        try:
            yield
        finally:
            for path in paths:
                path.unlink()

    def _execute(self, name: str, entry: Json, component: Json, executor: Json, inputs: Json, root: str) -> Task:
        """The launcher's part, as often as the retry policy says."""
        place = f'{root}/{name}/{uuid.uuid4()}'
        retries = int(entry.get('retryPolicy', {}).get('maxRetryCount', 0))
        for attempt in range(retries + 1):
            outputs = self._outputs(component, place, attempt)
            executor_input = {'inputs': inputs, 'outputs': outputs}
            shutil.rmtree(self._local(''), ignore_errors=True)
            self._download(inputs)
            for output in outputs['artifacts'].values():
                self._local_path(output['artifacts'][0]['uri']).parent.mkdir(parents=True, exist_ok=True)
            arguments = [argument.replace('{{$}}', json.dumps(executor_input)) for argument in executor['args']]
            status, log = self._start(name, attempt, [*executor['command'], *arguments])
            if status == 0:
                # A task whose output the launcher cannot read has failed, whatever its exit status.
                try:
                    return self._publish(component, outputs, log, attempt + 1)
                except (ValueError, KeyError, json_format.ParseError) as error:
                    log += f'\nlauncher: {error!r}'
        return Task(FAILED, log=log, attempts=retries + 1)

    def _outputs(self, component: Json, place: str, attempt: int) -> Json:
        definitions = component.get('outputDefinitions', {})
        artifacts = {
            key: {
                'artifacts': [{'name': key, 'type': kind['artifactType'], 'uri': f's3://{self.bucket}/{place}/{key}'}]
            }
            for key, kind in definitions.get('artifacts', {}).items()
        }
        logs = f's3://{self.bucket}/{place}/executor-logs-{attempt}'
        artifacts['executor-logs'] = {
            'artifacts': [{'name': 'executor-logs', 'type': {'schemaTitle': 'system.Artifact'}, 'uri': logs}]
        }
        outputs: Json = {'artifacts': artifacts, 'outputFile': str(self._local(place) / 'output_metadata.json')}
        if definitions.get('parameters'):
            outputs['parameters'] = {
                key: {'outputFile': f'/tmp/kfp/outputs/{key}'} for key in definitions['parameters']
            }
        return outputs

    def _start(self, name: str, attempt: int, command: list[str]) -> tuple[int, str]:
        """The container's process: the image's Python, in an empty working folder."""
        assert command[0] == 'python'
        folder = self.volumes.parent / 'work'
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        environment = {
            'PATH': os.environ['PATH'],
            'HOME': str(folder),
            'TF_CPP_MIN_LOG_LEVEL': '3',
            **({'KFP_RETRY_INDEX': str(attempt)} if attempt else {}),
        }
        process = subprocess.Popen(
            [sys.executable, *command[1:]],
            cwd=folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.watch(name, attempt, process)
        log, _ = process.communicate(timeout=600)
        return process.returncode, log

    def _publish(self, component: Json, outputs: Json, log: str, attempts: int) -> Task:
        """Reads what the executor says, strictly, uploads what it left, and registers it."""
        path = Path(outputs['outputFile'])
        said = pipeline_spec_pb2.ExecutorOutput()
        if path.exists():
            json_format.Parse(path.read_text(), said)
        artifacts = {}
        for key, listed in outputs['artifacts'].items():
            artifact = dict(listed['artifacts'][0])
            if key == 'executor-logs':
                self.store.put_object(Bucket=self.bucket, Key=_key(artifact['uri']), Body=log.encode())
                continue
            metadata = struct_pb2.Struct()
            for entry in said.artifacts[key].artifacts if key in said.artifacts else ():
                metadata = entry.metadata
                artifact['uri'] = entry.uri or artifact['uri']
            self._upload(artifact['uri'])
            self.ids += 1
            artifacts[key] = {
                'name': str(self.ids),
                'uri': artifact['uri'],
                'metadata': {
                    **{name: _stored(value) for name, value in metadata.fields.items()},
                    'display_name': key,
                    'store_session_info': SESSION,
                },
            }
        parameters = {}
        for key, output in outputs.get('parameters', {}).items():
            if key in said.parameter_values:
                parameters[key] = json_format.MessageToDict(said.parameter_values[key])
            else:
                parameters[key] = Path(output['outputFile']).read_text()
        return Task(SUCCEEDED, artifacts, parameters, log, attempts)

    def _download(self, inputs: Json) -> None:
        for listed in inputs.get('artifacts', {}).values():
            for artifact in listed['artifacts']:
                prefix = _key(artifact['uri'])
                pages = self.store.get_paginator('list_objects_v2').paginate(Bucket=self.bucket, Prefix=prefix)
                for entry in (entry for page in pages for entry in page.get('Contents', [])):
                    if entry['Key'] == prefix or entry['Key'].startswith(f'{prefix}/'):
                        path = self._local(entry['Key'])
                        path.parent.mkdir(parents=True, exist_ok=True)
                        self.store.download_file(self.bucket, entry['Key'], str(path))

    def _upload(self, uri: str) -> None:
        """A file becomes one object, a folder one for each of its files; empty folders are lost."""
        path = self._local_path(uri)
        files = [path] if path.is_file() else [inner for inner in path.rglob('*') if inner.is_file()]
        for file in files:
            self.store.upload_file(str(file), self.bucket, str(file.relative_to(self._local(''))))

    def _local(self, key: str) -> Path:
        return Path('/s3', self.bucket, key)

    def _local_path(self, uri: str) -> Path:
        return self._local(_key(uri))


def _arguments(spec: Json, given: Mapping[str, Any]) -> Json:
    definitions = spec['root'].get('inputDefinitions', {}).get('parameters', {})
    assert set(given) <= set(definitions), set(given) - set(definitions)
    return {key: given.get(key, definition['defaultValue']) for key, definition in definitions.items()}


def _order(tasks: Json) -> list[str]:
    waits_for = {name: set(entry.get('dependentTasks', [])) & set(tasks) for name, entry in tasks.items()}
    return list(TopologicalSorter(waits_for).static_order())


def _cache_key(executor: Json, inputs: Json, component: Json) -> str:
    """What Kubeflow's cache goes by: not the resources, and of the inputs the artifacts' ids alone."""
    ids = {key: [entry['name'] for entry in listed['artifacts']] for key, listed in inputs.get('artifacts', {}).items()}
    parts = [
        executor['image'],
        executor['command'],
        executor['args'],
        inputs.get('parameterValues'),
        ids,
        component.get('outputDefinitions'),
    ]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _stored(value: struct_pb2.Value) -> Any:
    """A metadata value as its consumer gets it."""
    kind = value.WhichOneof('kind')
    if kind == 'null_value':
        raise ValueError('null in metadata')
    plain = json_format.MessageToDict(value)
    if kind == 'bool_value':
        return int(plain)
    return {'list': plain} if kind == 'list_value' else {'struct': plain} if kind == 'struct_value' else plain


def _key(uri: str) -> str:
    return uri.removeprefix('s3://').partition('/')[2]


def kill_soon(process: subprocess.Popen, state: Path) -> None:
    """Kills a process as a lost node does, without a word, when it has written a checkpoint of its first epoch."""
    while process.poll() is None and not list(state.rglob('epoch-00000')):
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
