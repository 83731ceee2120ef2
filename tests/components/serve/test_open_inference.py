"""The Open Inference Protocol over REST, its binary extension, and gRPC."""

import base64
import json
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from components import faces
from tests.components.serve import running
from tests.components.serve.pictures import GOOD, HOSTILE, short

ENCODED = list(GOOD.values())
ONE = GOOD['colour PNG']


def as_json(*encoded: bytes) -> dict[str, Any]:
    data = [base64.b64encode(one).decode() for one in encoded]
    return {'inputs': [{'name': 'image_bytes', 'shape': [len(data)], 'datatype': 'BYTES', 'data': data}]}


def packed(*encoded: bytes) -> bytes:
    return b''.join(struct.pack('<I', len(one)) + one for one in encoded)


def tensors(answer: dict[str, Any]) -> dict[str, np.ndarray]:
    return {one['name']: np.reshape(one['data'], one['shape']) for one in answer['outputs']}


def assert_equal(answers: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    assert answers.keys() == expected.keys()
    for name, value in expected.items():
        if value.dtype == object:
            assert answers[name].tolist() == [[text.decode() for text in row] for row in value]
        else:
            np.testing.assert_allclose(answers[name], value, rtol=1e-3, atol=2e-3)


@pytest.fixture(scope='module')
def ask_grpc(server, python) -> Callable[..., list[dict[str, Any]]]:
    def ask(*questions) -> list[dict[str, Any]]:
        command = [python, Path(__file__).with_name('ask_grpc.py'), server.grpc]
        asked = subprocess.run(command, input=json.dumps(questions), capture_output=True, text=True, timeout=300)
        assert asked.returncode == 0, asked.stderr
        return json.loads(asked.stdout)

    return ask


def infer(raw: bytes | None = None, *, shape: int = 1, model: str = 'faces', **fields) -> list:
    """A question of gRPC with raw contents."""
    tensor = {'name': 'image_bytes', 'shape': [shape], 'datatype': 'BYTES'}
    contents = {} if raw is None else {'raw_input_contents': [{'hex': raw.hex()}]}
    return ['ModelInfer', {'model_name': model, 'inputs': [tensor], **contents, **fields}]


def test_the_server_tells_about_itself(server):
    assert server.get('/v2').json()['extensions'] == ['binary_tensor_data']
    assert server.get('/v2/health/live').json() == {'live': True}
    assert server.get('/v2/health/ready').json() == {'ready': True}
    assert server.get('/v2/models').json() == {'models': list(faces.MODELS)}
    assert server.get('/v2/models/faces/ready').json() == {'name': 'faces', 'ready': True}
    assert server.get('/v2/models/faces/versions/3/ready').status_code == 200
    for path in ('nobody', 'nobody/ready', 'faces/versions/7', 'faces/versions/7/ready', 'faces/versions/x'):
        answer = server.get(f'/v2/models/{path}')
        assert (answer.status_code, answer.json().keys()) == (404, {'error'})


@pytest.mark.parametrize('path', ['/v2/models/keypoints', '/v2/models/keypoints/versions/3'])
def test_metadata(server, path):
    assert server.get(path).json() == {
        'name': 'keypoints',
        'platform': 'onnxruntime',
        'versions': ['3'],
        'inputs': [{'name': 'image_bytes', 'datatype': 'BYTES', 'shape': [-1]}],
        'outputs': [{'name': 'keypoints', 'datatype': 'FP32', 'shape': [-1, 15, 2]}],
    }


@pytest.mark.parametrize('model', faces.MODELS)
def test_json_is_answered_as_the_saved_model_answers(server, made, model):
    answer = server.post(f'/v2/models/{model}/infer', json=as_json(*ENCODED))
    assert (answer.status_code, answer.headers['Model-Version']) == (200, '3')
    content = answer.json()
    assert (content['model_name'], content['model_version']) == (model, '3')
    assert content['id']
    assert_equal(tensors(content), made[0].ask(model, ENCODED))


def test_what_is_asked_for_comes_back(server):
    request = {**as_json(ONE), 'id': 'mine', 'outputs': [{'name': 'keypoints'}]}
    answer = server.post('/v2/models/faces/versions/3/infer', json=request).json()
    assert (answer['id'], [one['name'] for one in answer['outputs']]) == ('mine', ['keypoints'])


def test_an_output_that_is_asked_for_twice_does_no_harm(server):
    kinds = [{}, {'parameters': {'binary_data': True}}, {}]
    outputs = [{'name': name, **kind} for kind in kinds for name in ('expressions', 'probabilities')]
    answer = server.post('/v2/models/faces/infer', json={**as_json(ONE), 'outputs': outputs})
    assert answer.status_code == 200


def binary(raw: bytes, shape: int, **fields) -> tuple[bytes, dict[str, str]]:
    parameters = {'binary_data_size': len(raw)}
    tensor = {'name': 'image_bytes', 'shape': [shape], 'datatype': 'BYTES', 'parameters': parameters}
    head = json.dumps({'inputs': [tensor], **fields}).encode()
    return head + raw, {'Inference-Header-Content-Length': str(len(head))}


def test_bytes_by_the_binary_extension(server, made):
    raw = packed(*ENCODED)
    body, headers = binary(raw, len(ENCODED))
    answer = server.post('/v2/models/faces/infer', data=body, headers=headers)
    assert_equal(tensors(answer.json()), made[0].ask('faces', ENCODED))

    body, headers = binary(raw, len(ENCODED), parameters={'binary_data_output': True})
    answer = server.post('/v2/models/expression/infer', data=body, headers=headers)
    length = int(answer.headers['Inference-Header-Content-Length'])
    (output,) = json.loads(answer.content[:length])['outputs']
    assert output['parameters'] == {'binary_data_size': len(answer.content) - length}
    values = np.frombuffer(answer.content[length:], np.float32).reshape(output['shape'])
    assert_equal({'probabilities': values}, made[0].ask('expression', ENCODED))


TENSOR = as_json(ONE)['inputs'][0]


@pytest.mark.parametrize(
    ('request_', 'message'),
    [
        ([], 'no JSON object'),
        ({}, "'inputs' is missing"),
        ({'inputs': []}, 'Send one input'),
        ({'inputs': [TENSOR, TENSOR]}, 'Send one input'),
        ({'inputs': ['text']}, "'inputs' is missing, or not of the type"),
        ({'inputs': [{**TENSOR, 'name': 'picture'}]}, 'Send one input, image_bytes'),
        ({'inputs': [{**TENSOR, 'name': None}]}, "'name' is missing"),
        ({'inputs': [{**TENSOR, 'datatype': 'FP32'}]}, 'send BYTES'),
        ({'inputs': [{**TENSOR, 'datatype': 7}]}, "'datatype' is missing"),
        ({'inputs': [{**TENSOR, 'shape': [2]}]}, 'has 1 elements'),
        ({'inputs': [{**TENSOR, 'shape': ['1']}]}, 'has 1 elements'),
        ({'inputs': [{**TENSOR, 'shape': [1e300, 0]}]}, 'has 1 elements'),
        ({'inputs': [{**TENSOR, 'shape': [1] * 3000}]}, 'has 1 elements'),
        ({'inputs': [{**TENSOR, 'shape': 1}]}, "'shape' is missing"),
        ({'inputs': [{**TENSOR, 'data': 'text'}]}, "'data' is missing"),
        ({'inputs': [{**TENSOR, 'data': [1]}]}, 'something else than bytes'),
        ({'inputs': [{**TENSOR, 'data': ['#']}]}, 'Unable to base64 decode'),
        ({'inputs': [{**TENSOR, 'data': [''], 'parameters': 3}]}, "'parameters' is missing"),
        ({'inputs': [{'name': 'image_bytes', 'shape': [1], 'datatype': 'BYTES'}]}, "'data' is missing"),
        ({'inputs': [TENSOR], 'outputs': [{'name': 'mood'}]}, 'has no output mood'),
        ({'inputs': [TENSOR], 'outputs': 'all'}, "'outputs' is missing"),
        ({'inputs': [TENSOR], 'id': 3}, "'id' is missing"),
        (as_json(*[b''] * 65), '65 images are sent'),
        (as_json(ONE, HOSTILE['half a JPEG']), 'Image 1: The image is broken'),
    ],
    ids=short,
)
def test_a_malformed_request_is_told_what_is_wrong(server, request_, message):
    answer = server.post('/v2/models/faces/infer', json=request_)
    assert answer.status_code == 400
    assert message in answer.json()['error']


@pytest.mark.parametrize('length', ['-1', '99999999', 'x', '٣', '0', '10'])
def test_a_wrong_length_of_the_json_is_told(server, length):
    body, _ = binary(packed(ONE), 1)
    headers = {'Inference-Header-Content-Length': length.encode()}
    answer = server.post('/v2/models/faces/infer', data=body, headers=headers)
    assert (answer.status_code, answer.json().keys()) == (400, {'error'})


@pytest.mark.parametrize(
    'raw',
    [b'\x01', b'\xff\xff\xff\xff', packed(ONE)[:-1], packed(ONE) + b'\x00', packed(ONE, ONE), b'\x00' * 4000],
    ids=short,
)
def test_binary_data_that_do_not_add_up_are_told(server, raw):
    body, headers = binary(raw, 1)
    answer = server.post('/v2/models/faces/infer', data=body, headers=headers)
    assert (answer.status_code, answer.json().keys()) == (400, {'error'})


def test_no_client_loads_or_unloads_a_model(server, ask_grpc):
    for verb in ('load', 'unload'):
        answer = server.post(f'/v2/repository/models/faces/{verb}')
        assert (answer.status_code, answer.json().keys()) == (405, {'error'})
    answers = ask_grpc(*([f'RepositoryModel{verb}', {'model_name': 'faces'}] for verb in ('Load', 'Unload')))
    assert [answer['code'] for answer in answers] == ['PERMISSION_DENIED'] * 2
    assert server.get('/v2/models/faces/ready').status_code == 200


def test_grpc_answers_as_the_saved_model_answers(ask_grpc, made):
    raw = packed(*ENCODED)
    contents = {'bytes_contents': [{'hex': one.hex()} for one in ENCODED]}
    tensor = {'name': 'image_bytes', 'shape': [len(ENCODED)], 'datatype': 'BYTES', 'contents': contents}
    live, ready, metadata, *answers, one = ask_grpc(
        ['ServerLive', {}],
        ['ModelReady', {'name': 'faces'}],
        ['ModelMetadata', {'name': 'faces'}],
        infer(raw, shape=len(ENCODED), id='mine', model_version='3'),
        ['ModelInfer', {'model_name': 'faces', 'inputs': [tensor]}],
        infer(packed(ONE), outputs=[{'name': 'keypoints'}]),
    )
    assert (live, ready) == ({'live': True}, {'ready': True})
    assert {output['name'] for output in metadata['outputs']} == made[0].ask('faces', [ONE]).keys()
    assert answers[0]['id'] == 'mine'
    for answer in answers:
        assert (answer['modelName'], answer['modelVersion']) == ('faces', '3')
        assert_equal(from_grpc(answer), made[0].ask('faces', ENCODED))
    assert list(from_grpc(one)) == ['keypoints']


def from_grpc(answer: dict[str, Any]) -> dict[str, np.ndarray]:
    found = {}
    for output, raw in zip(answer['outputs'], answer['rawOutputContents'], strict=True):
        content = base64.b64decode(raw)
        if output['datatype'] == 'BYTES':
            values = []
            while content:
                (length,) = struct.unpack_from('<I', content)
                values.append(content[4 : 4 + length].decode())
                content = content[4 + length :]
        else:
            values = np.frombuffer(content, np.float32)
        found[output['name']] = np.reshape(values, [int(side) for side in output['shape']])
    return found


def test_grpc_tells_what_is_wrong(ask_grpc, server):
    questions = {
        'a model that is none': (infer(packed(ONE), model='nobody'), 'NOT_FOUND'),
        'a version that is not served': (infer(packed(ONE), model_version='7'), 'NOT_FOUND'),
        'a version that is none': (infer(packed(ONE), model_version='x'), 'NOT_FOUND'),
        'metadata of none': (['ModelMetadata', {'name': 'nobody'}], 'NOT_FOUND'),
        'no input': (['ModelInfer', {'model_name': 'faces'}], 'INVALID_ARGUMENT'),
        'no content': (infer(), 'INVALID_ARGUMENT'),
        'another type': (
            ['ModelInfer', {'model_name': 'faces', 'inputs': [{'name': 'image_bytes', 'datatype': 'FP99'}]}],
            'INVALID_ARGUMENT',
        ),
        'another shape': (infer(packed(ONE), shape=2), 'INVALID_ARGUMENT'),
        'raw contents that do not add up': (infer(packed(ONE)[:-1]), 'INVALID_ARGUMENT'),
        'more contents than inputs': (
            infer(None, raw_input_contents=[{'hex': packed(ONE).hex()}] * 2),
            'INVALID_ARGUMENT',
        ),
        'another output': (infer(packed(ONE), outputs=[{'name': 'mood'}]), 'INVALID_ARGUMENT'),
        'a batch that is too large': (infer(packed(*[ONE] * 65), shape=65), 'INVALID_ARGUMENT'),
        'a message that is too large': (infer(packed(bytes(9 << 20))), 'RESOURCE_EXHAUSTED'),
        **{name: (infer(packed(encoded)), 'INVALID_ARGUMENT') for name, encoded in HOSTILE.items()},
    }
    answers = ask_grpc(*(question for question, _ in questions.values()))
    codes = dict(zip(questions, (answer.get('code') for answer in answers), strict=True))
    assert codes == {name: code for name, (_, code) in questions.items()}
    assert all(answer['details'] and '\n' not in answer['details'] for answer in answers)
    assert 'Traceback' not in server.log.read_text()


def test_the_grpc_server_listens_at_the_address_alone_that_it_was_given(server):
    port = int(server.grpc.rpartition(':')[2])
    listening = Path('/proc/net/tcp').read_text() + Path('/proc/net/tcp6').read_text()
    addresses = [line.split()[1].partition(':')[0] for line in listening.splitlines() if f':{port:04X} ' in line]
    # Hexadecimal, of IPv4 or mapped into IPv6; zeros would be every address of the machine.
    assert addresses
    assert all(address.endswith('0100007F') for address in addresses)


def test_a_port_that_is_taken_is_one_line(server, serving, python):
    for option, port in (('--http-port', server.address[1]), ('--grpc-port', server.grpc.rpartition(':')[2])):
        command = [python, '-m', 'components.serve', '--folder', serving, '--http-port', '0', '--grpc-port', '0']
        ended = subprocess.run(
            [*map(str, command), option, str(port)], cwd=running.ROOT, capture_output=True, text=True, timeout=300
        )
        assert ended.returncode == 1
        assert 'cannot be listened on' in ended.stderr.splitlines()[-1]
        assert 'Traceback' not in ended.stderr
