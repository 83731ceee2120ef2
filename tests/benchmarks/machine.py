"""Whether the machine worked for a benchmark alone."""

import os
from typing import Final

import psutil

IDLE: Final = 0.05
"""Share of the processor that other processes may take of a machine that is called idle."""


def own_seconds() -> float:
    """Seconds of the processor that this process took, and those of its children that have ended."""
    return sum(os.times()[:4])


def processor_seconds() -> float:
    """Seconds that the machine's processor has worked, or was kept from working by its host."""
    times = psutil.cpu_times()._asdict()
    return sum(times.get(kind, 0.0) for kind in ('user', 'system', 'irq', 'softirq', 'nice', 'steal'))


def share_of_others(whole: float, own: float, elapsed: float) -> float:
    """Share of the processor, 0..1, that other processes took.

    Args:
        whole: what `processor_seconds` grew by.
        own: seconds of it that the benchmark took.
        elapsed: seconds on the clock.
    """
    return max(0.0, whole - own) / (elapsed * psutil.cpu_count())
