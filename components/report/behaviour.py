"""The tests of a model's behaviour as the page shows them: a table, and charts of how it falls off."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from matplotlib.ticker import MaxNLocator

from components import faces
from components.behaviour.perturbations import BLUR, BRIGHTNESS, JPEG_QUALITY, SHIFT
from components.behaviour.results import Behaviour, Curve, Outcome, read_behaviour
from components.report import charts, metrics
from components.report.gallery import Tile

Ticks = tuple[tuple[float, str], ...]

_ASKED_ABOUT: Final = {
    'mirror': 'mirrored faces',
    'shift': f'faces shifted by {SHIFT:.0%} of their width, to all four sides',
    'brightness': f'faces {BRIGHTNESS:.0%} darker and {BRIGHTNESS:.0%} brighter',
    'jpeg': f'faces compressed as JPEG of quality {JPEG_QUALITY}',
    'blur': f'faces blurred by {BLUR:g} px of {faces.EXPRESSION_SIZE}',
    'drawn': 'drawn faces with extreme expressions',
}
_SHOWN_AS: Final = {'share': 'accuracy', 'rmse': 'rmse'}  # a figure of a test, as the metric that has its unit


@dataclass(frozen=True)
class Row:
    """One row of the table; `rule` is empty where no gate judges the test."""

    asked_about: str
    kind: str
    value: str
    rule: str
    distance: str
    faces: int
    passed: bool


@dataclass(frozen=True)
class Line:
    """A metric's name, its curve in the view box, and its first and last value."""

    name: str
    points: tuple[tuple[float, float], ...]
    first: str
    last: str


@dataclass(frozen=True)
class Chart:
    """A chart in a view box of `charts.WIDTH` by `charts.HEIGHT`; `tile` shows one face at the greatest strength."""

    title: str
    x_ticks: Ticks
    y_ticks: Ticks
    lines: tuple[Line, ...]
    alt: str
    tile: Tile


@dataclass(frozen=True)
class BehaviourPart:
    """All that the page shows of one model's behaviour."""

    passed: bool
    faces: int
    rows: tuple[Row, ...]
    is_expression: bool
    charts: tuple[Chart, ...]


def read_part(folder: Path) -> BehaviourPart:
    """The part of the page.

    Args:
        folder: of a Behaviour artifact.
    """
    behaviour = read_behaviour(folder)
    ticks = _value_ticks(behaviour)
    return BehaviourPart(
        passed=behaviour.passed,
        faces=behaviour.faces,
        rows=tuple(_row(outcome) for outcome in behaviour.outcomes),
        is_expression=behaviour.task == faces.EXPRESSION_MODEL,
        charts=tuple(_chart(curve, ticks) for curve in behaviour.curves),
    )


def _row(outcome: Outcome) -> Row:
    metric = _SHOWN_AS[outcome.figure]
    bound = 'at least' if outcome.figure == 'share' else 'at most'
    return Row(
        asked_about=_ASKED_ABOUT.get(outcome.test, outcome.test),
        kind=outcome.kind,
        value=metrics.show(metric, outcome.value),
        rule='' if outcome.limit is None else f'{bound} {metrics.show(metric, outcome.limit)}',
        distance='' if outcome.distance is None else f'{outcome.distance:.3f}',
        faces=outcome.faces,
        passed=outcome.passed,
    )


def _value_ticks(behaviour: Behaviour) -> tuple[float, ...]:
    """From 0 to more than the largest value: one axis for all charts, so that they can be compared."""
    values = [value for curve in behaviour.curves for found in curve.figures.values() for value in found if value]
    return tuple(float(tick) for tick in MaxNLocator(5, steps=[1, 2, 5, 10]).tick_values(0, max(values, default=1)))


def _chart(curve: Curve, ticks: tuple[float, ...]) -> Chart:
    greatest = curve.strengths[-1]

    def place(strength: float, value: float) -> tuple[float, float]:
        return charts.to_view_box(strength / greatest, value / ticks[-1])

    lines = []
    for metric, values in curve.figures.items():
        known = [
            (strength, value) for strength, value in zip(curve.strengths, values, strict=True) if value is not None
        ]
        shown = tuple(place(*pair) for pair in known)
        first, last = (metrics.show(metric, values[end]) for end in (0, -1))
        lines.append(Line(metrics.label(metric), shown, first, last))
    strongest = f'{greatest:g} {curve.unit}'
    said = '; '.join(f'{line.name} goes from {line.first} to {line.last}' for line in lines)
    return Chart(
        title=f'{curve.degradation.capitalize()} ({curve.unit})',
        x_ticks=tuple((place(strength, 0)[0], f'{strength:g}') for strength in curve.strengths),
        y_ticks=tuple((place(0, tick)[1], f'{tick:g}') for tick in ticks),
        lines=tuple(lines),
        alt=f'{curve.degradation.capitalize()} from 0 to {strongest}: {said}.',
        tile=Tile(
            picture=f'data:image/png;base64,{curve.picture}',
            width=0,
            height=0,
            alt=f'A face at {strongest} of {curve.degradation}',
            lines=(strongest,),
        ),
    )
