"""What BehaviourTest found of a candidate, as it is written beside a run and read by other steps.

Importing this module imports nothing heavy.
"""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import dacite

FILE_NAME: Final = 'behaviour.json'

Kind = Literal['invariance', 'equivariance', 'minimum function']
Figure = Literal['share', 'rmse']


@dataclass(frozen=True)
class Outcome:
    """One test.

    Attributes:
        test: its name in the settings' limits: `mirror`, `shift`, `brightness`, `jpeg`, `blur` or `drawn`.
        kind: of CheckList's tests (Ribeiro et al. 2020, arXiv:2005.04118).
        figure: what `value` and `limit` are: the share of the answers that are as they must be, of which more is
            better, or the root mean squared error of the coordinates in pixels of 96, of which less is better.
        value: None where an answer was not a number.
        limit: the least share, or the largest error, that passes; None where the test is measured alone.
        passed: whether the value keeps to the limit; true where there is none.
        faces: that were asked about, each in every variant of the test.
        distance: mean total variation distance, 0 to 1, between the probabilities of a face before and after; None
            where the test has none.
    """

    test: str
    kind: Kind
    figure: Figure
    value: float | None
    limit: float | None
    passed: bool
    faces: int
    distance: float | None = None


@dataclass(frozen=True)
class Curve:
    """How a model falls off as its images get worse.

    Attributes:
        degradation: `blur`, `noise`, `darkness`, `rotation` or `occlusion`.
        unit: of the strengths.
        strengths: rising from 0, the image as it came.
        figures: from a metric's name to its value at each strength; None where an answer was not a number.
        picture: base64 of a PNG: one face at the greatest strength.
    """

    degradation: str
    unit: str
    strengths: tuple[float, ...]
    figures: dict[str, tuple[float | None, ...]]
    picture: str


@dataclass(frozen=True)
class Behaviour:
    """All that BehaviourTest found of one model.

    Attributes:
        task: `expression` or `keypoints`.
        faces: of the eval split that were asked about.
        outcomes: of the tests.
        curves: one for each degradation; no gate judges them.
    """

    task: str
    faces: int
    outcomes: tuple[Outcome, ...]
    curves: tuple[Curve, ...]

    @property
    def passed(self) -> bool:
        return all(outcome.passed for outcome in self.outcomes)

    @property
    def missed(self) -> tuple[Outcome, ...]:
        """The tests that the model did not pass."""
        return tuple(outcome for outcome in self.outcomes if not outcome.passed)


def describe(outcome: Outcome) -> str:
    """The test in words, with what was found and what would have passed."""
    bound = 'at least' if outcome.figure == 'share' else 'at most'
    found = 'no number' if outcome.value is None else f'{outcome.value:.4f}'
    limit = 'no limit' if outcome.limit is None else f'{bound} {outcome.limit:g}'
    return f'behaviour {outcome.test}: {outcome.figure} {found} against {limit}'


def write_behaviour(folder: Path, behaviour: Behaviour) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(dataclasses.asdict(behaviour), indent=1, allow_nan=False)
    (folder / FILE_NAME).write_text(text, encoding='utf-8')


def read_behaviour(folder: Path) -> Behaviour:
    """What BehaviourTest wrote.

    Args:
        folder: of a Behaviour artifact.
    """
    values = json.loads((folder / FILE_NAME).read_text(encoding='utf-8'))
    return dacite.from_dict(Behaviour, values, dacite.Config(cast=[tuple], strict=True))
