"""Lets a Python program sleep under libfaketime; Python imports it at its start from a folder of `PYTHONPATH`.

From 3.11 on, Python sleeps by `clock_nanosleep` until a moment of the monotonic clock. With libfaketime 0.9.10, told to
leave that clock alone, every such sleep fails with `[Errno 22] Invalid argument`.
"""

import select
import time


def _sleep(seconds: float) -> None:
    select.select([], [], [], seconds)


time.sleep = _sleep
