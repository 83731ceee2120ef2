"""kserve's gRPC server at an address of ours, within limits, with errors in one line."""

import logging
from concurrent import futures
from typing import Any, Final

import grpc
from kserve.errors import InvalidInput, ModelNotFound
from kserve.protocol.dataplane import DataPlane
from kserve.protocol.grpc import grpc_predict_v2_pb2_grpc as protocol
from kserve.protocol.grpc.interceptors import ExceptionToStatusInterceptor
from kserve.protocol.grpc.server import GRPCServer
from kserve.protocol.grpc.servicer import InferenceServicer
from kserve.protocol.model_repository_extension import ModelRepositoryExtension

from components.errors import StepError
from components.serve.errors import RequestError
from components.serve.limits import Limits

_LOG: Final = logging.getLogger(__name__)
_CODES: Final = {
    404: grpc.StatusCode.NOT_FOUND,
    405: grpc.StatusCode.PERMISSION_DENIED,
    503: grpc.StatusCode.UNAVAILABLE,
}


class LocalGRPCServer(GRPCServer):
    """The Open Inference Protocol over gRPC.

    Args:
        host: address that is listened on.
        port: of it.
        plane: where requests go.
        extension: what clients may load.
        limits: of a message.
        places: requests at once.
    """

    def __init__(
        self,
        host: str,
        port: int,
        plane: DataPlane,
        extension: ModelRepositoryExtension,
        limits: Limits,
        places: int,
    ):
        super().__init__(port, plane, extension, kwargs={})
        self._address = f'[{host}]:{port}' if ':' in host else f'{host}:{port}'
        self._limits = limits
        self._places = places

    async def start(self, max_workers: int = 1) -> None:
        """Listens.

        Raises:
            StepError: the port is taken.
        """
        self._server = grpc.aio.server(
            futures.ThreadPoolExecutor(max_workers),
            interceptors=(_OneLine(),),
            options=[
                ('grpc.max_receive_message_length', self._limits.message_bytes),
                ('grpc.max_send_message_length', self._limits.message_bytes),
                ('grpc.so_reuseport', 0),
            ],
            maximum_concurrent_rpcs=min(self._places, self._limits.all_bytes // self._limits.message_bytes),
        )
        servicer = InferenceServicer(self._data_plane, self._model_repository_extension)
        protocol.add_GRPCInferenceServiceServicer_to_server(servicer, self._server)
        try:
            self._server.add_insecure_port(self._address)
        except RuntimeError as error:
            raise StepError(f'{self._address} cannot be listened on: choose another --grpc-port, or 0.') from error
        await self._server.start()

    async def stop(self, sig: int | None = None, grace: float = 30.0) -> None:
        """Finishes what is in flight."""
        if self._server is not None:
            await self._server.stop(grace)


class _OneLine(ExceptionToStatusInterceptor):
    """Says in one line what is wrong; kserve's own writes a stack trace for each bad request."""

    async def handle_exception(self, ex: Exception, request_or_iterator: Any, context: Any, method_name: str) -> None:
        if isinstance(ex, RequestError):
            await context.abort(_CODES.get(ex.status, grpc.StatusCode.INVALID_ARGUMENT), str(ex))
        elif isinstance(ex, InvalidInput):
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(RequestError(400, str(ex))))
        elif isinstance(ex, ModelNotFound):
            await context.abort(grpc.StatusCode.NOT_FOUND, str(RequestError(404, str(ex))))
        else:
            _LOG.error('%s failed.', method_name, exc_info=ex)
            await context.abort(grpc.StatusCode.INTERNAL, 'Internal server error')
