"""ML Metadata on a real MariaDB: every fault of the connection in one line, and what runs do to each other."""

import signal
import socket
import subprocess
import sys
import threading
import traceback
from pathlib import Path

import pytest
from ml_metadata import MetadataStore
from ml_metadata.proto import metadata_store_pb2
from tfx.orchestration.pipeline import Pipeline

from components import faces
from components.errors import StepError
from components.metadata import CA, PASSWORD, USER, MetadataSettings, connection_config, store_name
from components.report.ledger import read_ledger
from components.validate.packaged_schema import PackagedSchema
from pipeline import database, history, local
from pipeline.config import Config, load, to_yaml
from pipeline.kubeflow.volumes import on_volumes
from tests import mariadb

SECRET = 'Grüße 17 %s'
SET_UP = """
import sys, time
from pathlib import Path
from pipeline import database
Path(sys.argv[2]).touch()
while not Path(sys.argv[3]).exists():
    time.sleep(0.001)
database.prepare(sys.argv[1])
"""


@pytest.fixture(scope='module')
def server(tmp_path_factory):
    with mariadb.running(tmp_path_factory.mktemp('mariadb')) as server:
        yield server


@pytest.fixture
def settings(server, monkeypatch, request):
    """An empty database of this test's own, and an account with the documented rights."""
    name = f'test_{abs(hash(request.node.name)) % 10**9}'
    server.create(name, 'trainer', SECRET)
    monkeypatch.setenv(USER, 'trainer')
    monkeypatch.setenv(PASSWORD, SECRET)
    return lambda **changes: MetadataSettings(
        **{'host': mariadb.ADDRESS, 'port': server.port, 'database': name, 'ca': '', **changes}
    )


def store(settings: MetadataSettings) -> str:
    return store_name(settings, Path('/nowhere'))


def complaint(settings: MetadataSettings) -> str:
    """The line; the password is nowhere in the error's whole story."""
    with pytest.raises(StepError) as caught:
        database.prepare(store(settings))
    assert SECRET not in ''.join(traceback.format_exception(caught.value))
    message = str(caught.value)
    assert '\n' not in message
    return message.replace(settings.address, 'THERE')


def test_the_documented_rights_suffice_and_tables_are_made(settings, server):
    database.prepare(store(settings()))
    assert database.fault(store(settings())) == ''
    assert server.execute(f'SELECT schema_version FROM {settings().database}.MLMDEnv')
    database.prepare(store(settings()))


def test_a_file_needs_no_look(tmp_path):
    database.prepare(str(tmp_path / 'metadata.sqlite'))
    assert database.fault(str(tmp_path / 'metadata.sqlite')) == ''
    assert not list(tmp_path.iterdir())


def test_a_connection_with_tls_is_held_against_the_authority(settings, server, monkeypatch):
    server.execute('ALTER USER trainer REQUIRE SSL')
    assert complaint(settings()) == (
        "ML Metadata's database THERE: user trainer is let in over TLS alone: name the certificate authority as "
        'metadata.ca.'
    )
    database.prepare(store(settings(ca=str(server.authority))))
    monkeypatch.setenv(CA, str(server.authority))
    database.prepare(store(settings()))


def test_a_certificate_of_another_authority_is_refused(settings, tmp_path):
    path = tmp_path / 'other.pem'
    mariadb.write_authority(path)
    assert f"THERE: the server's certificate is not from the authority in {path}: " in complaint(settings(ca=str(path)))


def test_a_certificate_for_another_name_is_refused(settings, server):
    assert complaint(settings(ca=str(server.authority), host=mariadb.OTHER_ADDRESS)) == (
        f"ML Metadata's database THERE: the server's certificate does not name {mariadb.OTHER_ADDRESS} "
        '(metadata.host): give it one that does.'
    )


def test_an_expired_certificate_is_refused(settings, server):
    try:
        server.certify(days=-1)
        server.execute('FLUSH SSL')
        assert "THERE: the server's certificate has expired" in complaint(settings(ca=str(server.authority)))
    finally:
        server.certify()
        server.execute('FLUSH SSL')


def test_a_server_without_tls_is_refused_where_an_authority_is_named(settings, server):
    server.kill(signal.SIGTERM)
    server.start('--skip-ssl')
    try:
        assert 'THERE: the server offers no TLS, but metadata.ca asks' in complaint(settings(ca=str(server.authority)))
        database.prepare(store(settings()))
    finally:
        server.kill(signal.SIGTERM)
        server.start()


@pytest.mark.parametrize(
    ('content', 'reason'), [(None, 'No such file or directory'), ('x', 'no certificate in PEM form')]
)
def test_an_authority_that_cannot_be_read_is_told(settings, tmp_path, content, reason):
    path = tmp_path / 'ca.pem'
    if content:
        path.write_text(content)
    assert complaint(settings(ca=str(path))) == f'The certificate authority {path} cannot be read: {reason}.'


def test_a_wrong_password_or_user_is_told(settings, monkeypatch):
    monkeypatch.setenv(PASSWORD, 'wrong')
    refused = complaint(settings())
    assert refused == (
        f"ML Metadata's database THERE: user trainer is refused: the password in {PASSWORD} is wrong, or no such user "
        f'({USER}) may come from this machine.'
    )
    monkeypatch.setenv(USER, 'nobody')
    assert 'user nobody is refused' in complaint(settings())


@pytest.mark.parametrize('name', [USER, PASSWORD])
def test_what_the_environment_lacks_is_told(settings, monkeypatch, name):
    monkeypatch.delenv(name)
    assert complaint(settings()).startswith(f'{name} is not set: ')


def test_a_database_that_is_missing_or_out_of_reach_is_told(settings, server):
    absent = settings(database='absent')
    assert 'THERE: it does not exist, or user trainer may not use it: create it' in complaint(absent)
    server.execute('GRANT SELECT ON *.* TO trainer')
    try:
        assert 'THERE: there is no such database: CREATE DATABASE absent' in complaint(absent)
    finally:
        server.execute('REVOKE SELECT ON *.* FROM trainer')


def test_missing_rights_are_named_before_a_table_is_made(settings, server):
    name = settings().database
    server.execute(f'REVOKE ALTER, INDEX ON {name}.* FROM trainer')
    assert complaint(settings()) == (
        f"ML Metadata's database THERE: user trainer lacks the right to ALTER, INDEX: GRANT {mariadb.RIGHTS} ON "
        f'{name}.* to the account.'
    )
    assert not server.execute(f'SHOW TABLES FROM {name}')


def test_a_way_to_authenticate_that_ml_metadata_lacks_is_told(settings, server, monkeypatch):
    server.execute(
        "INSTALL SONAME 'auth_ed25519'",
        f"CREATE OR REPLACE USER modern IDENTIFIED VIA ed25519 USING PASSWORD('{SECRET}')",
        f'GRANT {mariadb.RIGHTS} ON {settings().database}.* TO modern',
    )
    monkeypatch.setenv(USER, 'modern')
    assert (
        "THERE: user modern authenticates in a way that ML Metadata's client has not: give the account "
        'mysql_native_password'
    ) in complaint(settings())
    # Nor does ML Metadata itself get in.
    with pytest.raises(RuntimeError):
        MetadataStore(connection_config(store(settings())))


def test_a_host_that_is_unknown_or_refuses_is_told(settings):
    assert 'THERE: there is no such host' in complaint(settings(host='nowhere.invalid'))
    with socket.socket() as free:
        free.bind((mariadb.ADDRESS, 0))
        assert 'THERE: nothing listens there' in complaint(settings(port=free.getsockname()[1]))


@pytest.mark.parametrize(
    ('banner', 'words'),
    [
        (b'', 'gave no answer within 1 s or broke off'),
        (b'SSH-2.0-OpenSSH_9.2\r\n', 'does not speak as MySQL does: is metadata.port right?'),
    ],
)
def test_a_port_where_something_else_listens_is_told_in_bounded_time(settings, monkeypatch, banner, words):
    monkeypatch.setattr(database, 'TIMEOUT', 1)
    with socket.create_server((mariadb.ADDRESS, 0)) as listener:
        threading.Thread(target=lambda: _greet(listener, banner), daemon=True).start()
        assert f'THERE: what listens there {words}' in complaint(settings(port=listener.getsockname()[1]))


def _greet(listener: socket.socket, banner: bytes) -> None:
    client, _ = listener.accept()
    with client:
        client.sendall(banner)
        client.recv(1)


def test_the_missing_client_is_told(settings, monkeypatch):
    monkeypatch.setitem(sys.modules, 'pymysql', None)
    assert complaint(settings()) == (
        "metadata.host needs the package PyMySQL: in the project's folder, uv pip install '.[mysql]' installs it."
    )


def test_a_database_that_was_left_half_made_is_told(settings, server):
    database.prepare(store(settings()))
    server.execute(f'DELETE FROM {settings().database}.MLMDEnv')
    assert 'THERE: it was left half made, and holds nothing yet: drop the database' in complaint(settings())


def test_first_runs_side_by_side_set_up_one_database(settings, tmp_path):
    go = tmp_path / 'go'
    ready = [tmp_path / f'ready-{number}' for number in range(4)]
    processes = [
        subprocess.Popen(
            [sys.executable, '-c', SET_UP, store(settings()), str(path), str(go)], stderr=subprocess.PIPE, text=True
        )
        for path in ready
    ]
    try:
        while not all(path.exists() for path in ready):
            assert all(process.poll() is None for process in processes)
        go.touch()
        stories = [process.communicate(timeout=60)[1] for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [0] * 4, stories
    MetadataStore(connection_config(store(settings())))


def small(name: str, folder: Path) -> Pipeline:
    """A graph of two nodes of the real one that need no data."""
    steps = [PackagedSchema(task).with_id(f'ImportSchemaGen-{task}') for task in faces.TASKS]
    return Pipeline(name, str(folder / name / 'artifacts'), components=steps, enable_cache=True)


def silent(node: str, state: str, seconds: float) -> None:
    pass


def test_pipelines_with_a_run_of_the_same_id_are_told_apart(settings, tmp_path):
    where = store(settings())
    database.prepare(where)
    assert not local.execute(small('one', tmp_path), where, 'same', silent)
    assert not local.execute(small('two', tmp_path), where, 'same', silent)
    assert local.execute(small('one', tmp_path), where, 'later', silent), 'all from the cache'
    for name in ('one', 'two'):
        ledger = read_ledger(where, 'same', name)
        assert [(step.node, step.state) for step in ledger.steps] == [
            ('ImportSchemaGen-expression', 'complete'),
            ('ImportSchemaGen-keypoints', 'complete'),
        ]
        for outputs in ledger.outputs.values():
            assert Path(outputs['schema']).is_relative_to(tmp_path / name) and Path(outputs['schema']).exists()
    assert [step.state for step in read_ledger(where, 'later', 'one').steps] == ['cached'] * 2
    assert read_ledger(where, 'never', 'one').steps == ()


def test_a_server_that_is_back_at_once_is_not_missed(settings, server, tmp_path):
    where = store(settings())
    database.prepare(where)

    def restart(node: str, state: str, seconds: float) -> None:
        if node.endswith('keypoints') and state == 'running':
            server.kill()
            server.start()

    local.execute(small('one', tmp_path), where, 'run', restart)
    assert [step.state for step in read_ledger(where, 'run', 'one').steps] == ['complete'] * 2


def test_a_server_that_goes_away_is_told_and_the_next_run_goes_on(settings, server, tmp_path):
    where = store(settings())
    database.prepare(where)

    def kill(node: str, state: str, seconds: float) -> None:
        if node.endswith('keypoints') and state == 'running':
            server.kill()

    try:
        with pytest.raises(Exception) as caught:  # noqa: B017, PT011 -- whatever ML Metadata raises
            local.execute(small('one', tmp_path), where, 'run', kill)
        assert database.interruption(where, caught.value) == (
            f"The run lost its database. ML Metadata's database {settings().address}: nothing listens there: is the "
            'server running, are metadata.host and metadata.port right? '
            'When it answers, run it again to go on from here.'
        )
    finally:
        server.start()
    assert database.interruption(where, caught.value).startswith(
        'The run lost its database, which answers again: run it again to go on from here.'
    )
    local.execute(small('one', tmp_path), where, 'next', silent)
    assert [step.state for step in read_ledger(where, 'next', 'one').steps] == ['cached', 'complete']
    found = MetadataStore(connection_config(where)).get_artifacts()
    assert all(Path(artifact.uri).exists() for artifact in found if artifact.state == metadata_store_pb2.Artifact.LIVE)


def test_a_run_that_cannot_begin_is_told_in_the_history_and_leaves_the_database_alone(settings, server, tmp_path):
    name = settings().database
    server.execute(f'REVOKE INDEX ON {name}.* FROM trainer')
    result = local.run(Config(runs=str(tmp_path), metadata=settings()), 'run', (), silent)
    assert result.entry.state == 'failed'
    assert 'user trainer lacks the right to INDEX' in result.entry.message
    (entry,) = history.read(tmp_path / 'faces' / 'history')
    assert entry == result.entry
    assert entry.message.split(':')[-1] in Path(entry.report).read_text(encoding='utf-8')
    assert not server.execute(f'SHOW TABLES FROM {name}')


def test_other_errors_are_no_lost_database(settings, tmp_path):
    assert database.interruption(store(settings()), ValueError('mysql')) == ''
    assert database.interruption(str(tmp_path / 'metadata.sqlite'), RuntimeError('mysql')) == ''


@pytest.mark.parametrize(
    ('override', 'words'),
    [
        ('metadata.host=localhost', 'write 127.0.0.1 for a server on this machine'),
        ('metadata.host=trainer:hunter2@example.org', f'user and password come from {USER} and {PASSWORD}'),
        ('metadata.port=0', 'a number from 1 to 65535'),
        ('metadata.database=faces-demo', "metadata.database is 'faces-demo': ML Metadata takes letters, digits and _"),
        ('metadata.database=4faces', 'no digit at the beginning'),
        ('metadata.password=hunter2', 'Unknown configuration key metadata.password'),
    ],
)
def test_what_the_configuration_must_not_say_is_refused(override, words):
    with pytest.raises(StepError) as caught:
        load('demo', [override])
    assert words in str(caught.value)
    assert 'hunter2' not in str(caught.value)


def test_kubeflow_keeps_its_own_metadata():
    placed = on_volumes(Config(metadata=MetadataSettings('db.example.org')))
    assert 'mysql' not in placed.metadata_store + to_yaml(placed)


@pytest.mark.parametrize('host', ['db.example.org', '10.0.0.7', 'fe80::1'])
def test_the_name_of_a_store_says_where_it_is_and_no_secret(host, monkeypatch):
    monkeypatch.setenv(USER, 'trainer')
    monkeypatch.setenv(PASSWORD, SECRET)
    config = Config(metadata=MetadataSettings(host, 3307, 'faces', '/etc/ssl/a b.pem'))
    assert SECRET not in config.metadata_store + to_yaml(config)
    mysql = connection_config(config.metadata_store).mysql
    assert (mysql.host, mysql.port, mysql.database) == (host, 3307, 'faces')
    assert (mysql.user, mysql.password) == ('trainer', SECRET)
    assert mysql.ssl_options.ca == '/etc/ssl/a b.pem'
