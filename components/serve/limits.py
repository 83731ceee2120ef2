"""What a client may ask for, and the place where bodies are bounded: before anything in them is decoded."""

import json
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from components.serve.errors import RequestError

PHOTO_PATH: Final = '/v1/photo'

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Application = Callable[[dict[str, Any], Receive, Send], Awaitable[None]]

_MEBIBYTE: Final = 1 << 20


@dataclass(frozen=True)
class Limits:
    """Of one request, except where it says otherwise.

    Attributes:
        photo_bytes: of an encoded photograph.
        body_bytes: of any other body: JSON with images in base64.
        message_bytes: of gRPC.
        all_bytes: of the bodies of all requests at once.
        head_bytes: of the request line and the headers.
        pixels: of one image, and of all images of a request together.
        batch: images.
        values: of a JSON document, which is more than a batch needs.
        seconds: in which a request must have arrived, from its first byte to its last.
        connections: open at once.
    """

    photo_bytes: int = 16 * _MEBIBYTE
    body_bytes: int = 32 * _MEBIBYTE
    message_bytes: int = 8 * _MEBIBYTE
    all_bytes: int = 256 * _MEBIBYTE
    head_bytes: int = 64 * 1024
    pixels: int = 25_000_000
    batch: int = 64
    values: int = 4096
    seconds: float = 30.0
    connections: int = 512

    def body(self, path: str) -> int:
        """Bytes that a body may have that was sent to this path."""
        return self.photo_bytes if path == PHOTO_PATH else self.body_bytes


class BodyLimits:
    """ASGI middleware: reads a body whole, within the limits, before the application sees the request.

    A client that goes away, or is cut off for being slow, is forgotten without a word.
    """

    def __init__(self, app: Application, limits: Limits):
        self._app = app
        self._limits = limits
        self._held = 0

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        if scope['type'] != 'http' or scope['method'] in ('GET', 'HEAD', 'OPTIONS'):
            await self._app(scope, receive, send)
            return
        with self._account() as hold:
            try:
                body = await self._read(scope, receive, hold)
            except RequestError as refusal:
                await refuse(refusal, send)
                return
            if body is not None:
                await self._app(scope, _whole(body, receive), send)

    async def _read(self, scope: dict[str, Any], receive: Receive, hold: Callable[[int], None]) -> bytes | None:
        """The body, or None where the client has gone."""
        allowed = self._limits.body(scope['path'])
        declared = _declared(scope['headers'])
        if declared > _PATIENCE * allowed:
            raise _too_large(allowed)
        body, seen, more = bytearray(), 0, True
        while more:
            message = await receive()
            if message['type'] == 'http.disconnect':
                return None
            part, more = message.get('body', b''), message.get('more_body', False)
            seen += len(part)
            if seen > _PATIENCE * allowed:
                break
            if seen <= allowed:
                hold(len(part))
                body += part
        if seen > allowed:
            raise _too_large(allowed)
        return bytes(body)

    @contextmanager
    def _account(self) -> Iterator[Callable[[int], None]]:
        own = 0

        def hold(count: int) -> None:
            nonlocal own
            if self._held + count > self._limits.all_bytes:
                raise RequestError(503, 'The server holds as many requests as it can: ask again in a second.', 1)
            own += count
            self._held += count

        try:
            yield hold
        finally:
            self._held -= own


async def refuse(refusal: RequestError, send: Send) -> None:
    """Answers with an error, and ends the connection."""
    content = json.dumps({'error': str(refusal)}).encode()
    headers = {
        **refusal.headers,
        'Content-Type': 'application/json',
        'Content-Length': str(len(content)),
        'Connection': 'close',
    }
    encoded = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    await send({'type': 'http.response.start', 'status': refusal.status, 'headers': encoded})
    await send({'type': 'http.response.body', 'body': content})


_PATIENCE: Final = 4
"""A body this many times too large is still taken in, and thrown away: a client that is still sending when the
connection is closed does not see the answer."""


def _declared(headers: list[tuple[bytes, bytes]]) -> int:
    return next((int(value) for name, value in headers if name == b'content-length' and value.isdigit()), 0)


def _too_large(allowed: int) -> RequestError:
    return RequestError(413, f'The body is larger than {allowed / _MEBIBYTE:.3g} MiB: send less at once.')


def _whole(body: bytes, receive: Receive) -> Receive:
    parts = iter([{'type': 'http.request', 'body': body, 'more_body': False}])

    async def read() -> dict[str, Any]:
        return next(parts, None) or await receive()

    return read
