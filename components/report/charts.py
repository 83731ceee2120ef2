"""Geometry of the figures; the templates draw them."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from matplotlib.ticker import MaxNLocator

WIDTH: Final = 400
HEIGHT: Final = 210
LEFT, RIGHT, TOP, BOTTOM = 44, 12, 10, 24  # margins


@dataclass(frozen=True)
class Line:
    """One curve: a polyline of a `LineChart`, and its last and best value as text."""

    name: str
    points: tuple[tuple[float, float], ...]
    last: str
    best: str
    best_point: tuple[float, float]


@dataclass(frozen=True)
class LineChart:
    """A chart in a view box of `WIDTH` by `HEIGHT`.

    Attributes:
        title: what is shown.
        x_ticks, y_ticks: places along the axes, with their labels.
        lines: the curves.
        alt: what is seen, in words.
    """

    title: str
    x_ticks: tuple[tuple[float, str], ...]
    y_ticks: tuple[tuple[float, str], ...]
    lines: tuple[Line, ...]
    alt: str


def to_view_box(along: float, up: float) -> tuple[float, float]:
    """A place within a chart's margins, from shares of the lengths of its two axes."""
    return (
        round(LEFT + along * (WIDTH - LEFT - RIGHT), 1),
        round(HEIGHT - BOTTOM - up * (HEIGHT - TOP - BOTTOM), 1),
    )


def line_chart(title: str, curves: Mapping[str, Sequence[float]], more_is_better: bool) -> LineChart | None:
    """Curves over the epochs, from 1; values that are not finite are left out, and None is given where all are."""
    finite = {
        name: [(epoch, value) for epoch, value in enumerate(values, 1) if math.isfinite(value)]
        for name, values in curves.items()
    }
    finite = {name: values for name, values in finite.items() if values}
    if not finite:
        return None
    last_epoch = max(epoch for values in finite.values() for epoch, _ in values)
    everything = [value for values in finite.values() for _, value in values]
    margin = 0.0 if max(everything) > min(everything) else max(abs(everything[0]), 1e-3) / 10
    locator = MaxNLocator(5, steps=[1, 2, 5, 10])
    y_values = locator.tick_values(min(everything) - margin, max(everything) + margin)
    low, high = float(y_values[0]), float(y_values[-1])

    def place(epoch: float, value: float) -> tuple[float, float]:
        return to_view_box((epoch - 1) / max(last_epoch - 1, 1), (value - low) / (high - low))

    lines = []
    for name, values in finite.items():
        best = (max if more_is_better else min)(values, key=lambda pair: pair[1])
        lines.append(
            Line(
                name,
                tuple(place(*pair) for pair in values),
                f'{values[-1][1]:.4g}',
                f'{best[1]:.4g} in epoch {best[0]}',
                place(*best),
            )
        )
    digits = max(0, -math.floor(math.log10(y_values[1] - y_values[0]) + 1e-6))
    epochs = [int(tick) for tick in MaxNLocator(6, integer=True).tick_values(1, last_epoch) if 1 <= tick <= last_epoch]
    said = '; '.join(f'{line.name} ends at {line.last}, best {line.best}' for line in lines)
    return LineChart(
        title,
        tuple((place(epoch, low)[0], str(epoch)) for epoch in epochs),
        tuple(
            (place(1, float(value))[1], f'{value:.{digits}f}' if high < 1e5 else f'{value:.2g}') for value in y_values
        ),
        tuple(lines),
        f'{title} over {last_epoch} epochs: {said}.',
    )
