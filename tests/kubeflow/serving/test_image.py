"""The server's Dockerfile: what it copies is there, and suffices to serve."""

import base64
import fnmatch
import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
import zipfile
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from components import faces
from tests.kubeflow.serving.untrained import write_version

ROOT = Path(__file__).parents[3]
DOCKERFILE = (ROOT / 'kubeflow' / 'serving' / 'Dockerfile').read_text(encoding='utf-8')
SERVER = ROOT / '.venv-serve'


def instructions(name: str, text: str = DOCKERFILE) -> list[str]:
    joined = re.sub(r'\\\n\s*', '', re.sub(r'^#.*\n', '', text, flags=re.MULTILINE))
    return re.findall(rf'^{name}\s+(.*)$', joined, re.MULTILINE)


def copied() -> list[tuple[str, str]]:
    """What comes from the checkout, and whereto, in the order of the file."""
    found = []
    for line in instructions('COPY'):
        *sources, target = [word for word in shlex.split(line) if not word.startswith('--')]
        if '--from=' not in line:
            found += [(source, target) for source in sources]
    return found


def test_what_is_copied_is_there_and_let_through():
    ignore = (ROOT / '.dockerignore').read_text(encoding='utf-8').splitlines()
    allowed = [line[1:] for line in ignore if line.startswith('!')]
    assert len(copied()) >= 8
    for source, _ in copied():
        assert (ROOT / source).exists(), source
        within = [source, *(str(path.relative_to(ROOT)) for path in (ROOT / source).glob('*.py'))]
        assert any(fnmatch.fnmatch(name, pattern) for name in within for pattern in allowed), source


def test_it_is_pinned_and_nobody_is_root():
    assert instructions('FROM')[0] == '${BASE} AS environment'
    assert instructions('ARG')[0] == 'BASE=docker.io/library/python:3.11-slim-bookworm'
    assert instructions('USER') == ['1000:0']
    (environment,) = (line for line in instructions('RUN') if 'pip sync' in line)
    assert environment.count('--require-hashes') == 2 and '--no-build' in environment
    assert not re.search(r'curl|wget|apt-get', DOCKERFILE)


def test_it_is_built_from_the_locked_environment_alone():
    lock = (ROOT / 'requirements' / 'serve.lock').read_text(encoding='utf-8')
    assert re.search(r'^setuptools==', lock, re.MULTILINE), 'the package is built with it, without a network'
    assert not re.search(r'^tensorflow', lock, re.MULTILINE)


@pytest.fixture(scope='module')
def installed(tmp_path_factory) -> Path:
    """The package as the image has it: built from what is copied, and from nothing else."""
    source = tmp_path_factory.mktemp('source')
    for name, target in copied():
        if name.endswith('.lock'):
            continue
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, source / target, ignore=shutil.ignore_patterns('__pycache__'))
        else:
            shutil.copy(ROOT / name, source / target)
    script = 'from setuptools import build_meta; build_meta.build_wheel("wheel")'
    subprocess.run([sys.executable, '-c', script], cwd=source, check=True, capture_output=True, timeout=120)
    (wheel,) = (source / 'wheel').glob('*.whl')
    site = tmp_path_factory.mktemp('site')
    zipfile.ZipFile(wheel).extractall(site)
    return site


@pytest.fixture(scope='module')
def address(installed, tmp_path_factory) -> Iterator[str]:
    """The server, started in an empty folder without this checkout on its path."""
    python = SERVER / 'bin' / 'python'
    if not python.exists():
        pytest.skip(f'{python} is missing, so what the image copies is NOT tested: make serve')
    home = tmp_path_factory.mktemp('home')
    for model in faces.MODELS:
        write_version(home / 'models', model)
    (packages,) = SERVER.glob('lib/python*/site-packages')
    # Without `site`, whose .pth files would put the checkout on the path.
    environment = {'PYTHONPATH': f'{installed}{os.pathsep}{packages}', 'HOME': str(home), 'PATH': '/usr/bin:/bin'}
    (command,) = (json.loads(line) for line in instructions('CMD'))
    port = free_port()
    arguments = [*command[1:], '--folder', str(home / 'models'), '--http-port', str(port), '--grpc-port', '0']
    log = home / 'log'
    with log.open('w') as written:
        process = subprocess.Popen(
            [str(python), '-S', *arguments], cwd=home, env=environment, stdout=written, stderr=subprocess.STDOUT
        )
    try:
        url = f'http://127.0.0.1:{port}'
        end = time.monotonic() + 120
        while not answers(url):
            assert process.poll() is None and time.monotonic() < end, log.read_text()
            time.sleep(0.1)
        yield url
    finally:
        process.terminate()
        process.wait(timeout=60)


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(('127.0.0.1', 0))
        return listening.getsockname()[1]


def answers(url: str) -> bool:
    try:
        return get(f'{url}/v2/health/ready') != b''
    except OSError:
        return False


def get(url: str, body: bytes | None = None, kind: str = 'application/json') -> bytes:
    with urllib.request.urlopen(urllib.request.Request(url, body, {'Content-Type': kind}), timeout=60) as response:
        return response.read()


def test_the_copied_files_serve_every_model(address):
    image = cv2.imencode('.png', np.full((96, 96), 90, np.uint8))[1].tobytes()
    body = json.dumps({'instances': [{'b64': base64.b64encode(image).decode()}]}).encode()
    for model in faces.MODELS:
        (prediction,) = json.loads(get(f'{address}/v1/models/{model}:predict', body))['predictions']
        if model == faces.JOINT_MODEL:
            assert sum(prediction[faces.PROBABILITIES]) == pytest.approx(1, abs=1e-5)
            assert prediction['expressions'] == list(faces.EXPRESSIONS)


def test_the_copied_files_find_faces_and_show_the_page(address):
    photo = cv2.imencode('.jpg', np.full((240, 320, 3), 90, np.uint8))[1].tobytes()
    answer = json.loads(get(f'{address}/v1/photo', photo, 'image/jpeg'))
    assert answer['image'] == {'width': 320, 'height': 240} and answer['faces'] == []
    assert b'<html' in get(f'{address}/').lower()
    assert get(f'{address}/page.css') and get(f'{address}/page.js')


def test_the_manifests_probes_are_answered(address):
    asked = set()
    for name in ('server', 'kserve-server', 'kserve-canary'):
        text = (ROOT / 'kubeflow' / 'serving' / f'{name}.yaml').read_text(encoding='utf-8')
        asked |= set(re.findall(r'path: (/v\S+?)[,}]', text)) | set(re.findall(r'prometheus.io/path: (\S+)', text))
    assert asked == {'/v2/health/ready', '/v2/health/live', '/metrics'}
    for path in asked:
        assert get(address + path)


def test_the_manifests_start_what_the_image_starts():
    (command,) = (json.loads(line) for line in instructions('CMD'))
    for name in ('server', 'kserve-server', 'kserve-canary'):
        text = (ROOT / 'kubeflow' / 'serving' / f'{name}.yaml').read_text(encoding='utf-8')
        assert f'command: [{", ".join(command[:3])}]' in text
        assert all(flag.partition('=')[0] in text for flag in command[3:])
