"""Nothing that is sent makes the server fail: requests drawn from its own description, and images that were changed."""

import subprocess
import sys
from pathlib import Path

import pytest
import requests
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.components.serve.pictures import GOOD, encode, photograph

BASES = [
    *GOOD.values(),
    encode(photograph(40, 30), 'WEBP'),
    encode(photograph(40, 30), 'BMP'),
    encode(photograph(9, 9), 'GIF'),
]


def test_requests_drawn_from_the_description_never_fail(server, tmp_path):
    command = [Path(sys.executable).with_name('st'), 'run', f'{server.url}/openapi.json']
    options = ['--checks=not_a_server_error', '--phases=examples,coverage,fuzzing', '--max-examples=25', '--seed=1']
    run = subprocess.run(
        [*map(str, command), *options, '--no-shrink', '--continue-on-failure', '--suppress-health-check=all'],
        cwd=tmp_path, capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert run.returncode == 0, run.stdout[-3000:]
    assert 'Traceback' not in server.log.read_text()


def test_the_description_has_every_route_that_takes_a_body(server):
    paths = server.get('/openapi.json').json()['paths']
    taking = {path for path, methods in paths.items() if 'requestBody' in methods.get('post', {})}
    assert taking == {
        '/v1/photo',
        '/v1/models/{model}:predict',
        '/v1/models/{model}/versions/{version}:predict',
        '/v2/models/{model}/infer',
        '/v2/models/{model}/versions/{version}/infer',
    }


@st.composite
def changed(draw) -> bytes:
    """An encoded image with some bytes changed, a piece repeated or left out, or an end cut off."""
    image = bytearray(draw(st.sampled_from(BASES)))
    # Most of what decoders trust lies at the beginning.
    places = st.one_of(st.integers(0, min(200, len(image) - 1)), st.integers(0, len(image) - 1))
    for place, value in draw(st.lists(st.tuples(places, st.integers(0, 255)), max_size=8)):
        image[place] = value
    start, length = draw(places), draw(st.integers(0, 64))
    match draw(st.sampled_from(['leave', 'cut', 'remove', 'repeat'])):
        case 'cut':
            del image[start:]
        case 'remove':
            del image[start : start + length]
        case 'repeat':
            image[start:start] = image[start : start + length]
    return bytes(image)


@pytest.fixture(scope='module')
def session():
    with requests.Session() as found:
        yield found


@settings(max_examples=300, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(image=changed(), which=st.sampled_from(['largest', 'all', 'whole']))
def test_changed_images_are_answered_or_refused(server, session, image, which):
    answer = session.post(f'{server.url}/v1/photo', params={'faces': which}, data=image, timeout=60)
    assert answer.status_code in (200, 400)
    if answer.status_code == 400:
        assert answer.json()['error'].isprintable()


@settings(max_examples=100, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(
    body=st.binary(max_size=200),
    path=st.sampled_from(['/v1/photo', '/v1/models/faces:predict', '/v2/models/faces/infer']),
)
def test_bytes_of_no_kind_are_refused(server, session, body, path):
    assert session.post(server.url + path, data=body, timeout=60).status_code == 400
