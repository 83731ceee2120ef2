"""One chapter of the report for each task: what its data hold and what its model can do."""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import numpy as np
from tensorflow_metadata.proto.v0 import statistics_pb2

from components import faces
from components.evaluate.metrics import more_is_better
from components.evaluate.results import (
    OVERALL,
    Interval,
    Verdict,
    is_blessed,
    read_confusion,
    read_figures,
    read_intervals,
    read_verdicts,
)
from components.ingest.rejects import Summary, read_pictures, read_summary
from components.report import artifacts, charts, gallery, metrics
from components.report.attention import Attention, attention, read_maps
from components.report.audit import AuditView, read_audit
from components.report.behaviour import BehaviourPart, read_part
from components.report.calibration import Calibration, read_calibration
from components.report.record import Branch
from components.validate.findings import Finding, read_findings

Found = TypeVar('Found')
Figures = dict[str, dict[str, float]]  # by slice, then by metric

SLICES_SHOWN = 12  # of one feature


@dataclass(frozen=True)
class Balance:
    """How often each value of a feature occurs, by split, and that as a share of the split."""

    title: str
    values: tuple[str, ...]
    counts: dict[str, tuple[int, ...]]
    shares: dict[str, tuple[float, ...]]


@dataclass(frozen=True)
class PointErrors:
    """RMSE of each keypoint, worst first; where faces are known, drawn on their mean face as (name, x, y, RMSE)."""

    rows: tuple[tuple[str, float], ...]
    picture: str | None
    circles: tuple[tuple[str, float, float, float], ...]


@dataclass(frozen=True)
class SliceTable:
    """Figures of the values of one feature; `left_out` further values are not shown."""

    feature: str
    rows: tuple[tuple[str, dict[str, float]], ...]
    left_out: int


@dataclass
class Chapter:
    """Everything that is known of one task; what a run did not reach stays empty.

    Attributes:
        missing: parts that the run did not reach.
        broken: parts that are there and cannot be read, with the reason.
    """

    task: str
    missing: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)

    verdicts: Sequence[Verdict] = ()
    blessed: bool | None = None
    figures: Figures = field(default_factory=dict)
    intervals: dict[str, Interval] = field(default_factory=dict)
    slice_intervals: dict[str, dict[str, Interval]] = field(default_factory=dict)
    slices: Sequence[SliceTable] = ()
    confusion: np.ndarray | None = None
    point_errors: PointErrors | None = None
    calibration: Calibration | None = None
    behaviour: BehaviourPart | None = None
    curves: Sequence[charts.LineChart] = ()
    best: Sequence[gallery.Tile] = ()
    worst: Sequence[gallery.Tile] = ()
    attention: Attention | None = None

    summary: Summary | None = None
    rejected: Sequence[gallery.Tile] = ()
    sizes: dict[str, int] = field(default_factory=dict)
    known_points: dict[str, float | None] = field(default_factory=dict)
    balances: Sequence[Balance] = ()
    samples: dict[str, Sequence[gallery.Tile]] = field(default_factory=dict)
    findings: Sequence[Finding] = ()
    anomalies: dict[str, list[tuple[str, str]]] | None = None
    audit: AuditView | None = None

    @property
    def overall(self) -> dict[str, float]:
        return self.figures.get(OVERALL, {})

    @property
    def has_model(self) -> bool:
        return bool(self.figures or self.curves or self.best or self.verdicts)

    @property
    def has_data(self) -> bool:
        return bool(self.summary or self.sizes or self.samples or self.findings or self.anomalies is not None)

    def read(self, name: str, folder: Path | None, read: Callable[[Path], Found]) -> Found | None:
        """What `read` finds in the folder; None, and a note, where it finds nothing that can be read."""
        if folder is None:
            self.missing.append(name)
            return None
        try:
            return read(folder)
        except Exception as error:  # whatever state a failed run left its parts in, its report must appear
            first_line = (str(error).splitlines() or [''])[0]
            self.broken.append(f'{name}: {type(error).__name__}: {first_line}')
            return None


def read_chapter(branch: Branch) -> Chapter:
    """Reads every artifact that the branch has."""
    chapter = Chapter(branch.task)
    _read_data(chapter, branch)
    _read_model(chapter, branch)
    return chapter


def _read_data(chapter: Chapter, branch: Branch) -> None:
    chapter.summary = chapter.read('the count of rejects', branch.rejects, read_summary)
    if branch.rejects is not None:
        chapter.rejected = chapter.read('the rejected pictures', branch.rejects, _rejected) or ()
    chapter.samples = chapter.read('sample faces', branch.examples, _samples) or {}
    statistics = chapter.read('the statistics', branch.statistics, _statistics) or {}
    chapter.sizes = {split: int(found.num_examples) for split, found in statistics.items()}
    chapter.balances = _balances(statistics)
    if branch.task == faces.KEYPOINT_MODEL:
        chapter.known_points = {
            split: artifacts.mean_value(found, faces.POINTS_PRESENT) for split, found in statistics.items()
        }
    chapter.anomalies = chapter.read("TFDV's anomalies", branch.anomalies, _anomalies)
    chapter.findings = chapter.read("the data gate's findings", branch.verdict, read_findings) or ()
    # Most pipelines have none.
    if branch.audit is not None and branch.examples is not None:
        chapter.audit = chapter.read(
            'the audit of the labels', branch.audit, functools.partial(read_audit, examples=branch.examples)
        )


def _read_model(chapter: Chapter, branch: Branch) -> None:
    chapter.curves = _curves(chapter.read('the learning curves', branch.model_run, artifacts.read_history) or {})
    chapter.figures = chapter.read('the evaluation', branch.evaluation, _figures) or {}
    chapter.slices = _slices(branch.task, chapter.figures)
    if branch.evaluation is not None:
        chapter.slice_intervals = chapter.read('the intervals', branch.evaluation, read_intervals) or {}
        chapter.intervals = chapter.slice_intervals.get(OVERALL, {})
        verdicts = functools.partial(read_verdicts, settings=branch.settings)
        chapter.verdicts = chapter.read("the gates' verdicts", branch.evaluation, verdicts) or ()
    if branch.blessing is not None:
        chapter.blessed = is_blessed(branch.blessing)
    if branch.task == faces.EXPRESSION_MODEL and branch.evaluation is not None:
        chapter.confusion = chapter.read('the confusion matrix', branch.evaluation, read_confusion)
    if branch.task == faces.KEYPOINT_MODEL and branch.examples is not None:
        errors = functools.partial(_point_errors, chapter.overall)
        chapter.point_errors = chapter.read('the mean face', branch.examples, errors)
    chapter.behaviour = chapter.read('the behaviour tests', branch.behaviour, read_part)
    if branch.task == faces.EXPRESSION_MODEL and branch.model_run is not None:
        chapter.calibration = chapter.read('the calibration', branch.model_run, read_calibration)
    predictions = chapter.read('the predictions', branch.model_run, artifacts.read_predictions)
    if predictions is not None and branch.examples is not None:
        tiles = functools.partial(_evaluation_tiles, branch.task, predictions)
        chapter.best, chapter.worst = chapter.read('evaluation faces', branch.examples, tiles) or ((), ())
        looked_at = functools.partial(_attention, branch.task, branch.examples, predictions)
        chapter.attention = chapter.read('what the network looks at', branch.model_run, looked_at)


def _rejected(rejects: Path) -> tuple[gallery.Tile, ...]:
    return gallery.reject_tiles(read_pictures(rejects))


def _samples(examples: Path) -> dict[str, Sequence[gallery.Tile]]:
    return {split: gallery.sample_tiles(artifacts.read_faces(examples, split)) for split in faces.SPLITS}


def _statistics(folder: Path) -> dict[str, statistics_pb2.DatasetFeatureStatistics]:
    return {split: artifacts.read_statistics(folder, split) for split in faces.SPLITS}


def _anomalies(folder: Path) -> dict[str, list[tuple[str, str]]]:
    return {split: artifacts.read_anomalies(folder, split) for split in faces.SPLITS}


def _evaluation_tiles(
    task: str, predictions: artifacts.Predictions, examples: Path
) -> tuple[tuple[gallery.Tile, ...], tuple[gallery.Tile, ...]]:
    """The best and the worst faces of the eval split."""
    tiles = gallery.expression_tiles if task == faces.EXPRESSION_MODEL else gallery.keypoint_tiles
    best, worst = (
        tiles(artifacts.read_faces(examples, faces.EVAL_SPLIT), predictions, is_best) for is_best in (True, False)
    )
    return best, worst


def _attention(task: str, examples: Path, predictions: artifacts.Predictions, model_run: Path) -> Attention:
    found = artifacts.read_faces(examples, faces.EVAL_SPLIT)
    return attention(task, found, predictions, read_maps(model_run))


def _balances(statistics: dict[str, statistics_pb2.DatasetFeatureStatistics]) -> list[Balance]:
    found = [
        _balance(title, feature, order, statistics)
        for title, feature, order in (
            ('Expression', faces.EXPRESSION, faces.EXPRESSIONS),
            ('Brightness', faces.BRIGHTNESS, faces.BRIGHTNESS_LEVELS),
            ('Contrast', faces.CONTRAST, faces.CONTRAST_LEVELS),
        )
    ]
    return [balance for balance in found if any(map(sum, balance.counts.values()))]


def _balance(
    title: str,
    feature: str,
    order: tuple[str, ...],
    statistics: dict[str, statistics_pb2.DatasetFeatureStatistics],
) -> Balance:
    counted = {split: artifacts.value_counts(found, feature) for split, found in statistics.items()}
    counts = {split: tuple(found.get(value, 0) for value in order) for split, found in counted.items()}
    shares = {split: tuple(count / max(sum(row), 1) for count in row) for split, row in counts.items()}
    return Balance(title, order, counts, shares)


def _curves(history: dict[str, list[float]]) -> list[charts.LineChart]:
    drawn = []
    for metric, title in (('loss', 'Loss'), ('accuracy', 'Accuracy'), ('rmse', 'RMSE, px')):
        curves = {
            split: history[name]
            for split, name in ((faces.TRAIN_SPLIT, metric), (faces.EVAL_SPLIT, f'val_{metric}'))
            if name in history
        }
        drawn.append(charts.line_chart(title, curves, metric == 'accuracy'))
    return [chart for chart in drawn if chart is not None]


def _figures(evaluation: Path) -> Figures:
    found: Figures = {}
    for figure in read_figures(evaluation):
        found.setdefault(figure.slice, {})[figure.metric] = figure.value
    return found


def _slices(task: str, figures: Figures) -> list[SliceTable]:
    """The values of each feature with the most faces, worst first."""
    by_feature: dict[str, list[tuple[str, dict[str, float]]]] = {}
    for name, values in figures.items():
        feature, separator, value = name.partition('=')
        if separator and feature != faces.EXPRESSION:  # the table of the expressions has these
            by_feature.setdefault(feature, []).append((value, values))
    tables = []
    compared = metrics.SLICED[task][1]
    sign = 1 if more_is_better(compared) else -1
    for feature, rows in by_feature.items():
        largest = sorted(rows, key=lambda row: -row[1].get('example_count', 0))[:SLICES_SHOWN]
        worst_first = sorted(largest, key=lambda row: sign * row[1].get(compared, 0))
        tables.append(SliceTable(feature, tuple(worst_first), len(rows) - len(largest)))
    return tables


def _point_errors(overall: dict[str, float], examples: Path) -> PointErrors | None:
    errors = {name: overall[f'rmse_{name}'] for name in faces.KEYPOINTS if f'rmse_{name}' in overall}
    if not errors:
        return None
    rows = tuple(sorted(errors.items(), key=lambda row: -row[1]))
    drawn = gallery.mean_face(artifacts.read_faces(examples, faces.EVAL_SPLIT))
    if drawn is None:
        return PointErrors(rows, None, ())
    picture, shape = drawn
    circles = tuple(
        (name, round(float(x), 1), round(float(y), 1), errors[name])
        for name, (x, y) in zip(faces.KEYPOINTS, shape, strict=True)
        if name in errors
    )
    return PointErrors(rows, picture, circles)
