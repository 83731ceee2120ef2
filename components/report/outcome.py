"""How a run ended, in a file for whoever tells of it when the graph is done."""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path

from components.report.metrics import kpis
from components.report.record import RunRecord


@dataclass(frozen=True)
class Outcome:
    """One run.

    Attributes:
        state: `pushed` or `refused`.
        message: one line, where there is something to say.
        kpis: headline figures by task.
        pushed: by model, the versions that this very run pushed.
    """

    state: str
    message: str
    kpis: dict[str, dict[str, float]]
    pushed: dict[str, int]


def write_outcome(folder: Path, record: RunRecord) -> None:
    """Writes `<run>.json`."""
    outcome = Outcome(
        state=record.state,
        message=record.message,
        kpis=kpis(record),
        pushed={
            pushed.model: pushed.version for pushed in record.pushed if pushed.version and pushed.run == record.run
        },
    )
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f'{record.run}.json').write_text(json.dumps(dataclasses.asdict(outcome)), encoding='utf-8')


def read_outcome(folder: Path, run: str) -> Outcome | None:
    """What `write_outcome` wrote of a run; None where it did not come so far."""
    path = folder / f'{run}.json'
    return Outcome(**json.loads(path.read_text(encoding='utf-8'))) if path.exists() else None
