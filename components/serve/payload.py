"""JSON and base64 of clients."""

import base64
import binascii
from typing import Any

import orjson

from components.serve.errors import RequestError
from components.serve.limits import Limits


def read_json(body: bytes, limits: Limits) -> Any:
    """A JSON document with no more values than a batch needs.

    Raises:
        RequestError: it has more, or is no JSON.
    """
    # Base64 has none of these: what they bound is the memory that parsing takes.
    if sum(body.count(sign) for sign in (b'[', b'{', b',')) > limits.values:
        raise RequestError(400, f'The JSON document has more than {limits.values} values: send fewer images at once.')
    try:
        return orjson.loads(body)
    except ValueError as error:
        raise RequestError(400, f'JSON Parse error: {error}') from error


def from_base64(text: str) -> bytes:
    """Base64 with or without its padding.

    Raises:
        RequestError: it is none.
    """
    try:
        return base64.b64decode(text + '=' * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise RequestError(400, 'Unable to base64 decode') from error
