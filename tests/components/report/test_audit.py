"""The audit's part of the page: the right faces, the right figures, and text from data that stays text."""

import dataclasses
import html
import re
from pathlib import Path
from types import SimpleNamespace

import jinja2
import pytest

from components import faces
from components.audit.results import Issue, Summary, write_issues, write_summary
from components.ingest.examples import to_example
from components.report import audit, metrics
from components.report.audit import AuditView, read_audit

HOSTILE = '=<script>alert("x")</script>&.csv'
SHARE = 1 / len(faces.EXPRESSIONS) ** 2


def summary(**changes) -> Summary:
    pairs = {label: dict.fromkeys(faces.EXPRESSIONS, 0) for label in faces.EXPRESSIONS}
    joint = {label: dict.fromkeys(faces.EXPRESSIONS, SHARE) for label in faces.EXPRESSIONS}
    pairs['sad']['anger'] = 1234
    joint['sad'] = dict(zip(faces.EXPRESSIONS, (0.05, 0.0, 0.15, 0.0, 0.0), strict=True))
    joint['disgust'] = dict.fromkeys(faces.EXPRESSIONS, 0.0)
    return dataclasses.replace(Summary(23_456, 1234, pairs, joint, 0.8123, 0.7654, 5, 10), **changes)


@pytest.fixture
def drawn(draw_faces):
    return [dataclasses.replace(face, source=HOSTILE) for face in draw_faces(faces.EXPRESSION_MODEL, 12, 3)]


@pytest.fixture
def view(tmp_path, drawn, write_splits) -> AuditView:
    """Of nine suspected faces of both splits, one of which the Examples do not hold."""
    examples = [to_example(face) for face in drawn]
    write_splits(tmp_path / 'examples', {faces.TRAIN_SPLIT: examples[:6], faces.EVAL_SPLIT: examples[6:]})
    issues = [
        Issue(face.content_hash.hex(), face.source, face.row, 'sad', 'anger', rank / 100)
        for rank, face in enumerate(drawn[10:2:-1])
    ]
    (tmp_path / 'audit').mkdir()
    write_issues(tmp_path / 'audit', [Issue('00' * 16, 'gone.csv', 1, 'sad', 'anger', 0.0), *issues])
    write_summary(tmp_path / 'audit', summary())
    return read_audit(tmp_path / 'audit', tmp_path / 'examples')


def show(view: AuditView) -> str:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(audit.__file__).parent), autoescape=True, undefined=jinja2.StrictUndefined
    )
    return environment.get_template('audit.html').render(
        chapter=SimpleNamespace(audit=view), faces=faces, metrics=metrics
    )


def test_the_worst_faces_come_first(view, drawn):
    assert view.listed == 9
    assert [tile.lines[1] for tile in view.tiles] == [f'quality {rank / 100:.3f}' for rank in range(8)]
    assert [tile.lines[2] for tile in view.tiles] == [f'{HOSTILE}, row {face.row}' for face in drawn[10:2:-1]]
    assert len({tile.picture for tile in view.tiles}) == 8


def test_no_more_faces_than_fit(monkeypatch, view, tmp_path):
    monkeypatch.setattr(audit, 'TILES', 3)
    assert read_audit(tmp_path / 'audit', tmp_path / 'examples').tiles == view.tiles[:3]


def test_the_noise_is_a_share_of_the_label(view):
    noise = {row.label: row for row in view.noise}
    assert noise['sad'].shares == pytest.approx((0.25, 0, 0.75, 0, 0))
    assert noise['sad'].issues == (1234, 0, 0, 0, 0)
    assert sum(noise['anger'].shares) == pytest.approx(1)
    assert noise['disgust'].shares == (0,) * 5


def test_text_from_data_is_escaped(view):
    page = show(view)
    assert '<script' not in page
    assert page.count(html.escape(HOSTILE).replace('&quot;', '&#34;')) == 2 * len(view.tiles)
    assert (
        len(re.findall('<img ', page))
        == len(re.findall('<img src="data:image/png;base64,[^"]+" alt="[^"]+">', page))
        == 8
    )


def test_the_figures_and_what_to_do_are_told(view):
    page = ' '.join(re.sub('<[^>]*>', ' ', show(view)).split())
    for words in (
        'Of 23,456 labels, 1,234 (5.3%) are likely wrong',
        '5 networks',
        '10 epochs',
        '81.2%',
        '0.765',
        'the worst 9',
        'ingest.expression.corrections',
        str(view.table),
    ):
        assert words in page
    assert 'sad 25.0% 1,234 0.0% 0 75.0% 0.0% 0 0.0% 0' in page


def test_an_audit_that_finds_nothing_is_a_page_too(view):
    page = show(dataclasses.replace(view, summary=summary(issues=0), listed=0, tiles=()))
    assert '0 (0.0%)' in page
    assert 'corrections' not in page
