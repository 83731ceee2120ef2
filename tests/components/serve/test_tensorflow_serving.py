"""TensorFlow Serving's REST contract: what it says, and that the answers are the SavedModel's."""

import base64
import json

import numpy as np
import pytest
import requests
from PIL import Image

from components import faces
from tests.components.serve.pictures import GOOD, HOSTILE, encode, short

ENCODED = list(GOOD.values())


def b64(encoded: bytes) -> dict[str, str]:
    return {'b64': base64.b64encode(encoded).decode()}


ROW = b64(GOOD['colour PNG'])


def assert_equal(answers: dict, expected: dict[str, np.ndarray]) -> None:
    assert answers.keys() == expected.keys()
    for name, value in expected.items():
        if value.dtype == object:
            assert answers[name] == [[text.decode() for text in row] for row in value]
        else:
            # Pixels of the keypoints; the nets are untrained and answer far outside the image.
            np.testing.assert_allclose(answers[name], value, rtol=1e-3, atol=2e-3)


@pytest.mark.parametrize('model', faces.MODELS)
def test_a_row_is_answered_as_the_saved_model_answers_it(server, made, model):
    answer = server.predict(model, {'instances': [b64(one) for one in ENCODED]})
    assert (answer.status_code, answer.headers['Model-Version']) == (200, '3')
    rows = answer.json()['predictions']
    expected = made[0].ask(model, ENCODED)
    if len(expected) == 1:
        rows = [{name: row} for name in expected for row in rows]
    assert_equal({name: [row[name] for row in rows] for name in rows[0]}, expected)


@pytest.mark.parametrize('model', faces.MODELS)
def test_a_column_is_answered_as_the_saved_model_answers_it(server, made, model):
    answer = server.predict(model, {'inputs': {'image_bytes': [b64(one) for one in ENCODED]}})
    outputs = answer.json()['outputs']
    expected = made[0].ask(model, ENCODED)
    assert_equal(outputs if len(expected) > 1 else dict.fromkeys(expected, outputs), expected)


@pytest.mark.parametrize(
    'request_',
    [
        {'instances': [ROW]},
        {'instances': [{'image_bytes': ROW}]},
        {'instances': [ROW], 'signature_name': 'serving_default'},
        {'instances': [ROW], 'signature_name': ''},
        {'instances': [{'b64': ROW['b64'].rstrip('=')}], 'something': ['else']},
    ],
)
def test_ways_of_writing_a_row_that_come_to_the_same(server, request_):
    assert server.predict('expression', request_).json() == server.predict('expression', {'instances': [ROW]}).json()


def test_ways_of_writing_a_column_that_come_to_the_same(server):
    ways = [{'inputs': [ROW]}, {'inputs': {'image_bytes': [ROW]}}]
    one, other = (server.predict('faces', way).json() for way in ways)
    assert one == other
    assert one['outputs'].keys() == {'probabilities', 'keypoints', 'expressions', 'keypoint_names'}


def test_a_version_that_answers_may_be_asked_for_by_its_number(server):
    asked = server.predict('faces', {'instances': [ROW]}, version='/versions/3')
    assert asked.json() == server.predict('faces', {'instances': [ROW]}).json()


def test_the_type_of_the_body_is_overlooked(server):
    body = json.dumps({'instances': [ROW]})
    for kind in ('text/plain', 'application/x-www-form-urlencoded', 'application/json; charset=utf-8'):
        answer = server.post('/v1/models/faces:predict', data=body, headers={'Content-Type': kind})
        assert answer.status_code == 200


@pytest.mark.parametrize('path', ['/v1/models/faces', '/v1/models/faces/versions/3'])
def test_status(server, path):
    assert server.get(path).json() == {
        'model_version_status': [
            {'version': '3', 'state': 'AVAILABLE', 'status': {'error_code': 'OK', 'error_message': ''}}
        ]
    }


@pytest.mark.parametrize('path', ['/v1/models/keypoints/metadata', '/v1/models/keypoints/versions/3/metadata'])
def test_metadata(server, path):
    answer = server.get(path).json()
    assert answer['model_spec'] == {'name': 'keypoints', 'signature_name': '', 'version': '3'}
    signature = answer['metadata']['signature_def']['signature_def']['serving_default']
    assert signature['method_name'] == 'tensorflow/serving/predict'
    (given,) = signature['inputs'].items()
    assert given[0] == 'image_bytes'
    assert given[1]['dtype'] == 'DT_STRING'
    assert given[1]['tensor_shape'] == {'dim': [{'size': '-1', 'name': ''}], 'unknown_rank': False}
    (output,) = signature['outputs'].values()
    assert output['dtype'] == 'DT_FLOAT'
    assert [side['size'] for side in output['tensor_shape']['dim']] == ['-1', '15', '2']


@pytest.mark.parametrize('model', faces.MODELS)
def test_metadata_name_the_outputs_that_the_saved_model_has(server, made, model):
    signature = server.get(f'/v1/models/{model}/metadata').json()['metadata']['signature_def']['signature_def']
    outputs = signature['serving_default']['outputs']
    expected = made[0].ask(model, ENCODED[:1])
    shapes = {name: [int(side['size']) for side in one['tensor_shape']['dim']] for name, one in outputs.items()}
    assert shapes == {name: [-1, *value.shape[1:]] for name, value in expected.items()}


@pytest.mark.parametrize(
    ('path', 'message'),
    [
        ('/v1/models/nobody:predict', 'Servable not found for request: Latest(nobody)'),
        ('/v1/models/faces/versions/7:predict', 'Servable not found for request: Specific(faces, 7)'),
        ('/v1/models/nobody/versions/3:predict', 'Servable not found for request: Specific(nobody, 3)'),
        ('/v1/models/..%2f..%2fetc:predict', None),
    ],
)
def test_a_model_or_version_that_is_not_there_is_not_found(server, path, message):
    answer = server.post(path, json={'instances': [ROW]})
    if message is None:
        assert answer.status_code in (400, 404)
    else:
        assert (answer.status_code, answer.json()) == (404, {'error': message})


@pytest.mark.parametrize('path', ['/v1/models/nobody', '/v1/models/faces/versions/7', '/v1/models/nobody/metadata'])
def test_status_and_metadata_of_what_is_not_there_are_not_found(server, path):
    answer = server.get(path)
    assert answer.status_code == 404
    assert answer.json()['error']


@pytest.mark.parametrize(
    ('body', 'message'),
    [
        (b'', 'JSON Parse error'),
        (b'{', 'JSON Parse error'),
        (b'\xff\xfe', 'JSON Parse error'),
        (b'[' * 3000, 'JSON Parse error'),
        (b'[' * 300_000, 'more than 4096 values'),
        (b'{"instances": [' + b'0,' * 300_000 + b'0]}', 'more than 4096 values'),
        (b'[]', 'is not object'),
        (b'{}', "Missing 'inputs' or 'instances' key"),
        (json.dumps({'instances': [ROW], 'inputs': [ROW]}), "Missing 'inputs' or 'instances' key"),
        (json.dumps({'instances': []}), "'instances' must be a list"),
        (json.dumps({'instances': ROW}), "'instances' must be a list"),
        (json.dumps({'instances': [None]}), 'not formatted correctly for base64'),
        (json.dumps({'instances': [1.5]}), 'not formatted correctly for base64'),
        (json.dumps({'instances': [[ROW]]}), 'not formatted correctly for base64'),
        (json.dumps({'instances': [{'image_bytes': {'b64': 3}}]}), 'not formatted correctly for base64'),
        (json.dumps({'instances': [{'image_bytes': {'b64': '', 'x': ''}}]}), 'not formatted correctly for base64'),
        (json.dumps({'instances': [ROW, {'image_bytes': ROW}]}), 'must all be objects'),
        (json.dumps({'instances': [{'picture': ROW}]}), 'Keys must be equal to: image_bytes'),
        (json.dumps({'instances': [{'b64': '#!'}]}), 'Unable to base64 decode'),
        (json.dumps({'instances': [{'b64': 'Grüße'}]}), 'Unable to base64 decode'),
        (json.dumps({'instances': ['text']}), 'no image'),
        (json.dumps({'inputs': ROW}), 'has the shape [-1]'),
        (json.dumps({'inputs': {'picture': [ROW]}}), 'Missing named input: image_bytes'),
        (json.dumps({'inputs': []}), '0 images'),
        (json.dumps({'instances': [ROW], 'signature_name': 3}), "'signature_name' key must be a string"),
        (json.dumps({'instances': [ROW], 'signature_name': 'other'}), '"other" not found in signature def'),
        (json.dumps({'instances': [{'b64': ''}] * 65}), '65 images are sent: send 1 to 64'),
        (json.dumps({'instances': [ROW, b64(HOSTILE['half a PNG'])]}), 'Image 1: The image is broken'),
        (json.dumps({'instances': [b64(encode(Image.new('1', (4000, 4000))))] * 2}), '25 megapixels together'),
    ],
    ids=short,
)
def test_a_malformed_request_is_told_what_is_wrong(server, body, message):
    answer = server.post('/v1/models/faces:predict', data=body)
    assert answer.status_code == 400
    assert answer.json().keys() == {'error'}
    assert message in answer.json()['error']


def test_a_batch_of_64_is_answered(server):
    answer = server.predict('expression', {'instances': [ROW] * 64})
    assert np.shape(answer.json()['predictions']) == (64, 5)


@pytest.mark.parametrize(
    ('method', 'path', 'status', 'message'),
    [
        ('GET', '/v1/models', 400, 'Missing model name in request.'),
        ('GET', '/v1/models/faces:predict', 404, None),
        ('POST', '/v1/models/faces', 400, 'Malformed request: POST /v1/models/faces'),
        ('POST', '/v1/models/faces:explain', 400, 'Malformed request: POST /v1/models/faces:explain'),
        ('POST', '/v1/models/faces:classify', 400, 'Was: tensorflow/serving/predict'),
        ('POST', '/v1/models/faces/versions/3:regress', 400, 'Was: tensorflow/serving/predict'),
        ('POST', '/v1/models/nobody:classify', 404, 'Servable not found'),
        ('GET', '/v1/models/faces/versions/three', 400, 'Malformed request'),
        ('GET', '/v1/models/faces/versions/٣', 400, 'Malformed request'),
        ('GET', '/v1/models/faces/versions/-3', 400, 'Malformed request'),
        ('GET', '/v1/models/faces/versions/99999999999999999999', 400, 'Failed to convert version'),
        ('GET', '/v1/models/faces/labels/stable', 400, 'Malformed request'),
        ('DELETE', '/v1/models/faces', 400, 'Malformed request: DELETE'),
        ('GET', '/v1/models/faces/versions/3/../../../../etc/passwd', 400, None),
    ],
)
def test_paths_that_are_none(server, method, path, status, message):

    answer = requests.request(method, server.url + path, timeout=60)
    assert answer.json().keys() == {'error'}
    if message is None:
        assert answer.status_code in (400, 404)
    else:
        assert answer.status_code == status
        assert message in answer.json()['error']
