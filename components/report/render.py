"""Writes the page of one run: a single HTML file that needs nothing else, with or without a network."""

from pathlib import Path
from typing import Final

import jinja2
import markdown_it
import markupsafe

from components import faces
from components.report import calibration, charts, gallery, metrics
from components.report.chapters import Chapter, read_chapter
from components.report.record import RunRecord

NAMES: Final = {
    faces.EXPRESSION_MODEL: 'Expression',
    faces.KEYPOINT_MODEL: 'Keypoints',
    faces.JOINT_MODEL: 'Faces (both in one)',
}
HEADLINES: Final = {
    'pushed': 'Pushed',
    'refused': 'Refused',
    'stopped': 'Stopped at the data',
    'failed': 'Failed',
    'interrupted': 'Interrupted',
}


def render(record: RunRecord) -> str:
    """The report as HTML text, complete or as far as the run came.

    All text from data is escaped, and the page's own policy forbids scripts and every address but `data:`.
    """
    chapters = [read_chapter(branch) for branch in record.branches]
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters['duration'] = duration
    environment.filters['markdown'] = markdown
    return environment.get_template('report.html').render(
        record=record,
        chapters=chapters,
        headline=HEADLINES[record.state],
        sentences=sentences(record, chapters),
        stop_tiles=gallery.reject_tiles(record.stop_pictures),
        names=NAMES,
        faces=faces,
        charts=charts,
        diagram=calibration,
        metrics=metrics,
    )


def sentences(record: RunRecord, chapters: list[Chapter]) -> list[str]:
    """What happened and how good the models are, in words."""
    said = [_outcome(record), *map(_quality, chapters), *map(_missed, chapters), _failed_checks(record)]
    return [sentence for sentence in said if sentence]


def duration(seconds: float | None) -> str:
    """Seconds as a person says them: `8.4 s`, `3 min 07 s`, `2 h 05 min`."""
    if seconds is None:
        return '–'
    if seconds < 59.95:
        return f'{seconds:.1f} s'
    minutes, rest = divmod(round(seconds), 60)
    return f'{minutes} min {rest:02d} s' if minutes < 60 else f'{minutes // 60} h {minutes % 60:02d} min'


def markdown(text: str) -> markupsafe.Markup:
    """Markdown as HTML; HTML in it is shown as text, and its headings go below those of the page."""
    parser = markdown_it.MarkdownIt('commonmark', {'html': False})
    parser.enable('table').disable(['link', 'image', 'autolink'])
    tokens = parser.parse(text)
    for token in tokens:
        if token.type in ('heading_open', 'heading_close'):
            token.tag = f'h{min(6, int(token.tag[1:]) + 3)}'
        elif token.type == 'th_open':
            token.attrSet('scope', 'col')
    return markupsafe.Markup(parser.renderer.render(tokens, parser.options, {}))  # noqa: S704 - its text is escaped


def _outcome(record: RunRecord) -> str:
    pushed = [f'version {item.version} of the {item.model} model' for item in record.pushed if item.version]
    held = [f'the {item.model} model' for item in record.pushed if not item.version]
    if pushed:
        kept = f'; {_listed(held)} stayed behind' if held else ''
        said = f'{_listed(pushed)} {"is" if len(pushed) == 1 else "are"} now served{kept}.'
    else:
        said = 'Nothing was pushed: what was served before is still served.'
    failed = [step.node for step in record.steps if step.state == 'failed']
    return f'{_listed(failed)} failed. {_capital(said)}' if failed else _capital(said)


def _quality(chapter: Chapter) -> str:
    first, second = metrics.HEADLINES[chapter.task]
    overall = chapter.overall
    if first not in overall or second not in overall:
        return ''
    count = metrics.show('example_count', overall.get('example_count'))
    value, detail = metrics.show(first, overall[first]), metrics.show(second, overall[second])
    if chapter.task == faces.EXPRESSION_MODEL:
        return f'The expression model names {value} of {count} evaluation faces rightly (macro F1 {detail}).'
    return f'The keypoint model is off by {value} (RMSE, {count} evaluation faces), {detail} of the eye distance.'


def _missed(chapter: Chapter) -> str:
    missed = [
        f'{_in_sentence(metrics.label(verdict.metric))} {metrics.show(verdict.metric, verdict.value)}'
        for verdict in chapter.verdicts
        if not verdict.passed
    ]
    if chapter.behaviour:
        missed += [f'{row.value} of {row.asked_about}' for row in chapter.behaviour.rows if not row.passed]
    return f'Gates that the {chapter.task} model missed: {_listed(list(dict.fromkeys(missed)))}.' if missed else ''


def _failed_checks(record: RunRecord) -> str:
    failed = [f'the {check.model} model, {"; ".join(check.findings)}' for check in record.checks if not check.passed]
    return f'Not fit to be served: {_listed(failed)}.' if failed else ''


def _listed(items: list[str]) -> str:
    return ' and '.join(filter(None, (', '.join(items[:-1]), items[-1]))) if items else ''


def _in_sentence(label: str) -> str:
    return label[0].lower() + label[1:] if label[1:2].islower() else label


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
