"""What the page says of intervals: those of the evaluation, and what the comparison with the served model found."""

import re

import pytest

from components import faces
from components.evaluate.results import read_differences, read_intervals, read_verdicts
from components.report.chapters import read_chapter
from components.report.metrics import HEADLINES, show
from components.report.render import render


@pytest.fixture(scope='module')
def cards(record) -> list[str]:
    """The text of each headline figure's card."""
    (listed,) = re.findall('<ul class="kpis">(.*?)</ul>', render(record), re.DOTALL)
    return [' '.join(re.sub('<[^>]*>', ' ', card).split()) for card in listed.split('<li>')[1:]]


def test_every_headline_figure_has_its_interval(record, cards):
    expected = []
    for branch in record.branches:
        overall = read_intervals(branch.evaluation)['overall']
        expected += [
            f'95%: {show(name, overall[name].low)} to {show(name, overall[name].high)}'
            for name in HEADLINES[branch.task]
        ]
    assert len(cards) == len(expected) == 4
    for card, interval in zip(cards, expected, strict=True):
        assert interval in card


def test_the_comparison_says_what_was_found_and_how_surely(record, cards):
    expression, keypoints = record.branches
    for branch, card, unit in ((expression, cards[0], ' points'), (keypoints, cards[2], ' px')):
        (verdict,) = (found for found in read_verdicts(branch.evaluation, branch.settings) if found.kind == 'change')
        found = read_differences(branch.evaluation)[verdict.metric]
        assert f'served now {show(verdict.metric, verdict.baseline)}: {verdict.finding}, ' in card
        shown = re.search(rf'([-+]?[0-9.]+){unit} \(95%: ([-+]?[0-9.]+){unit} to ([-+]?[0-9.]+){unit}\)', card)
        scale = 100 if verdict.metric == 'accuracy' else 1
        expected = [scale * value for value in (found.difference, found.low, found.high)]
        assert [float(number) for number in shown.groups()] == pytest.approx(expected, abs=0.051)
        assert all(('+' in number) == (value > 0) for number, value in zip(shown.groups(), expected, strict=True))


def test_slices_have_intervals_that_hold_their_figures(record):
    chapter = read_chapter(next(branch for branch in record.branches if branch.task == faces.EXPRESSION_MODEL))
    assert chapter.intervals == chapter.slice_intervals['overall']
    assert any(where.startswith('brightness=') for where in chapter.slice_intervals)
    for where, of_slice in chapter.slice_intervals.items():
        assert of_slice['accuracy'].low <= chapter.figures[where]['accuracy'] <= of_slice['accuracy'].high


def test_every_table_shows_the_intervals_of_its_figures(record):
    text = ' '.join(re.sub('<[^>]*>', ' ', render(record)).split())
    for branch in record.branches:
        intervals = read_intervals(branch.evaluation)
        kind = 'f1_' if branch.task == faces.EXPRESSION_MODEL else 'rmse_'
        listed = [(name, found) for name, found in intervals['overall'].items() if name.startswith(kind)]
        of_slices = [
            of_slice[HEADLINES[branch.task][0]] for where, of_slice in intervals.items() if 'brightness=' in where
        ]
        assert len(listed) >= 5
        assert of_slices
        for name, found in [*listed, *((HEADLINES[branch.task][0], found) for found in of_slices)]:
            assert f'{show(name, found.low)} to {show(name, found.high)}' in text


def test_the_page_says_which_behaviour_was_missed(record):
    (sentence,) = re.findall('Gates that the expression model missed: (.*?)</p>', render(record))
    assert '97.0% of mirrored faces' in sentence
