"""A training as a job on a cluster: the Trainer's step hands it to Kubeflow's Training Operator, waits, and fetches it.

What the job's pods read and write lies in the training's own folder, on a volume that they share with the step:

    arguments.json        what is asked of them
    inputs/               Transform's output and the Examples, which are copies of the step's own pod elsewhere
    checkpoints/          from which a training goes on
    outputs/              the model and what is told of it; the step takes them from here
"""

import contextlib
import dataclasses
import json
import logging
import os
import shutil
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from components.errors import StepError
from components.train import arguments
from components.train.arguments import Arguments
from components.train.batches import split_files
from components.train.worker import failures

if TYPE_CHECKING:
    from kubernetes import client

MANIFEST: Final = 'EMOTION_PIPELINE_TRAINING_JOB'
"""The environment variable that holds the job's manifest, from `pipeline.kubeflow.training_job`."""

GROUP, VERSION, PLURAL = 'kubeflow.org', 'v1', 'tfjobs'
REPLICAS: Final = 'Worker'

NAMESPACE_FILE: Final = Path('/var/run/secrets/kubernetes.io/serviceaccount/namespace')

_POLL_SECONDS, _ANSWER_SECONDS = 2.0, 30
_SILENCE_SECONDS: Final = 300.0
"""How long the API server may give no answer before the step gives up; the job goes on meanwhile."""

_NOT_FOUND, _CONFLICT, _DENIED = 404, 409, (401, 403)

progress = logging.getLogger('emotion_pipeline.progress')
logger = logging.getLogger(__name__)


def train(wanted: Arguments, manifest: str) -> None:
    """Trains in a job.

    A job that an attempt of this step has left running is waited for, and not started twice.

    Args:
        wanted: the training.
        manifest: a TFJob without name, number of workers and arguments, as JSON.

    Raises:
        StepError: the cluster refuses the job, or the job fails or is deleted.
    """
    staged = stage(wanted)
    folder = Path(wanted.folder)
    jobs = Jobs.connect()
    name = f'train-{wanted.task}-{folder.name}'
    with _deleted_when_ended(jobs, name):
        _start(jobs, name, filled(json.loads(manifest), name, wanted, folder / arguments.FILE), staged)
        _wait(jobs, name, folder)
    for given, written in (
        (wanted.serving_model_dir, staged.serving_model_dir),
        (wanted.model_run_dir, staged.model_run_dir),
    ):
        shutil.copytree(written, given, dirs_exist_ok=True)
    shutil.rmtree(folder, ignore_errors=True)


def stage(wanted: Arguments) -> Arguments:
    """Puts what the pods need into the training's folder; returns, and leaves there, the arguments that name it."""
    folder = Path(wanted.folder)
    inputs, part = folder / 'inputs', folder / '.inputs'
    if not inputs.exists():
        shutil.rmtree(part, ignore_errors=True)
        shutil.copytree(wanted.transform_output, part / 'transform')
        for name, patterns in (('train', wanted.train_files), ('eval', wanted.eval_files)):
            (part / name).mkdir()
            for number, file in enumerate(split_files(patterns)):
                shutil.copyfile(file, part / name / f'{number:05d}-{Path(file).name}')
        part.rename(inputs)
    staged = dataclasses.replace(
        wanted,
        folder=str(folder / 'checkpoints'),
        train_files=[str(inputs / 'train' / '*')],
        eval_files=[str(inputs / 'eval' / '*')],
        transform_output=str(inputs / 'transform'),
        serving_model_dir=str(folder / 'outputs' / 'model'),
        model_run_dir=str(folder / 'outputs' / 'run'),
    )
    arguments.write(staged, folder / arguments.FILE)
    return staged


def filled(manifest: dict[str, Any], name: str, wanted: Arguments, file: Path) -> dict[str, Any]:
    """The manifest of one training's job.

    Args:
        manifest: see `train`; it is changed.
        name: of the job.
        wanted: says how many workers there are and how often they may be started again.
        file: of the arguments, where the pods see it.
    """
    workers = wanted.workers
    manifest['metadata']['name'] = name
    replicas = manifest['spec']['tfReplicaSpecs'][REPLICAS]
    replicas['replicas'] = workers.count
    replicas['template']['spec']['containers'][0]['args'] = ['--arguments', str(file)]
    # The operator adds up the restarts of all pods, and all of them restart when one has failed.
    manifest['spec']['runPolicy']['backoffLimit'] = workers.restarts * workers.count + 1
    return manifest


@dataclass(frozen=True)
class Jobs:
    """The TFJobs of one namespace.

    Attributes:
        api: of Kubernetes.
        namespace: of this step.
    """

    api: 'client.CustomObjectsApi'
    namespace: str

    @staticmethod
    def connect() -> 'Jobs':
        """The cluster in which this process runs, or that of `KUBECONFIG`.

        Raises:
            StepError: there is neither.
        """
        from kubernetes import client, config

        configuration = client.Configuration()
        try:
            if 'KUBERNETES_SERVICE_HOST' in os.environ:
                config.load_incluster_config(client_configuration=configuration)
                namespace = NAMESPACE_FILE.read_text(encoding='utf-8').strip()
            else:
                # The package itself looks at the environment once, when it is imported.
                file = os.environ.get('KUBECONFIG')
                config.load_kube_config(file, client_configuration=configuration)
                namespace = config.list_kube_config_contexts(file)[1]['context'].get('namespace', 'default')
        except (config.ConfigException, OSError) as error:
            raise StepError(
                f'kubeflow.training is job, but this step finds no cluster ({error}): let its service account mount a '
                'token, or set kubeflow.training to pod.'
            ) from error
        return Jobs(client.CustomObjectsApi(client.ApiClient(configuration)), namespace)

    def create(self, manifest: dict[str, Any]) -> None:
        self.api.create_namespaced_custom_object(
            GROUP, VERSION, self.namespace, PLURAL, manifest, _request_timeout=_ANSWER_SECONDS
        )

    def find(self, name: str) -> dict[str, Any] | None:
        """The job, or None where there is none."""
        from kubernetes.client import ApiException

        try:
            return self.api.get_namespaced_custom_object(
                GROUP, VERSION, self.namespace, PLURAL, name, _request_timeout=_ANSWER_SECONDS
            )
        except ApiException as error:
            if error.status == _NOT_FOUND:
                return None
            raise

    def delete(self, name: str) -> None:
        """Deletes the job and its pods, and waits until it is gone."""
        from kubernetes.client import ApiException

        try:
            self.api.delete_namespaced_custom_object(
                GROUP, VERSION, self.namespace, PLURAL, name, _request_timeout=_ANSWER_SECONDS
            )
        except ApiException as error:
            if error.status != _NOT_FOUND:
                raise
        deadline = time.monotonic() + _SILENCE_SECONDS
        while self.find(name) is not None and time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS)


@dataclass(frozen=True)
class State:
    """What the operator says of a job.

    Attributes:
        condition: `Created`, `Running`, `Restarting`, `Suspended`, `Succeeded` or `Failed`; empty before the first.
        message: of the operator.
    """

    condition: str
    message: str = ''


def state(job: dict[str, Any]) -> State:
    """The condition that holds now: the operator appends them, and sets to False what holds no longer."""
    conditions = job.get('status', {}).get('conditions') or []
    holding = [entry for entry in conditions if entry.get('status') == 'True']
    return State(holding[-1]['type'], holding[-1].get('message', '')) if holding else State('')


def _start(jobs: Jobs, name: str, manifest: dict[str, Any], staged: Arguments) -> None:
    """Creates the job unless one is there that can still be of use."""
    from kubernetes.client import ApiException
    from urllib3.exceptions import HTTPError

    outputs = Path(staged.serving_model_dir).parent
    try:
        known = jobs.find(name)
        if known is not None:
            condition = state(known).condition
            if condition not in ('Failed', 'Succeeded') or (condition == 'Succeeded' and outputs.exists()):
                progress.info('%s: finds the training job %s', staged.task, name)
                return
            jobs.delete(name)
        shutil.rmtree(outputs, ignore_errors=True)
        jobs.create(manifest)
    except ApiException as error:
        raise StepError(_refusal(error, name, jobs.namespace)) from error
    except HTTPError as error:
        raise StepError(f"Kubernetes' API server gives no answer ({type(error).__name__}): run again.") from error
    progress.info('%s: created the training job %s of %d workers', staged.task, name, staged.workers.count)


def _wait(jobs: Jobs, name: str, folder: Path) -> None:
    """Returns when the job has succeeded.

    Raises:
        StepError: it failed, was deleted, or nothing has been heard of it for long.
    """
    from kubernetes.client import ApiException
    from urllib3.exceptions import HTTPError

    told, heard = '', time.monotonic()
    while True:
        try:
            job = jobs.find(name)
        except (ApiException, HTTPError) as error:
            status = getattr(error, 'status', None)
            if status in _DENIED or time.monotonic() - heard > _SILENCE_SECONDS:
                raise StepError(
                    f'The training job {name} cannot be watched ({status or type(error).__name__}): it goes on; run '
                    'this step again to wait for it.'
                ) from error
            logger.warning('No answer about the training job: %s', error)
            time.sleep(_POLL_SECONDS)
            continue
        heard = time.monotonic()
        if job is None:
            raise StepError(f'The training job {name} was deleted: run again to go on after its last epoch.')
        found = state(job)
        if found.condition != told:
            told = found.condition
            progress.info('The training job %s: %s', name, told)
        if told == 'Succeeded':
            return
        if told == 'Failed':
            said = '; '.join(failures(folder))
            raise StepError(
                f'The training job {name} failed ({found.message}){f"; {said}" if said else ""}: kubectl --namespace '
                f'{jobs.namespace} logs {name}-worker-0 has the rest; run again to go on after its last epoch.'
            )
        time.sleep(_POLL_SECONDS)


def _refusal(error: Any, name: str, namespace: str) -> str:
    """Why the cluster does not take the job, in one line."""
    if error.status in _DENIED:
        return (
            f"This step's service account may not create the training job in {namespace} (HTTP {error.status}): apply "
            'kubeflow/manifests/training-job.yaml, or set kubeflow.training to pod.'
        )
    if error.status == _NOT_FOUND:
        return "The cluster knows no TFJob: install Kubeflow's Training Operator (v1), or set kubeflow.training to pod."
    try:
        said = json.loads(error.body).get('message', '')
    except (TypeError, ValueError, AttributeError):
        said = str(error.reason)
    return f'The cluster refuses the training job {name} (HTTP {error.status}): {said}'


@contextlib.contextmanager
def _deleted_when_ended(jobs: Jobs, name: str) -> Iterator[None]:
    """A step that a person ends ends its job too; nobody would wait for it."""

    def end(number: int, frame: Any) -> None:
        with contextlib.suppress(Exception):
            jobs.delete(name)
        signal.signal(number, before)
        os.kill(os.getpid(), number)

    try:
        before = signal.signal(signal.SIGTERM, end)
    except ValueError:  # not the main thread, to which signals go
        yield
        return
    try:
        yield
    except KeyboardInterrupt:
        with contextlib.suppress(Exception):
            jobs.delete(name)
        raise
    finally:
        signal.signal(signal.SIGTERM, before)
