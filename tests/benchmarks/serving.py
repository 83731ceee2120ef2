"""What a request costs: our server, the same server with TensorFlow in place of ONNX Runtime, and the engine alone.

    make bench-serving    about seven minutes on two idle cores, after `make run` and `make serve` have set things up

Asked is `faces`, of the folder that `make run` pushes to: `:predict` with one 96x96 PNG, and `/v1/photo` with a JPEG of
1280x720 that has one face. One to 32 clients ask again as soon as they are answered, over connections that stay open;
they run on the same machine and take their share of its processor. The engines take turns, in rounds, so that whatever
else the machine does hits all of them; what it did besides is said below the tables.

TensorFlow gets an environment of its own, `benchmarks/serving/tensorflow` (2 GB, once): the server's locked one, and
`tensorflow-cpu` of a version that goes with its protobuf. Results lie in `benchmarks/serving`: `table.md`, which is
also printed, and `results.json`.
"""

import argparse
import base64
import contextlib
import dataclasses
import http.client
import io
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import cv2
import numpy as np
import psutil
from PIL import Image
from rich.console import Console

from components import faces
from components.push.versions import versions
from data.draw import draw_face
from tests.benchmarks import processes
from tests.benchmarks.engines import PHOTO, PREDICT
from tests.benchmarks.machine import IDLE, processor_seconds, share_of_others
from tests.benchmarks.tables import table

ROOT: Final = Path(__file__).parents[2]
CLIENTS: Final = (1, 8, 32)
ROUNDS: Final = 4
PUSHES: Final = 5
TENSORFLOW: Final = 'tensorflow-cpu==2.21.0'
ALONE: Final = 'the engine alone'
OURS: Final = 'our server'
RIVAL: Final = 'the same with TensorFlow'


class ServerFailedError(Exception):
    """A server did not come up; the message says where its log is."""


@dataclass(frozen=True)
class Request:
    """What is asked.

    Attributes:
        name: `predict` or `photo`.
        title: in the table.
        path: of the URL.
        content_type: of the body.
        body: that is sent.
        image: the encoded image in it.
    """

    name: str
    title: str
    path: str
    content_type: str
    body: bytes
    image: bytes


def requests() -> tuple[Request, Request]:
    """Both kinds of request, with drawn faces."""
    face = draw_face(7, 0).image
    small = _encoded(face, 'PNG')
    document = json.dumps({'instances': [{'b64': base64.b64encode(small).decode()}]}).encode()
    scene = np.full((720, 1280), 120, np.uint8)
    scene[120:440, 400:720] = cv2.resize(face, (320, 320), interpolation=cv2.INTER_CUBIC)
    large = _encoded(scene, 'JPEG')
    return (
        Request(PREDICT, '`:predict`, a PNG of 96x96', '/v1/models/faces:predict', 'application/json', document, small),
        Request(PHOTO, '`/v1/photo`, a JPEG of 1280x720', '/v1/photo', 'image/jpeg', large, large),
    )


def _encoded(image: np.ndarray, form: str) -> bytes:
    written = io.BytesIO()
    Image.fromarray(image).convert('RGB').save(written, form)
    return written.getvalue()


@dataclass(frozen=True)
class Load:
    """What one kind of request met with.

    Attributes:
        engine: that answered.
        request: its name.
        clients: that asked at once.
        answers: that came.
        failures: answers with another status than 200.
        seconds: from the first request to the last answer.
        median: latency in milliseconds.
        slow: the 99th percentile of the latency, in milliseconds.
        processor: milliseconds of the processor that the engine took by request.
    """

    engine: str
    request: str
    clients: int
    answers: int
    failures: int
    seconds: float
    median: float
    slow: float
    processor: float

    @property
    def rate(self) -> float:
        """Answers by second."""
        return self.answers / self.seconds


@dataclass(frozen=True)
class Life:
    """What a server costs besides.

    Attributes:
        engine: in it.
        start: seconds until it was ready.
        pushes: seconds, of each push, until the version answered.
        idle: megabytes of memory when it was ready.
        busy: megabytes after all requests.
    """

    engine: str
    start: float
    pushes: list[float]
    idle: float
    busy: float


@dataclass
class Results:
    """All that was measured.

    Attributes:
        loads: by engine, request and clients.
        lives: of the servers.
        load: of the machine before it began, the average of a minute.
        others: share of the processor that other processes took meanwhile, 0..1, by part.
    """

    loads: list[Load] = field(default_factory=list)
    lives: list[Life] = field(default_factory=list)
    load: float = 0.0
    others: list[float] = field(default_factory=list)


def measure(python: Path, folder: Path, rival: Path | None, seconds: float, output: Path, console: Console) -> Results:
    """Measures the engines in turn.

    Args:
        python: of the server's environment.
        folder: with the pushed models.
        rival: python of the environment that has TensorFlow too; None leaves it out.
        seconds: of each request, engine and number of clients.
        output: folder for logs.
        console: says how it goes.

    Raises:
        PartFailedError, ServerFailedError: a part of it failed.
    """
    found = Results(load=os.getloadavg()[0])
    commands = {OURS: [str(python), '-m', 'components.serve']}
    if rival is not None:
        commands[RIVAL] = [str(rival), '-m', 'tests.benchmarks.engines', 'tensorflow']
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        servers = {}
        for engine, command in commands.items():
            served = Path(name) / engine / 'serving'
            shutil.copytree(folder, served)
            with console.status(f'{engine}: starting …'):
                servers[engine] = stack.enter_context(running(command, served, output / f'{engine}.log'))
        idle = {engine: server.memory() for engine, server in servers.items()}
        version = _version_folder(folder)
        for request in requests():
            found.loads += _measure_request(request, servers, python, version, seconds, output, found.others, console)
        busy = {engine: server.memory() for engine, server in servers.items()}
        for engine, server in servers.items():
            with console.status(f'{engine}: {PUSHES} pushes …'):
                pushes = [push(server) for _ in range(PUSHES)]
            found.lives.append(Life(engine, server.start, pushes, idle[engine], busy[engine]))
    return found


def _version_folder(folder: Path) -> Path:
    model = folder / faces.JOINT_MODEL
    return model / str(versions(model)[-1])


def _measure_request(
    request: Request,
    servers: 'dict[str, Server]',
    python: Path,
    version: Path,
    seconds: float,
    output: Path,
    others: list[float],
    console: Console,
) -> list[Load]:
    """One kind of request, to every engine by every number of clients."""
    alone: list[Part] = []
    parts: dict[tuple[str, int], list[Part]] = {(engine, clients): [] for clients in CLIENTS for engine in servers}
    for turn in range(ROUNDS):
        with console.status(f'{request.title}: round {turn + 1} of {ROUNDS} …'):
            alone.append(ask_alone(python, version, request, seconds / ROUNDS, output))
            for (engine, clients), asked in parts.items():
                asked.append(ask(servers[engine], request, clients, seconds / ROUNDS))
    others += [part.others for asked in [alone, *parts.values()] for part in asked]
    return [
        summary(ALONE, request, 1, alone),
        *(summary(engine, request, clients, parts[engine, clients]) for engine in servers for clients in CLIENTS),
    ]


@dataclass(frozen=True)
class Part:
    """What one round met with.

    Attributes:
        latencies: in seconds, of every request.
        failures: answers with another status than 200.
        seconds: from the first request to the last answer.
        processor: seconds of the processor that the engine took.
        others: share of the processor that neither engine nor clients took, 0..1.
    """

    latencies: list[float]
    failures: int
    seconds: float
    processor: float
    others: float


def ask_alone(python: Path, version: Path, request: Request, seconds: float, output: Path) -> Part:
    """Asks the engine in a process of its own, without a server.

    Raises:
        PartFailedError: it ended with an error.
    """
    image = output / f'{request.name}.image'
    image.write_bytes(request.image)
    # As the server and the commands set it, before NumPy is imported.
    command = ['env', 'OPENBLAS_NUM_THREADS=1', str(python), '-m', 'tests.benchmarks.engines', 'alone', str(version)]
    command += [request.name, str(image), str(seconds)]
    (line,) = processes.lines(command, output / f'alone-{request.name}.log', cwd=ROOT)
    taken = json.loads(line)
    return Part(taken['wall'], 0, sum(taken['wall']), sum(taken['cpu']), taken['others'])


@dataclass(frozen=True)
class Server:
    """A server that runs.

    Attributes:
        url: where it answers.
        process: it.
        start: seconds until it was ready.
        folder: that it serves.
    """

    url: str
    process: psutil.Process
    start: float
    folder: Path

    def processor(self) -> float:
        """Seconds of the processor that it has taken."""
        return sum(times.user + times.system for times in (each.cpu_times() for each in self._processes()))

    def memory(self) -> float:
        """Megabytes of memory that it holds (its resident set)."""
        return sum(each.memory_info().rss for each in self._processes()) / 1e6

    def _processes(self) -> list[psutil.Process]:
        return [self.process, *self.process.children(recursive=True)]


@contextlib.contextmanager
def running(command: Sequence[str], folder: Path, log: Path, patience: float = 120.0) -> Iterator[Server]:
    """Starts a server and gives it when it is ready.

    Args:
        command: that starts it, but for its ports and its folder.
        folder: with the models.
        log: file to which all goes that it prints.
        patience: seconds that it may take.

    Raises:
        ServerFailedError: it ended, or was not ready in time.
    """
    http_port, grpc_port = _free_port(), _free_port()
    arguments = ['--folder', str(folder), '--host', '127.0.0.1', '--http-port', str(http_port)]
    arguments += ['--grpc-port', str(grpc_port)]
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open('w', encoding='utf-8') as written:
        began = time.monotonic()
        process = subprocess.Popen([*command, *arguments], stdout=written, stderr=subprocess.STDOUT, cwd=ROOT)
        try:
            url = f'http://127.0.0.1:{http_port}'
            while not _ready(url):
                if process.poll() is not None or time.monotonic() - began > patience:
                    raise ServerFailedError(f'{" ".join(command)} is not ready: see {log}.')
                time.sleep(0.02)
            yield Server(url, psutil.Process(process.pid), time.monotonic() - began, folder)
        finally:
            process.terminate()
            try:
                process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _free_port() -> int:
    with socket.socket() as listening:
        listening.bind(('127.0.0.1', 0))
        return listening.getsockname()[1]


def _ready(url: str) -> bool:
    try:
        return _get(url, '/v2/health/ready') == 200 and _get(url, f'/v1/models/{faces.JOINT_MODEL}') == 200
    except OSError:
        return False


def _get(url: str, path: str) -> int:
    connection = _connect(url)
    try:
        connection.request('GET', path)
        return connection.getresponse().status
    finally:
        connection.close()


def _connect(url: str) -> http.client.HTTPConnection:
    return http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)


def ask(server: Server, request: Request, clients: int, seconds: float) -> Part:
    """Lets so many clients ask for so many seconds, after a tenth of it that is not counted."""
    _ask(server.url, request, clients, seconds / 10)
    spent, whole, own = server.processor(), processor_seconds(), time.process_time()
    latencies, failures, elapsed = _ask(server.url, request, clients, seconds)
    spent, whole, own = server.processor() - spent, processor_seconds() - whole, time.process_time() - own
    return Part(latencies, failures, elapsed, spent, share_of_others(whole, spent + own, elapsed))


def _ask(url: str, request: Request, clients: int, seconds: float) -> tuple[list[float], int, float]:
    latencies: list[float] = []
    failures: list[int] = []
    began = time.perf_counter()
    threads = [
        threading.Thread(target=_client, args=(url, request, began + seconds, latencies, failures))
        for _ in range(clients)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return latencies, len(failures), time.perf_counter() - began


def _client(url: str, request: Request, end: float, latencies: list[float], failures: list[int]) -> None:
    connection = _connect(url)
    headers = {'Content-Type': request.content_type}
    first = True
    while first or time.perf_counter() < end:
        first, sent = False, time.perf_counter()
        try:
            connection.request('POST', request.path, request.body, headers)
            response = connection.getresponse()
            response.read()
            status = response.status
        except (OSError, http.client.HTTPException):
            connection.close()
            status = 0
        latencies.append(time.perf_counter() - sent)
        if status != 200:
            failures.append(status)
    connection.close()


def summary(engine: str, request: Request, clients: int, parts: Sequence[Part]) -> Load:
    """The figures of all rounds together."""
    latencies = [latency for part in parts for latency in part.latencies]
    median, slow = np.percentile(latencies, [50, 99]) * 1000
    return Load(
        engine=engine,
        request=request.name,
        clients=clients,
        answers=len(latencies),
        failures=sum(part.failures for part in parts),
        seconds=sum(part.seconds for part in parts),
        median=float(median),
        slow=float(slow),
        processor=sum(part.processor for part in parts) / len(latencies) * 1000,
    )


def push(server: Server, patience: float = 120.0) -> float:
    """Pushes a copy of the highest version of `faces`, as the pipeline does, and waits until it answers.

    Returns:
        Seconds from the rename, by which a version appears.

    Raises:
        ServerFailedError: it does not answer in time.
    """
    folder = server.folder / faces.JOINT_MODEL
    highest = versions(folder)[-1]
    staged = folder / '.staged'
    shutil.copytree(folder / str(highest), staged)
    began = time.monotonic()
    staged.rename(folder / str(highest + 1))
    predict, _ = requests()
    while _version(server.url, predict) != highest + 1:
        if time.monotonic() - began > patience:
            raise ServerFailedError(f'Version {highest + 1} of {folder.name} does not answer after {patience:g} s.')
        time.sleep(0.02)
    return time.monotonic() - began


def _version(url: str, request: Request) -> int:
    connection = _connect(url)
    try:
        connection.request('POST', request.path, request.body, {'Content-Type': request.content_type})
        response = connection.getresponse()
        response.read()
        return int(response.headers.get('Model-Version', 0))
    finally:
        connection.close()


def markdown(found: Results, machine: str) -> str:
    """Tables of what was measured, with a sentence about where."""
    parts = []
    for request in requests():
        rows = [_cells(load) for load in found.loads if load.request == request.name]
        heads = [request.title, 'clients', 'p50', 'p99', 'requests/s', 'CPU a request']
        parts.append(table(heads, rows))
    heads = ['', 'ready after', 'memory', 'after all requests', 'a pushed version answers after']
    parts.append(table(heads, [_life_cells(life) for life in found.lives]))
    others = statistics.mean(found.others)
    parts.append(
        f'{machine}; the clients on the same cores. Other processes took {others:.0%} of the processor meanwhile; '
        f'the load before was {found.load:.1f}.'
    )
    failures = sum(load.failures for load in found.loads)
    if failures:
        parts.append(f'**{failures} requests were not answered with status 200.**')
    if others > IDLE:
        parts.append('**The machine was not idle:** compare the rows with each other, and nothing else.')
    return '\n\n'.join(parts)


def _cells(load: Load) -> list[str]:
    return [
        load.engine,
        'in process' if load.engine == ALONE else str(load.clients),
        f'{load.median:.1f} ms',
        f'{load.slow:.1f} ms',
        f'{load.rate:.0f}',
        f'{load.processor:.1f} ms',
    ]


def _life_cells(life: Life) -> list[str]:
    pushes = f'{statistics.median(life.pushes):.1f} s, at most {max(life.pushes):.1f} s'
    return [life.engine, f'{life.start:.1f} s', f'{life.idle:.0f} MB', f'{life.busy:.0f} MB', pushes]


def rival_environment(folder: Path, console: Console) -> Path:
    """The environment with TensorFlow; made where it is missing.

    Returns:
        Its python.

    Raises:
        PartFailedError: uv could not make it.
    """
    python = folder / 'bin' / 'python'
    done = folder / 'ready'
    if done.exists() and done.read_text(encoding='utf-8') == TENSORFLOW:
        return python
    uv = shutil.which('uv') or str(ROOT / '.uv' / 'bin' / 'uv')
    lock = str(ROOT / 'requirements' / 'serve.lock')
    steps = [
        [uv, 'venv', '--quiet', '--allow-existing', '--python', '3.11', str(folder)],
        [uv, 'pip', 'sync', '--quiet', '--python', str(python), '--require-hashes', lock],
        [uv, 'pip', 'install', '--quiet', '--python', str(python), TENSORFLOW],
    ]
    with console.status('Making the environment with TensorFlow (once) …'):
        for step in steps:
            for _ in processes.lines(step, folder.with_name('tensorflow-environment.log')):
                pass
    done.write_text(TENSORFLOW, encoding='utf-8')
    return python


def machine() -> str:
    """This machine in words; Linux only, for the processor's name."""
    info = Path('/proc/cpuinfo').read_text(encoding='utf-8')
    names = [line.partition(':')[2].strip() for line in info.splitlines() if line.startswith('model name')]
    return f'{len(os.sched_getaffinity(0))} cores of {names[0] if names else "an unknown processor"}'


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--folder', type=Path, default=ROOT / 'serving', help='with the pushed models (serving)')
    parser.add_argument('--seconds', type=float, default=20.0, help='of each row (20)')
    parser.add_argument('--output', type=Path, default=ROOT / 'benchmarks' / 'serving', help='(benchmarks/serving)')
    parser.add_argument('--python', type=Path, default=ROOT / '.venv-serve' / 'bin' / 'python', help='of the server')
    parser.add_argument('--without-tensorflow', action='store_true', help='leaves the rival out')
    options = parser.parse_args()
    if not versions(options.folder / faces.JOINT_MODEL):
        sys.exit(f'{options.folder} has no version of {faces.JOINT_MODEL}: make run pushes one.')
    if not options.python.exists():
        sys.exit(f'{options.python} is missing: make serve sets it up.')
    console = Console()
    options.output.mkdir(parents=True, exist_ok=True)
    try:
        rival = None if options.without_tensorflow else rival_environment(options.output / 'tensorflow', console)
        found = measure(options.python, options.folder, rival, options.seconds, options.output, console)
    except (ServerFailedError, processes.PartFailedError) as error:
        sys.exit(str(error))
    (options.output / 'results.json').write_text(json.dumps(dataclasses.asdict(found), indent=1), encoding='utf-8')
    text = markdown(found, machine())
    (options.output / 'table.md').write_text(text + '\n', encoding='utf-8')
    # Not through Rich, which would break long lines of the table.
    print(text)
    console.print(f'\nTable and results: {options.output}')


if __name__ == '__main__':
    main()
