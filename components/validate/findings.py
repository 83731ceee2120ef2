"""What a gate found of the data, as it is written beside a run and read by the report."""

import dataclasses
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from components.errors import StepError

FILE_NAME: Final = 'verdict.json'

GATES: Final = ('schema', 'minimum-examples', 'leak', 'class-drift', 'image-drift', 'split-distance')
"""The names by which a gate can be overridden for one run."""


@dataclass(frozen=True)
class Finding:
    """One comparison that DataCheck made.

    Attributes:
        gate: one of `GATES`.
        message: what was found, for a person.
        value: the measured distance or count, where there is one.
        threshold: what it was compared with.
        passed: whether it lies within the threshold.
        overridden: whether the run went on although it did not pass, because it was told to or by the data's protocol.
    """

    gate: str
    message: str
    value: float | None
    threshold: float | None
    passed: bool
    overridden: bool = False

    @property
    def stops(self) -> bool:
        return not self.passed and not self.overridden


class DataRefusedError(StepError):
    """The data are broken, or too unlike those that were accepted last."""


def check_overrides(gates: Iterable[str]) -> None:
    """Raises StepError when a name is none of `GATES`."""
    unknown = set(gates) - set(GATES)
    if unknown:
        raise StepError(f'No gate is called {min(unknown)!r}: override one of {", ".join(GATES)}.')


def write_findings(folder: Path, findings: tuple[Finding, ...]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    rows = [dataclasses.asdict(finding) for finding in findings]
    (folder / FILE_NAME).write_text(json.dumps({'findings': rows}, indent=1), encoding='utf-8')


def read_findings(folder: Path) -> tuple[Finding, ...]:
    rows = json.loads((folder / FILE_NAME).read_text(encoding='utf-8'))['findings']
    return tuple(Finding(**row) for row in rows)
