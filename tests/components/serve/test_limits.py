"""Bodies, heads, queues, connections and time are bounded; no path of a client's reaches the disk."""

import json
import socket
import threading
from collections.abc import Iterator

import pytest
from PIL import Image

from tests.components.serve.pictures import GOOD, encode, photograph
from tests.components.serve.running import Server, running, wait_until

PHOTO = GOOD['colour PNG']
KIB = 1024


@pytest.fixture(scope='module')
def narrow(serving, tmp_path_factory) -> Iterator[Server]:
    """A server with little patience and small limits."""
    log = tmp_path_factory.mktemp('narrow') / 'log.txt'
    options = {
        'client-timeout': 1, 'maximum-photo-mib': 0.1, 'maximum-body-mib': 0.2, 'maximum-batch': 2,
        'maximum-megapixels': 0.1, 'threads': 1, 'queue': 0, 'maximum-connections': 20,
    }  # fmt: skip
    with running(serving, log, *(f'--{name}={value}' for name, value in options.items())) as server:
        yield server
        assert server.process.poll() is None
        assert 'Traceback' not in log.read_text()


def talk(server: Server, *parts: bytes, pause: float = 0.0) -> bytes:
    """Sends parts one after the other; what comes back till the server hangs up."""
    with socket.create_connection(server.address, timeout=60) as line:
        for part in parts:
            try:
                line.sendall(part)
            except OSError:
                break
            if pause:
                line.settimeout(pause)
                try:
                    return line.recv(1 << 20)
                except TimeoutError:
                    continue
                except OSError:
                    return b''
        line.settimeout(60)
        return received(line)


def received(line: socket.socket) -> bytes:
    found = b''
    try:
        while part := line.recv(1 << 20):
            found += part
    except ConnectionResetError:
        pass
    return found


def status(answer: bytes) -> int:
    return int(answer.split()[1])


def test_a_photograph_that_is_too_large(narrow):
    answer = narrow.post('/v1/photo', data=bytes(150 * KIB))
    assert (answer.status_code, answer.json()) == (
        413, {'error': 'The body is larger than 0.1 MiB: send less at once.'},
    )  # fmt: skip


@pytest.mark.parametrize('path', ['/v1/photo', '/v1/models/faces:predict', '/v2/models/faces/infer', '/nowhere'])
def test_a_body_without_a_length_is_bounded_too(narrow, path):
    answer = narrow.post(path, data=(bytes(10 * KIB) for _ in range(30)))
    assert (answer.status_code, answer.json().keys()) == (413, {'error'})


def test_a_body_that_never_ends_is_cut_off(narrow):
    head = b'POST /v1/photo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n'
    endless = [b'8000\r\n' + bytes(0x8000) + b'\r\n'] * 1000
    assert status(talk(narrow, head, *endless) or b'HTTP/1.1 413') == 413


def test_a_body_that_says_it_is_enormous_is_refused_at_once(narrow):
    head = b'POST /v1/photo HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n'
    answer = talk(narrow, head)
    assert status(answer) == 413
    assert json.loads(answer.partition(b'\r\n\r\n')[2]).keys() == {'error'}


@pytest.mark.parametrize(
    'head',
    [
        b'Content-Length: -1',
        b'Content-Length: 1x',
        b'Content-Length: 5\r\nContent-Length: 6',
        b'Content-Length: 5\r\nTransfer-Encoding: chunked',
        b'Transfer-Encoding: chunked\r\n\r\nzz\r\n',
        b'no colon',
    ],
)
def test_a_length_that_makes_no_sense_is_refused(narrow, head):
    answer = talk(narrow, b'POST /v1/photo HTTP/1.1\r\nHost: x\r\n' + head + b'\r\n\r\nhello')
    assert status(answer) == 400
    assert json.loads(answer.partition(b'\r\n\r\n')[2]).keys() == {'error'}


def test_what_follows_a_body_that_is_longer_than_it_says_is_no_request(narrow):
    head = b'POST /v1/photo HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\n'
    answer = talk(narrow, head + b'none' + b'\x00rest of it\r\n\r\n')
    assert answer.count(b'HTTP/1.1 ') in (1, 2)
    assert b' 500 ' not in answer


@pytest.mark.parametrize(
    'head',
    [b'GET / HTTP/1.1\r\n' + b'X: ' + b'x' * 200 * KIB, b'GET /' + b'x' * 200 * KIB, b'X-%d: y\r\n' * 1000 * 100],
)
def test_headers_are_bounded(narrow, head):
    answer = talk(narrow, head)
    assert status(answer) in (400, 431)


@pytest.mark.parametrize(
    ('name', 'begun'),
    [
        ('nothing', b''),
        ('an empty line', b'\r\n'),
        ('half a line', b'GET /v2'),
        ('half a head', b'GET /v2 HTTP/1.1\r\nHost: x\r\n'),
        ('half a body', b'POST /v1/photo HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf'),
        ('half a chunk', b'POST /v1/photo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nhalf'),
        ('an answer, then half', b'GET /v2/health/live HTTP/1.1\r\nHost: x\r\n\r\nGET /'),
    ],
)
def test_a_client_that_stops_is_cut_off(narrow, name, begun):
    answer = talk(narrow, begun)
    if name == 'nothing':
        assert answer == b''
    else:
        assert b'HTTP/1.1 408 ' in answer or name == 'an empty line'


@pytest.mark.parametrize(
    'begun', [b'GET /v2 HTTP/1.1\r\nX: ', b'POST /v1/photo HTTP/1.1\r\nContent-Length: 999\r\n\r\n']
)
def test_a_client_that_sends_a_byte_now_and_then_is_cut_off(narrow, begun):
    answer = talk(narrow, begun, *[b'x'] * 300, pause=0.2)
    assert answer == b'' or status(answer) == 408


def test_a_connection_that_is_kept_serves_again(narrow):
    request = b'POST /v1/photo?faces=whole HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n' % len(PHOTO) + PHOTO
    last = b'GET /v2/health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n'
    assert talk(narrow, request, request, last).count(b'HTTP/1.1 200') == 3


def test_too_many_requests_are_asked_to_come_again(narrow):
    photo = encode(photograph(380, 260), 'JPEG')
    answers = []

    def ask() -> None:
        for _ in range(10):
            answers.append(narrow.post('/v1/photo?faces=all', data=photo))

    clients = [threading.Thread(target=ask) for _ in range(6)]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    assert {answer.status_code for answer in answers} == {200, 503}
    busy = [answer for answer in answers if answer.status_code == 503]
    assert all(answer.headers['Retry-After'] == '1' and answer.json().keys() == {'error'} for answer in busy)
    assert narrow.metric('emotion_requests_total', model='faces', status='503') > 0


def test_too_many_connections_are_refused_and_then_let_in_again(narrow):
    def ask() -> int:
        answer = narrow.get('/v2/health/live')
        assert answer.ok or (answer.headers['Retry-After'] == '1' and answer.json().keys() == {'error'})
        return answer.status_code

    lines = [socket.create_connection(narrow.address) for _ in range(25)]
    try:
        assert ask() == 503
    finally:
        for line in lines:
            line.close()
    wait_until(lambda: ask() == 200)


def test_pixels_and_batches_are_bounded_by_the_options(narrow):
    answer = narrow.post('/v1/photo', data=encode(Image.new('L', (400, 300))))
    assert (answer.status_code, 'more than 0.1 megapixels' in answer.json()['error']) == (400, True)
    answer = narrow.predict('faces', {'instances': [''] * 3})
    assert (answer.status_code, 'send 1 to 2' in answer.json()['error']) == (400, True)


@pytest.mark.parametrize(
    'path',
    [
        '/../../../../etc/passwd',
        '/%2e%2e/%2e%2e/%2e%2e/etc/passwd',
        '/page/..%2f..%2f..%2fetc/passwd',
        '//etc/passwd',
        '/etc/passwd',
        '/page.css/../../__main__.py',
        '/components/serve/__main__.py',
        '/page/index.html',
        '/page.css%00',
        '/C:\\windows\\win.ini',
        '/v1/models/..%2f..%2fetc%2fpasswd',
        '/v2/models/..%2f..%2fetc%2fpasswd',
        '/v1/models/faces/versions/..%2f..%2f..',
        '/\xff\xfe',
    ],
)
def test_no_path_reaches_the_disk(server, path):
    answer = talk(server, f'GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n'.encode('latin-1'))
    assert status(answer) in (400, 404)
    assert json.loads(answer.partition(b'\r\n\r\n')[2]).keys() == {'error'}
    assert b'root:' not in answer


def test_answers_to_other_methods_and_paths_have_the_form_of_errors(server):
    assert server.get('/v1/photo').status_code == 405
    assert server.get('/v1/photo').json().keys() == {'error'}
    assert server.get('/nowhere').status_code == 404
    assert server.post('/metrics').status_code == 405
    assert server.get('/docs').status_code == 404


def test_the_page_is_served_with_headers_that_bind_it(server):
    for path, kind in (('/', 'text/html'), ('/page.css', 'text/css'), ('/page.js', 'text/javascript')):
        answer = server.get(path)
        assert answer.status_code == 200
        assert answer.headers['Content-Type'].startswith(kind)
        policy = answer.headers['Content-Security-Policy']
        assert policy.startswith("default-src 'self';")
        assert 'unsafe' not in policy
        assert answer.headers['X-Content-Type-Options'] == 'nosniff'


def test_an_upgrade_that_is_not_offered_is_overlooked(server):
    head = b'GET /v2/health/live HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, close\r\nUpgrade: websocket\r\n\r\n'
    assert status(talk(server, head)) in (200, 400)
