"""Submitting, following and scheduling against a server that answers as the API of Kubeflow Pipelines does."""

import contextlib
import datetime
import importlib
import ipaddress
import socket
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import kfp.client
import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from components.errors import StepError
from pipeline.kubeflow import connection, recurring, runs
from pipeline.kubeflow.connection import Connection, Server, ServerError, checked_token, connect, read_token
from pipeline.kubeflow.cron import in_cluster_zone
from pipeline.kubeflow.recurring import CHANGED, CREATED, UNCHANGED, Schedule
from pipeline.kubeflow.specification import Specification, read
from pipeline.kubeflow.upload import upload

NOW = datetime.datetime(2026, 3, 1, 12, tzinfo=datetime.UTC)


@pytest.fixture(scope='session')
def api() -> Iterator[ModuleType]:
    """The module `api_server`; `tests` is no package."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(Path(__file__).parent))
        yield importlib.import_module('api_server')


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch, tmp_path):
    """Nothing of the machine says where a server is; a wait between two attempts would be seen in the tests' time."""
    for name in (
        'KF_PIPELINES_ENDPOINT',
        'KF_PIPELINES_UI_ENDPOINT',
        'KUBERNETES_SERVICE_HOST',
        connection.TOKEN_VARIABLE,
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(kfp.client.Client, '_LOCAL_KFP_CONTEXT', str(tmp_path / 'home' / 'context.json'))


@pytest.fixture
def served(api) -> Iterator[tuple[str, Any]]:
    with api.serving() as served:
        yield served


@pytest.fixture
def address(served) -> str:
    return served[0]


@pytest.fixture
def state(served) -> Any:
    return served[1]


@pytest.fixture
def server(address) -> Server:
    return connect(Connection(host=address))


def compiled(image: str = 'faces:1', **defaults: Any) -> Specification:
    """A small pipeline of two tasks; a parameter for each default, and `epochs`, which has none."""
    parameters: dict[str, Any] = {'epochs': {'parameterType': 'NUMBER_INTEGER'}}
    for name, value in defaults.items():
        kind = 'BOOLEAN' if isinstance(value, bool) else 'NUMBER_DOUBLE' if isinstance(value, float) else 'STRING'
        parameters[name] = {'parameterType': kind, 'defaultValue': value}
    container = {'image': image, 'command': ['python'], 'args': ['{{$}}']}
    names = ('Trainer', 'Pusher')
    document = {
        'schemaVersion': '2.1.0',
        'sdkVersion': 'tfx-1.16.0',
        'pipelineInfo': {'name': 'faces'},
        'root': {
            'inputDefinitions': {'parameters': parameters},
            'dag': {
                'tasks': {
                    name: {
                        'taskInfo': {'name': name},
                        'componentRef': {'name': name},
                        'cachingOptions': {'enableCache': True},
                    }
                    for name in names
                }
            },
        },
        'components': {name: {'executorLabel': f'{name}_executor'} for name in names},
        'deploymentSpec': {'executors': {f'{name}_executor': {'container': container} for name in names}},
    }
    platforms = {'platforms': {'kubernetes': {'deploymentSpec': {'executors': {'Trainer_executor': {}}}}}}
    return read(yaml.safe_dump_all([document, platforms]))


def nightly(**changes: Any) -> Schedule:
    schedule = Schedule('nightly', '0 3 * * *', 'UTC', '0 0 3 * * *', {'epochs': 3}, pipeline_root='s3://bucket/runs')
    return replace(schedule, **changes)


def complaint(call: Callable[[], Any]) -> str:
    with pytest.raises(StepError) as caught:
        call()
    assert '\n' not in str(caught.value)
    return str(caught.value)


class TestConnecting:
    def test_the_namespace_and_the_address_are_known_after_it(self, address):
        server = connect(Connection(host=f'{address}/', namespace='team'))
        assert (server.namespace, server.run_url('1')) == ('team', f'{address}/#/runs/details/1')

    def test_nothing_is_written_to_the_home_or_printed(self, address, state, tmp_path, capsys, monkeypatch):
        state.multi_user = True
        # kfp writes the namespace of the pod that it runs in.
        (tmp_path / 'namespace').write_text('team')
        monkeypatch.setattr(kfp.client.Client, '_NAMESPACE_PATH', str(tmp_path / 'namespace'))
        assert connect(Connection(host=address)).namespace == 'team'
        assert not (tmp_path / 'home').exists()
        assert capsys.readouterr() == ('', '')

    def test_the_namespace_of_kfps_own_context_is_taken_unless_another_is_given(self, address, tmp_path):
        (tmp_path / 'home').mkdir()
        (tmp_path / 'home' / 'context.json').write_text('{"namespace": "team"}')
        assert connect(Connection(host=address)).namespace == 'team'
        assert connect(Connection(host=address, namespace='other')).namespace == 'other'

    def test_a_broken_context_of_kfp_is_named(self, address, tmp_path):
        (tmp_path / 'home').mkdir()
        (tmp_path / 'home' / 'context.json').write_text('[')
        assert 'context.json' in complaint(lambda: connect(Connection(host=address)))

    def test_the_token_is_sent_and_never_shown(self, address, state):
        state.token = 'secret-token'
        connection = Connection(host=address, token='secret-token')
        connect(connection)
        assert state.requests[-1].headers['authorization'] == 'Bearer secret-token'
        assert 'secret-token' not in repr(connection)

    def test_without_a_token_the_way_to_give_one_is_said(self, address, state):
        state.token = 'secret-token'
        assert connection.TOKEN_VARIABLE in complaint(lambda: connect(Connection(host=address)))

    def test_several_users_and_no_namespace_ask_for_one(self, address, state):
        state.multi_user = True
        assert '--namespace' in complaint(lambda: connect(Connection(host=address)))

    def test_no_server_is_told_at_once(self):
        with socket.socket() as unused:
            unused.bind(('127.0.0.1', 0))
            port = unused.getsockname()[1]
        message = complaint(lambda: connect(Connection(host=f'http://127.0.0.1:{port}')))
        assert f'no server at http://127.0.0.1:{port}: Failed to establish a new connection: [Errno 111]' in message

    def test_an_unknown_name_is_told(self):
        message = complaint(lambda: connect(Connection(host='http://kubeflow.invalid')))
        assert 'There is no server at http://kubeflow.invalid' in message

    def test_a_server_that_breaks_off_is_told(self, address, state, api):
        state.faults.append(api.Fault('GET .*/healthz', 'drop'))
        assert f'There is no server at {address}' in complaint(lambda: connect(Connection(host=address)))

    def test_a_server_that_does_not_answer_is_given_up(self, address, state, api, monkeypatch):
        state.faults.append(api.Fault('GET .*/healthz', 'slow'))
        monkeypatch.setattr(connection, '_ANSWER_SECONDS', 0.1)
        assert 'does not answer within' in complaint(lambda: connect(Connection(host=address)))

    def test_a_login_page_is_not_taken_for_an_answer(self, address, state, api):
        state.faults.append(api.Fault('GET .*', 'login'))
        message = complaint(lambda: connect(Connection(host=address)))
        assert 'a page instead of JSON' in message and connection.TOKEN_VARIABLE in message

    def test_a_redirect_is_told_and_not_followed(self, address, state, api):
        state.faults.append(api.Fault('GET .*', 'redirect', times=100))
        message = complaint(lambda: connect(Connection(host=address)))
        assert '/dex/auth' in message and not state.requests
        assert state.faults[0].times == 99

    @pytest.mark.parametrize(
        'host',
        ['ftp://kubeflow', 'http://', 'http://a:b:c', 'http://user@kubeflow', 'https://kube flow', 'http://x/?a'],
    )
    def test_what_is_no_address_is_refused(self, host):
        assert 'is no address' in complaint(lambda: connect(Connection(host=host)))

    def test_a_host_and_a_kubeconfig_contradict_each_other(self, address):
        assert 'Both a host' in complaint(lambda: connect(Connection(host=address, context='minikube')))


class TestTransportSecurity:
    @pytest.fixture
    def certificate(self, tmp_path) -> tuple[str, str]:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, 'kubeflow')])
        now = datetime.datetime.now(datetime.UTC)
        loopback = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address('127.0.0.1'))])
        signed = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(minutes=1))
            .not_valid_after(now + datetime.timedelta(hours=1))
            .add_extension(loopback, critical=False)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(key, hashes.SHA256())
        )
        files = str(tmp_path / 'certificate.pem'), str(tmp_path / 'key.pem')
        Path(files[0]).write_bytes(signed.public_bytes(serialization.Encoding.PEM))
        encoding = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        Path(files[1]).write_bytes(key.private_bytes(*encoding))
        return files

    def test_an_unknown_authority_is_refused_unless_its_certificate_is_named(self, api, certificate, capsys):
        with api.serving(certificate) as (address, _):
            message = complaint(lambda: connect(Connection(host=address)))
            assert 'cannot be trusted' in message and '--ca-file' in message
            connect(Connection(host=address, ca_file=certificate[0]))
            connect(Connection(host=address, verify=False))
        assert capsys.readouterr() == ('', '')

    def test_https_where_none_is_spoken_is_told(self, address):
        message = complaint(lambda: connect(Connection(host=address.removeprefix('http://'))))
        assert f'{address.replace("http", "https")} speaks no TLS' in message

    def test_a_file_without_certificates_is_named(self, address, tmp_path):
        (tmp_path / 'empty.pem').touch()
        for name in ('empty.pem', 'none.pem'):
            message = complaint(lambda name=name: connect(Connection(host=address, ca_file=str(tmp_path / name))))
            assert name in message


class TestKubeconfig:
    @pytest.fixture
    def kubeconfig(self, tmp_path) -> Callable[[str], str]:
        def write(address: str) -> str:
            file = tmp_path / 'kubeconfig'
            document = {
                'current-context': 'here',
                'contexts': [{'name': 'here', 'context': {'cluster': 'here', 'user': 'ada'}}],
                'clusters': [{'name': 'here', 'cluster': {'server': address}}],
                'users': [{'name': 'ada', 'user': {'token': 'from-kubeconfig'}}],
            }
            file.write_text(yaml.safe_dump(document))
            return str(file)

        return write

    def test_the_service_is_reached_through_the_cluster(self, address, state, kubeconfig):
        # The test server is no Kubernetes API; what it was asked for tells the way.
        file = kubeconfig(address)
        message = complaint(lambda: connect(Connection(kubeconfig=file, service_namespace='kfp')))
        assert (
            'does not know GET /api/v1/namespaces/kfp/services/ml-pipeline:http/proxy/apis/v2beta1/healthz' in message
        )
        assert state.requests[-1].headers['authorization'] == 'Bearer from-kubeconfig'

    def test_an_unknown_context_is_told(self, address, kubeconfig):
        message = complaint(lambda: connect(Connection(kubeconfig=kubeconfig(address), context='there')))
        assert 'there' in message and '--host' in message

    def test_a_missing_kubeconfig_asks_for_a_host(self, tmp_path):
        message = complaint(lambda: connect(Connection(kubeconfig=str(tmp_path / 'none'))))
        assert 'No server is named: give --host' in message


class TestTokens:
    def test_a_token_is_read_from_a_file_without_the_end_of_its_line(self, tmp_path):
        (tmp_path / 'token').write_text('abc.def-1==\n')
        assert read_token(tmp_path / 'token') == 'abc.def-1=='

    @pytest.mark.parametrize('content', ['', 'two words', 'a\r\nHost: other', 'ü', 'x' * 70_000])
    def test_what_cannot_be_a_header_is_refused(self, tmp_path, content):
        (tmp_path / 'token').write_text(content)
        assert 'no bearer token' in complaint(lambda: read_token(tmp_path / 'token'))
        assert 'no bearer token' in complaint(lambda: checked_token(content, 'it'))

    def test_a_missing_file_is_named(self, tmp_path):
        assert 'none cannot be read' in complaint(lambda: read_token(tmp_path / 'none'))


class TestErrors:
    @pytest.mark.parametrize(
        ('status', 'message', 'said'),
        [
            (400, 'Invalid input error: no', 'refuses GET /apis/v2beta1/runs (400): Invalid input error: no'),
            (401, 'who?', 'does not know who asks (401): who?'),
            (403, 'no right', 'gives no right to GET /apis/v2beta1/runs in namespace team (403): no right'),
            (404, 'nothing', 'does not know GET /apis/v2beta1/runs (404): nothing'),
            (500, 'broken\n\nat line 1', 'failed at GET /apis/v2beta1/runs (500): broken at line 1'),
            (503, 'x' * 5000, 'Try again'),
        ],
    )
    def test_every_status_ends_in_one_line_with_the_servers_words(self, address, state, api, status, message, said):
        server = connect(Connection(host=address, namespace='team'))
        state.faults.append(api.Fault('GET .*/runs', status=status, message=message))
        told = complaint(lambda: server.client.list_runs(namespace='team'))
        assert said in told and len(told) < 700

    def test_a_namespace_without_rights_is_named(self, address, state):
        state.multi_user = True
        server = connect(Connection(host=address, namespace='wrong'))
        message = complaint(lambda: upload(server, compiled()))
        assert 'in namespace wrong (403)' in message and 'not authorized' in message


class TestUploading:
    def test_a_content_is_uploaded_once(self, server, state):
        first, second = upload(server, compiled()), upload(server, compiled())
        assert (first.is_new, second.is_new) == (True, False)
        assert first.version_id == second.version_id
        assert state.writes() == [
            'POST /apis/v2beta1/pipelines',
            'POST /apis/v2beta1/pipelines/upload_version',
        ]
        assert state.versions[0].pipeline_spec['pipeline_spec'] == next(yaml.safe_load_all(compiled().text))

    def test_another_content_is_another_version_of_the_same_pipeline(self, server, state):
        upload(server, compiled('faces:1'))
        upload(server, compiled('faces:2'))
        assert len(state.pipelines) == 1
        assert [version.display_name for version in state.versions] == [
            compiled('faces:1').version,
            compiled('faces:2').version,
        ]

    def test_a_pipeline_whose_name_differs_in_capitals_is_another(self, server, state, api):
        state.pipelines.append(api.api.V2beta1Pipeline(pipeline_id='1', display_name='FACES', created_at=state.now()))
        upload(server, compiled())
        assert [pipeline.display_name for pipeline in state.pipelines] == ['FACES', 'faces']

    def test_one_whose_answer_was_lost_is_found_the_next_time(self, server, state, api):
        state.faults.append(api.Fault('POST .*/upload_version', 'late', times=1))
        complaint(lambda: upload(server, compiled()))
        assert not upload(server, compiled()).is_new and len(state.versions) == 1

    @pytest.mark.parametrize('listing', ['list_pipelines', 'list_pipeline_versions'])
    def test_one_that_somebody_else_uploads_meanwhile_is_taken(self, server, state, address, listing, monkeypatch):
        somebody, original, looks = connect(Connection(host=address)), getattr(server.client, listing), iter([True])

        def look(*arguments: Any, **options: Any) -> Any:
            seen = original(*arguments, **options)
            if next(looks, False):
                upload(somebody, compiled())
            return seen

        monkeypatch.setattr(server.client, listing, look)
        assert not upload(server, compiled()).is_new
        assert (len(state.pipelines), len(state.versions)) == (1, 1)

    def test_what_is_no_pipeline_spec_is_refused_with_the_servers_words(self, server):
        broken = read(compiled().text.replace('sdkVersion', 'sdkVersoin'))
        assert 'unknown template format' in complaint(lambda: upload(server, broken))

    def test_in_a_namespace_it_belongs_to_it(self, address, state):
        state.multi_user = True
        upload(connect(Connection(host=address, namespace='team')), compiled())
        assert state.pipelines[0].namespace == 'team'


class TestRuns:
    def test_a_run_gets_its_version_its_parameters_and_its_root(self, server, state, capsys):
        arguments = {'epochs': 3}
        submission = runs.submit(
            server, compiled(), arguments, pipeline_root='s3://bucket/runs', service_account='faces'
        )
        (run,) = state.runs
        assert submission.run_id == run.run_id and run.display_name == submission.name
        assert run.pipeline_version_reference.pipeline_version_id == submission.version.version_id
        assert run.runtime_config.parameters == {'epochs': 3}
        assert run.runtime_config.pipeline_root == 's3://bucket/runs'
        assert run.service_account == 'faces'
        assert state.experiments[0].display_name == 'faces' and run.experiment_id == state.experiments[0].experiment_id
        assert capsys.readouterr() == ('', '')

    def test_an_experiment_is_created_once(self, server, state, api):
        of_capitals = api.api.V2beta1Experiment(experiment_id='1', display_name='Nightly', created_at=state.now())
        state.experiments.append(of_capitals)
        for _ in range(2):
            runs.submit(server, compiled(), {'epochs': 3}, experiment='nightly')
        assert [experiment.display_name for experiment in state.experiments] == ['Nightly', 'nightly']

    def test_a_root_that_the_launcher_cannot_write_to_is_refused_before_anything_is_sent(self, server, state):
        assert 's3://' in complaint(lambda: runs.submit(server, compiled(), {'epochs': 3}, pipeline_root='/tmp/runs'))
        assert state.writes() == []

    def test_following_ends_with_the_run_and_shows_every_step(self, server, state):
        state.course = [
            ('PENDING', []),
            ('RUNNING', [('Trainer', 'RUNNING', '')]),
            ('SUCCEEDED', [('Trainer', 'SUCCEEDED', ''), ('Pusher', 'SUCCEEDED', '')]),
        ]
        submission = runs.submit(server, compiled(), {'epochs': 3})
        seen = []
        show = lambda run: seen.append((run.state, [task.name for task in runs.tasks(run)]))  # noqa: E731
        assert runs.follow(server, submission.run_id, show, interval=0.01).state == 'SUCCEEDED'
        assert seen == [('PENDING', []), ('RUNNING', ['Trainer']), ('SUCCEEDED', ['Pusher', 'Trainer'])]

    def test_following_outlasts_a_server_that_fails_for_a_while(self, server, state, api):
        state.course = [('RUNNING', []), ('SUCCEEDED', [])]
        submission = runs.submit(server, compiled(), {'epochs': 3})

        def fail(_: Any = None) -> None:
            state.faults += [api.Fault('GET .*/runs/.*', 'drop', times=2), api.Fault('GET .*/runs/.*', times=2)]

        fail()
        assert runs.follow(server, submission.run_id, fail, interval=0.01).state == 'SUCCEEDED'

    @pytest.mark.parametrize(('status', 'questions'), [(500, 5), (401, 1)])
    def test_following_gives_up_when_it_is_hopeless(self, server, state, api, status, questions):
        submission = runs.submit(server, compiled(), {'epochs': 3})
        state.faults.append(api.Fault('GET .*/runs/.*', status=status, times=1000))
        with pytest.raises(ServerError):
            runs.follow(server, submission.run_id, lambda run: None, interval=0.01)
        assert state.faults[0].times == 1000 - questions

    def test_following_stops_at_its_time_out(self, server, state):
        state.course = [('RUNNING', [])]
        submission = runs.submit(server, compiled(), {'epochs': 3})
        assert runs.follow(server, submission.run_id, lambda run: None, interval=0.01, timeout=0.05).state == 'RUNNING'

    def test_an_error_of_a_tasks_executor_is_the_tasks(self, server, state):
        state.course = [('FAILED', [('Trainer', 'FAILED', 'out of memory'), ('Pusher', 'SKIPPED', '')])]
        submission = runs.submit(server, compiled(), {'epochs': 3})
        run = server.client.get_run(submission.run_id)
        for names in ((), ('Trainer', 'Pusher')):
            assert [(task.name, task.state, task.error) for task in runs.tasks(run, names)] == [
                ('Pusher', 'SKIPPED', ''),
                ('Trainer', 'FAILED', 'out of memory'),
            ]

    def test_the_last_runs_are_found_across_pages(self, server, state):
        other = read(compiled().text.replace('name: faces', 'name: other'))
        for specification in [compiled()] * 3 + [other] * 120:
            runs.submit(server, specification, {'epochs': 3})
        pipeline_id = state.pipelines[0].pipeline_id
        found = runs.recent(server, 2, lambda run: runs.is_of(run, pipeline_id))
        assert [run.run_id for run in found] == [state.runs[2].run_id, state.runs[1].run_id]


class TestSchedules:
    def apply(self, server, schedule: Schedule | None = None, specification: Specification | None = None):
        return recurring.apply(server, specification or compiled(rate=0.5, fresh=False), schedule or nightly())

    def test_it_makes_up_for_nothing_runs_one_at_a_time_and_is_enabled(self, server, state):
        assert self.apply(server) == recurring.Applied(CREATED, paused=False)
        (run,) = state.recurring
        assert (run.no_catchup, run.max_concurrency, run.mode) == (True, '1', 'ENABLE')
        assert run.trigger.cron_schedule.cron == '0 0 3 * * *'
        assert run.runtime_config.parameters == {'epochs': 3}
        assert run.runtime_config.pipeline_root == 's3://bucket/runs'

    def test_the_same_once_more_changes_nothing(self, server, state):
        self.apply(server)
        before = state.writes()
        assert self.apply(server) == recurring.Applied(UNCHANGED, paused=False)
        assert state.writes() == before

    def test_a_default_that_is_given_in_so_many_words_changes_nothing(self, server):
        self.apply(server)
        given = {'epochs': 3, 'rate': 0.5}
        assert self.apply(server, nightly(arguments=given)).outcome == UNCHANGED

    @pytest.mark.parametrize(
        'changes',
        [
            {'cron': '0 4 * * *', 'cluster_cron': '0 0 4 * * *'},
            {'arguments': {'epochs': 4}},
            {'arguments': {'epochs': 3, 'fresh': True}},
            {'pipeline_root': 's3://bucket/other'},
            {'pipeline_root': ''},
            {'service_account': 'faces'},
            {'experiment': 'other'},
            {'start': NOW},
            {'end': NOW},
            {'zone': 'Etc/UTC'},
        ],
        ids=str,
    )
    def test_whatever_differs_is_changed_once_and_never_are_two_enabled(self, server, state, changes):
        self.apply(server)
        assert self.apply(server, nightly(**changes)) == recurring.Applied(CHANGED, paused=False)
        assert self.apply(server, nightly(**changes)).outcome == UNCHANGED
        (run,) = state.recurring
        assert run.status == 'ENABLED'
        assert state.most_enabled == {'nightly': 1}

    def test_another_content_of_the_pipeline_is_a_change(self, server, state):
        self.apply(server)
        assert self.apply(server, specification=compiled('faces:2')).outcome == CHANGED
        (run,) = state.recurring
        assert run.pipeline_version_reference.pipeline_version_id == state.versions[1].pipeline_version_id

    def test_a_paused_one_stays_paused_until_it_is_resumed(self, server, state):
        self.apply(server)
        assert recurring.pause(server, 'nightly') and not recurring.pause(server, 'nightly')
        assert self.apply(server) == recurring.Applied(UNCHANGED, paused=True)
        assert self.apply(server, nightly(arguments={'epochs': 9})) == recurring.Applied(CHANGED, paused=True)
        assert [run.status for run in state.recurring] == ['DISABLED']
        assert recurring.resume(server, 'nightly') and not recurring.resume(server, 'nightly')
        assert [run.status for run in state.recurring] == ['ENABLED']

    @pytest.mark.parametrize(
        ('broken', 'kind'),
        [
            ('POST .*/recurringruns', 'status'),
            ('POST .*:disable', 'status'),
            ('POST .*:disable', 'late'),
            ('POST .*:enable', 'status'),
        ],
    )
    def test_a_change_that_fails_leaves_the_old_one_at_work(self, server, state, api, broken, kind):
        self.apply(server)
        old = state.recurring[0].recurring_run_id
        state.faults.append(api.Fault(broken, kind, times=1))
        complaint(lambda: self.apply(server, nightly(arguments={'epochs': 4})))
        assert [(run.recurring_run_id, run.status) for run in state.recurring] == [(old, 'ENABLED')]
        assert self.apply(server, nightly(arguments={'epochs': 4})).outcome == CHANGED
        assert state.most_enabled == {'nightly': 1}

    @pytest.mark.parametrize('moment', ['disable', 'enable'])
    def test_ctrl_c_in_the_middle_of_a_change_leaves_the_old_one_at_work(self, server, state, moment, monkeypatch):
        self.apply(server)
        old = state.recurring[0].recurring_run_id
        method = f'{moment}_recurring_run'
        original = getattr(server.client, method)
        presses = iter([True])

        def interrupted(identifier: str) -> None:
            original(identifier)
            if next(presses, False):
                raise KeyboardInterrupt

        monkeypatch.setattr(server.client, method, interrupted)
        with pytest.raises(KeyboardInterrupt):
            self.apply(server, nightly(arguments={'epochs': 4}))
        assert [(run.recurring_run_id, run.status) for run in state.recurring] == [(old, 'ENABLED')]

    def test_an_old_one_that_cannot_be_deleted_is_deleted_the_next_time(self, server, state, api):
        self.apply(server)
        state.faults.append(api.Fault('DELETE .*', times=1))
        assert 'run the same command again' in complaint(lambda: self.apply(server, nightly(arguments={'epochs': 4})))
        assert sorted(run.status for run in state.recurring) == ['DISABLED', 'ENABLED']
        assert self.apply(server, nightly(arguments={'epochs': 4})) == recurring.Applied(CHANGED, paused=False)
        (run,) = state.recurring
        assert (run.runtime_config.parameters, run.status) == ({'epochs': 4}, 'ENABLED')

    def test_a_change_that_the_power_cut_off_is_finished(self, server, state, api):
        self.apply(server)
        # The answer to the creation is lost, so that nothing is taken back.
        state.faults.append(api.Fault('POST .*/recurringruns', 'late', times=1))
        complaint(lambda: self.apply(server, nightly(arguments={'epochs': 4})))
        assert sorted(run.status for run in state.recurring) == ['DISABLED', 'ENABLED']
        assert 'cut off' in complaint(lambda: recurring.resume(server, 'nightly'))
        assert self.apply(server, nightly(arguments={'epochs': 4})) == recurring.Applied(CHANGED, paused=False)
        (run,) = state.recurring
        assert (run.runtime_config.parameters, run.status) == ({'epochs': 4}, 'ENABLED')
        assert state.most_enabled == {'nightly': 1}

    def test_somebody_elses_of_the_name_is_left_alone(self, server, state):
        self.apply(server)
        state.recurring[0].description = 'made by hand'
        for act in (self.apply, lambda server: recurring.delete(server, 'nightly')):
            assert 'was not created by this command' in complaint(lambda act=act: act(server))
        assert len(state.recurring) == 1

    def test_one_whose_name_differs_in_capitals_is_another(self, server, state):
        self.apply(server)
        assert self.apply(server, nightly(name='Nightly')).outcome == CREATED
        recurring.delete(server, 'nightly')
        assert [run.display_name for run in state.recurring] == ['Nightly']

    def test_a_deleted_one_is_gone_and_an_unknown_one_is_told_with_those_that_are(self, server, state):
        self.apply(server)
        self.apply(server, nightly(name='weekly'))
        recurring.delete(server, 'nightly')
        assert [run.display_name for run in state.recurring] == ['weekly']
        message = complaint(lambda: recurring.delete(server, 'nightly'))
        assert "no schedule 'nightly'" in message and 'weekly' in message

    def test_the_list_tells_the_zone_and_when_it_runs(self, server, state, api):
        tokyo = in_cluster_zone('30 3 * * 1', 'Asia/Tokyo', 'UTC')
        self.apply(server, nightly(cron='30 3 * * 1', zone='Asia/Tokyo', cluster_cron=tokyo))
        self.apply(server, nightly(name='over', end=NOW - datetime.timedelta(days=1)))
        self.apply(server, nightly(name='paused'))
        recurring.pause(server, 'paused')
        for _ in range(2):
            started = runs.submit(server, compiled(), {'epochs': 3})
            state.runs[-1].recurring_run_id = state.recurring[0].recurring_run_id
        listed = {entry.name: entry for entry in recurring.schedules(server, NOW)}
        assert started.run_id == state.runs[-1].run_id
        weekly = listed['nightly']
        assert (weekly.cron, weekly.zone, weekly.enabled) == ('30 3 * * 1', 'Asia/Tokyo', True)
        assert weekly.last == state.runs[-1].created_at
        # Sunday 1 March, 12:00 UTC, is 21:00 in Tokyo.
        assert weekly.next == datetime.datetime(2026, 3, 1, 18, 30, tzinfo=datetime.UTC)
        assert (listed['over'].enabled, listed['over'].next) == (True, None)
        assert (listed['paused'].enabled, listed['paused'].next, listed['paused'].last) == (False, None, None)

    @pytest.mark.parametrize('expression', ['CRON_TZ=Europe/Berlin 0 0 3 * * *', '0 0 3 * * 7'])
    def test_what_the_servers_cron_does_not_read_is_refused_with_its_words(self, server, expression):
        message = complaint(lambda: self.apply(server, nightly(cluster_cron=expression)))
        assert 'not a supported format' in message

    def test_in_a_namespace_each_user_has_schedules_of_the_same_name(self, address, state):
        state.multi_user, state.rights = True, {'team', 'other'}
        for namespace in ('team', 'other'):
            server = connect(Connection(host=address, namespace=namespace))
            assert self.apply(server).outcome == CREATED
            assert [entry.name for entry in recurring.schedules(server, NOW)] == ['nightly']


def test_a_page_that_never_ends_is_left(monkeypatch):
    """A server that names a next page for ever."""
    monkeypatch.setattr(connection, '_MOST_PAGES', 3)
    asked = []

    def ask(page_token: str, page_size: int) -> Any:
        asked.append(page_token)
        return type('Page', (), {'entries': [len(asked)], 'next_page_token': 'more'})

    with contextlib.suppress(StopIteration):
        assert list(connection.every(ask, lambda page: page.entries)) == [1, 2, 3]
    assert asked == ['', 'more', 'more']
