"""Tables and charts from the results as they lie in their files."""

import dataclasses
import json

import pytest
from markdown_it import MarkdownIt
from PIL import Image

from tests.benchmarks import contest, results
from tests.benchmarks.contest import Result
from tests.benchmarks.tables import table

MACHINE = results.Machine('Some Processor', 2, '2.16.2')


def result(task: str, rival: str, **changes) -> Result:
    figures = {'accuracy': 0.5, 'macro_f1': 0.4} if task == 'expression' else {'rmse': 9.0}
    better = {'accuracy': 0.6125, 'macro_f1': 0.45} if task == 'expression' else {'rmse': 2.345}
    plain = Result(
        task=task,
        rival=rival,
        source='built-in faces',
        training_rows=19377,
        evaluation_rows=2482,
        allowed=75.0,
        seconds=74.0,
        images_per_second=182.4,
        epochs=1.44,
        schedule=1.0,
        curve=[{'seconds': 30.0, **figures}, {'seconds': 74.0, **better}],
        parameters=1_174_021,
        megabytes=6.25,
        latency=3.14,
        others=0.01,
    )
    return dataclasses.replace(plain, **changes)


@pytest.fixture
def folder(tmp_path):
    for task in ('keypoints', 'expression'):
        for rival in contest.RIVALS:
            contest.write(result(task, rival), tmp_path)
    return tmp_path


def cells(text: str) -> list[list[str]]:
    """Rows of all tables as a Markdown renderer reads them."""
    rows: list[list[str]] = []
    for token in MarkdownIt('commonmark').enable('table').parse(text):
        if token.type == 'tr_open':
            rows.append([])
        elif token.type == 'inline' and rows and token.level > 3:
            rows[-1].append(token.content)
    return rows


def test_table_says_what_the_files_hold(folder):
    text = results.write(results.read(folder), MACHINE, folder)
    assert (folder / 'table.md').read_text() == text + '\n'
    rows = cells(text)
    assert [row[0] for row in rows] == ['', "the original's", 'ours', '', "the original's", 'ours']
    assert rows[1] == ["the original's", '0.613', '0.450', '182', '1.4', '1.17 M', '6.2 MB', '3.1 ms']
    assert rows[5] == ['ours', '2.35 px', '182', '1.4', '1.17 M', '6.2 MB', '3.1 ms']
    assert 'Expressions, 75 s of training each, on built-in faces: 19,377 rows' in text
    assert '2 cores of Some Processor' in text and 'other processes' not in text.lower()
    assert len(json.loads((folder / 'results.json').read_text())['results']) == 4


def test_charts_are_pictures_that_show_every_figure(folder):
    results.write(results.read(folder), MACHINE, folder)
    with Image.open(folder / 'chart.png') as picture:
        assert min(picture.size) > 300
    assert '<svg' in (folder / 'chart.svg').read_text()
    panels = results.chart(results.read(folder)).axes
    assert [axes.get_title() for axes in panels] == [
        'Expressions: accuracy',
        'Expressions: macro F1',
        'Keypoints: RMSE, px of 96',
    ]
    for axes in panels:
        assert {line.get_label(): list(line.get_xdata()) for line in axes.lines} == {
            "the original's": [30, 74],
            'ours': [30, 74],
        }
    assert list(panels[2].lines[0].get_ydata()) == [9.0, 2.345]


def test_after_the_first_network_there_is_a_table_already(tmp_path):
    contest.write(result('expression', 'original'), tmp_path)
    text = results.write(results.read(tmp_path), MACHINE, tmp_path)
    assert [row[0] for row in cells(text)] == ['', "the original's"]
    assert (tmp_path / 'chart.png').exists()


def test_a_busy_machine_and_an_unfinished_schedule_are_told():
    text = results.markdown([result('keypoints', 'ours', others=0.32, schedule=0.9)], MACHINE)
    assert 'took part of the processor: keypoints, ours (32%)' in text
    assert '1.4 (90% of its schedule)' in text


def test_long_trainings_are_shown_in_minutes():
    long = result('expression', 'ours', allowed=2280.0, curve=[{'seconds': 2280.0, 'accuracy': 0.8, 'macro_f1': 0.7}])
    assert '38 minutes of training each' in results.markdown([long], MACHINE)
    (line,) = results.chart([long]).axes[0].lines
    assert list(line.get_xdata()) == [38.0]


def test_columns_line_up():
    lines = table(['', 'much'], [['a', '1'], ['longer', '12345']]).splitlines()
    assert len({len(line) for line in lines}) == 1
    assert lines[1] == '| ------ | ----: |'
