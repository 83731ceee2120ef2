"""uvicorn's HTTP protocol, which has no timeout for a request, with one: slow clients are cut off."""

import asyncio
import json
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from components.serve.errors import RequestError
from components.serve.limits import Limits, Receive, Send, refuse


class PatientProtocol(HttpToolsProtocol):
    """One connection.

    A request that has not arrived within the time, from the connection's or its own first byte to its last, ends the
    connection; so does a head that is too large, and an answer that the client does not take. While there are too many
    connections, a request on a new one is refused.

    Args:
        limits: of a request.
        arguments: of uvicorn's protocol.
    """

    def __init__(self, *, limits: Limits, **arguments: Any):
        super().__init__(**arguments)
        self._limits = limits
        self._deadline: asyncio.TimerHandle | None = None
        self._in_head = False
        self._received = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._arm()

    def connection_lost(self, exc: Exception | None) -> None:
        self._disarm()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._deadline is None:
            self._arm()
        self._received += len(data)
        super().data_received(data)
        if self.transport.is_closing():
            return
        if self._in_head and self._received > self._limits.head_bytes:
            self._refuse(431, f'The headers are larger than {self._limits.head_bytes // 1024} KiB.')
        elif self._received > _RAW * self._limits.body_bytes:
            self.transport.abort()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head = True
        # The one before may have ended within the same bytes.
        self._received = self._received or 1
        if self._deadline is None:
            self._arm()

    def on_headers_complete(self) -> None:
        self._in_head = False
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._received = 0
        self._disarm()

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:
        crowded = len(self.connections) > self._limits.connections
        super()._start_asgi_task(cycle, _refuse_connection if crowded else app)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._disarm()
        self._deadline = self.loop.call_later(self._limits.seconds, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._disarm()

    def send_400_response(self, msg: str) -> None:
        """In the form of all other errors."""
        self._refuse(400, msg)

    def _arm(self) -> None:
        self._deadline = self.loop.call_later(self._limits.seconds, self._cut_off)

    def _disarm(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _cut_off(self) -> None:
        self._deadline = None
        answering = self.cycle is not None and not self.cycle.response_complete
        if answering and not self.cycle.more_body:
            # What came after a whole request may take longer than its answer.
            self._arm()
        elif answering and self.cycle.response_started:
            self.transport.abort()
        elif self._received or answering:
            self._refuse(408, f'The request did not arrive within {self._limits.seconds:g} seconds.')
        else:
            self.transport.close()

    def _refuse(self, status: int, message: str) -> None:
        content = json.dumps({'error': message}).encode()
        head = f'content-type: application/json\r\ncontent-length: {len(content)}\r\nconnection: close\r\n\r\n'
        self.transport.write(STATUS_LINE[status] + head.encode() + content)
        self.transport.close()

    def _unsupported_upgrade_warning(self) -> None:
        """Nothing: the request is answered as any other, and its line in the log is enough."""


async def _refuse_connection(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    await refuse(RequestError(503, 'Too many connections are open: ask again in a second.', 1), send)


_RAW: Final = 8
"""As many times the largest body may what carries it be: chunks of a byte or two, and what is thrown away."""
