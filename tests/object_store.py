"""An S3-compatible server on loopback, with a bucket, in a process of its own that a test may kill."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import filelock

BUCKET: Final = 'faces'
ACCESS_KEY, SECRET_KEY = 'tests', 'a-secret-of-the-tests'
VERSITYGW: Final = 'github.com/versity/versitygw/cmd/versitygw@v1.8.0'


class ObjectStore:
    """versitygw, a real server, where it is installed or Go is there to build it; else moto, which takes any secret and
    keeps its objects in memory.

    Args:
        folder: for the objects and the log.
    """

    def __init__(self, folder: Path):
        self._folder = folder
        self._program = versitygw()
        self._process: subprocess.Popen | None = None
        self._port = _free_port()
        self.is_real = self._program is not None

    @property
    def endpoint(self) -> str:
        return f'http://127.0.0.1:{self._port}'

    @property
    def environment(self) -> dict[str, str]:
        """What a user sets."""
        return {
            'AWS_ENDPOINT_URL': self.endpoint,
            'AWS_ACCESS_KEY_ID': ACCESS_KEY,
            'AWS_SECRET_ACCESS_KEY': SECRET_KEY,
            'AWS_EC2_METADATA_DISABLED': 'true',
        }

    def client(self) -> Any:
        import boto3

        return boto3.session.Session(ACCESS_KEY, SECRET_KEY, region_name='us-east-1').client(
            's3', endpoint_url=self.endpoint
        )

    def start(self) -> None:
        """Starts it, with what it held before where it is real."""
        objects = self._folder / 'objects'
        objects.mkdir(exist_ok=True)
        if self._program:
            command = [self._program, '--port', f'127.0.0.1:{self._port}', '--quiet', 'posix', str(objects)]
        else:
            command = [sys.executable, '-m', 'moto.server', '-H', '127.0.0.1', '-p', str(self._port)]
        environment = {**os.environ, 'ROOT_ACCESS_KEY': ACCESS_KEY, 'ROOT_SECRET_KEY': SECRET_KEY}
        with (self._folder / 'log.txt').open('ab') as log:
            self._process = subprocess.Popen(
                command, env=environment, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True
            )
        self._wait()

    def kill(self) -> None:
        """Ends it at once, in the middle of whatever it does."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def _wait(self) -> None:
        for _ in range(300):
            assert self._process is not None
            if self._process.poll() is not None:
                raise RuntimeError((self._folder / 'log.txt').read_text())
            try:
                socket.create_connection(('127.0.0.1', self._port), 1).close()
                return
            except OSError:
                time.sleep(0.1)
        raise RuntimeError('The object store does not listen.')


@contextmanager
def running(folder: Path) -> Iterator[ObjectStore]:
    """An object store with an empty bucket, until the end of the block."""
    store = ObjectStore(folder)
    try:
        store.start()
        store.client().create_bucket(Bucket=BUCKET)
        yield store
    finally:
        store.kill()


def versitygw() -> str | None:
    """The program, built once for this machine; None where neither it nor Go is there."""
    found = shutil.which('versitygw')
    go = shutil.which('go') or shutil.which('go', path='/usr/local/go/bin')
    if found or not go:
        if not found:
            warnings.warn('Neither versitygw nor Go is here: moto, which is no real server, stands in.', stacklevel=2)
        return found
    home = subprocess.run([go, 'env', 'GOPATH'], capture_output=True, text=True, check=True).stdout.strip()
    program = Path(home) / 'bin' / 'versitygw'
    program.parent.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(program.with_suffix('.lock'), timeout=900):
        if not program.exists():
            built = subprocess.run([go, 'install', VERSITYGW], capture_output=True, text=True, timeout=900)
            if built.returncode:
                warnings.warn(f'versitygw cannot be built, moto stands in: {built.stderr[-300:]}', stacklevel=2)
                return None
    return str(program)


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(('127.0.0.1', 0))
        return listener.getsockname()[1]
