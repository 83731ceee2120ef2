"""The live view, as a browser and as a stranger ask it."""

import http.client
import itertools
import threading
import time

import cv2
import numpy as np
import pytest

from components.watch.live import LiveView


@pytest.fixture
def view():
    view = LiveView()
    yield view
    view.close()


def ask(view: LiveView, path: str, **headers: str) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection(view.host, timeout=10)
    connection.request('GET', path, headers=headers)
    return connection.getresponse()


def secret_path(view: LiveView) -> str:
    return view.url.removeprefix(f'http://{view.host}')


def read_picture(answer: http.client.HTTPResponse) -> np.ndarray:
    length = 0
    while (line := answer.readline()) != b'\r\n':
        assert line, 'the stream ended'
        if line.lower().startswith(b'content-length:'):
            length = int(line.split(b':')[1])
    picture = cv2.imdecode(np.frombuffer(answer.read(length), np.uint8), cv2.IMREAD_COLOR)
    assert answer.readline() == b'\r\n'
    return picture


def test_the_page_shows_the_stream(view):
    answer = ask(view, secret_path(view))
    page = answer.read().decode()
    assert (answer.status, answer.headers['Cache-Control']) == (200, 'no-store')
    assert f'src="{secret_path(view)}stream"' in page
    assert 'http' not in page.replace('<!doctype html>', '')


def test_frames_arrive_as_they_are_shown_and_small_enough(view):
    answer = ask(view, f'{secret_path(view)}stream')
    assert answer.headers['Content-Type'].startswith('multipart/x-mixed-replace')
    shown = threading.Event()

    def show() -> None:
        # No frame is like another one: they are counted in two colours.
        for number in itertools.count():
            if shown.is_set():
                return
            blue, red = 10 * (number % 25), 10 * (number // 25 % 25)
            view.show(np.full((1080, 1920, 3), (blue, 0, red), np.uint8))
            time.sleep(0.01)

    thread = threading.Thread(target=show)
    thread.start()
    pictures = [read_picture(answer) for _ in range(3)]
    shown.set()
    thread.join()
    assert {picture.shape for picture in pictures} == {(720, 1280, 3)}
    assert len({tuple(picture.mean(axis=(0, 1)).round().tolist()) for picture in pictures}) == 3


def test_nothing_is_encoded_while_nobody_looks(view, monkeypatch):
    def never(*arguments):
        raise AssertionError

    monkeypatch.setattr(cv2, 'imencode', never)
    view.show(np.zeros((90, 160, 3), np.uint8))


def test_strangers_see_nothing(view):
    assert ask(view, '/').status == 404
    assert ask(view, '/stream').status == 404
    assert ask(view, f'{secret_path(view)[:-2]}x/').status == 404
    assert ask(view, secret_path(view), Host=f'elsewhere.example:{view.host.split(":")[1]}').status == 404


def test_a_stream_ends_with_the_view():
    view = LiveView()
    answer = ask(view, f'{secret_path(view)}stream')
    view.close()
    assert answer.read() == b''
