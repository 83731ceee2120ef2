"""Hooks: what they are told, and that nothing that becomes of them reaches the run."""

import json
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import psutil
import pytest

from components.errors import StepError
from pipeline import hooks
from pipeline.history import Entry
from pipeline.hooks import Decision, HookSettings, conclude, from_entry, notify

DECISION = Decision(
    pipeline='mine',
    run='20240101-030000',
    decision='pushed',
    message='“all is well”\n',
    started='2024-01-01T03:00:00+00:00',
    seconds=61.5,
    kpis={'expression': {'accuracy': 0.9}},
    pushed={'faces': 3},
    report='/runs/mine/report.html',
)
SECRET = 'T0P-SECRET'
AT_ONCE = (0.0, 0.0)


@dataclass
class Receiver:
    """A web server that answers as it is told, the last answer again and again."""

    answers: list[int | Callable[[BaseHTTPRequestHandler], None]]
    received: list[tuple[str, str, bytes]] = field(default_factory=list)
    url: str = ''


@pytest.fixture
def receive() -> Iterator[Callable[..., Receiver]]:
    servers = []

    def start(*answers) -> Receiver:
        receiver = Receiver(list(answers))

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers['Content-Length']))
                receiver.received.append((self.path, self.headers['Content-Type'], body))
                answer = receiver.answers.pop(0) if len(receiver.answers) > 1 else receiver.answers[0]
                if callable(answer):
                    answer(self)
                else:
                    self.send_response(answer)
                    self.end_headers()

            do_GET = do_POST  # noqa: N815

            def log_message(self, *_):
                pass

        server = ThreadingHTTPServer(('127.0.0.1', 0), Handler)
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        servers.append(server)
        receiver.url = f'http://127.0.0.1:{server.server_port}/services/{SECRET}?key={SECRET}'
        return receiver

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def python(code: str, *arguments: str) -> tuple[str, ...]:
    return (sys.executable, '-c', code, *arguments)


def ends(process: int, seconds: float = 10.0) -> bool:
    """Whether a process comes to its end soon, waited for or not."""
    deadline = time.monotonic() + seconds
    while psutil.pid_exists(process) and psutil.Process(process).status() != psutil.STATUS_ZOMBIE:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


@pytest.mark.parametrize(
    ('state', 'pushed', 'decision', 'status'),
    [
        ('pushed', {'faces': 3}, 'pushed', 0),
        ('pushed', {}, 'trained', 0),
        ('unchanged', {'faces': 3}, 'nothing new', 0),
        ('refused', {'keypoints': 2}, 'refused', 3),
        ('stopped', {}, 'stopped', 4),
        ('failed', {}, 'failed', 1),
        ('killed', {}, 'failed', 1),
        ('interrupted', {}, 'interrupted', 130),
    ],
)
def test_every_state_of_a_run_is_a_decision(state, pushed, decision, status):
    entry = Entry('1', state, '2024-01-01T00:00:00+00:00', 2.0, 'why', {'keypoints': {'rmse': 2.5}}, pushed, '/r.html')
    found = from_entry('mine', entry)
    assert (found.decision, found.exit_status) == (decision, status)
    assert (found.pipeline, found.run, found.seconds, found.report) == ('mine', '1', 2.0, '/r.html')
    assert found.kpis == {'keypoints': {'rmse': 2.5}}
    # What an earlier run pushed is not this one's doing; a run that was refused may have pushed the other model.
    assert found.pushed == ({} if decision == 'nothing new' else pushed)


def test_the_command_reads_the_decision_on_its_standard_input(tmp_path):
    code = f'import os, sys; open(sys.argv[1], "w").write(os.environ["{hooks.VARIABLE}"] + sys.stdin.read())'
    odd = tmp_path / '$(touch owned); "x y"'
    assert notify(HookSettings(python(code, str(odd))), DECISION) == []
    text = odd.read_text()
    assert text.startswith('pushed{')
    assert Decision(**json.loads(text.removeprefix('pushed'))) == DECISION


def test_a_command_that_does_not_read_is_no_fault():
    large = Decision('mine', '1', 'pushed', 'x' * 500_000, '')
    assert notify(HookSettings(python('import os; os.close(0)')), large) == []


@pytest.mark.parametrize(
    ('command', 'warning'),
    [
        (python('raise SystemExit(7)'), f'Hook command {sys.executable} ended with status 7.'),
        (('no-such-program',), 'Hook command no-such-program cannot be started: No such file or directory.'),
        (('/etc/passwd',), 'Hook command /etc/passwd cannot be started: Permission denied.'),
        (('nul\0',), r'Hook command nul\x00 cannot be started: embedded null byte.'),
    ],
)
def test_a_command_that_fails_is_a_warning_in_one_line(command, warning):
    assert notify(HookSettings(command), DECISION) == [warning]


def test_a_command_that_hangs_is_ended_with_all_that_it_started(tmp_path):
    code = (
        'import subprocess, sys; process = subprocess.Popen(["sleep", "600"]); '
        'open(sys.argv[1], "w").write(str(process.pid)); process.wait()'
    )
    began = time.monotonic()
    warnings = notify(HookSettings(python(code, str(tmp_path / 'process')), timeout=2.0), DECISION)
    assert time.monotonic() - began < 8
    assert warnings == [f'Hook command {sys.executable} was ended: it took longer than 2 s.']
    process = int((tmp_path / 'process').read_text())
    assert ends(process)


def test_the_webhook_gets_the_decision_as_json(receive):
    receiver = receive(204)
    assert notify(HookSettings(webhook=receiver.url), DECISION) == []
    ((path, kind, body),) = receiver.received
    assert (path, kind) == (f'/services/{SECRET}?key={SECRET}', 'application/json')
    assert Decision(**json.loads(body)) == DECISION


def test_a_webhook_that_has_a_fault_of_its_own_is_tried_again(receive):
    receiver = receive(503, 500, 200)
    assert notify(HookSettings(webhook=receiver.url), DECISION, AT_ONCE) == []
    assert len(receiver.received) == 3
    assert len({body for *_, body in receiver.received}) == 1


def test_a_webhook_is_tried_three_times_with_longer_and_longer_pauses(receive):
    receiver = receive(502)
    began = time.monotonic()
    (warning,) = notify(HookSettings(webhook=receiver.url), DECISION, (0.2, 0.6))
    assert time.monotonic() - began > 0.8
    assert warning.endswith('answered with status 502.')
    assert len(receiver.received) == 3


@pytest.mark.parametrize('status', [400, 404, 410])
def test_a_webhook_that_refuses_is_not_tried_again(receive, status):
    receiver = receive(status, 200)
    (warning,) = notify(HookSettings(webhook=receiver.url), DECISION, AT_ONCE)
    assert warning.endswith(f'answered with status {status}.')
    assert len(receiver.received) == 1


@pytest.mark.parametrize('target', ['file:///etc/passwd', 'ftp://127.0.0.1/x', None])
@pytest.mark.parametrize('status', [301, 302, 303, 307, 308])
def test_a_webhook_is_not_followed_elsewhere(receive, status, target):
    elsewhere = receive(200)

    def send_away(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        handler.send_header('Location', target or elsewhere.url)
        handler.end_headers()

    receiver = receive(send_away)
    (warning,) = notify(HookSettings(webhook=receiver.url), DECISION, AT_ONCE)
    assert warning.endswith(f'answered with status {status}.')
    assert (len(receiver.received), elsewhere.received) == (1, [])


def hang(handler: BaseHTTPRequestHandler) -> None:
    time.sleep(5)


def drip(handler: BaseHTTPRequestHandler) -> None:
    """Never silent for long, and never done."""
    for _ in range(50):
        handler.wfile.write(b'x')
        handler.wfile.flush()
        time.sleep(0.1)


@pytest.mark.parametrize('answer', [hang, drip])
def test_a_webhook_that_does_not_come_to_its_end_is_left(receive, answer):
    receiver = receive(answer)
    began = time.monotonic()
    (warning,) = notify(HookSettings(webhook=receiver.url, timeout=1.0), DECISION, AT_ONCE)
    assert 1 <= time.monotonic() - began < 4
    assert warning.endswith('did not answer within 1 s.')
    # It may have taken the decision: it is told once.
    assert len(receiver.received) == 1


def test_a_webhook_that_speaks_nonsense_is_a_warning(receive):
    receiver = receive(lambda handler: handler.wfile.write(b'garbage\r\n\r\n'))
    (warning,) = notify(HookSettings(webhook=receiver.url), DECISION, AT_ONCE)
    assert warning.endswith('cannot be reached: BadStatusLine.')


def test_no_warning_shows_more_of_the_address_than_its_host(receive, monkeypatch):
    with socket.create_server(('127.0.0.1', 0)) as server:
        closed = f'http://127.0.0.1:{server.getsockname()[1]}/{SECRET}'
    for url in (closed, receive(500).url, receive(404).url, f'http://host.invalid/{SECRET}', f'http://h /{SECRET}'):
        (warning,) = notify(HookSettings(webhook=url), DECISION, AT_ONCE)
        assert SECRET not in warning
        assert warning.startswith('Webhook http://')
    (warning,) = notify(HookSettings(webhook=closed), DECISION, AT_ONCE)
    assert warning == f'Webhook {closed.removesuffix("/" + SECRET)} cannot be reached: Connection refused.'


@pytest.mark.parametrize(
    'url',
    [
        f'file:///etc/{SECRET}',
        f'ftp://host/{SECRET}',
        f'/{SECRET}',
        f'http:///{SECRET}',
        f'https://me:{SECRET}@host/',
        f'http://host:{SECRET}/',
        f'http://[{SECRET}/',
    ],
)
def test_an_address_that_is_none_is_told_without_it(url, monkeypatch):
    with pytest.raises(StepError, match='hooks.webhook is no address of a webhook') as caught:
        HookSettings(webhook=url)
    assert SECRET not in str(caught.value)
    monkeypatch.setenv('HOOK', url)
    (warning,) = notify(HookSettings(webhook='env:HOOK'), DECISION)
    assert warning == 'HOOK is no address of a webhook: write http(s)://host/path, without a user name.'


def test_the_address_may_come_from_the_environment(receive, monkeypatch):
    receiver = receive(200)
    monkeypatch.setenv('HOOK', receiver.url)
    assert notify(HookSettings(webhook='env:HOOK'), DECISION) == []
    assert len(receiver.received) == 1
    monkeypatch.delenv('HOOK')
    (warning,) = notify(HookSettings(webhook='env:HOOK'), DECISION)
    assert warning.startswith('HOOK is no address')


def test_both_are_told_even_when_the_first_one_fails(receive):
    receiver = receive(200)
    assert len(notify(HookSettings(('no-such-program',), receiver.url), DECISION)) == 1
    assert len(receiver.received) == 1


def test_a_run_of_its_own_is_told_and_one_of_a_schedule_is_left_to_the_scheduler(receive, monkeypatch):
    receiver = receive(200)
    settings = HookSettings(webhook=receiver.url)
    entry = Entry('1', 'pushed', '2024-01-01T00:00:00+00:00', pushed={'faces': 1})
    assert conclude(settings, from_entry('mine', entry)) == []
    assert [json.loads(body)['decision'] for *_, body in receiver.received] == ['pushed']
    monkeypatch.setenv(hooks.SCHEDULED, '1')
    assert conclude(settings, from_entry('mine', entry)) == []
    assert len(receiver.received) == 1


def test_a_time_of_nothing_is_refused():
    with pytest.raises(StepError, match='hooks.timeout is a number of seconds, more than 0'):
        HookSettings(timeout=0)
