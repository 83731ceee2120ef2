"""Model cards: what they say is what the artifacts say, and text from data stays text."""

import dataclasses
import json
import re
import shutil
from pathlib import Path

import pytest

from components import faces
from components.evaluate.results import read_figures, read_intervals
from components.ingest.rejects import read_summary
from components.push.card import NO_CARD, Evidence, joint_card, network_card, read_card
from components.push.versions import Provenance
from components.report import metrics
from tests.components import viewer
from tests.components.run_artifacts import HOSTILE

ORIGIN = Provenance(
    faces.EXPRESSION_MODEL, 'candidate', 'uri', '20260501-101112', 'abc123', 'data', '2026-05-01T10:12:00+00:00'
)


def evidence(folder: Path) -> Evidence:
    return Evidence(**{field.name: folder / field.name for field in dataclasses.fields(Evidence)})


@pytest.fixture(scope='module')
def cards(folders) -> dict[str, str]:
    return {
        task: network_card(dataclasses.replace(ORIGIN, model=task), evidence(folders[task])) for task in faces.TASKS
    }


def rows(card: str) -> dict[str, list[str]]:
    """The cells of each table row, as a person sees them, by its first one; the first table wins."""
    html = viewer.render_markdown(card)
    found = [re.findall(r'<td>(.*?)</td>', row) for row in re.findall(r'<tr>(.*?)</tr>', html, re.DOTALL)]
    return {cells[0]: cells[1:] for cells in reversed(found) if cells}


@pytest.mark.parametrize('task', faces.TASKS)
def test_every_figure_is_there_with_its_interval(task, cards, folders):
    shown = rows(cards[task])
    evaluation = folders[task] / 'evaluation'
    intervals = read_intervals(evaluation)['overall']
    figures = [figure for figure in read_figures(evaluation) if figure.slice == 'overall']
    assert len(figures) > 15
    for figure in figures:
        value, between, *_ = shown[metrics.label(figure.metric)]
        assert value == metrics.show(figure.metric, figure.value, 1)
        if figure.metric in intervals:
            interval = intervals[figure.metric]
            low, high = (metrics.show(figure.metric, bound, 1) for bound in (interval.low, interval.high))
            assert between == f'{low} to {high}'


def test_it_says_what_was_found_of_data_slices_calibration_and_behaviour(cards):
    expression, keypoints = cards[faces.EXPRESSION_MODEL], cards[faces.KEYPOINT_MODEL]
    assert 'temperature of 1.300, fitted on 200 faces' in expression
    assert 'Calibration\n' not in keypoints
    assert rows(expression)['mirrored faces'] == ['invariance', '97.0%', 'at least 98.0%', 'missed']
    assert rows(keypoints)['mirrored faces'][-1] == 'passed'
    assert any(name.startswith('brightness=') for name in rows(expression))
    assert not any(name.startswith('expression=') for name in rows(expression))
    assert '175 rows' in expression
    assert 'Against the model that was served before' in expression
    assert 'Protocol: clean' in expression


def test_it_says_who_made_it_and_what_is_not_allowed(cards):
    for card in cards.values():
        assert '20260501-101112' in card
        assert 'abc123' in card
        assert 'Article 5(1)(f)' in card


def test_text_from_data_is_neither_markup_nor_link(cards):
    html = viewer.render_markdown(cards[faces.EXPRESSION_MODEL])
    assert '<script' not in html
    assert HOSTILE.replace('<', '&lt;').replace('>', '&gt;').replace('"', '&quot;') in html


def test_leaks_of_the_original_protocol_are_told(folders, tmp_path):
    found = evidence(folders[faces.EXPRESSION_MODEL])
    summary = dataclasses.replace(read_summary(found.rejects), protocol='original', leaks=9)
    (tmp_path / 'summary.json').write_text(json.dumps(dataclasses.asdict(summary)))
    card = network_card(ORIGIN, dataclasses.replace(found, rejects=tmp_path))
    assert '9 eval faces have their twin' in card


def test_a_version_from_before_the_cards_has_none(tmp_path, cards):
    assert read_card(tmp_path) == NO_CARD
    assert NO_CARD in joint_card(ORIGIN, [cards[faces.KEYPOINT_MODEL], read_card(tmp_path)])


def test_a_card_of_few_faces_has_no_intervals(folders, tmp_path):
    found = evidence(folders[faces.EXPRESSION_MODEL])
    shutil.copytree(found.evaluation, tmp_path / 'evaluation')
    (tmp_path / 'evaluation' / 'intervals.json').write_text(json.dumps({'figures': {}, 'differences': {}}))
    card = network_card(ORIGIN, dataclasses.replace(found, evaluation=tmp_path / 'evaluation'))
    assert rows(card)['Accuracy'][1] == ''
