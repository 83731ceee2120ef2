"""The check before a run: one line for each thing that can be seen from here to be missing."""

import http.server
import json
import os
import socket
import threading
from pathlib import Path

import pytest
from click.testing import CliRunner

from components.errors import StepError
from pipeline.beam import probe
from pipeline.beam.check import check, missing_here
from pipeline.beam.execute import last_line
from pipeline.cli import main
from pipeline.config import load

DATAFLOW = (
    'beam.runner=dataflow',
    'beam.dataflow={project: mine, region: europe-west1, temp_location: "gs://mine/temp", image: registry/worker:1}',
)


def missing(*overrides: str) -> list[str]:
    found = list(missing_here(load('demo', overrides).beam))
    assert all(len(line.splitlines()) == 1 for line in found)
    return found


@pytest.fixture
def absent() -> str:
    """An address at which nothing answers."""
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        return f'127.0.0.1:{free.getsockname()[1]}'


@pytest.fixture
def web():
    """Starts a web server that answers each path with a JSON value; gives its address."""
    servers = []

    def serve(value: object) -> str:
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:  # noqa: N802
                self.send_response(200)
                self.end_headers()
                self.wfile.write(json.dumps(value).encode())

            def log_message(self, *arguments: object) -> None:
                pass

        server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return f'127.0.0.1:{server.server_port}'

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def programs(tmp_path, monkeypatch):
    """Puts programs of the test's own, and no others, into PATH: what each prints on standard error, and its status."""

    def install(**told: tuple[str, int]) -> None:
        for name, (text, status) in told.items():
            program = tmp_path / 'bin' / name
            program.parent.mkdir(exist_ok=True)
            program.write_text(f"#!/bin/sh\necho '{text}' >&2\nexit {status}\n")
            program.chmod(0o755)
        monkeypatch.setenv('PATH', str(tmp_path / 'bin'))

    return install


def test_the_default_engine_needs_nothing(monkeypatch):
    monkeypatch.setenv('PATH', '')
    check(load('demo'))


def test_a_job_service_that_is_absent_ends_the_run_before_anything_is_drawn(absent, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(main, ['run', '--beam', 'portable', '--set', f'beam.job_endpoint={absent}'])
    assert result.exit_code == 1
    assert f'Beam on portable: nothing answers at {absent} (beam.job_endpoint)' in result.output
    assert not list(tmp_path.rglob('*.csv.gz'))


def test_what_is_no_address_is_told():
    assert (
        'nothing answers at 8099 (beam.job_endpoint)' in missing('beam.runner=portable', 'beam.job_endpoint="8099"')[0]
    )


def test_what_answers_but_is_no_job_service_is_told(web):
    told = missing('beam.runner=portable', f'beam.job_endpoint={web({})}', 'beam.workers.environment=loopback')
    assert len(told) == 1
    assert "is no job service of Beam's" in told[0]


def test_a_worker_pool_that_is_absent_is_told(absent, web):
    told = missing('beam.runner=portable', f'beam.job_endpoint={web({})}', f'beam.workers.address={absent}')
    assert f'no worker pool answers at {absent} (beam.workers.address)' in told[-1]


def test_the_workers_of_an_engine_elsewhere_are_left_to_it(absent):
    overrides = ('beam.runner=portable', 'beam.job_endpoint=elsewhere.invalid:8099', f'beam.workers.address={absent}')
    assert not [line for line in missing(*overrides) if 'worker pool' in line]


def test_docker_is_asked_only_where_the_workers_are_containers(web, programs):
    address = web({})
    docker = (
        'beam.runner=portable',
        f'beam.job_endpoint={address}',
        'beam.workers={environment: docker, image: "a:1"}',
    )
    programs(docker=('Cannot connect to the Docker daemon', 1))
    assert 'no Docker answers here' in missing(*docker)[-1]
    programs(docker=('', 0))
    assert not [line for line in missing(*docker) if 'Docker' in line]
    process = '{environment: process, command: /no/boot}'
    told = missing('beam.runner=portable', f'beam.job_endpoint={address}', f'beam.workers={process}')
    assert told[-1] == 'there is no executable /no/boot (beam.workers.command).'


def test_java_is_looked_at_where_the_job_server_is_started_here(programs, tmp_path, web):
    (tmp_path / 'server.jar').touch()
    flink = f'beam.flink={{master: "{web({"slots-total": 2})}", job_server_jar: {tmp_path}/server.jar}}'
    loopback = 'beam.workers.environment=loopback'
    programs()
    assert 'no Java is installed here' in missing('beam.runner=flink', flink, loopback)[0]
    programs(java=('java version "1.7.0_80"', 0))
    assert 'needs Java 8 or newer; here is java version "1.7.0_80"' in missing('beam.runner=flink', flink, loopback)[0]
    for version in ('1.8.0_392', '17.0.15', '21'):
        programs(java=(f'openjdk version "{version}" 2025-04-15', 0))
        assert missing('beam.runner=flink', flink, loopback) == []
    programs(java=('', 127))
    assert missing('beam.runner=flink', flink, 'beam.flink.uber_jar=true', loopback) == []


def test_a_job_server_that_is_absent_is_told_with_where_it_is_to_be_had(programs, tmp_path, monkeypatch, web):
    monkeypatch.setenv('HOME', str(tmp_path))
    programs(java=('openjdk version "17.0.15"', 0))
    master = f'beam.flink.master={web({"slots-total": 2})}'
    loopback = 'beam.workers.environment=loopback'
    (told,) = missing('beam.runner=flink', master, loopback)
    assert 'org.apache.beam:beam-runners-flink-1.19-job-server:2.62.0' in told and 'beam.flink.job_server_jar' in told
    (told,) = missing('beam.runner=flink', master, 'beam.flink.job_server_jar=/no/server.jar', loopback)
    assert 'no job server at /no/server.jar' in told
    cache = tmp_path / '.apache_beam' / 'cache' / 'jars'
    cache.mkdir(parents=True)
    (cache / 'beam-runners-flink-1.19-job-server-2.62.0.jar').touch()
    assert missing('beam.runner=flink', master, loopback) == []


def test_a_flink_that_is_absent_or_has_no_slots_or_is_none_is_told(absent, programs, tmp_path, web):
    programs(java=('openjdk version "17.0.15"', 0))
    (tmp_path / 'server.jar').touch()
    common = (
        'beam.runner=flink',
        f'beam.flink.job_server_jar={tmp_path}/server.jar',
        'beam.workers.environment=loopback',
    )
    assert f'no Flink answers at http://{absent}' in missing(*common, f'beam.flink.master={absent}')[0]
    assert 'has no task slot' in missing(*common, f'beam.flink.master={web({"slots-total": 0})}')[0]
    assert 'is not the REST service' in missing(*common, f'beam.flink.master={web([])}')[0]


def test_a_spark_that_is_absent_is_told(absent, programs, tmp_path):
    programs(java=('openjdk version "17.0.15"', 0))
    (tmp_path / 'server.jar').touch()
    spark = f'beam.spark={{master: "spark://{absent}", job_server_jar: {tmp_path}/server.jar}}'
    told = missing('beam.runner=spark', spark, 'beam.workers.environment=loopback')
    assert told == [f'nothing answers at {absent} (beam.spark.master).']


def test_credentials_of_dataflow_are_asked_for(monkeypatch, tmp_path):
    for name in [name for name in os.environ if name.startswith('GOOGLE_')]:
        monkeypatch.delenv(name)
    monkeypatch.setenv('HOME', str(tmp_path))
    monkeypatch.setenv('CLOUDSDK_CONFIG', str(tmp_path))
    monkeypatch.setenv('NO_GCE_CHECK', 'true')
    (told,) = missing(*DATAFLOW)
    assert 'gcloud auth application-default login' in told


def test_dataflow_is_refused_a_folder_of_this_machine(monkeypatch):
    monkeypatch.setattr('pipeline.beam.check.missing_here', lambda settings: iter(()))
    with pytest.raises(StepError, match='have to lie in a bucket'):
        check(load('demo', DATAFLOW))


def test_workers_that_see_another_file_system_are_told(monkeypatch, tmp_path):
    """A job that ends well, and whose file does not turn up here."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr('pipeline.beam.check.missing_here', lambda settings: iter(()))
    monkeypatch.setattr(probe, 'run_probe', lambda *arguments: probe.Answer(True))
    with pytest.raises(StepError, match='its workers do not see .*: mount the same storage'):
        check(load('demo', ['beam.runner=portable']))


@pytest.mark.parametrize(
    ('seen', 'told'),
    [
        ({'Python': '3.10'}, r'Python 3\.10 \(here 3\.11\): give both the same environment'),
        ({'apache-beam': '2.61.0', 'tfx': 'none'}, r'apache-beam 2\.61\.0 \(here 2\.62\.0\), tfx none'),
        ({'code': '0'}, 'run another revision of this package'),
    ],
)
def test_workers_that_run_with_something_else_are_told(monkeypatch, tmp_path, seen, told):
    def answer(flags: object, file: str, inputs: object, seconds: int) -> probe.Answer:
        Path(file).parent.mkdir(parents=True, exist_ok=True)
        Path(file).write_text(json.dumps({'versions': {**probe.versions(), **seen}, 'missing': []}))
        return probe.Answer(True)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr('pipeline.beam.check.missing_here', lambda settings: iter(()))
    monkeypatch.setattr(probe, 'run_probe', answer)
    with pytest.raises(StepError, match=told):
        check(load('demo', ['beam.runner=portable']))
    assert not [path for path in tmp_path.rglob('*') if path.is_file()]


def test_a_worker_looks_for_the_data_and_writes_what_it_is(tmp_path):
    (tmp_path / 'here.csv').touch()
    probe.look(str(tmp_path / 'seen'), [str(tmp_path / 'here.csv'), '/no/there.csv'])
    seen = json.loads((tmp_path / 'seen').read_text())
    assert seen == {'versions': probe.versions(), 'missing': ['/no/there.csv']}
    assert seen['versions']['apache-beam'] == '2.62.0'


def test_a_job_in_another_process_tells_what_it_raised():
    answer = probe.run_probe(['--runner=NoRunner'], '/no/file', [], 60)
    assert not answer.ended
    assert 'NoRunner' in answer.error


@pytest.mark.parametrize(
    ('text', 'line'),
    [
        (
            'Traceback (most recent call last):\n  File "a.py"\nRuntimeError: Channel closed.',
            'RuntimeError: Channel closed.',
        ),
        (
            'java.lang.RuntimeException: of Java\n\tat a.b(C.java:1)\n\t... 9 more',
            'java.lang.RuntimeException: of Java',
        ),
        ('out of luck', 'out of luck'),
        ('', 'no reason is given'),
    ],
)
def test_the_line_of_a_stack_trace_that_says_what_happened(text, line):
    assert last_line(text) == line
