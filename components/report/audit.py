"""The label audit as the report shows it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from components import faces
from components.audit.results import CSV_FILE, Issue, Summary, read_issues, read_summary
from components.report.artifacts import read_faces
from components.report.gallery import Tile, thumbnail

TILES: Final = 40  # faces in the grid


@dataclass(frozen=True)
class Noise:
    """One label, and what the faces that carry it are estimated to show.

    Attributes:
        label: the expression that the data name.
        shares: of its faces, by true expression in the order of `faces.EXPRESSIONS`; they add up to 1, or are 0 where
            no face has the label.
        issues: how many of its faces are likely to show that expression instead, in the same order.
    """

    label: str
    shares: tuple[float, ...]
    issues: tuple[int, ...]


@dataclass(frozen=True)
class AuditView:
    """What a page shows of an audit.

    Attributes:
        summary: its figures.
        noise: one entry a label.
        listed: rows of the table.
        table: where that lies.
        tiles: the faces of its first rows.
    """

    summary: Summary
    noise: tuple[Noise, ...]
    listed: int
    table: Path
    tiles: tuple[Tile, ...]


def read_audit(audit: Path, examples: Path) -> AuditView:
    """Reads an Audit artifact and the faces that it suspects.

    Args:
        audit: folder of the artifact.
        examples: folder of the Examples that were audited.
    """
    summary, issues = read_summary(audit), read_issues(audit)
    return AuditView(summary, _noise(summary), len(issues), audit / CSV_FILE, _tiles(issues, examples))


def _noise(summary: Summary) -> tuple[Noise, ...]:
    found = []
    for label in faces.EXPRESSIONS:
        joint = [summary.joint[label][expression] for expression in faces.EXPRESSIONS]
        total = sum(joint) or 1.0
        pairs = summary.pairs[label]
        found.append(
            Noise(
                label,
                tuple(share / total for share in joint),
                tuple(pairs[expression] for expression in faces.EXPRESSIONS),
            )
        )
    return tuple(found)


def _tiles(issues: list[Issue], examples: Path) -> tuple[Tile, ...]:
    """The worst faces, of those that the report looks at, in the order of the table."""
    ranks = {(issue.content_hash, issue.source, issue.row): rank for rank, issue in enumerate(issues)}
    pictures = {
        ranks[face.key]: face.png for split in faces.SPLITS for face in read_faces(examples, split) if face.key in ranks
    }
    return tuple(_tile(issues[rank], pictures[rank]) for rank in sorted(pictures)[:TILES])


def _tile(issue: Issue, png: bytes) -> Tile:
    picture, width, height = thumbnail(png)
    origin = f'{issue.source}, row {issue.row}' if issue.row else issue.source
    quality = f'quality {issue.quality:.3f}'
    alt = f'A face labelled {issue.label}, rather {issue.suggestion}, {quality} ({origin})'
    return Tile(picture, width, height, alt, (f'{issue.label} → {issue.suggestion}', quality, origin))
