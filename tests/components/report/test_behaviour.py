"""The tests of behaviour on the page: the right figures and marks, charts inside their box, nothing hostile."""

import base64
import dataclasses
import math
import re
from pathlib import Path

import cv2
import jinja2
import numpy as np
import pytest

from components.behaviour.results import Behaviour, Curve, Outcome, write_behaviour
from components.report import behaviour, charts

HOSTILE = '<script>alert("x")</script>'
PICTURE = base64.b64encode(cv2.imencode('.png', np.zeros((8, 8), np.uint8))[1].tobytes()).decode()
EXPRESSION = Behaviour(
    'expression',
    300,
    (
        Outcome('mirror', 'invariance', 'share', 0.99, 0.98, True, 300, 0.0123),
        Outcome('shift', 'invariance', 'share', 0.8, 0.85, False, 300, 0.1),
        Outcome('drawn', 'minimum function', 'share', 0.5, None, True, 30),
    ),
    (
        Curve(
            'blur', 'px of 48', (0.0, 1.0, 3.0), {'accuracy': (0.9, 0.75, 0.25), 'macro_f1': (0.8, 0.7, 0.2)}, PICTURE
        ),
        Curve('noise', 'grey levels', (0.0, 60.0), {'accuracy': (0.9, 0.5), 'macro_f1': (0.8, 0.4)}, PICTURE),
    ),
)
KEYPOINTS = Behaviour(
    'keypoints',
    7,
    (Outcome('mirror', 'equivariance', 'rmse', None, 0.5, False, 7),),
    (Curve('blur', 'px of 48', (0.0, 2.0, 4.0), {'rmse': (1.5, 6.0, None)}, PICTURE),),
)


def part(folder: Path, found: Behaviour) -> behaviour.BehaviourPart:
    write_behaviour(folder, found)
    return behaviour.read_part(folder)


def page(found: behaviour.BehaviourPart) -> str:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(behaviour.__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    text = "{% from 'behaviour.html' import behaviour %}{{ behaviour(part, 'Expression', charts) }}"
    return environment.from_string(text).render(part=found, charts=charts)


def cells(html: str) -> list[list[str]]:
    """The text of each cell of each row."""
    rows = re.findall(r'<tr>(.*?)</tr>', html, re.DOTALL)
    return [
        [' '.join(re.sub(r'<[^>]+>', ' ', cell).split()) for cell in re.findall(r'<t[hd].*?</t[hd]>', row, re.DOTALL)]
        for row in rows
    ]


def test_each_test_has_its_figure_its_limit_and_its_mark(tmp_path):
    heads, *rows = cells(page(part(tmp_path, EXPRESSION)))
    assert heads[-2:] == ['Mean change of the probabilities', 'Verdict']
    assert rows == [
        ['mirrored faces', '300', 'invariance', '99.0%', 'at least 98.0%', '0.012', 'passed'],
        [
            'faces shifted by 4% of their width, to all four sides',
            '300',
            'invariance',
            '80.0%',
            'at least 85.0%',
            '0.100',
            'missed',
        ],
        ['drawn faces with extreme expressions', '30', 'minimum function', '50.0%', 'measured alone', '', 'no gate'],
    ]


def test_errors_are_in_pixels_and_what_is_no_number_is_a_dash(tmp_path):
    heads, row = cells(page(part(tmp_path, KEYPOINTS)))
    assert 'RMSE, px of 96' in heads and len(heads) == len(row)
    assert row == ['mirrored faces', '7', 'equivariance', '–', 'at most 0.50 px', 'missed']


def test_a_curve_falls_from_left_to_right_inside_its_chart(tmp_path):
    first, second = part(tmp_path, EXPRESSION).charts
    for chart in (first, second):
        for line in chart.lines:
            for x, y in line.points:
                assert charts.LEFT <= x <= charts.WIDTH - charts.RIGHT
                assert charts.TOP <= y <= charts.HEIGHT - charts.BOTTOM
    accuracy, macro_f1 = first.lines
    assert (accuracy.name, accuracy.first, accuracy.last) == ('Accuracy', '90.0%', '25.0%')
    assert (macro_f1.name, macro_f1.first, macro_f1.last) == ('Macro F1', '0.800', '0.200')
    across, heights = zip(*accuracy.points, strict=True)
    assert list(heights) == sorted(heights), 'smaller values lie lower'
    # One third of the way from a blur of 0 to one of 3.
    assert across[1] == pytest.approx(across[0] + (across[2] - across[0]) / 3, abs=0.1)
    assert [text for _, text in first.x_ticks] == ['0', '1', '3']
    assert first.y_ticks == second.y_ticks, 'charts of one model can be compared'
    assert first.alt == (
        'Blur from 0 to 3 px of 48: Accuracy goes from 90.0% to 25.0%; Macro F1 goes from 0.800 to 0.200.'
    )


def test_a_strength_without_an_answer_has_no_point(tmp_path):
    (chart,) = part(tmp_path, KEYPOINTS).charts
    (line,) = chart.lines
    assert (len(line.points), line.first, line.last) == (2, '1.50 px', '–')
    assert float(chart.y_ticks[-1][1]) >= 6


def test_a_model_without_any_number_has_a_page_too(tmp_path):
    curve = dataclasses.replace(KEYPOINTS.curves[0], figures={'rmse': (None, None, None)})
    (chart,) = part(tmp_path, dataclasses.replace(KEYPOINTS, curves=(curve,))).charts
    assert chart.lines[0].points == ()
    assert all(math.isfinite(place) for place, _ in (*chart.x_ticks, *chart.y_ticks))


def test_pictures_and_charts_say_what_they_show(tmp_path):
    html = page(part(tmp_path, EXPRESSION))
    assert html.count('role="img"') == 2 and html.count('<img ') == 2
    assert html.count('alt="A face at 3 px of 48 of blur"') == 1
    assert html.count(f'src="data:image/png;base64,{PICTURE}"') == 2
    assert '<script' not in html and 'http' not in html


def test_hostile_names_are_shown_and_not_obeyed(tmp_path):
    outcome = dataclasses.replace(EXPRESSION.outcomes[0], test=HOSTILE)
    curve = dataclasses.replace(EXPRESSION.curves[0], degradation=HOSTILE, unit=HOSTILE, figures={HOSTILE: (1.0,) * 3})
    curve = dataclasses.replace(curve, picture='"><script>alert(1)</script>')
    html = page(part(tmp_path, dataclasses.replace(EXPRESSION, outcomes=(outcome,), curves=(curve,))))
    assert '<script' not in html
    assert '&lt;script&gt;' in html
