"""Each change to an image, against what its pixels must be."""

import cv2
import numpy as np
import pytest
import scipy.ndimage
from hypothesis import given, settings
from hypothesis import strategies as st

from components import faces
from components.behaviour import perturbations
from components.behaviour.perturbations import DEGRADATIONS, EQUIVARIANCES, PERTURBATIONS

SIZES = np.array([[48.0, 48.0], [96.0, 80.0]])


def noise(height: int, width: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width)).astype(np.uint8)


seeds = st.integers(0, 1000)
images = st.builds(noise, st.integers(16, 40), st.integers(16, 40), seeds)
points = seeds.map(lambda seed: np.random.default_rng(seed).uniform(-20, 120, (2, 15, 2)))


def decode(encoded: bytes) -> np.ndarray:
    return cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_UNCHANGED)


def noisy(size: int) -> np.ndarray:
    return noise(size, size, 0)


def spot(size: int, x: int, y: int) -> np.ndarray:
    """White around the middle of pixel (x, y) of a black image."""
    image = np.zeros((size, size), np.uint8)
    image[y - 1 : y + 2, x - 1 : x + 2] = 255
    return image


def centroid(image: np.ndarray) -> np.ndarray:
    """Of the brightness; the origin is the top left corner of the first pixel."""
    weights = image.astype(float) / image.sum(dtype=float)
    down, across = np.indices(image.shape) + 0.5
    return np.array([(weights * across).sum(), (weights * down).sum()])


def test_a_mirrored_image_has_its_columns_reversed():
    assert perturbations.mirror(np.array([[1, 2, 3], [4, 5, 6]], np.uint8)).tolist() == [[3, 2, 1], [6, 5, 4]]


@settings(deadline=None)
@given(images)
def test_mirrored_twice_is_as_before(image):
    assert (perturbations.mirror(perturbations.mirror(image)) == image).all()


@settings(deadline=None)
@given(points)
def test_points_mirrored_twice_are_as_before(given_points):
    twice = perturbations.mirror_points(perturbations.mirror_points(given_points, SIZES), SIZES)
    np.testing.assert_allclose(twice, given_points, atol=1e-9)


def test_the_left_eye_of_a_mirrored_face_is_its_right_eye():
    left, right = faces.EYE_CENTERS
    found = np.zeros((1, 15, 2))
    found[0, left], found[0, right] = (70, 30), (20, 34)
    mirrored = perturbations.mirror_points(found, np.array([[96.0, 96.0]]))
    assert mirrored[0, left].tolist() == [76, 34]
    assert mirrored[0, right].tolist() == [26, 30]


@settings(deadline=None)
@given(images, st.integers(-5, 5), st.integers(-5, 5))
def test_a_shift_moves_by_whole_pixels_and_repeats_the_edge(image, right, down):
    matrix = np.float32([[1, 0, right], [0, 1, down]])
    moved = cv2.warpAffine(image, matrix, image.shape[::-1], flags=cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE)
    assert (perturbations.shift(image, right, down) == moved).all()


@pytest.mark.parametrize(('size', 'step'), [(48, 2), (96, 4), (200, 8)])
def test_the_shift_test_moves_by_4_percent_in_four_directions(size, step):
    image = noisy(size)
    found = [decode(variant.apply(image)) for variant in PERTURBATIONS['shift']]
    inner = slice(step, -step)
    expected = [
        image[inner, : -2 * step],  # to the right
        image[inner, 2 * step :],
        image[: -2 * step, inner],  # down
        image[2 * step :, inner],
    ]
    for moved, part in zip(found, expected, strict=True):
        assert (moved[inner, inner] == part).all()


@pytest.mark.parametrize('size', [48, 96])
@pytest.mark.parametrize('test', list(PERTURBATIONS))
def test_points_are_taken_back_to_where_they_lay(test, size):
    image = spot(size, size // 3, size // 2)
    for variant in PERTURBATIONS[test]:
        found = np.tile(centroid(decode(variant.apply(image))), (1, 15, 1))
        back = variant.undo(found, np.array([[size, size]], float))
        # What JPEG adds around the spot moves its centroid a little.
        np.testing.assert_allclose(back[0], np.tile(centroid(image), (15, 1)), atol=0.5 if test == 'jpeg' else 0.05)
        moved = np.abs(found[0, 0] - centroid(image)).max() > 1
        assert moved == (test in EQUIVARIANCES)


def test_brightness_multiplies_and_is_cut_off_at_white():
    image = np.array([[0, 100, 250]], np.uint8)
    assert perturbations.brighten(image, 1.1).tolist() == [[0, 110, 255]]
    assert perturbations.brighten(image, 0.9).tolist() == [[0, 90, 225]]
    darker, brighter = PERTURBATIONS['brightness']
    assert (decode(darker.apply(image)).tolist(), decode(brighter.apply(image)).tolist()) == (
        [[0, 90, 225]],
        [[0, 110, 255]],
    )


def test_jpeg_is_lossy_and_more_so_at_a_lower_quality():
    image = cv2.GaussianBlur(noisy(48), (0, 0), 2)
    (variant,) = PERTURBATIONS['jpeg']
    encoded = variant.apply(image)
    assert encoded.startswith(b'\xff\xd8')
    error, worse = (
        np.abs(decode(data).astype(float) - image).mean() for data in (encoded, perturbations.to_jpeg(image, 10))
    )
    assert 0 < error < worse


@pytest.mark.parametrize(('size', 'pixels'), [(48, 1.0), (96, 2.0)])
def test_a_blur_is_gaussian_and_grows_with_the_image(size, pixels):
    image = noisy(size)
    expected = scipy.ndimage.gaussian_filter(image.astype(float), pixels, mode='nearest')
    assert np.abs(perturbations.blur(image, 1.0) - expected).max() < 2


def test_noise_has_its_standard_deviation_and_the_same_grain_at_any_strength():
    grey = np.full((200, 200), 128, np.uint8)
    weak, strong = (
        perturbations.add_noise(grey, deviation, np.random.default_rng(1)).astype(float) - 128 for deviation in (10, 20)
    )
    assert weak.std() == pytest.approx(10, rel=0.02)
    assert np.abs(strong - 2 * weak).max() <= 1.5  # rounding


def test_a_quarter_turn_is_clockwise():
    image = noisy(31)
    assert (perturbations.rotate(image, 90) == np.rot90(image, -1)).all()


@settings(deadline=None)
@given(st.floats(-60, 60))
def test_points_turn_with_the_image_and_back(degrees):
    image = spot(97, 60, 40)
    sizes = np.array([[97.0, 97.0]])
    before = np.tile(centroid(image), (1, 15, 1))
    turned = perturbations.rotate_points(before, sizes, degrees)
    np.testing.assert_allclose(centroid(perturbations.rotate(image, degrees)), turned[0, 0], atol=0.1)
    np.testing.assert_allclose(perturbations.rotate_points(turned, sizes, -degrees), before, atol=1e-9)


@settings(deadline=None)
@given(st.integers(0, 1000), st.floats(0, 1), st.integers(16, 60), st.integers(16, 60))
def test_a_square_of_grey_covers_its_share_within_the_image(seed, side, height, width):
    image = np.zeros((height, width), np.uint8)
    covered = perturbations.occlude(image, side, np.random.default_rng(seed)) == 128
    pixels = round(side * width)
    assert covered.sum() == pixels * min(pixels, height)
    assert image.max() == 0, 'the image itself stays as it is'


@pytest.mark.parametrize('degradation', DEGRADATIONS, ids=lambda degradation: degradation.name)
def test_a_degradation_grows_with_its_strength_from_nothing(degradation):
    image = cv2.GaussianBlur(noisy(48), (0, 0), 1.5)
    worse = [
        np.abs(degradation.apply(image, strength, np.random.default_rng(3)).astype(float) - image).mean()
        for strength in degradation.strengths
    ]
    assert worse[0] == 0
    assert worse == sorted(worse) and len(set(worse)) == len(worse) >= 5
