"""TensorFlow Serving's REST contract: https://www.tensorflow.org/tfx/serving/api_rest.

Error texts follow tensorflow/serving: model_servers/http_rest_api_handler.cc and util/json_tensor.cc.
"""

from functools import partial
from typing import Any, Final

import orjson
from fastapi import APIRouter, Request, Response

from components import faces
from components.serve import metrics, signature
from components.serve.errors import RequestError
from components.serve.limits import Limits
from components.serve.payload import from_base64, read_json
from components.serve.repository import VersionState
from components.serve.service import MODEL_VERSION, Outputs, Service

_LARGEST_VERSION: Final = 2**63 - 1
_METHODS: Final = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']
_BASE64: Final = {'type': 'object', 'required': ['b64'], 'properties': {'b64': {'type': 'string', 'format': 'byte'}}}
_ROW: Final = {'anyOf': [_BASE64, {'type': 'object', 'properties': {faces.SERVING_INPUT: _BASE64}}]}
_COLUMN: Final = {'type': 'array', 'items': _BASE64}
_BODY: Final = {
    'requestBody': {
        'required': True,
        'content': {
            'application/json': {
                'schema': {
                    'type': 'object',
                    'properties': {
                        'signature_name': {'type': 'string', 'enum': [faces.SERVING_SIGNATURE]},
                        'instances': {'type': 'array', 'minItems': 1, 'items': _ROW},
                        'inputs': {
                            'anyOf': [_COLUMN, {'type': 'object', 'properties': {faces.SERVING_INPUT: _COLUMN}}]
                        },
                    },
                }
            }
        },
    }
}


def tensorflow_serving_router(service: Service) -> APIRouter:
    """The routes under `/v1/models`, all of them: what matches none is malformed."""
    router = APIRouter(prefix='/v1/models', tags=['TensorFlow Serving'])

    @router.get('/{model}', name='status')
    @router.get('/{model}/versions/{version}', name='status of a version')
    async def status(request: Request, model: str, version: str = '') -> Response:
        """Which versions answer, and which do not load."""
        return _to_response(_status(service.repository.states(model), model, _number(request, version)))

    @router.get('/{model}/metadata', name='metadata')
    @router.get('/{model}/versions/{version}/metadata', name='metadata of a version')
    async def metadata(request: Request, model: str, version: str = '') -> Response:
        """The signature: names, types and shapes of what goes in and comes out."""
        served = service.repository.find(model, _number(request, version))
        return _to_response(_metadata(model, served.version))

    @router.post('/{model}:predict', openapi_extra=_BODY, name='predict')
    @router.post('/{model}/versions/{version}:predict', openapi_extra=_BODY, name='predict with a version')
    async def predict(request: Request, model: str, version: str = '') -> Response:
        """Answers about encoded images, by row (`instances`) or by column (`inputs`)."""
        body = await request.body()
        wanted = _number(request, version)
        form = _Format()
        read = partial(_read, body, service.limits, form)
        answer = await service.predict(model, wanted, metrics.PREDICT, read, form.write)
        return _to_response(answer.content, {MODEL_VERSION: str(answer.version)})

    @router.post('/{model}:{method}', include_in_schema=False)
    @router.post('/{model}/versions/{version}:{method}', include_in_schema=False)
    async def unsupported(request: Request, model: str, method: str, version: str = '') -> Response:
        if method not in _KINDS:
            raise _malformed(request)
        service.repository.find(model, _number(request, version))
        kind, wanted = _KINDS[method], f'tensorflow/serving/{method}'
        raise RequestError(400, f'Expected {kind} signature method_name to be {wanted}. Was: {_PREDICT}')

    @router.api_route('{rest:path}', methods=_METHODS, include_in_schema=False)
    async def other(request: Request, rest: str) -> Response:
        if request.method == 'GET' and rest in ('', '/'):
            raise RequestError(400, 'Missing model name in request.')
        raise _malformed(request)

    return router


_PREDICT: Final = 'tensorflow/serving/predict'
_KINDS: Final = {'classify': 'classification', 'regress': 'regression'}


class _Format:
    """Whether a request came by row, in which case the answer goes the same way."""

    def __init__(self) -> None:
        self.by_row = False

    def write(self, outputs: Outputs) -> bytes:
        columns = {name: value if value.dtype.kind == 'f' else value.tolist() for name, value in outputs.items()}
        if not self.by_row:
            content = {'outputs': _bare(columns)}
        else:
            count = len(next(iter(columns.values())))
            rows = [_bare({name: value[row] for name, value in columns.items()}) for row in range(count)]
            content = {'predictions': rows}
        return orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY)


def _bare(named: dict[str, Any]) -> Any:
    """One output goes without its name."""
    return next(iter(named.values())) if len(named) == 1 else named


def _read(body: bytes, limits: Limits, form: _Format) -> list[bytes]:
    """The encoded images of a request."""
    request = read_json(body, limits)
    if not isinstance(request, dict):
        raise RequestError(400, 'JSON Value: is not object')
    _demand_signature(request.get('signature_name', ''))
    if ('instances' in request) == ('inputs' in request):
        raise RequestError(400, "Missing 'inputs' or 'instances' key: send one of the two.")
    form.by_row = 'instances' in request
    values = _rows(request['instances']) if form.by_row else _column(request['inputs'])
    if len(values) > limits.batch:
        raise RequestError(400, f'{len(values)} images are sent: send 1 to {limits.batch} in one request.')
    return [_to_bytes(value) for value in values]


def _demand_signature(name: Any) -> None:
    if not isinstance(name, str):
        raise RequestError(400, "JSON Value: 'signature_name' key must be a string value.")
    if name not in ('', faces.SERVING_SIGNATURE):
        raise RequestError(400, f'Serving signature name: "{name}" not found in signature def')


def _rows(instances: Any) -> list[Any]:
    if not isinstance(instances, list) or not instances:
        raise RequestError(400, "JSON Value: 'instances' must be a list with one element or more.")
    named = [isinstance(row, dict) and not _is_base64(row) for row in instances]
    if any(named) != all(named):
        raise RequestError(400, "The elements of 'instances' must all be objects with names, or none.")
    if not any(named):
        return instances
    for index, row in enumerate(instances):
        if set(row) != {faces.SERVING_INPUT}:
            raise RequestError(
                400, f"Failed to process element: {index} of 'instances' list. Keys must be equal to: "
                f'{faces.SERVING_INPUT}'
            )  # fmt: skip
    return [row[faces.SERVING_INPUT] for row in instances]


def _column(inputs: Any) -> list[Any]:
    if isinstance(inputs, dict) and not _is_base64(inputs):
        if faces.SERVING_INPUT not in inputs:
            raise RequestError(400, f"Missing named input: {faces.SERVING_INPUT} in 'inputs' object.")
        inputs = inputs[faces.SERVING_INPUT]
    if not isinstance(inputs, list):
        raise RequestError(400, f"'inputs' must be a list: {faces.SERVING_INPUT} has the shape [-1].")
    return inputs


def _is_base64(value: Any) -> bool:
    return isinstance(value, dict) and set(value) == {'b64'} and isinstance(value['b64'], str)


def _to_bytes(value: Any) -> bytes:
    if isinstance(value, str):
        return value.encode()
    if not _is_base64(value):
        raise RequestError(400, 'JSON Value: an image is not formatted correctly for base64 data: send {"b64": "…"}.')
    return from_base64(value['b64'])


def _status(states: list[VersionState], model: str, version: int | None) -> dict[str, Any]:
    found = [state for state in states if version in (None, state.version)]
    if not found:
        what = f'any versions of model {model}' if version is None else f'version {version} of model {model}'
        raise RequestError(404, f'Could not find {what}')
    return {
        'model_version_status': [
            {
                'version': str(state.version),
                'state': 'END' if state.error else 'AVAILABLE',
                'status': {'error_code': 'UNKNOWN' if state.error else 'OK', 'error_message': state.error},
            }
            for state in found
        ]
    }


def _metadata(model: str, version: int) -> dict[str, Any]:
    serving = {
        'inputs': {signature.INPUT.name: _tensor_information(signature.INPUT)},
        'outputs': {output.name: _tensor_information(output) for output in signature.outputs(model)},
        'method_name': _PREDICT,
    }
    return {
        'model_spec': {'name': model, 'signature_name': '', 'version': str(version)},
        'metadata': {'signature_def': {'signature_def': {faces.SERVING_SIGNATURE: serving}}},
    }


def _tensor_information(tensor: signature.Tensor) -> dict[str, Any]:
    return {
        'dtype': 'DT_STRING' if tensor.kind == signature.TEXT else 'DT_FLOAT',
        'tensor_shape': {'dim': [{'size': str(side), 'name': ''} for side in tensor.shape], 'unknown_rank': False},
        'name': tensor.name,
    }


def _number(request: Request, version: str) -> int | None:
    if not version:
        return None
    if not (version.isascii() and version.isdecimal()):
        raise _malformed(request)
    if len(version) > len(str(_LARGEST_VERSION)) or int(version) > _LARGEST_VERSION:
        raise RequestError(400, f'Failed to convert version: {version} to numeric.')
    return int(version)


def _malformed(request: Request) -> RequestError:
    return RequestError(400, f'Malformed request: {request.method} {request.url.path}')


def _to_response(content: Any, headers: dict[str, str] | None = None) -> Response:
    encoded = content if isinstance(content, bytes) else orjson.dumps(content)
    return Response(encoded, media_type='application/json', headers=headers)
