"""Beam's own job service and its worker pool, each in a process of its own, and a worker of it that is killed."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.e2e.conftest import Workplace

PATIENCE = 120
"""Seconds in which something that is on its way must have come."""


@dataclass(frozen=True)
class Service:
    """A job service and a worker pool that are running.

    Attributes:
        endpoint, workers: `host:port` of the two.
        process: of the job service.
        pool: the pool's process, whose children are the workers.
    """

    endpoint: str
    workers: str
    process: subprocess.Popen
    pool: psutil.Process

    @property
    def settings(self) -> tuple[str, ...]:
        """Where they are; the wait for a lost worker is bounded."""
        return f'beam.job_endpoint={self.endpoint}', f'beam.workers.address={self.workers}', 'beam.timeout=600'

    @property
    def options(self) -> tuple[str, ...]:
        """Of `emotion-pipeline run`."""
        return ('--beam', 'portable', *(word for setting in self.settings for word in ('--set', setting)))


@contextlib.contextmanager
def job_service(folder: Path, **environment: str) -> Iterator[Service]:
    """Starts both in a folder of their own, so that no relative path leads anywhere.

    Args:
        folder: for the logs.
        environment: of the workers, beside this process's.
    """
    port = free_port()
    module = 'apache_beam.runners.portability.local_job_service_main'
    with (
        running(folder, module, f'--port={port}', {}) as process,
        worker_pool(folder, **environment) as (workers, pool),
    ):
        until(lambda: answers(port), process)
        yield Service(f'127.0.0.1:{port}', workers, process, pool)


@contextlib.contextmanager
def worker_pool(folder: Path, **environment: str) -> Iterator[tuple[str, psutil.Process]]:
    """Starts a worker pool alone; gives its address and its process."""
    port = free_port()
    module = 'apache_beam.runners.worker.worker_pool_main'
    with running(folder, module, f'--service_port={port}', environment) as process:
        until(lambda: answers(port), process)
        yield f'127.0.0.1:{port}', psutil.Process(process.pid)


@contextlib.contextmanager
def running(folder: Path, module: str, option: str, environment: dict[str, str]) -> Iterator[subprocess.Popen]:
    """A module of Python in a process group of its own, which is ended with it."""
    folder.mkdir(parents=True, exist_ok=True)
    # The pool starts `python`: it has to be this environment's.
    path = f'{Path(sys.executable).parent}{os.pathsep}{os.environ["PATH"]}'
    command = [sys.executable, '-W', 'ignore', '-m', module, option]
    with started(folder, module.rpartition('.')[2], command, PATH=path, **environment) as process:
        yield process


@contextlib.contextmanager
def started(folder: Path, name: str, command: list[str], **environment: str) -> Iterator[subprocess.Popen]:
    """A program in a process group of its own, which is ended with it; its log is `<name>.log` in the folder."""
    with (folder / f'{name}.log').open('wb') as log:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env={**os.environ, **environment},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        end(process)


def end(process: subprocess.Popen) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def run_and_kill_a_worker(place: Workplace, service: Service, node: str, at_work: str) -> tuple[int, str]:
    """A run whose worker is killed while it works for the step after a node.

    Args:
        place: of the run.
        service: whose worker is killed.
        node: as it is printed when it has ended.
        at_work: pattern, below the store, of a file that the worker writes in a stage which hands something on. Of one
            that dies in another stage the job service hears nothing, and the run would wait for its timeout.

    Returns:
        The run's exit status, and what it printed.
    """
    command = [str(Path(sys.executable).with_name('emotion-pipeline')), 'run', '--config', str(place.config)]
    process = subprocess.Popen(
        [*command, *service.options],
        cwd=place.folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        printed = ''
        while node not in printed:
            line = process.stdout.readline()
            assert line, printed
            printed += line
        # The workers of the jobs before have ended, or are about to.
        before = {worker.pid for worker in service.pool.children()}
        until(lambda: any(place.store.glob(at_work)), process)
        for worker in service.pool.children():
            if worker.pid not in before:
                worker.kill()
        rest, _ = process.communicate(timeout=300)
        return process.returncode, printed + rest
    finally:
        end(process)


def busy(pool: psutil.Process) -> list[psutil.Process]:
    """Workers that have begun with data: they hold more connections than the one that gives them orders."""
    found = []
    for worker in pool.children():
        with contextlib.suppress(psutil.Error):
            established = [link for link in worker.net_connections() if link.status == psutil.CONN_ESTABLISHED]
            if len(established) > 2:
                found.append(worker)
    return found


def until(holds, process: subprocess.Popen) -> None:
    """Waits for something that the process brings about."""
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert process.poll() is None, f'{process.args} ended with status {process.returncode}'
        assert time.monotonic() < deadline, f'{process.args}: waited {PATIENCE} s'
        time.sleep(0.02)


def answers(port: int) -> bool:
    try:
        with socket.create_connection(('127.0.0.1', port), timeout=1):
            return True
    except OSError:
        return False


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return probe.getsockname()[1]
