"""Smoothing over time, in seconds: the same whatever the frame rate, and whether it varies."""

import math
from typing import Final

import numpy as np

MINIMUM_CUTOFF: Final = 1.5  # Hz, of a point at rest
SPEED_COEFFICIENT: Final = 6.0  # Hz by which the cutoff rises for each unit a second
_SPEED_CUTOFF: Final = 1.0  # Hz, of the speed itself


class ExponentialAverage:
    """A running mean in which what is past counts by `exp(-age / time)`.

    Args:
        time: in seconds; 0 for none.
    """

    def __init__(self, time: float):
        self._time = time
        self._seconds = -math.inf
        self._average: np.ndarray | None = None

    def __call__(self, seconds: float, values: np.ndarray) -> np.ndarray:
        """The mean with these values, which came at this time."""
        elapsed = seconds - self._seconds
        if self._average is None:
            self._average = values.astype(np.float64)
        else:
            self._average = self._average + _share(elapsed, self._time) * (values - self._average)
        self._seconds = seconds
        return self._average


class OneEuroFilter:
    """Holds points still that rest, and lets points go that move.

    A low pass whose cutoff rises with the speed: G. Casiez, N. Roussel, D. Vogel, '1€ Filter: A Simple Speed-based
    Low-pass Filter for Noisy Input in Interactive Systems', CHI 2012, pages 2527-2530. Two differences: the shares are
    those of the exact exponential, so that they do not depend on the rate, and a point has one speed, not two.

    Args:
        minimum_cutoff: Hz, of a point at rest.
        speed_coefficient: Hz by which the cutoff rises for each unit a second.
    """

    def __init__(self, minimum_cutoff: float = MINIMUM_CUTOFF, speed_coefficient: float = SPEED_COEFFICIENT):
        self._minimum_cutoff = minimum_cutoff
        self._speed_coefficient = speed_coefficient
        self._seconds = -math.inf
        self._points = self._smoothed = self._speed = np.zeros((0, 2))

    def __call__(self, seconds: float, points: np.ndarray, unit: float = 1.0) -> np.ndarray:
        """Where the points are.

        Args:
            seconds: their time.
            points: `[n, 2]`.
            unit: the length in which speeds are measured, e.g. the size of the face.
        """
        points = points.astype(np.float64)
        elapsed = seconds - self._seconds
        if not len(self._points):
            self._smoothed, self._speed = points, np.zeros_like(points)
        elif elapsed > 0.0:
            velocity = (points - self._points) / (elapsed * unit)
            self._speed = self._speed + _share(elapsed, _time_of(_SPEED_CUTOFF)) * (velocity - self._speed)
            pace = np.linalg.norm(self._speed, axis=1, keepdims=True)
            cutoff = self._minimum_cutoff + self._speed_coefficient * pace
            self._smoothed = self._smoothed + _share(elapsed, _time_of(cutoff)) * (points - self._smoothed)
        self._points, self._seconds = points, seconds
        return self._smoothed


def _time_of(cutoff):
    return 1.0 / (2.0 * math.pi * cutoff)


def _share(elapsed: float, time):
    """How much of a new value counts that came after `elapsed` seconds."""
    return 1.0 if np.ndim(time) == 0 and time <= 0.0 else -np.expm1(-elapsed / time)
