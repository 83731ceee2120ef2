"""The account of a run's rows: how many were kept, rejected and left out, and why."""

import json
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from components.errors import StepError

SUMMARY_FILE = 'summary.json'
PICTURES_FILE = 'pictures.jsonl'
PICTURES_PER_REASON = 8


@dataclass(frozen=True)
class Summary:
    """What became of the rows; `rows` is the sum of `kept`, `rejected` and `left_out`.

    Attributes:
        rows: rows read.
        kept: Examples by split.
        rejected: rows that could not be used, by reason.
        left_out: sound rows that were left out, by reason.
        duplicates: readable rows that show the image of another one, beyond the first of each image.
        files: base names of the files; class folders in place of their images.
        span: newest span read; None without spans.
        fingerprint: of the files' names and contents.
        protocol: `clean` or `original`, see IngestSettings.
        leaks: eval rows whose image a training row shows too; the clean protocol leaves none.
        corrections: counts by `RELABELLED`, `LEFT_ALONE` and `UNMATCHED`, where there are corrections. The rows that
            they exclude are in `left_out`.
    """

    rows: int
    kept: dict[str, int]
    rejected: dict[str, int]
    left_out: dict[str, int]
    duplicates: int
    files: tuple[str, ...]
    span: int | None
    fingerprint: str
    protocol: str = 'clean'
    leaks: int = 0
    corrections: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class RejectedPicture:
    """A rejected row whose pixels could be decoded; `png` is base64, at most 96 pixels a side."""

    source: str
    row: int
    reason: str
    png: str


@dataclass(frozen=True)
class Tally:
    """A count of rows that met the same end.

    Attributes:
        kind: one of the constants below.
        reason: the split of kept rows, what became of corrections, else why.
        count: rows.
        source: file of the first of them.
        row: its row.
    """

    kind: str
    reason: str
    count: int
    source: str
    row: int


KEPT = 'kept'
REJECTED = 'rejected'
LEFT_OUT = 'left out'
DUPLICATES = 'duplicates'
LEAKS = 'leaks'
CORRECTIONS = 'corrections'
FAULT = 'fault'  # a file that cannot be read on; the reason is the whole message

RELABELLED = 'training rows relabelled'
LEFT_ALONE = 'eval rows not changed'
MATCHED = 'matched'
UNMATCHED = 'corrections that match no row'


class RejectShareError(StepError):
    """More rows were rejected than the settings allow.

    Attributes:
        summary: the run's account.
        pictures: rejected rows that can be shown.
    """

    def __init__(self, message: str, summary: Summary, pictures: list[RejectedPicture]):
        super().__init__(message)
        self.summary = summary
        self.pictures = pictures


def summarize(
    tallies: Iterable[Tally],
    files: tuple[str, ...],
    span: int | None,
    fingerprint: str,
    splits: tuple[str, ...],
    protocol: str = 'clean',
    corrections: int = 0,
) -> Summary:
    """Adds up the tallies; `corrections` is how many there are."""
    counts: dict[str, dict[str, int]] = defaultdict(dict)
    counts[KEPT] = dict.fromkeys(splits, 0)
    for tally in sorted(tallies, key=lambda tally: (tally.kind, -tally.count, tally.reason)):
        counts[tally.kind][tally.reason] = tally.count
    return Summary(
        rows=sum(sum(counts[kind].values()) for kind in (KEPT, REJECTED, LEFT_OUT)),
        kept=counts[KEPT],
        rejected=counts[REJECTED],
        left_out=counts[LEFT_OUT],
        duplicates=sum(counts[DUPLICATES].values()),
        files=files,
        span=span,
        fingerprint=fingerprint,
        protocol=protocol,
        leaks=sum(counts[LEAKS].values()),
        corrections=_corrections(counts[CORRECTIONS], corrections),
    )


def _corrections(counted: dict[str, int], total: int) -> dict[str, int]:
    if not total:
        return {}
    return {
        RELABELLED: counted.get(RELABELLED, 0),
        LEFT_ALONE: counted.get(LEFT_ALONE, 0),
        UNMATCHED: total - counted.get(MATCHED, 0),
    }


def check(
    summary: Summary, tallies: Iterable[Tally], pictures: list[RejectedPicture], maximum_reject_share: float
) -> None:
    """Raises StepError when a file could not be read, too many rows were rejected or none was kept."""
    # Beam hands the counts over in any order.
    tallies = sorted(tallies, key=lambda tally: (-tally.count, tally.reason))
    for tally in tallies:
        if tally.kind == FAULT:
            raise StepError(tally.reason)
    rejected = sum(summary.rejected.values())
    reasons = _reasons(tallies, REJECTED)
    if summary.rows and rejected / summary.rows > maximum_reject_share:
        raise RejectShareError(
            f'{rejected} of {summary.rows} rows ({rejected / summary.rows:.1%}) cannot be used, '
            f'and {maximum_reject_share:.1%} may: {reasons}. '
            'Mend the data, or raise ingest.maximum_reject_share to accept the loss.',
            summary,
            pictures,
        )
    if not sum(summary.kept.values()):
        left_out = _reasons(tallies, LEFT_OUT)
        raise StepError(
            f'None of {summary.rows} rows of {", ".join(summary.files[:3])} is kept'
            f'{f": {left_out or reasons}" if left_out or reasons else ""}. Give data with faces that the settings keep.'
        )


def _reasons(tallies: Iterable[Tally], kind: str) -> str:
    """The three most frequent reasons, each with the first row that has it."""
    worst = [tally for tally in tallies if tally.kind == kind][:3]
    return ', '.join(f'{tally.count} x {tally.reason} (e.g. {tally.source}:{tally.row})' for tally in worst)


def read_summary(folder: Path) -> Summary:
    """The summary in the folder of a Rejects artifact."""
    fields = json.loads((folder / SUMMARY_FILE).read_text(encoding='utf-8'))
    return Summary(**{**fields, 'files': tuple(fields['files'])})


def read_pictures(folder: Path) -> list[RejectedPicture]:
    """The pictures in the folder of a Rejects artifact, at most `PICTURES_PER_REASON` a reason."""
    if not (folder / PICTURES_FILE).exists():
        return []  # without any, an object store has no such object
    with (folder / PICTURES_FILE).open(encoding='utf-8') as lines:
        return [RejectedPicture(**json.loads(line)) for line in lines]
