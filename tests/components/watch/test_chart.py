"""The chart, as a browser reads it: XML, with what is drawn where."""

import re
from xml.etree import ElementTree

import numpy as np
import pytest

from components import faces
from components.watch.chart import MOST_PEOPLE, draw_chart
from components.watch.timeline import summarise
from tests.components.watch.test_timeline import entry

SVG = '{http://www.w3.org/2000/svg}'


def chart(entries, title: str = 'clip.mp4', rate: float = 10.0) -> ElementTree.Element:
    return ElementTree.fromstring(draw_chart(title, summarise(entries, 1, rate), entries, 1 / rate))


def texts(svg: ElementTree.Element) -> list[str]:
    return [element.text for element in svg.iter(f'{SVG}text')]


def polygons(svg: ElementTree.Element) -> list[np.ndarray]:
    return [
        np.array([pair.split(',') for pair in element.get('points').split()], float)
        for element in svg.iter(f'{SVG}polygon')
    ]


def test_there_is_a_panel_for_each_person_in_the_order_of_the_expressions():
    svg = chart([entry(index / 10, index, person) for index in range(30) for person in (1, 2)])
    said = texts(svg)
    assert [text for text in said if text.startswith('Person')] == ['Person 1', 'Person 2']
    assert [text for text in said if text in faces.EXPRESSIONS][:5] == list(faces.EXPRESSIONS)
    assert len(polygons(svg)) == 2 * 5
    assert 'seen 3.0 s: happiness 100%; 0 changes' in said


def test_areas_lie_on_one_another_and_fill_the_panel():
    svg = chart([entry(index / 10, index) for index in range(30)])
    areas = polygons(svg)
    assert len(areas) == 5
    heights = [area[:, 1].max() - area[:, 1].min() for area in areas]
    np.testing.assert_allclose(heights, np.array([0.1, 0.1, 0.1, 0.6, 0.1]) * 120, atol=0.11)
    for lower, upper in zip(areas[:-1], areas[1:], strict=True):
        assert lower[:, 1].min() == upper[:, 1].max()


def test_where_nobody_was_seen_nothing_is_drawn():
    svg = chart([entry(seconds, round(10 * seconds)) for seconds in (0.0, 0.1, 0.2, 8.0, 8.1)])
    areas = polygons(svg)
    assert len(areas) == 2 * 5
    assert areas[0][:, 0].max() < 120 < 900 < areas[5][:, 0].min()


def test_an_hour_of_film_makes_no_larger_chart_than_a_minute():
    sizes = [
        len(draw_chart('a', summarise(entries, 1, 25.0), entries, 1 / 25))
        for entries in ([entry(index / 25, index) for index in range(count)] for count in (1500, 15_000))
    ]
    assert sizes[1] < 1.2 * sizes[0]


@pytest.mark.parametrize(('seconds', 'label'), [(0.4, '0.2 s'), (8.0, '2 s'), (100.0, '1:00'), (4000.0, '1:00:00')])
def test_the_time_is_marked_in_round_figures(seconds, label):
    said = texts(chart([entry(0.0, 0), entry(seconds, 1)]))
    assert label in said
    assert len([text for text in said if re.fullmatch(r'[\d.:]+( s)?', text)]) <= 11


def test_nobody_is_an_ordinary_chart():
    assert 'No face was found.' in texts(chart([]))


def test_one_frame_is_seen():
    (area, *_) = polygons(chart([entry(5.0, 0)]))
    assert area[:, 0].max() - area[:, 0].min() > 100


def test_of_a_crowd_those_are_shown_who_were_seen_longest():
    entries = [
        entry(index / 10, index, person) for index in range(40) for person in range(1, 31) if index < 10 + person
    ]
    said = texts(chart(entries))
    shown = [int(text.split()[1]) for text in said if text.startswith('Person')]
    assert shown == list(range(31 - MOST_PEOPLE, 31))
    assert any('30 people; the 20 who were seen longest are shown' in text for text in said)


def test_a_films_name_is_text_and_nothing_else():
    name = '<script>alert(1)</script>&"\'\x00\x1b[31m\u202e.mp4'
    svg = chart([entry(0.0, 0)], name)
    assert not list(svg.iter(f'{SVG}script'))
    assert '<script>alert(1)</script>&"\'' in texts(svg)[0]
    assert '\x1b' not in texts(svg)[0]


def test_the_chart_needs_nothing_from_elsewhere():
    drawn = draw_chart('a', [], [], 0.1)
    assert re.findall(r'https?://[^"]+', drawn) == ['http://www.w3.org/2000/svg']
    assert 'url(' not in drawn
