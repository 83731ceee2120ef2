"""What the muscles of a face do in each of the five expressions.

The units and the expressions' prototypes are those of the Facial Action Coding System: P. Ekman, W. Friesen, J. Hager,
*Facial Action Coding System* (2002), and the table of emotion prototypes in its Investigator's Guide.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from components import faces


@dataclass(frozen=True)
class ActionUnits:
    """The intensity of each action unit, 0 (at rest) to 1 (extreme); the number is the system's own."""

    inner_brow_raiser: float = 0.0  # AU1
    outer_brow_raiser: float = 0.0  # AU2
    brow_lowerer: float = 0.0  # AU4
    upper_lid_raiser: float = 0.0  # AU5
    cheek_raiser: float = 0.0  # AU6
    lid_tightener: float = 0.0  # AU7
    nose_wrinkler: float = 0.0  # AU9
    upper_lip_raiser: float = 0.0  # AU10
    lip_corner_puller: float = 0.0  # AU12
    lip_corner_depressor: float = 0.0  # AU15
    lower_lip_depressor: float = 0.0  # AU16
    chin_raiser: float = 0.0  # AU17
    lip_tightener: float = 0.0  # AU23
    lips_part: float = 0.0  # AU25
    jaw_drop: float = 0.0  # AU26
    eyes_closed: float = 0.0  # AU43; here mostly a drooping upper lid


@dataclass(frozen=True)
class UnitRange:
    """How one action unit takes part in an expression.

    Attributes:
        least: its intensity at the weak end.
        most: its intensity at the strong end.
        chance: the share of the faces in which it takes part at all.
    """

    least: float
    most: float
    chance: float = 1.0


PROTOTYPES: Final[Mapping[str, Mapping[str, UnitRange]]] = {
    'anger': {  # AU4+5+7+23, lips pressed or (AU10+25+26) teeth bared
        'brow_lowerer': UnitRange(0.6, 1.0),
        'upper_lid_raiser': UnitRange(0.2, 0.7),
        'lid_tightener': UnitRange(0.4, 0.9),
        'lip_tightener': UnitRange(0.4, 1.0),
        'chin_raiser': UnitRange(0.1, 0.5, 0.4),
        'upper_lip_raiser': UnitRange(0.2, 0.6, 0.3),
        'lips_part': UnitRange(0.5, 1.0, 0.4),
        'jaw_drop': UnitRange(0.1, 0.5, 0.2),
    },
    'disgust': {  # AU9+15+16, mostly with AU10 and a little of AU4
        'nose_wrinkler': UnitRange(0.75, 1.0),
        'upper_lip_raiser': UnitRange(0.5, 1.0, 0.85),
        'lip_corner_depressor': UnitRange(0.1, 0.5),
        'lower_lip_depressor': UnitRange(0.3, 0.9),
        'brow_lowerer': UnitRange(0.2, 0.6),
        'cheek_raiser': UnitRange(0.2, 0.5, 0.5),
        'lid_tightener': UnitRange(0.5, 1.0, 0.8),
        'chin_raiser': UnitRange(0.2, 0.6, 0.4),
        'lips_part': UnitRange(0.3, 0.9, 0.6),
    },
    'sad': {  # AU1+4+15, mostly with AU17 and drooping lids
        'inner_brow_raiser': UnitRange(0.6, 1.0),
        'brow_lowerer': UnitRange(0.2, 0.5),
        'lip_corner_depressor': UnitRange(0.4, 1.0),
        'chin_raiser': UnitRange(0.2, 0.8, 0.6),
        'eyes_closed': UnitRange(0.1, 0.7, 0.7),
        'lips_part': UnitRange(0.1, 0.4, 0.2),
    },
    'happiness': {  # AU6+12, mostly with AU25
        'cheek_raiser': UnitRange(0.4, 1.0),
        'lip_corner_puller': UnitRange(0.6, 1.0),
        'lips_part': UnitRange(0.4, 1.0, 0.7),
        'jaw_drop': UnitRange(0.1, 0.45, 0.3),
        'outer_brow_raiser': UnitRange(0.1, 0.4, 0.3),
    },
    'surprise': {  # AU1+2+5+26
        'inner_brow_raiser': UnitRange(0.6, 1.0),
        'outer_brow_raiser': UnitRange(0.6, 1.0),
        'upper_lid_raiser': UnitRange(0.5, 1.0),
        'lips_part': UnitRange(0.2, 0.6),
        'jaw_drop': UnitRange(0.35, 1.0),
    },
}
"""The action units of each expression."""

CLASS_SHARES: Final = (0.19, 0.08, 0.22, 0.31, 0.20)
"""How often each of `faces.EXPRESSIONS` is drawn: disgust is rarest, as in FER2013, but not as rare."""

_NAMES: Final = tuple(unit.name for unit in dataclasses.fields(ActionUnits))


def random_expression(random: np.random.Generator) -> str:
    """One of `faces.EXPRESSIONS`, drawn by `CLASS_SHARES`."""
    return faces.EXPRESSIONS[int(np.searchsorted(np.cumsum(CLASS_SHARES), random.random(), side='right'))]


def random_units(random: np.random.Generator, expression: str) -> ActionUnits:
    """Action units of one face of this expression.

    Real expressions are seldom pure or extreme: the whole has an intensity of its own, a trace of another expression is
    mixed in, and every unit twitches a little.
    """
    intensity = random.triangular(0.5, 0.9, 1.15)
    trace = random.uniform(0.0, 0.25)
    other = faces.EXPRESSIONS[random.integers(len(faces.EXPRESSIONS))]
    values = intensity * _prototype(random, expression) + trace * _prototype(random, other)
    values += random.normal(0.0, 0.05, len(_NAMES))
    return ActionUnits(*np.clip(values, 0.0, 1.0).tolist())


def _prototype(random: np.random.Generator, expression: str) -> np.ndarray:
    values = np.zeros(len(_NAMES))
    amount, chance = random.random((2, len(_NAMES)))
    for name, unit in PROTOTYPES[expression].items():
        place = _NAMES.index(name)
        if chance[place] < unit.chance:
            values[place] = unit.least + (unit.most - unit.least) * amount[place]
    return values
