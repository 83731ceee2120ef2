"""Worker processes on this machine: started, watched, started again, and ended whatever happens."""

import contextlib
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from components.errors import StepError
from components.train.arguments import Arguments
from components.train.replicas import TF_CONFIG
from components.train.worker import ATTENDED, REFUSED, failure

progress = logging.getLogger('emotion_pipeline.progress')
logger = logging.getLogger(__name__)

LOOPBACK: Final = '127.0.0.1'
_POLL_SECONDS, _GRACE_SECONDS = 0.2, 5.0


@dataclass(frozen=True)
class Ended:
    """A worker that has ended with an error.

    Attributes:
        worker: its index among those that were started here.
        status: its exit status; minus the number of the signal that ended it.
        line: what it said itself; empty where it could not.
    """

    worker: int
    status: int
    line: str

    def __str__(self) -> str:
        said = signal.Signals(-self.status).name if self.status < 0 else f'exit status {self.status}'
        return f'worker {self.worker}: {self.line or said}'


def supervise(arguments: Arguments, file: Path, environments: list[str] | None = None) -> None:
    """Trains in worker processes until all have ended well.

    When one fails all are started again, for all have to go back to the last epoch: left to themselves the others would
    find out after half a minute, and end too.

    Args:
        arguments: of the training.
        file: in which they are written.
        environments: TF_CONFIG of each process; as many as there are workers, on loopback, where it is left out.

    Raises:
        StepError: it failed more often than it may be started again, or a worker says that it would fail again.
    """
    restarts = arguments.workers.restarts
    for attempt in range(restarts + 1):
        ended = _run(file, environments or loopback(arguments.workers.count))
        if ended is None:
            return
        if ended.status == REFUSED:
            raise StepError(ended.line)
        logger.warning('%s; log in %s', ended, file.parent)
        if attempt < restarts:
            progress.info('%s: %s; all start again from the last epoch', arguments.task, ended)
    raise StepError(
        f'The {arguments.task} training failed {restarts + 1} times, at last with {ended} (log in {file.parent}): run '
        'again to go on after the last epoch, or raise workers.restarts.'
    )


def loopback(count: int) -> list[str]:
    """TF_CONFIG of each worker, on ports of this machine that are free now."""
    with contextlib.ExitStack() as stack:
        listeners = [stack.enter_context(socket.socket()) for _ in range(count)]
        for listener in listeners:
            listener.bind((LOOPBACK, 0))
        addresses = [f'{LOOPBACK}:{listener.getsockname()[1]}' for listener in listeners]
    return [
        json.dumps({'cluster': {'worker': addresses}, 'task': {'type': 'worker', 'index': index}})
        for index in range(count)
    ]


def _run(file: Path, environments: list[str]) -> Ended | None:
    """One attempt; the first worker that failed, if one did."""
    with contextlib.ExitStack() as stack:
        started = [stack.enter_context(_worker(file, index, config)) for index, config in enumerate(environments)]
        while True:
            statuses = [process.poll() for process in started]
            for index, status in enumerate(statuses):
                if status:
                    return Ended(index, status, failure(file.parent, index))
            if all(status == 0 for status in statuses):
                return None
            time.sleep(_POLL_SECONDS)


@contextlib.contextmanager
def _worker(file: Path, index: int, config: str) -> Iterator[subprocess.Popen]:
    """A worker in a process group of its own, which is gone in the end."""
    with (file.parent / f'worker-{index}.log').open('a', encoding='utf-8') as log:
        process = subprocess.Popen(  # noqa: S603 - our own module
            [sys.executable, '-m', 'components.train.worker', '--arguments', str(file), ATTENDED],
            # It ends when this end of the pipe is gone: whoever kills this process with SIGKILL ends the workers too.
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env={**os.environ, TF_CONFIG: config},
            start_new_session=True,
        )
    reader = threading.Thread(target=_pass_on, args=(process.stdout,), daemon=True)
    reader.start()
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(_GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        reader.join(_GRACE_SECONDS)


def _pass_on(lines: IO[str]) -> None:
    """The worker's progress as this process's own."""
    for line in lines:
        progress.info('%s', line.rstrip())
