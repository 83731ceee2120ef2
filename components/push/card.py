"""The model card beside each pushed version (Mitchell et al. 2019, arXiv:1810.03993), in Markdown.

Whatever it says of a model is read from the artifacts of the run that pushes it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import jinja2

from components import faces
from components.evaluate.results import OVERALL, read_differences, read_figures, read_intervals
from components.ingest.rejects import read_summary
from components.markdown import escaped, table
from components.push.versions import MODEL_CARD, Provenance
from components.report import metrics
from components.report.artifacts import read_statistics, value_counts
from components.report.behaviour import read_part
from components.train.calibration import Temperature, read_temperature

NO_CARD: Final = 'This network was pushed before model cards were written.\n'


@dataclass(frozen=True)
class Evidence:
    """The folders of one task's artifacts, of which its card is written."""

    rejects: Path
    statistics: Path
    model_run: Path
    evaluation: Path
    behaviour: Path


def network_card(origin: Provenance, evidence: Evidence) -> str:
    """The card of one network: its use, data, figures, slices, calibration, behaviour and limits.

    Args:
        origin: whose model is `expression` or `keypoints`.
        evidence: of the run that trained it.
    """
    summary = read_summary(evidence.rejects)
    return _template('network_card.md').render(
        origin=origin,
        faces=faces,
        summary=summary,
        files=', '.join(map(escaped, summary.files)),
        rows=_rows(summary.kept, summary.rejected, summary.left_out),
        balance=_balance(evidence.statistics),
        figures=_figures(evidence.evaluation),
        changes=_changes(origin.model, evidence.evaluation),
        slices=_slices(origin.model, evidence.evaluation),
        temperature=_temperature(origin.model, evidence.model_run),
        behaviour=_behaviour(evidence.behaviour),
    )


def joint_card(origin: Provenance, cards: Sequence[str]) -> str:
    """The card of the joint model, which holds those of its two networks."""
    return _template('joint_card.md').render(origin=origin, cards=cards)


def read_card(saved_model: Path) -> str:
    """The card in the folder of a pushed version."""
    card = saved_model / MODEL_CARD
    return card.read_text(encoding='utf-8') if card.exists() else NO_CARD


def _template(name: str) -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=False,  # noqa: S701 - Markdown; texts from data pass `escaped`
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(name)


def _rows(*outcomes: dict[str, int]) -> str:
    names = ('kept', 'rejected', 'left out')
    return table(
        ('Outcome', 'Split or reason', 'Rows'),
        [
            (name, reason, f'{count:,}')
            for name, counts in zip(names, outcomes, strict=True)
            for reason, count in counts.items()
        ],
    )


def _balance(statistics: Path) -> str:
    """Faces of each expression by split; an empty text for data without expressions."""
    counted = {split: value_counts(read_statistics(statistics, split), faces.EXPRESSION) for split in faces.SPLITS}
    if not any(counted.values()):
        return ''
    rows = [(name, *(f'{counted[split].get(name, 0):,}' for split in faces.SPLITS)) for name in faces.EXPRESSIONS]
    return table(('Expression', *faces.SPLITS), rows)


def _figures(evaluation: Path) -> str:
    # Of very few faces there are none.
    intervals = read_intervals(evaluation).get(OVERALL, {})
    rows = []
    for figure in read_figures(evaluation):
        if figure.slice == OVERALL:
            interval = intervals.get(figure.metric)
            between = _between(figure.metric, interval.low, interval.high) if interval else ''
            rows.append((metrics.label(figure.metric), metrics.show(figure.metric, figure.value, 1), between))
    return table(('Figure', 'Value', '95% interval'), rows)


def _changes(task: str, evaluation: Path) -> str:
    """The headline figures against the model that was served; an empty text where there was none."""
    differences = read_differences(evaluation)
    rows = [
        (
            metrics.label(name),
            metrics.show(name, differences[name].difference, 1),
            _between(name, differences[name].low, differences[name].high),
        )
        for name in metrics.HEADLINES[task]
        if name in differences
    ]
    return table(('Figure', 'Difference', '95% interval of the difference, paired'), rows) if rows else ''


def _slices(task: str, evaluation: Path) -> str:
    shown = metrics.SLICED[task]
    found: dict[str, dict[str, float]] = {}
    for figure in read_figures(evaluation):
        if figure.slice.startswith(f'{faces.EXPRESSION}='):
            continue  # of one expression alone a macro F1 says nothing; its own figures are above
        found.setdefault(figure.slice, {})[figure.metric] = figure.value
    intervals = read_intervals(evaluation)
    compared = shown[1]
    rows = []
    for name, values in found.items():
        interval = intervals.get(name, {}).get(compared)
        between = _between(compared, interval.low, interval.high) if interval else ''
        rows.append((name, *(metrics.show(metric, values.get(metric)) for metric in shown), between))
    return table(('Slice', *map(metrics.label, shown), f'95% interval of {metrics.label(compared)}'), rows)


def _temperature(task: str, model_run: Path) -> Temperature | None:
    """Of the expression network; points have none."""
    return read_temperature(model_run) if task == faces.EXPRESSION_MODEL else None


def _behaviour(folder: Path) -> str:
    rows = [
        (
            row.asked_about,
            row.kind,
            row.value,
            row.rule,
            ('passed' if row.passed else 'missed') if row.rule else 'no gate',
        )
        for row in read_part(folder).rows
    ]
    return table(('Asked about', 'Test', 'Found', 'Must be', 'Outcome'), rows)


def _between(metric: str, low: float, high: float) -> str:
    return f'{metrics.show(metric, low, 1)} to {metrics.show(metric, high, 1)}'
