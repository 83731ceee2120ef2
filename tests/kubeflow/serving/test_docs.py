"""docs/serving.md: every command in it works on the real server, and every figure that it names is told."""

import re
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from components import faces
from tests.components.serve import running
from tests.kubeflow.serving.untrained import write_version

TEXT = (running.ROOT / 'docs' / 'serving.md').read_text(encoding='utf-8')
BLOCKS = [textwrap.dedent(block) for block in re.findall(r'(?:^    .*\n)+', TEXT, re.MULTILINE)]
SHELL = [block for block in BLOCKS if 'curl' in block]
PYTHON = [block for block in BLOCKS if block.startswith('import')]


@pytest.fixture(scope='module')
def folder(tmp_path_factory) -> Path:
    """With the images that the page asks about."""
    found = tmp_path_factory.mktemp('images')
    pixels = np.tile(np.linspace(0, 255, 320, dtype=np.uint8), (240, 1))
    cv2.imwrite(str(found / 'face.png'), pixels[:96, :96])
    cv2.imwrite(str(found / 'photo.jpg'), pixels)
    return found


@pytest.fixture(scope='module')
def server(tmp_path_factory) -> Iterator[running.Server]:
    if not running.PYTHON.exists():
        pytest.skip(f'{running.PYTHON} is missing, so docs/serving.md is NOT tested: make serve')
    models = tmp_path_factory.mktemp('serving')
    for model in faces.MODELS:
        write_version(models, model)
    with running.running(models, tmp_path_factory.mktemp('log') / 'log') as found:
        yield found


def here(block: str, server: running.Server) -> str:
    return block.replace('http://localhost:8501', server.url).replace('localhost:8500', server.grpc)


def test_there_are_examples():
    assert sum(block.count('curl') for block in SHELL) == 8
    assert len(PYTHON) == 2


@pytest.mark.parametrize('block', SHELL, ids=range(len(SHELL)))
def test_a_command_is_answered(block, server, folder):
    done = subprocess.run(
        ['bash', '-e', '-o', 'pipefail', '-c', here(block, server)], cwd=folder, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert re.search(r'predictions|outputs|faces', done.stdout)


@pytest.mark.parametrize('block', PYTHON, ids=['rest', 'grpc'])
def test_a_program_runs(block, server, folder):
    # The messages of gRPC are in the server's environment.
    python = running.PYTHON if 'grpc' in block else sys.executable
    done = subprocess.run([str(python), '-c', here(block, server)], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith('1 ')


def test_every_figure_is_told(server, folder):
    for image, path in (('photo.jpg', '/v1/photo?faces=whole'), ('face.png', '/v1/photo')):
        server.post(path, data=(folder / image).read_bytes())
    told = server.get('/metrics').text
    named = set(re.findall(r'\bemotion_\w+', TEXT))
    assert len(named) >= 7
    for name in named:
        assert re.search(rf'^{name}(_bucket)?[{{ ]', told, re.MULTILINE), name
    for labels in re.findall(r'sum by \(([\w, ]+)\)', TEXT):
        for label in labels.split(', '):
            assert f'{label}="' in told


def test_the_limits_are_the_servers_own(server):
    told = subprocess.run(
        [str(running.PYTHON), '-m', 'components.serve', '--help'],
        cwd=running.ROOT, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    defaults = dict(re.findall(r'--([\w-]+) .*?\[default: ([\w./]+)', ' '.join(told.split())))
    assert float(defaults['maximum-photo-mib']) == number(r'photograph larger than (\d+) MiB')
    assert float(defaults['maximum-body-mib']) == number(r'another body larger than (\d+) MiB')
    assert float(defaults['maximum-megapixels']) == number(r'more than (\d+) megapixels')
    assert float(defaults['maximum-batch']) == number(r'megapixels or (\d+) images')
    assert float(defaults['client-timeout']) == number(r'did not arrive within (\d+) s')
    assert int(defaults['threads']) + int(defaults['queue']) == number(r'or (\d+) requests are being answered or wait')
    assert float(defaults['poll']) == 2 and 'every two seconds' in TEXT


def number(pattern: str) -> float:
    (found,) = re.findall(pattern, ' '.join(TEXT.split()))
    return float(found)
