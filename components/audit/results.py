"""What LabelAudit leaves: a table for a person to decide on, and its summary."""

import csv
import dataclasses
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

CSV_FILE: Final = 'audit.csv'
SUMMARY_FILE: Final = 'summary.json'

FORMULA_STARTS: Final = ('=', '+', '-', '@', '\t', '\r', "'")
"""A spreadsheet takes a cell that begins so for a formula, or drops the sign."""


@dataclass(frozen=True)
class Issue:
    """A row whose label is probably wrong; the fields are the table's columns.

    Attributes:
        content_hash, source, row: where the face comes from, as in its Example.
        label: the expression that the data name.
        suggestion: the expression that the networks name.
        quality: 0 to 1, the probability that the networks give the label.
        action: empty; a person writes `exclude` or `relabel`.
    """

    content_hash: str
    source: str
    row: int
    label: str
    suggestion: str
    quality: float
    action: str = ''


@dataclass(frozen=True)
class Summary:
    """The audit in figures.

    Attributes:
        rows: that were judged, of both splits.
        issues: rows whose labels are probably wrong, also those that are not listed.
        pairs: how many of them, by label and then by suggestion.
        joint: estimated shares of all rows, by label and then by true expression; they add up to 1.
        accuracy, macro_f1: of the networks on training rows that they were not trained on, against the labels.
        folds, epochs: how the networks were trained.
    """

    rows: int
    issues: int
    pairs: dict[str, dict[str, int]]
    joint: dict[str, dict[str, float]]
    accuracy: float
    macro_f1: float
    folds: int
    epochs: int


COLUMNS: Final = tuple(field.name for field in dataclasses.fields(Issue))


def write_issues(folder: Path, issues: Iterable[Issue]) -> None:
    """Writes the table, UTF-8 with CRLF (RFC 4180).

    A source that a spreadsheet would take for a formula gets a `'` before it, as OWASP recommends against CSV
    injection; `read_issues` takes it off again.
    """
    with (folder / CSV_FILE).open('w', encoding='utf-8', newline='') as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        for issue in issues:
            writer.writerow(dataclasses.asdict(issue) | {'source': _disarm(issue.source)})


def read_issues(folder: Path) -> list[Issue]:
    """The table, as `write_issues` wrote it."""
    with (folder / CSV_FILE).open(encoding='utf-8', newline='') as file:
        return [
            Issue(
                content_hash=line['content_hash'],
                source=_arm(line['source']),
                row=int(line['row']),
                label=line['label'],
                suggestion=line['suggestion'],
                quality=float(line['quality']),
                action=line['action'],
            )
            for line in csv.DictReader(file)
        ]


def write_summary(folder: Path, summary: Summary) -> None:
    (folder / SUMMARY_FILE).write_text(json.dumps(dataclasses.asdict(summary), indent=1), encoding='utf-8')


def read_summary(folder: Path) -> Summary:
    return Summary(**json.loads((folder / SUMMARY_FILE).read_text(encoding='utf-8')))


def _disarm(text: str) -> str:
    return f"'{text}" if text.startswith(FORMULA_STARTS) else text


def _arm(cell: str) -> str:
    return cell.removeprefix("'")
