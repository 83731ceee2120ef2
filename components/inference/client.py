"""Asks a running server about photographs."""

import json
import threading
import time
from collections.abc import Iterator
from typing import Final

import httpx

from components.errors import StepError
from components.faces import Which
from components.inference.answers import PhotoAnswer, answer_from_json
from components.inference.inputs import PhotoError, Photograph

TIMEOUT: Final = 60.0
"""Seconds that one answer may take."""

CONNECT_TIMEOUT: Final = 5.0  # seconds
MAXIMUM_ANSWER: Final = 4 * 2**20  # bytes; 64 faces take about 150 kB
_PAUSES: Final = (0.5, 1.0, 2.0)  # seconds before a request is made again
_BUSY: Final = (429, 503)
_MESSAGE_SIGNS: Final = 300


class Server:
    """Answers about photographs by `POST /v1/photo`. May be asked from several threads at once.

    Args:
        url: `http://host:port` or `https://…`, with a path where a proxy puts the server under one.
        which: faces are answered about.
        connections: at most this many at a time.
        timeout: seconds that one answer may take.

    Raises:
        StepError: this is no such address.
    """

    def __init__(self, url: str, which: Which, connections: int, timeout: float = TIMEOUT):
        self._address = _address(url)
        self._shown = str(self._address.copy_with(userinfo=b''))
        self._which = which
        self._timeout = timeout
        self._has_answered = threading.Event()
        self._client = httpx.Client(
            timeout=httpx.Timeout(timeout, connect=min(timeout, CONNECT_TIMEOUT)),
            limits=httpx.Limits(max_connections=connections),
            headers={'Content-Type': 'application/octet-stream', 'Accept-Encoding': 'identity'},
        )

    def ask(self, photograph: Photograph) -> PhotoAnswer:
        """What the server says of a photograph. Where it is busy or starts anew it is asked again, three times.

        Raises:
            PhotoError: it has no answer about this one, and says why.
            StepError: there is no such server, or it does not answer in time.
        """
        for pause in (*_PAUSES, None):
            try:
                status, body = self._post(photograph.encoded)
            except httpx.TimeoutException as error:
                raise StepError(f'{self._shown} does not answer within {self._timeout:g} s: is it up?') from error
            except httpx.TransportError as error:
                # Else it broke off: it may have been stopped, or this photograph may be more than it takes.
                is_absent = isinstance(error, httpx.ConnectError | httpx.UnsupportedProtocol | httpx.ProxyError)
                if is_absent and (pause is None or not self._has_answered.is_set()):
                    raise StepError(
                        f'No server answers at {self._shown} ({error}): start one by `make serve`.'
                    ) from error
                if pause is None:
                    raise PhotoError(f'The server broke off its answer ({error}).') from error
                time.sleep(pause)
                continue
            self._has_answered.set()
            if status not in _BUSY or pause is None:
                return self._read(status, body)
            time.sleep(pause)
        raise AssertionError('the last attempt returns or raises')

    def _post(self, encoded: bytes) -> tuple[int, bytes]:
        """Status and body of the response."""
        end = time.monotonic() + self._timeout
        with self._client.stream('POST', self._address, params={'faces': self._which}, content=encoded) as response:
            return response.status_code, b''.join(self._bounded(response, end))

    def _bounded(self, response: httpx.Response, end: float) -> Iterator[bytes]:
        size = 0
        for part in response.iter_raw():  # a packed answer is none that we asked for
            size += len(part)
            if size > MAXIMUM_ANSWER:
                raise StepError(f'{self._shown} answers with more than {MAXIMUM_ANSWER // 2**20} MiB: {_IS_IT_OURS}')
            if time.monotonic() > end:
                raise httpx.ReadTimeout('the answer comes too slowly')
            yield part

    def _read(self, status: int, body: bytes) -> PhotoAnswer:
        try:
            values = json.loads(body)
        except (ValueError, RecursionError):
            values = None
        if status == httpx.codes.OK:
            try:
                return answer_from_json(values)
            except ValueError as error:
                raise StepError(f'{self._shown} answers with {error}: {_IS_IT_OURS}') from error
        message = values.get('error') if isinstance(values, dict) else None
        if not isinstance(message, str):
            raise StepError(f'{self._shown} answers with status {status}: {_IS_IT_OURS}')
        message = message[:_MESSAGE_SIGNS]
        if status in (*_BUSY, 404, 405):
            raise StepError(f'{self._shown} answers with status {status}: {message}')
        raise PhotoError(message)


_IS_IT_OURS: Final = 'give the address of a server that `make serve` starts.'


def _address(url: str) -> httpx.URL:
    try:
        address = httpx.URL(url)
    except httpx.InvalidURL:
        address = httpx.URL()
    if address.scheme not in ('http', 'https') or not address.host:
        raise StepError(f'{url!r} is no address of a server: write it as http://localhost:8501.')
    return address.copy_with(path=address.path.rstrip('/') + '/v1/photo', query=None, fragment=None)
