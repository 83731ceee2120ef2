"""The server: kserve's, with our routes, over a serving folder."""

import asyncio
import logging
import logging.config
import signal
import socket
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

import cv2
import uvloop
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from kserve import ModelServer
from kserve.errors import InvalidInput, ModelNotFound
from kserve.model_repository import ModelRepository
from kserve.protocol.rest.server import RESTServer, metrics_handler
from prometheus_client import REGISTRY
from starlette.exceptions import HTTPException

from components import faces
from components.errors import StepError
from components.serve.connections import PatientProtocol
from components.serve.errors import RequestError
from components.serve.grpc_server import LocalGRPCServer
from components.serve.limits import BodyLimits, Limits
from components.serve.metrics import Metrics
from components.serve.mirror import Mirror
from components.serve.open_inference import ClosedRepository, FaceDataPlane, FaceModel, open_inference_router
from components.serve.pages import pages_router
from components.serve.photo_endpoint import photo_router
from components.serve.pool import Pool
from components.serve.repository import Repository
from components.serve.service import Service
from components.serve.tensorflow_serving import tensorflow_serving_router
from components.storage.uris import is_stored

_LOG: Final = logging.getLogger(__name__)
_GRACE: Final = 30  # seconds for what is in flight when the server is told to stop


@dataclass(frozen=True)
class Options:
    """How to serve.

    Attributes:
        folder: `<folder>/<model>/<version>/`, on this machine or `s3://bucket/prefix`.
        host: address that is listened on.
        http_port: of it; 0 for any that is free.
        grpc_port: of it; 0 for no gRPC.
        threads: that answer at once.
        queue: requests that may wait for one.
        poll: seconds between two looks at the folder.
        limits: of a request.
    """

    folder: Path | str
    host: str = '127.0.0.1'
    http_port: int = 8501
    grpc_port: int = 8500
    threads: int = 2
    queue: int = 64
    poll: float = 2.0
    limits: Limits = field(default_factory=Limits)


def serve(options: Options) -> None:
    """Serves until it is told to stop (SIGTERM, SIGINT), and then finishes what is in flight.

    Raises:
        StepError: the folder is missing, the object store cannot be used, or a port is taken.
    """
    logging.config.dictConfig(_LOGGING)
    if is_stored(options.folder):
        with tempfile.TemporaryDirectory(prefix='serving-') as folder:
            _serve(options, Path(folder), Mirror(str(options.folder), Path(folder)).update)
        return
    if not Path(options.folder).is_dir():
        raise StepError(f'There is no folder {options.folder}: train and push models (make run), or give --folder.')
    _serve(options, Path(options.folder), lambda: None)


def _serve(options: Options, folder: Path, refresh: Callable[[], None]) -> None:
    listener = _listen(options.host, options.http_port)
    # The threads of the pool are as many as are wanted.
    cv2.setNumThreads(1)
    metrics = Metrics(REGISTRY)
    repository = Repository(folder, metrics, refresh=refresh)
    pool = Pool(options.threads, options.queue)
    metrics.in_flight(lambda: pool.taken)
    repository.look()
    if all(repository.served(model) is None for model in faces.MODELS):
        _LOG.warning('%s holds no version that loads: waiting for one to be pushed.', options.folder)
    service = Service(repository, pool, options.limits, metrics)
    service.warm_up()
    repository.watch(options.poll)
    try:
        FaceServer(options, service, listener).start([])
    finally:
        repository.close()
        pool.close()


class FaceServer(ModelServer):
    """kserve's model server with our routes and limits.

    Args:
        options: how to serve.
        service: answers requests.
        listener: of HTTP, bound.
    """

    def __init__(self, options: Options, service: Service, listener: socket.socket):
        models = ModelRepository()
        super().__init__(
            http_port=options.http_port,
            grpc_port=options.grpc_port,
            registered_models=models,
            enable_grpc=options.grpc_port > 0,
            enable_latency_logging=False,
            grace_period=_GRACE,
        )
        for name in faces.MODELS:
            models.update(FaceModel(name, service))
        self.dataplane = FaceDataPlane(models)
        self.model_repository_extension = ClosedRepository(models)
        self._options = options
        self._service = service
        self._listener = listener

    def start(self, models: list) -> None:
        """Serves the three models, until a signal ends it; kserve's own start would bind every address.

        Args:
            models: more of kserve's models.

        Raises:
            StepError: gRPC's port is taken.
        """
        for model in models:
            self.register_model(model)
        for number in (signal.SIGINT, signal.SIGTERM):
            # uvicorn sees them first, and raises them again once it has stopped.
            signal.signal(number, lambda *_: None)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        options = self._options
        if self.enable_grpc:
            self._grpc_server = LocalGRPCServer(
                options.host,
                options.grpc_port,
                self.dataplane,
                self.model_repository_extension,
                options.limits,
                options.threads + options.queue,
            )
            await self._grpc_server.start()
        self._rest_server = _HTTPServer(self.application(), self.dataplane, self.model_repository_extension, options)
        _LOG.info('%s', _address(options, self._listener))
        await self._rest_server.serve(self._listener)
        if self._grpc_server is not None:
            await self._grpc_server.stop(grace=_GRACE)
        _LOG.info('Stopped.')

    def application(self) -> FastAPI:
        """Every route of the server."""
        application = FastAPI(
            title='Faces', version=self.dataplane.metadata()['version'], docs_url=None, redoc_url=None
        )
        application.include_router(photo_router(self._service))
        application.include_router(tensorflow_serving_router(self._service))
        application.include_router(open_inference_router(self.dataplane, self._service))
        application.include_router(pages_router())
        application.add_api_route('/metrics', metrics_handler, methods=['GET'], include_in_schema=False)
        for kind, handler in _HANDLERS.items():
            application.add_exception_handler(kind, handler)
        application.add_middleware(BodyLimits, limits=self._options.limits)
        return application


class _HTTPServer(RESTServer):
    """kserve's HTTP server for an application of ours, on a socket of ours."""

    def __init__(self, application: FastAPI, plane: FaceDataPlane, extension: ClosedRepository, options: Options):
        super().__init__(application, plane, extension, options.http_port, grace_period=_GRACE)
        self.config.http = partial(PatientProtocol, limits=options.limits)
        self.config.ws = 'none'
        self.config.server_header = False
        self.config.proxy_headers = False

    async def serve(self, listener: socket.socket) -> None:
        await self._server.serve(sockets=[listener])


async def _answer_refusal(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestError)
    return JSONResponse({'error': str(error)}, error.status, error.headers)


async def _answer_http(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    return JSONResponse({'error': str(error.detail)}, error.status_code, error.headers)


async def _answer_invalid(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    refusal = RequestError(400, f'{".".join(map(str, first["loc"]))}: {first["msg"]}')
    return await _answer_refusal(request, refusal)


async def _answer_kserve(request: Request, error: Exception) -> JSONResponse:
    return await _answer_refusal(request, RequestError(404 if isinstance(error, ModelNotFound) else 400, str(error)))


async def _answer_failure(_: Request, error: Exception) -> JSONResponse:
    """uvicorn logs the error itself; what it says is not for strangers."""
    return JSONResponse({'error': 'Internal server error'}, 500)


_HANDLERS: Final = {
    RequestError: _answer_refusal,
    HTTPException: _answer_http,
    RequestValidationError: _answer_invalid,
    InvalidInput: _answer_kserve,
    ModelNotFound: _answer_kserve,
    Exception: _answer_failure,
}

_LOGGING: Final[dict[str, Any]] = {
    'version': 1,
    'disable_existing_loggers': False,
    'formatters': {'line': {'format': '%(asctime)s %(levelname)s %(message)s'}},
    'handlers': {'line': {'class': 'logging.StreamHandler', 'formatter': 'line'}},
    'root': {'handlers': ['line'], 'level': 'WARNING'},
    'loggers': {
        'components': {'level': 'INFO'},
        'uvicorn.access': {'level': 'INFO'},
        'kserve': {'level': 'ERROR'},
    },
}


def _listen(host: str, port: int) -> socket.socket:
    try:
        return socket.create_server(
            (host, port), family=socket.AF_INET6 if ':' in host else socket.AF_INET, backlog=2048
        )
    except OSError as error:
        raise StepError(f'{host}:{port} cannot be listened on ({error.strerror}): choose another.') from error


def _address(options: Options, listener: socket.socket) -> str:
    host = f'[{options.host}]' if ':' in options.host else options.host
    http = f'http://{host}:{listener.getsockname()[1]}'
    grpc = f', gRPC at {host}:{options.grpc_port}' if options.grpc_port else ''
    return f'Serving {options.folder} at {http}{grpc} (Ctrl+C ends it).'
