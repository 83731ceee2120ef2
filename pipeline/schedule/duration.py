"""Durations as they are written on a command line."""

import re
from typing import Final

from components.errors import StepError

_UNITS: Final = {'d': 86400, 'h': 3600, 'm': 60, 's': 1}
_DURATION: Final = re.compile(''.join(f'((?P<{unit}>[0-9]{{1,6}}){unit})?' for unit in _UNITS))


def read(text: str) -> float:
    """Seconds of a duration such as `90m`, `6h` or `1h30m`.

    Raises:
        StepError: it is none, or it is nothing.
    """
    match = _DURATION.fullmatch(text.strip())
    seconds = sum(int(match[unit] or 0) * size for unit, size in _UNITS.items()) if match else 0
    if not seconds:
        raise StepError(f'{text!r} is no duration: write one such as 90m, 6h or 1h30m.')
    return float(seconds)


def shown(seconds: float) -> str:
    """A duration as `read` takes it."""
    rest, parts = max(round(seconds), 0), []
    for unit, size in _UNITS.items():
        number, rest = divmod(rest, size)
        parts += [f'{number}{unit}'] if number else []
    return ''.join(parts) or '0s'
