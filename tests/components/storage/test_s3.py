"""What is said when an object store cannot be used."""

import socket
import subprocess
import sys
import threading

import pytest

from components.storage.s3 import ObjectFolder, StorageError


def message(act) -> str:
    with pytest.raises(StorageError) as caught:
        act()
    text = str(caught.value)
    assert '\n' not in text
    return text


def test_objects_are_listed_by_name_below_the_prefix_alone(bucket):
    folder = ObjectFolder(f'{bucket}/a/')
    for name in ('2', 'b/1', 'b/10'):
        folder.put(name, name.encode())
    ObjectFolder(f'{bucket}/ab').put('3', b'')
    assert folder.list() == ['2', 'b/1', 'b/10']
    assert folder.list('b/') == ['b/1', 'b/10']
    assert folder.read('b/1') == b'b/1'
    folder.remove(['b/1', 'missing'])
    assert folder.list() == ['2', 'b/10']
    with pytest.raises(FileNotFoundError):
        folder.read('b/1')


def test_of_several_who_write_a_new_object_one_succeeds(bucket):
    wrote, start = [], threading.Barrier(8)

    def write(number: int) -> None:
        folder = ObjectFolder(bucket)
        start.wait()
        if folder.put_new('claim', str(number).encode()):
            wrote.append(number)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(wrote) == 1
    assert ObjectFolder(bucket).read('claim') == str(wrote[0]).encode()


def test_a_missing_bucket_is_named(bucket, object_store):
    text = message(lambda: ObjectFolder('s3://nowhere/prefix').check_reading())
    assert "no bucket 'nowhere'" in text and object_store.endpoint in text


def test_wrong_credentials_are_told_and_not_shown(bucket, object_store, monkeypatch):
    if not object_store.is_real:
        pytest.skip('moto takes any secret: this needs versitygw, or Go to build it')
    monkeypatch.setenv('AWS_SECRET_ACCESS_KEY', 'a-wrong-secret')
    text = message(lambda: ObjectFolder(bucket).check_reading())
    assert 'AWS_SECRET_ACCESS_KEY' in text and 'a-wrong-secret' not in text
    monkeypatch.setenv('AWS_ACCESS_KEY_ID', 'nobody')
    assert 'AWS_ACCESS_KEY_ID' in message(lambda: ObjectFolder(bucket).check_reading())


def test_missing_credentials_are_told(bucket, monkeypatch, tmp_path):
    monkeypatch.delenv('AWS_ACCESS_KEY_ID')
    monkeypatch.delenv('AWS_SECRET_ACCESS_KEY')
    monkeypatch.setenv('AWS_SHARED_CREDENTIALS_FILE', str(tmp_path / 'none'))
    monkeypatch.setenv('AWS_CONFIG_FILE', str(tmp_path / 'none'))
    assert 'no credentials in the environment' in message(lambda: ObjectFolder(bucket).check_reading())


def test_half_of_the_credentials_is_told(bucket, monkeypatch):
    monkeypatch.delenv('AWS_SECRET_ACCESS_KEY')
    assert 'AWS_SECRET_ACCESS_KEY' in message(lambda: ObjectFolder(bucket).check_reading())


def test_an_endpoint_that_refuses_or_is_none_is_told_without_its_user(bucket, monkeypatch):
    monkeypatch.setenv('AWS_ENDPOINT_URL', 'http://someone:hidden@127.0.0.1:1')
    text = message(lambda: ObjectFolder(bucket).check_reading())
    assert 'http://127.0.0.1:1 ' in text and 'AWS_ENDPOINT_URL' in text and 'hidden' not in text
    monkeypatch.setenv('AWS_ENDPOINT_URL', 'no address')
    assert 'AWS_ENDPOINT_URL' in message(lambda: ObjectFolder(bucket).check_reading())


def test_an_endpoint_that_takes_connections_and_says_nothing_is_given_up(bucket, monkeypatch):
    with socket.socket() as listener:
        listener.bind(('127.0.0.1', 0))
        listener.listen()
        monkeypatch.setenv('AWS_ENDPOINT_URL', f'http://127.0.0.1:{listener.getsockname()[1]}')
        assert 'does not answer in time' in message(lambda: ObjectFolder(bucket, patience=0.5).check_reading())


def test_plain_http_where_tls_is_asked_for_is_told(bucket, object_store, monkeypatch):
    monkeypatch.setenv('AWS_ENDPOINT_URL', object_store.endpoint.replace('http://', 'https://'))
    assert 'certificate' in message(lambda: ObjectFolder(bucket).check_reading())


@pytest.mark.parametrize(
    ('status', 'code', 'said'),
    [
        (403, 'AccessDenied', 'cannot be listed with these credentials'),
        (403, 'RequestTimeTooSkewed', 'the clocks'),
        (400, 'AuthorizationHeaderMalformed', 'AWS_DEFAULT_REGION'),
        (400, 'ExpiredToken', 'knows no such credentials'),
        (503, 'SlowDown', 'try again later'),
    ],
)
def test_what_a_store_answers_is_told_in_words(bucket, monkeypatch, status, code, said):
    """Answers that neither server gives at will, from a socket that gives them."""
    body = f'<?xml version="1.0"?><Error><Code>{code}</Code><Message>As it is.</Message></Error>'
    answer = f'HTTP/1.1 {status} No\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n{body}'.encode()
    with socket.create_server(('127.0.0.1', 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    connection.recv(65536)
                    connection.sendall(answer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        monkeypatch.setenv('AWS_ENDPOINT_URL', f'http://127.0.0.1:{listener.getsockname()[1]}')
        assert said in message(lambda: ObjectFolder(bucket).check_reading())
        listener.shutdown(socket.SHUT_RDWR)


def test_a_store_that_heeds_no_condition_is_refused(bucket, monkeypatch):
    folder = ObjectFolder(bucket)
    folder.check_condition()
    assert folder.list() == [], 'the check leaves nothing behind'
    put = ObjectFolder.put
    monkeypatch.setattr(ObjectFolder, 'put_new', lambda self, name, content: put(self, name, content) or True)
    assert 'If-None-Match' in message(folder.check_condition)


def test_without_the_library_it_is_said_how_to_install_it(bucket):
    code = """
import sys
sys.modules['boto3'] = None
from components.storage.s3 import ObjectFolder
try:
    ObjectFolder('s3://faces')
except Exception as error:
    print(type(error).__name__, error)
"""
    said = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True).stdout
    assert said.startswith('StorageError') and 'emotion-pipeline[s3]' in said
