"""Squares about faces, their pixels, and points mapped back."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from components.inference.crops import Square, crop, square, to_photograph
from components.inference.detect import Detection, FaceDetector
from data.draw import draw_face

IMAGE = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
SQUARES = st.builds(Square, st.integers(-90, 90), st.integers(-90, 90), st.integers(1, 80))
POINTS = arrays.arrays(np.float32, st.tuples(st.integers(0, 20), st.just(2)), elements=st.floats(-5e3, 5e3, width=32))


@given(side=st.integers(1, 40), data=st.data())
def test_inside_the_image_a_crop_is_a_slice(side, data):
    left, top = data.draw(st.integers(0, 60 - side)), data.draw(st.integers(0, 40 - side))
    np.testing.assert_array_equal(
        crop(IMAGE, Square(left, top, side)), IMAGE[top : top + side, left : left + side], strict=True
    )


@given(SQUARES)
def test_outside_the_image_a_crop_repeats_its_edge(where):
    padded = np.pad(IMAGE, ((200, 200), (200, 200), (0, 0)), mode='edge')
    top, left = where.top + 200, where.left + 200
    expected = padded[top : top + where.side, left : left + where.side]
    np.testing.assert_array_equal(crop(IMAGE, where), expected, strict=True)


@pytest.mark.parametrize('where', [Square(0, 0, 40), Square(-5, -5, 20)])
def test_a_crop_is_a_copy(where):
    image = IMAGE.copy()
    crop(image, where)[:] = 0
    np.testing.assert_array_equal(image, IMAGE)


@given(points=POINTS, where=SQUARES)
def test_points_go_into_the_crop_and_back(points, where):
    inside = (points.astype(np.float64) - [where.left, where.top]).astype(np.float32)
    back = to_photograph(inside, where)
    assert back.shape == points.shape and back.dtype == np.float32
    np.testing.assert_allclose(back, points, atol=2e-3)


@given(where=SQUARES, data=st.data())
def test_a_point_of_the_crop_lies_on_the_same_pixel_of_the_photograph(where, data):
    x, y = (data.draw(st.integers(0, where.side - 1)) for _ in range(2))
    ((across, down),) = to_photograph(np.array([[x, y]], np.float32), where).astype(int)
    if 0 <= across < 60 and 0 <= down < 40:
        np.testing.assert_array_equal(crop(IMAGE, where)[y, x], IMAGE[down, across])


LENGTHS = st.floats(0.01, 5e3)
PLACES = st.floats(-5e3, 5e3)


@given(PLACES, PLACES, LENGTHS, LENGTHS)
def test_the_square_holds_the_box_and_has_its_centre(left, top, width, height):
    found = square(Detection(left, top, width, height, 1.0))
    assert found.side >= 1
    assert abs(found.side - 1.05 * max(width, height)) <= max(1.0, 0.5)
    assert abs(found.left + found.side / 2 - (left + width / 2)) <= 0.5001
    assert abs(found.top + found.side / 2 - (top + height / 2)) <= 0.5001


@settings(deadline=None, max_examples=12)
@given(st.integers(0, 200), st.integers(0, 100), st.integers(150, 300))
def test_the_square_of_a_drawn_face_is_nearly_its_image(left, top, side):
    photograph = np.full((400, 500, 3), 150, np.uint8)
    photograph[top : top + side, left : left + side] = cv2.resize(draw_face(1, 0).image, (side, side))[:, :, None]
    found = square(FaceDetector().find(photograph)[0])
    assert 0.75 < found.side / side < 1.15
    assert abs(found.left + found.side / 2 - left - side / 2) < 0.12 * side
    assert abs(found.top + found.side / 2 - top - side / 2) < 0.12 * side
