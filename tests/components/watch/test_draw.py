"""What is drawn on frames."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.watch.draw import draw_entries
from components.watch.timeline import Entry
from tests.components.watch.test_timeline import entry

GROUND = 120


def seen(person: int, left: float, top: float, width: float, height: float, expression: int = 3) -> Entry:
    """A person with this box, its points about the box's middle."""
    middle = np.array([left + width / 2, top + height / 2])
    points = (middle + np.linspace(-0.2, 0.2, 15)[:, None] * [width, height]).astype(np.float32)
    plain = entry(0.0, person, person, expression)
    return dataclasses.replace(
        plain,
        face=dataclasses.replace(plain.face, box=(left, top, width, height), keypoints=points),
        smoothed=dataclasses.replace(plain.smoothed, box=(left, top, width, height), keypoints=points),
    )


def drawn(*entries: Entry, size: tuple[int, int] = (1280, 720)) -> np.ndarray:
    """bool `[height, width]`: where something was drawn."""
    image = np.full((size[1], size[0], 3), GROUND, np.uint8)
    draw_entries(image, entries)
    return (image != GROUND).any(axis=-1)


def inside(changed: np.ndarray, left: int, top: int, width: int, height: int) -> float:
    """Which share of a box was drawn on, its border left out."""
    return float(changed[top + 6 : top + height - 6, left + 6 : left + width - 6].mean())


def test_points_are_drawn_where_they_are():
    face = seen(1, 400, 200, 240, 300)
    image = np.full((720, 1280, 3), GROUND, np.uint8)
    draw_entries(image, [face])
    for x, y in face.smoothed.keypoints:
        blue, green, red = image[int(y), int(x)].tolist()
        assert red > 200 > 100 > blue and green > 120


def test_plates_hide_no_face():
    boxes = [(30 + 300 * index, 200, 180, 220) for index in range(4)]
    changed = drawn(*(seen(index + 1, *box) for index, box in enumerate(boxes)))
    assert all(inside(changed, *box) < 0.1 for box in boxes)
    assert changed.mean() > 0.15  # the four plates


@pytest.mark.parametrize('left', [0, 520, 1040])
def test_the_plate_is_beside_the_face_wherever_that_is(left):
    changed = drawn(seen(1, left, 100, 240, 300))
    assert inside(changed, left, 100, 240, 300) < 0.1
    assert changed.mean() > 0.05


def test_in_a_crowd_numbers_and_names_are_enough():
    boxes = [(20 + (index % 8) * 155, 60 + (index // 8) * 330, 140, 180) for index in range(16)]
    changed = drawn(*(seen(index + 1, *box) for index, box in enumerate(boxes)))
    assert all(inside(changed, *box) < 0.35 for box in boxes)


def test_a_face_that_fills_the_frame_is_covered_a_little():
    assert 0.05 < drawn(seen(1, 0, 0, 1280, 720)).mean() < 0.12


NUMBERS = st.floats(-1e4, 1e4)


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(NUMBERS, NUMBERS, st.floats(0, 1e4), st.floats(0, 1e4)), max_size=6),
    st.sampled_from([(1280, 720), (2, 2), (7, 300), (320, 180)]),
)
def test_whatever_the_boxes_are_it_is_drawn(boxes, size):
    drawn(*(seen(index + 1, *box) for index, box in enumerate(boxes)), size=size)
