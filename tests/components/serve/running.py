"""The server as a process of its own, as `make serve` starts it."""

import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import requests

from components import faces

ROOT = Path(__file__).parents[3]
PYTHON = ROOT / '.venv-serve' / 'bin' / 'python'
_PATIENCE = 120.0  # seconds, on a machine that does other things as well


@dataclass(frozen=True)
class Server:
    """A server that runs.

    Attributes:
        process: its own.
        url: of HTTP, without a slash at the end.
        grpc: host and port.
        log: what it wrote.
        folder: that it serves.
    """

    process: subprocess.Popen
    url: str
    grpc: str
    log: Path
    folder: Path

    @property
    def address(self) -> tuple[str, int]:
        host, port = self.url.removeprefix('http://').split(':')
        return host, int(port)

    def get(self, path: str, **options) -> requests.Response:
        return self._ask('GET', path, **options)

    def post(self, path: str, **options) -> requests.Response:
        return self._ask('POST', path, **options)

    def predict(self, model: str, request, version: str = '') -> requests.Response:
        return self.post(f'/v1/models/{model}{version}:predict', json=request)

    def metric(self, name: str, **labels: str) -> float:
        """A figure of `/metrics`; 0 where it has none yet."""
        for line in self.get('/metrics').text.splitlines():
            match = re.fullmatch(r'(\w+)(?:\{(.*)\})? (\S+)', line)
            if (
                match
                and match[1] == name
                and labels.items() <= dict(re.findall(r'(\w+)="([^"]*)"', match[2] or '')).items()
            ):
                return float(match[3])
        return 0.0

    def wait_for(self, version: int, model: str = faces.JOINT_MODEL) -> None:
        """Until this version answers."""
        wait_until(lambda: self.metric('emotion_loaded_version', model=model) == version)

    def stop(self) -> int:
        """Tells it to stop; gives its exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(_PATIENCE)

    def _ask(self, method: str, path: str, **options) -> requests.Response:
        # Otherwise it stays open for as long as somebody holds the answer.
        headers = {'Connection': 'close', **options.pop('headers', {})}
        return requests.request(method, self.url + path, timeout=_PATIENCE, headers=headers, **options)


@contextmanager
def running(folder: Path, log: Path, *options: str) -> Iterator[Server]:
    """A server of a folder, killed in the end.

    Args:
        folder: `<folder>/<model>/<version>/`.
        log: file that it writes to.
        options: of the command line.
    """
    grpc_port = free_port()
    command = [PYTHON, '-m', 'components.serve', '--folder', folder, '--http-port', '0', '--grpc-port', grpc_port]
    with log.open('wb') as output:
        process = subprocess.Popen([*map(str, command), *options], cwd=ROOT, stdout=output, stderr=output)
    try:
        wait_until(lambda: 'Serving' in log.read_text() or process.poll() is not None)
        found = re.search(r'at (http://\S+:\d+)', log.read_text())
        assert found, log.read_text()
        yield Server(process, found[1], f'127.0.0.1:{grpc_port}', log, folder)
    finally:
        process.kill()
        process.wait()


def push(source: Path, folder: Path, model: str, version: int) -> None:
    """Makes a SavedModel a version, as the pipeline does: all at once."""
    (folder / model).mkdir(parents=True, exist_ok=True)
    staged = folder / model / f'.staged-{version}'
    shutil.copytree(source, staged)
    staged.rename(folder / model / str(version))


def wait_until(condition) -> None:
    """Fails where it never becomes true."""
    end = time.monotonic() + _PATIENCE
    while not condition():
        assert time.monotonic() < end, 'waited in vain'
        time.sleep(0.05)


def free_port() -> int:
    with socket.create_server(('127.0.0.1', 0)) as probe:
        return probe.getsockname()[1]
