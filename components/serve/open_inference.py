"""The Open Inference Protocol, as kserve has it: the models for its REST and gRPC servers, and the routes under `/v2`.

kserve's own routes take no version, answer in another error form, let a client unload a model, and read the binary
extension's BYTES as UTF-8, which images are not: these routes take their place, around kserve's requests and answers.
"""

import struct
import uuid
from collections.abc import Iterator
from typing import Any, Final

import kserve
import numpy as np
from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from kserve.constants.constants import INFERENCE_CONTENT_LENGTH_HEADER
from kserve.protocol.dataplane import DataPlane
from kserve.protocol.infer_type import RequestedOutput
from kserve.protocol.model_repository_extension import ModelRepositoryExtension

from components import faces
from components.serve import metrics, signature
from components.serve.errors import RequestError
from components.serve.limits import Limits
from components.serve.payload import from_base64, read_json
from components.serve.service import MODEL_VERSION, Outputs, Service

_BYTES: Final = 'BYTES'
_SIZE: Final = struct.Struct('<I')
_TENSOR: Final = {
    'type': 'object',
    'required': ['name', 'shape', 'datatype'],
    'properties': {
        'name': {'type': 'string', 'enum': [faces.SERVING_INPUT]},
        'shape': {'type': 'array', 'items': {'type': 'integer', 'minimum': 1}, 'minItems': 1, 'maxItems': 1},
        'datatype': {'type': 'string', 'enum': [_BYTES]},
        'data': {'type': 'array', 'items': {'type': 'string', 'format': 'byte'}},
    },
}
_BODY: Final = {
    'requestBody': {
        'required': True,
        'content': {
            'application/json': {
                'schema': {
                    'type': 'object',
                    'required': ['inputs'],
                    'properties': {
                        'id': {'type': 'string'},
                        'inputs': {'type': 'array', 'items': _TENSOR, 'minItems': 1, 'maxItems': 1},
                    },
                }
            }
        },
    }
}


class FaceModel(kserve.Model):
    """One of the models, for kserve."""

    def __init__(self, name: str, service: Service):
        super().__init__(name)
        self._service = service

    async def healthy(self) -> bool:
        """Whether a version answers."""
        return self._service.repository.served(self.name) is not None

    def get_input_types(self) -> list[dict[str, Any]]:
        """Name, datatype and shape."""
        return [_metadata(signature.INPUT)]

    def get_output_types(self) -> list[dict[str, Any]]:
        """Name, datatype and shape of each."""
        return [_metadata(output) for output in signature.outputs(self.name)]

    async def predict(
        self,
        payload: kserve.InferRequest,
        headers: dict[str, str] | None = None,
        response_headers: dict[str, str] | None = None,
    ) -> kserve.InferResponse:
        """Answers `image_bytes`.

        Raises:
            RequestError: see `Service.predict`; or the request asks for something else.
        """
        wanted = _wanted(payload, self.name)
        answer = await self._service.predict(
            self.name,
            _version(payload.model_version or ''),
            metrics.GRPC if payload.from_grpc else metrics.INFER,
            lambda: list(_images(payload, self._service.limits.batch)),
            lambda outputs: _to_tensors(outputs, wanted),
        )
        return kserve.InferResponse(
            response_id=payload.id or str(uuid.uuid4()),
            model_name=self.name,
            model_version=str(answer.version),
            infer_outputs=answer.content,
            # Over gRPC kserve sends arrays raw of itself, and fails when it is told to.
            use_binary_outputs=payload.use_binary_outputs and not payload.from_grpc,
            requested_outputs=payload.request_outputs,
        )


class FaceDataPlane(DataPlane):
    """kserve's data plane over the serving folder, which alone decides what is loaded."""

    async def get_model(self, name: str) -> FaceModel:
        """The model; kserve would load one that is not ready."""
        return self.get_model_from_registry(name)

    async def ready(self) -> bool:
        """Whether a model answers."""
        return any([await model.healthy() for model in self.model_registry.get_models().values()])

    def metadata(self) -> dict[str, Any]:
        """Name and version of the server, and the extensions of the protocol that it speaks."""
        return {**super().metadata(), 'extensions': ['binary_tensor_data']}


class ClosedRepository(ModelRepositoryExtension):
    """kserve's model repository extension, closed: no client loads or unloads a model."""

    async def load(self, model_name: str) -> None:
        """Refuses."""
        raise RequestError(405, _CLOSED)

    async def unload(self, model_name: str) -> None:
        """Refuses."""
        raise RequestError(405, _CLOSED)


_CLOSED: Final = 'Models are loaded and unloaded by what lies in the serving folder: push one, or roll one back.'


def open_inference_router(plane: FaceDataPlane, service: Service) -> APIRouter:
    """The routes under `/v2`."""
    router = APIRouter(prefix='/v2', tags=['Open Inference Protocol'])

    @router.get('')
    async def server() -> JSONResponse:
        """Name, version and extensions of the server."""
        return JSONResponse(plane.metadata())

    @router.get('/health/live')
    async def live() -> JSONResponse:
        """The server runs."""
        return JSONResponse({'live': True})

    @router.get('/health/ready')
    async def ready() -> JSONResponse:
        """A model answers."""
        if not await plane.ready():
            raise RequestError(503, 'No model is loaded: push one, and ask again.', 5)
        return JSONResponse({'ready': True})

    @router.get('/models')
    async def models() -> JSONResponse:
        """Names of the models."""
        return JSONResponse({'models': list(plane.model_registry.get_models())})

    @router.get('/models/{model}', name='describe')
    @router.get('/models/{model}/versions/{version}', name='describe a version')
    async def describe(model: str, version: str = '') -> JSONResponse:
        """Inputs, outputs, and the version that answers."""
        served = service.repository.find(model, _version(version))
        return JSONResponse(
            {**await plane.model_metadata(model), 'platform': 'onnxruntime', 'versions': [str(served.version)]}
        )

    @router.get('/models/{model}/ready', name='model ready')
    @router.get('/models/{model}/versions/{version}/ready', name='version ready')
    async def model_ready(model: str, version: str = '') -> JSONResponse:
        """The model, or this version of it, answers."""
        service.repository.find(model, _version(version))
        return JSONResponse({'name': model, 'ready': True})

    @router.post('/models/{model}/infer', openapi_extra=_BODY, name='infer')
    @router.post('/models/{model}/versions/{version}/infer', openapi_extra=_BODY, name='infer with a version')
    async def infer(request: Request, model: str, version: str = '') -> Response:
        """Answers about encoded images: base64 in JSON, or bytes by the binary extension."""
        length = request.headers.get(INFERENCE_CONTENT_LENGTH_HEADER)
        asked = _read(await request.body(), length, model, version, service.limits)
        response, _ = await plane.infer(model, asked)
        content, length = response.to_rest()
        headers = {MODEL_VERSION: response.model_version}
        if length is None:
            return JSONResponse(content, headers=headers)
        headers[INFERENCE_CONTENT_LENGTH_HEADER] = str(length)
        return Response(content, media_type='application/octet-stream', headers=headers)

    @router.post('/repository/{rest:path}', include_in_schema=False)
    async def repository(rest: str) -> Response:
        raise RequestError(405, _CLOSED)

    return router


def _read(body: bytes, length: str | None, model: str, version: str, limits: Limits) -> kserve.InferRequest:
    """A REST request, as kserve's own reading of it gives, but for bytes that are no text."""
    if length is not None and not (length.isascii() and length.isdecimal() and int(length[:20]) <= len(body)):
        raise RequestError(400, f'{INFERENCE_CONTENT_LENGTH_HEADER} is {length}, of a body of {len(body)} bytes.')
    end = len(body) if length is None else int(length)
    request = read_json(body[:end], limits)
    if not isinstance(request, dict):
        raise RequestError(400, 'The request is no JSON object.')
    parameters = _expect(request.get('parameters') or {}, dict, 'parameters')
    rest = body[end:]
    inputs = [_input(_expect(one, dict, 'inputs'), rest) for one in _expect(request.get('inputs'), list, 'inputs')]
    identity = request.get('id')
    return kserve.InferRequest(
        model,
        inputs,
        request_id=None if identity is None else _expect(identity, str, 'id'),
        parameters=parameters,
        request_outputs=_requested(request.get('outputs'), bool(parameters.get('binary_data_output'))),
        model_version=version,
    )


def _input(tensor: dict[str, Any], binary: bytes) -> kserve.InferInput:
    parameters = _expect(tensor.get('parameters') or {}, dict, 'parameters')
    found = kserve.InferInput(
        _expect(tensor.get('name'), str, 'name'),
        _expect(tensor.get('shape'), list, 'shape'),
        _expect(tensor.get('datatype'), str, 'datatype'),
        parameters=parameters,
    )
    if 'data' in tensor:
        found.data = _expect(tensor['data'], list, 'data')
        return found
    size = parameters.get('binary_data_size')
    # There is one input only, so that its bytes are all there are.
    if size != len(binary):
        raise RequestError(
            400, f"'data' is missing, or 'binary_data_size' is not the {len(binary)} bytes after the JSON."
        )
    found._raw_data = binary
    return found


def _requested(outputs: Any, binary: bool) -> list[RequestedOutput] | None:
    if not outputs:
        return None
    found = []
    for output in _expect(outputs, list, 'outputs'):
        parameters = _expect(_expect(output, dict, 'outputs').get('parameters') or {}, dict, 'parameters')
        named = _expect(output.get('name'), str, 'name')
        found.append(RequestedOutput(named, {'binary_data': bool(parameters.get('binary_data', binary))}))
    return found


def _expect(value: Any, kind: type, name: str) -> Any:
    if not isinstance(value, kind):
        raise RequestError(400, f"'{name}' is missing, or not of the type that the protocol has: {kind.__name__}.")
    return value


def _wanted(request: kserve.InferRequest, model: str) -> list[signature.Tensor]:
    """The outputs that are asked for."""
    offered = {output.name: output for output in signature.outputs(model)}
    names = [output.name for output in request.request_outputs or []] or list(offered)
    for name in names:
        if name not in offered:
            raise RequestError(400, f'{model} has no output {name}: ask for {", ".join(offered)}.')
    return [offered[name] for name in dict.fromkeys(names)]


def _images(request: kserve.InferRequest, batch: int) -> Iterator[bytes]:
    if len(request.inputs) != 1 or request.inputs[0].name != faces.SERVING_INPUT:
        raise RequestError(400, f'Send one input, {faces.SERVING_INPUT}.')
    (tensor,) = request.inputs
    if tensor.datatype != _BYTES:
        raise RequestError(400, f'{tensor.name} is of the datatype {tensor.datatype}: send {_BYTES}.')
    images = list(_split(tensor._raw_data, batch)) if tensor._raw_data is not None else tensor.data or []
    if len(tensor.shape) != 1 or tensor.shape[0] != len(images):
        raise RequestError(400, f'{tensor.name} has {len(images)} elements: its shape is [{len(images)}].')
    if len(images) > batch:
        raise RequestError(400, f'{len(images)} images are sent: send 1 to {batch} in one request.')
    for image in images:
        if not isinstance(image, (bytes, str)):
            raise RequestError(400, f'{tensor.name} holds something else than bytes: send base64 in JSON.')
        yield image if isinstance(image, bytes) else from_base64(image)


def _split(raw: bytes, batch: int) -> Iterator[bytes]:
    """The elements of a BYTES tensor: four bytes of length, little-endian, before each; no more than one too many."""
    position = 0
    for _ in range(batch + 1):
        if position == len(raw):
            return
        start = position + _SIZE.size
        if start > len(raw):
            raise RequestError(400, 'The binary data end within the length of an element.')
        position = start + _SIZE.unpack_from(raw, position)[0]
        if position > len(raw):
            raise RequestError(400, 'The binary data end within an element.')
        yield raw[start:position]


def _to_tensors(outputs: Outputs, wanted: list[signature.Tensor]) -> list[kserve.InferOutput]:
    found = []
    for tensor in wanted:
        values = outputs[tensor.name]
        # kserve knows bytes by this type of NumPy's.
        values = values.astype(object) if tensor.kind == signature.TEXT else np.ascontiguousarray(values)
        found.append(kserve.InferOutput(tensor.name, list(values.shape), _datatype(tensor), data=values))
    return found


def _metadata(tensor: signature.Tensor) -> dict[str, Any]:
    return {'name': tensor.name, 'datatype': _datatype(tensor), 'shape': list(tensor.shape)}


def _datatype(tensor: signature.Tensor) -> str:
    return _BYTES if tensor.kind == signature.TEXT else 'FP32'


def _version(version: str) -> int | None:
    if not version:
        return None
    if not (version.isascii() and version.isdecimal() and len(version) < 20):
        raise RequestError(404, f'A version is a number: {version} is none.')
    return int(version)
