"""The pipeline on a Flink cluster of two task slots: `make test-flink` names what it needs, and runs it."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.e2e import engines
from tests.e2e.conftest import TINY, Workplace
from tests.e2e.same import assert_figures_of_the_predictions, assert_same_artifacts

HOME, JAR = os.environ.get('FLINK_HOME', ''), os.environ.get('FLINK_JOB_SERVER_JAR', '')

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(not HOME, reason='FLINK_HOME names no Flink: make test-flink installs one'),
    pytest.mark.skipif(
        not Path(JAR).is_file(), reason="FLINK_JOB_SERVER_JAR names no file: Beam's Flink job server could not be had"
    ),
    pytest.mark.skipif(shutil.which('java') is None, reason='no Java is installed'),
]


@pytest.fixture(scope='module')
def cluster(tmp_path_factory) -> Iterator[str]:
    """A JobManager, a TaskManager with two slots, and Beam's job server; gives the job server's address."""
    folder = tmp_path_factory.mktemp('cluster')
    rest, rpc, jobs = (engines.free_port() for _ in range(3))
    settings = {
        'rest.port': rest,
        'jobmanager.rpc.address': 'localhost',
        'jobmanager.rpc.port': rpc,
        'jobmanager.memory.process.size': '1g',
        'taskmanager.memory.process.size': '3g',
        # A step's many stages have buffers between them, 512 each if left to Flink.
        'taskmanager.memory.network.min': '512m',
        'taskmanager.network.sort-shuffle.min-buffers': 64,
        'taskmanager.numberOfTaskSlots': 2,
        'io.tmp.dirs': folder,
    }
    dynamic = [word for key, value in settings.items() for word in ('-D', f'{key}={value}')]
    with contextlib.ExitStack() as stack:
        for name in ('jobmanager', 'taskmanager'):
            script = f'{HOME}/bin/{name}.sh'
            manager = stack.enter_context(
                engines.started(folder, name, ['bash', script, 'start-foreground', *dynamic], FLINK_LOG_DIR=str(folder))
            )
        engines.until(lambda: slots(rest) == 2, manager)
        command = [
            'java',
            '-jar',
            str(Path(JAR).absolute()),
            f'--flink-master=localhost:{rest}',
            f'--artifacts-dir={folder}',
        ]
        ports = [f'--job-port={jobs}', '--artifact-port=0', '--expansion-port=0']
        server = stack.enter_context(engines.started(folder, 'server', command + ports))
        engines.until(lambda: engines.answers(jobs), server)
        yield f'localhost:{jobs}'


def slots(port: int) -> int:
    try:
        return httpx.get(f'http://localhost:{port}/overview').raise_for_status().json()['slots-total']
    except httpx.HTTPError:
        return 0


@pytest.fixture(scope='module')
def runs(cluster, tmp_path_factory) -> tuple[Workplace, Workplace]:
    """A run on the direct runner, and one on Flink."""
    direct = Workplace(tmp_path_factory.mktemp('direct') / 'direct', TINY)
    direct.folder.mkdir()
    assert direct.run().returncode == 0
    flink = direct.beside('flink')
    with engines.worker_pool(flink.folder / 'services') as (address, _):
        settings = (f'beam.job_endpoint={cluster}', f'beam.workers.address={address}', 'beam.flink.parallelism=2')
        ended = flink.run('--beam', 'flink', *(word for setting in settings for word in ('--set', setting)))
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return direct, flink


def test_flink_gives_what_the_direct_runner_gives(runs):
    assert_same_artifacts(*runs)


def test_figures_of_the_run_on_flink_are_those_of_its_predictions(runs):
    # Flink writes the rows in another order, which trains other networks: the two runs' figures are not comparable.
    assert_figures_of_the_predictions(runs[1])
