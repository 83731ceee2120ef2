"""Whether probabilities mean what they say: the expected calibration error and its diagram."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from scipy.special import softmax

from components.evaluate.figures import CALIBRATION_BINS
from components.report.artifacts import Predictions, read_predictions
from components.report.charts import HEIGHT as CHART_HEIGHT
from components.report.charts import LEFT, RIGHT, TOP, WIDTH
from components.train.calibration import Temperature, read_temperature

BINS: Final = CALIBRATION_BINS

# The diagram has the other charts' width and margins; below its bars lies the histogram of the counts.
PLOT_HEIGHT: Final = CHART_HEIGHT
HISTOGRAM_HEIGHT: Final = 48
GAP: Final = 10
BOTTOM: Final = 40
HEIGHT: Final = TOP + PLOT_HEIGHT + GAP + HISTOGRAM_HEIGHT + BOTTOM


@dataclass(frozen=True)
class Bin:
    """The faces whose likeliest expression was given a probability above `low`, up to `high`.

    Attributes:
        low, high: bounds of that probability.
        count: how many.
        confidence: mean of that probability.
        accuracy: share of them that have that expression.
    """

    low: float
    high: float
    count: int
    confidence: float
    accuracy: float


@dataclass(frozen=True)
class Rectangle:
    """A bar in the diagram's view box."""

    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True)
class Bar:
    """One bin as it is drawn: its accuracy, its count, the point (confidence, accuracy), and all three in words."""

    accuracy: Rectangle
    count: Rectangle
    point: tuple[float, float]
    title: str


@dataclass(frozen=True)
class Calibration:
    """How well the probabilities of the eval split are calibrated.

    Attributes:
        error: expected calibration error, between 0 and 1.
        error_before: the same before the temperature.
        confidence: mean probability of the likeliest expression.
        accuracy: share of the faces that have it.
        faces: how many there are.
        bins: those with a face in them, by rising probability.
        temperature: what was fitted, and on how many rows.
    """

    error: float
    error_before: float
    confidence: float
    accuracy: float
    faces: int
    bins: tuple[Bin, ...]
    temperature: Temperature

    @property
    def alt(self) -> str:
        """The diagram in words."""
        return (
            f'Reliability diagram of {self.faces:,} faces, on average {self.confidence:.1%} sure and '
            f'{self.accuracy:.1%} right, by the probability of the likeliest expression: '
            f'{"; ".join(map(_in_words, self.bins))}.'
        )

    @property
    def bars(self) -> tuple[Bar, ...]:
        most = max(found.count for found in self.bins)
        return tuple(_bar(found, most) for found in self.bins)


def read_calibration(model_run: Path) -> Calibration:
    """From what the trainer left of an expression network."""
    return calibration(read_predictions(model_run), read_temperature(model_run))


def calibration(predictions: Predictions, temperature: Temperature) -> Calibration:
    """Calibration of the likeliest expression's probability (Guo et al. 2017, arXiv:1706.04599).

    Args:
        predictions: of expressions, at the temperature.
        temperature: as it was fitted.
    """
    probabilities = predictions.prediction.astype(np.float64)
    bins = reliability(probabilities, predictions.truth)
    with np.errstate(divide='ignore'):
        logits = np.log(probabilities)
    before = reliability(softmax(temperature.temperature * logits, axis=1), predictions.truth)
    count = len(probabilities)
    return Calibration(
        error=expected_error(bins),
        error_before=expected_error(before),
        confidence=sum(found.count * found.confidence for found in bins) / count,
        accuracy=sum(found.count * found.accuracy for found in bins) / count,
        faces=count,
        bins=bins,
        temperature=temperature,
    )


def reliability(probabilities: np.ndarray, truth: np.ndarray) -> tuple[Bin, ...]:
    """The bins, of equal width, that have a face in them.

    Args:
        probabilities: float `[n, classes]`.
        truth: int `[n]`.
    """
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == truth
    edges = np.linspace(0.0, 1.0, BINS + 1)
    places = np.digitize(confidence, edges[1:-1], right=True)
    return tuple(
        Bin(
            float(edges[place]),
            float(edges[place + 1]),
            int((places == place).sum()),
            float(confidence[places == place].mean()),
            float(right[places == place].mean()),
        )
        for place in np.unique(places)
    )


def expected_error(bins: tuple[Bin, ...]) -> float:
    """Mean distance between the bins' confidence and accuracy, each bin weighted by its faces."""
    total = sum(found.count for found in bins)
    return sum(found.count * abs(found.accuracy - found.confidence) for found in bins) / total


def place(confidence: float, accuracy: float) -> tuple[float, float]:
    """Where a point lies in the view box of `WIDTH` by `HEIGHT`."""
    return (
        round(LEFT + confidence * (WIDTH - LEFT - RIGHT), 1),
        round(TOP + (1.0 - accuracy) * PLOT_HEIGHT, 1),
    )


def _bar(found: Bin, most: int) -> Bar:
    left, top = place(found.low, found.accuracy)
    right, bottom = place(found.high, 0.0)
    width = round(right - left - 1.0, 1)  # with a gap of one pixel to the next
    height = round(HISTOGRAM_HEIGHT * found.count / most, 1)
    return Bar(
        Rectangle(left, top, width, round(bottom - top, 1)),
        Rectangle(left, round(TOP + PLOT_HEIGHT + GAP + HISTOGRAM_HEIGHT - height, 1), width, height),
        place(found.confidence, found.accuracy),
        _in_words(found),
    )


def _in_words(found: Bin) -> str:
    faces = 'face' if found.count == 1 else 'faces'
    return f'{found.count:,} {faces} {found.confidence:.0%} sure, {found.accuracy:.0%} right'
