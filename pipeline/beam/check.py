"""The check before a run: what the configured engine lacks is said in one line, and not an hour later.

What can be judged from here is looked at first; then a job of seconds goes the whole way, and tells what the workers
run with.
"""

import importlib.util
import json
import re
import shutil
import socket
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import httpx

from components.errors import StepError
from components.storage.uris import is_stored
from pipeline.beam import probe
from pipeline.beam.settings import BeamSettings, BeamWorkerSettings, endpoint, job_server_jar, needs_java, to_flags
from pipeline.config import TASKS, Config, of

OLDEST_JAVA: Final = 8
SECONDS: Final = 180
DATAFLOW_SECONDS: Final = 900
"""How long the job may take; Dataflow starts machines for it."""

_ARTIFACTS: Final = {'flink': 'beam-runners-flink-{version}-job-server', 'spark': 'beam-runners-spark-3-job-server'}
_LOCAL: Final = ('localhost', '127.0.0.1', '::1', '[::1]')
_GOOGLE: Final = ('apitools', 'google.auth', 'google.cloud.storage')


def check(config: Config) -> None:
    """Tries the engine of the configuration; the default one needs nothing.

    Raises:
        StepError: something is missing, as its message says.
    """
    settings = config.beam
    if settings.runner == 'direct':
        return
    for problem in missing_here(settings):
        raise StepError(f'Beam on {settings.runner}: {problem}')
    if settings.runner == 'dataflow' and '://' not in _root(config):
        raise StepError(
            f'Beam on dataflow: its workers do not see {_root(config)}: runs and data have to lie in a bucket (gs://…).'
        )
    for problem in _missing_there(config):
        raise StepError(f'Beam on {settings.runner}: {problem}')


def refuse_on_kubeflow(settings: BeamSettings) -> None:
    """Raises StepError for an engine that a task of Kubeflow Pipelines could not use."""
    if settings.runner != 'direct':
        raise StepError(
            f'beam.runner is {settings.runner}: on Kubeflow the launcher copies artifacts into the pod of each task, '
            "where an engine's workers do not see them. Set beam.runner to direct, and give the pods what they need "
            '(kubeflow.resources).'
        )


def missing_here(settings: BeamSettings) -> Iterator[str]:
    """What can be seen from this machine to be missing, a sentence each."""
    if settings.runner == 'dataflow':
        yield from _google()
        return
    if needs_java(settings):
        yield from _java()
    yield from _jar(settings)
    if settings.runner == 'flink' and not settings.job_endpoint:
        yield from _flink(settings.flink.master)
    if settings.runner == 'spark' and not settings.job_endpoint:
        yield from _spark(settings.spark.master)
    if endpoint(settings):
        yield from _job_service(endpoint(settings))
    if _is_local(settings):
        yield from _workers(settings.workers)


def _java() -> Iterator[str]:
    if shutil.which('java') is None:
        yield 'no Java is installed here, which its job server runs on (Debian: apt install default-jre-headless).'
        return
    told = subprocess.run(['java', '-version'], capture_output=True, text=True, check=False).stderr  # noqa: S607
    found = re.search(r'version "(?:1\.)?(\d+)', told)
    if found is None or int(found.group(1)) < OLDEST_JAVA:
        yield f'its job server needs Java {OLDEST_JAVA} or newer; here is {next(iter(told.splitlines()), "none")}.'


def _jar(settings: BeamSettings) -> Iterator[str]:
    jar = job_server_jar(settings)
    if jar is None or '://' in jar:
        return
    if jar and not Path(jar).is_file():
        yield f'there is no job server at {jar} (beam.{settings.runner}.job_server_jar).'
    elif not jar and not _cached(settings).is_file():
        name = _artifact(settings)
        yield (
            f'no job server is here: fetch org.apache.beam:{name}:{_beam_version()} from Maven Central and name it in '
            f'beam.{settings.runner}.job_server_jar.'
        )


def _cached(settings: BeamSettings) -> Path:
    """Where Beam keeps the jars that it has fetched."""
    return Path.home() / '.apache_beam' / 'cache' / 'jars' / f'{_artifact(settings)}-{_beam_version()}.jar'


def _artifact(settings: BeamSettings) -> str:
    return _ARTIFACTS[settings.runner].format(version=settings.flink.version)


def _beam_version() -> str:
    return probe.versions()['apache-beam']


def _flink(master: str) -> Iterator[str]:
    if master.startswith('['):  # [local], a cluster inside the job server
        return
    address = master if '://' in master else f'http://{master}'
    try:
        overview = httpx.get(f'{address}/overview', timeout=10).raise_for_status().json()
        slots = overview['slots-total']
    except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
        yield f'no Flink answers at {address} (beam.flink.master): {error}.'
    except (ValueError, KeyError, TypeError):
        yield f'what answers at {address} (beam.flink.master) is not the REST service of a Flink cluster.'
    else:
        if not slots:
            yield f'the Flink cluster at {address} has no task slot: start a TaskManager.'


def _spark(master: str) -> Iterator[str]:
    address = master.removeprefix('spark://')
    if not master.startswith('local') and not _answers(address):
        yield f'nothing answers at {address} (beam.spark.master).'


def _job_service(address: str) -> Iterator[str]:
    if not _answers(address):
        yield f'nothing answers at {address} (beam.job_endpoint): start the job service, or name where it runs.'
        return
    import grpc
    from apache_beam.portability.api import beam_job_api_pb2, beam_job_api_pb2_grpc

    with grpc.insecure_channel(address) as channel:
        try:
            beam_job_api_pb2_grpc.JobServiceStub(channel).DescribePipelineOptions(
                beam_job_api_pb2.DescribePipelineOptionsRequest(), timeout=10
            )
        except grpc.RpcError as error:
            code = error.code().name if isinstance(error, grpc.Call) else str(error)
            yield f"what answers at {address} (beam.job_endpoint) is no job service of Beam's ({code})."


def _workers(workers: BeamWorkerSettings) -> Iterator[str]:
    """Of an engine on this machine: what its nodes see is what is seen from here."""
    if workers.environment == 'external' and not _answers(workers.address):
        yield f'no worker pool answers at {workers.address} (beam.workers.address): start it, or name where it runs.'
    elif workers.environment == 'process' and shutil.which(workers.command) is None:
        yield f'there is no executable {workers.command} (beam.workers.command).'
    elif workers.environment == 'docker':
        docker = shutil.which('docker')
        asked = docker and subprocess.run(  # noqa: S603
            [docker, 'version', '--format', '{{.Server.Version}}'], capture_output=True, check=False
        )
        if not asked or asked.returncode:
            yield 'no Docker answers here, and beam.workers.environment is docker: start it, or choose external.'


def _google() -> Iterator[str]:
    lacking = [name for name in _GOOGLE if not _is_installed(name)]
    if lacking:
        yield f'the packages {", ".join(lacking)} are missing: install apache-beam[gcp].'
        return
    import google.auth
    from google.auth import exceptions

    try:
        google.auth.default()
    except exceptions.DefaultCredentialsError:
        yield 'no credentials are found: gcloud auth application-default login, or GOOGLE_APPLICATION_CREDENTIALS.'


def _is_installed(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:  # of a package that the name lies in
        return False


def _is_local(settings: BeamSettings) -> bool:
    master = settings.flink.master if settings.runner == 'flink' else settings.spark.master
    address = endpoint(settings) or re.sub(r'^\w+://', '', master)
    return address.startswith(('[local', '[auto', 'local')) or address.rpartition(':')[0] in _LOCAL


def _answers(address: str) -> bool:
    host, _, port = address.rpartition(':')
    if not host or not port.isdigit():
        return False
    try:
        with socket.create_connection((host.strip('[]'), int(port)), timeout=10):
            return True
    except OSError:
        return False


def _missing_there(config: Config) -> Iterator[str]:
    """What the job finds: the engine's own faults first, then what the workers see and run with."""
    from apache_beam.io.filesystems import FileSystems

    from pipeline.beam.execute import last_line

    file = f'{_root(config)}/.beam-{uuid.uuid4().hex}'
    seconds = DATAFLOW_SECONDS if config.beam.runner == 'dataflow' else SECONDS
    try:
        answer = probe.run_probe(to_flags(config.beam), file, _inputs(config), seconds)
        if not answer.ended:
            yield _of_error(answer.error, last_line(answer.error), config.beam)
        elif not FileSystems.exists(file):
            yield (
                f'its workers do not see {_root(config)}, where runs are kept: mount the same storage at the same '
                'path on this machine and on the workers.'
            )
        else:
            with FileSystems.open(file) as stream:
                yield from _differences(json.loads(stream.read()), _where(config.beam))
    finally:
        if FileSystems.exists(file):
            FileSystems.delete([file])


def _of_error(text: str, reason: str, settings: BeamSettings) -> str:
    absent = re.search(r"No module named '?(pipeline|components|apache_beam)\b", text)
    if absent:
        return f'{_where(settings)} lack this package ({absent.group(0)}): run them from its image or its environment.'
    if settings.workers.environment == 'external' and re.search(r'UNAVAILABLE|failed to connect|no answer', text):
        return (
            f'a job of a second failed ({reason}): look whether a worker pool answers at {settings.workers.address} '
            "(beam.workers.address), as the engine's nodes see it."
        )
    return f'a job of a second failed: {reason}'


def _differences(seen: dict[str, Any], where: str) -> Iterator[str]:
    own = probe.versions()
    there = seen['versions']
    others = [
        f'{name} {there.get(name)} (here {own[name]})'
        for name in own
        if name != 'code' and there.get(name) != own[name]
    ]
    if others:
        yield f'{where} run with {", ".join(others)}: give both the same environment.'
    elif there['code'] != own['code']:
        yield (
            f'{where} run another revision of this package: build their image, or start their pool, from the code '
            'that is run here.'
        )
    if seen['missing']:
        yield f'{where} do not see {seen["missing"][0]}: mount the data at the same path there.'


def _where(settings: BeamSettings) -> str:
    workers = settings.workers
    named = {'external': workers.address, 'docker': workers.image, 'process': workers.command, 'loopback': ''}
    place = settings.dataflow.image if settings.runner == 'dataflow' else named[workers.environment]
    return f'the workers ({place})' if place else 'the workers'


def _root(config: Config) -> str:
    """The folder or `s3://` URI that holds the artifacts."""
    if is_stored(config.artifacts):
        return config.artifacts.rstrip('/')
    return str(Path(config.artifacts or config.store / 'artifacts').absolute())


def _inputs(config: Config) -> list[str]:
    """One file of each dataset that is there already, in the form in which the workers get it."""
    found = []
    for task in TASKS:
        present = (Path(pattern).absolute() for pattern in of(config.ingest, task).files if Path(pattern).exists())
        found += [str(path) for path in present][:1]
    return found
