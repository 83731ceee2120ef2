"""A process that is ended, with all that it started, after a limit or when the scheduler is to stop."""

import os
import select
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import FrameType
from typing import Final

GRACE: Final = (30.0, 10.0)
"""Seconds for a run to write its report after SIGINT, and to end after SIGTERM."""

_LOOK_EVERY: Final = 0.2


class StopSignals:
    """SIGINT and SIGTERM, while it is entered: they end waits instead of the process."""

    def __enter__(self) -> 'StopSignals':
        self.received: list[int] = []
        self._reading, self._writing = os.pipe()
        self._before = {number: signal.signal(number, self._receive) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        os.close(self._reading)
        os.close(self._writing)

    def wait(self, seconds: float) -> bool:
        """Waits for a signal; returns whether there was one, now or before."""
        if not self.received:
            select.select([self._reading], [], [], max(seconds, 0.0))
        return bool(self.received)

    def _receive(self, number: int, _frame: FrameType | None) -> None:
        self.received.append(number)
        os.write(self._writing, b'!')


@dataclass(frozen=True)
class Ended:
    """How a process ended.

    Attributes:
        process: its id.
        status: exit status; negative for the signal that killed it.
        reason: `itself`, `limit` or `stop`.
    """

    process: int
    status: int
    reason: str


def run(
    command: Sequence[str],
    limit: float,
    signals: StopSignals,
    environment: Mapping[str, str],
    began: Callable[[int], None] = lambda process: None,
    grace: tuple[float, float] = GRACE,
) -> Ended:
    """Runs a command in a group of its own; its output is this process's.

    Args:
        command: program and arguments.
        limit: seconds after which it is ended.
        signals: end it as well.
        environment: of the process.
        began: is told the process's id.
        grace: seconds after SIGINT and after SIGTERM.
    """
    process = subprocess.Popen(  # noqa: S603 -- the scheduler's own command, as a list
        command, stdin=subprocess.DEVNULL, env=environment, start_new_session=True
    )
    try:
        began(process.pid)
        reason = _wait(process, time.monotonic() + limit, signals)
        if reason != 'itself':
            end_group(process.pid, lambda: process.poll() is not None, grace)
    finally:
        # Whatever the process started and left behind ends with it.
        _signal(process.pid, signal.SIGKILL)
        process.wait()
    return Ended(process.pid, process.returncode, reason)


def end_group(group: int, is_gone: Callable[[], bool], grace: tuple[float, float] = GRACE) -> None:
    """Ends the processes of a group: asks with SIGINT, then with SIGTERM, then kills."""
    for number, seconds in zip((signal.SIGINT, signal.SIGTERM), grace, strict=True):
        _signal(group, number)
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if is_gone():
                break
            time.sleep(min(_LOOK_EVERY, seconds))
    _signal(group, signal.SIGKILL)


def _wait(process: subprocess.Popen, deadline: float, signals: StopSignals) -> str:
    while process.poll() is None:
        if signals.wait(_LOOK_EVERY):
            return 'stop'
        if time.monotonic() >= deadline:
            return 'limit'
    return 'itself'


def _signal(group: int, number: int) -> None:
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return  # nobody is left
