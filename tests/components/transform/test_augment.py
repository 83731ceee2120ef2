"""Augmentation: images and points must go the same way, whatever is drawn."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from components import faces
from components.settings import AugmentSettings
from components.transform.augment import (
    augment,
    blend,
    change_light,
    cut_and_mix,
    flip,
    mix,
    move,
    occlude,
    random_matrices,
    warp,
)

NOTHING = AugmentSettings(False, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
GEOMETRY = dataclasses.replace(AugmentSettings(), brightness=0.0, contrast=0.0, occlusion=0.0)
POINTS = len(faces.KEYPOINTS)
FLIP_ORDER = list(faces.FLIP_ORDER)

seeds = st.tuples(*[st.integers(-(2**31), 2**31 - 1)] * 2)
# So far inside that no change of the default size takes a blob over the edge.
inner_points = st.lists(st.tuples(st.floats(0.35, 0.65), st.floats(0.35, 0.65)), min_size=POINTS, max_size=POINTS).map(
    lambda points: np.array(points, np.float32)
)
few = settings(max_examples=25, deadline=None)


def blobs(points: np.ndarray, height: int, width: int) -> np.ndarray:
    """An image for each point `[n, 2]`, with a bright spot there: float32 `[n, height, width, 1]`."""
    x, y = np.arange(width) + 0.5, np.arange(height) + 0.5
    across = np.exp(-((x - points[:, :1] * width) ** 2) / 8)
    down = np.exp(-((y - points[:, 1:] * height) ** 2) / 8)
    return (down[:, :, None] * across[:, None, :]).astype(np.float32)[..., None]


def centroids(images: np.ndarray) -> np.ndarray:
    """Where the spots are, in pixels: `[n, 2]`."""
    weights = images[..., 0] / images.sum(axis=(1, 2, 3))[:, None, None]
    x, y = np.arange(images.shape[2]) + 0.5, np.arange(images.shape[1]) + 0.5
    return np.stack([(weights.sum(axis=1) * x).sum(axis=1), (weights.sum(axis=2) * y).sum(axis=1)], axis=1)


def batch(seed: int, count: int = 6, height: int = 48, width: int = 48) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    images = random.normal(size=(count, height, width, 1)).astype(np.float32)
    return images, random.uniform(0, 1, (count, POINTS, 2)).astype(np.float32)


@few
@given(
    points=inner_points,
    seed=seeds,
    rotation=st.floats(0, 20),
    scale=st.floats(0, 0.2),
    shift=st.floats(0, 0.1),
    size=st.sampled_from([(96, 96), (48, 48), (64, 96)]),
)
def test_a_spot_goes_where_its_point_goes(points, seed, rotation, scale, shift, size):
    matrices = random_matrices(POINTS, list(seed), AugmentSettings(rotation=rotation, scale=scale, shift=shift))
    found = centroids(warp(blobs(points, *size), matrices).numpy())
    expected = move(points[:, None], matrices).numpy()[:, 0] * size[::-1]
    np.testing.assert_allclose(found, expected, atol=0.1)


@few
@given(points=inner_points, seed=seeds)
def test_whole_augmentation_keeps_spots_and_points_together(points, seed):
    """Image k shows point k alone; where it was mirrored, that point has the mirrored name."""
    images, moved = augment(blobs(points, 96, 96), np.tile(points, (POINTS, 1, 1)), list(seed), GEOMETRY)
    found, moved = centroids(images.numpy()), moved.numpy() * 96
    index = np.arange(POINTS)
    distances = [np.linalg.norm(moved[index, names] - found, axis=1) for names in (index, FLIP_ORDER)]
    assert np.minimum(*distances).max() < 0.1


def test_every_geometric_change_happens_and_only_where_asked(run):
    images, points = batch(1, count=64)

    def moved_by(**changes) -> np.ndarray:
        only = dataclasses.replace(NOTHING, **changes)
        return run(lambda *arguments: augment(*arguments, only), images, points, np.int32([3, 4]))[1].numpy() - points

    sizes = np.linalg.norm(points - 0.5, axis=2)
    turned = np.linalg.norm(points - 0.5 + moved_by(rotation=20.0), axis=2)
    np.testing.assert_allclose(turned, sizes, atol=1e-5)
    angles = np.degrees(2 * np.arcsin(np.linalg.norm(moved_by(rotation=20.0), axis=2) / sizes / 2))
    assert 15 < angles.max() <= 20.01

    factors = np.linalg.norm(points - 0.5 + moved_by(scale=0.2), axis=2) / sizes
    assert 0.799 <= factors.min() < 0.85
    assert 1.15 < factors.max() <= 1.201

    shifts = moved_by(shift=0.1)
    np.testing.assert_allclose(shifts, np.broadcast_to(shifts[:, :1], shifts.shape), atol=1e-6)
    assert -0.1001 <= shifts.min() < -0.08
    assert 0.08 < shifts.max() <= 0.1001

    mirrored = (moved_by(flip=True) != 0).any(axis=(1, 2))
    assert 16 < mirrored.sum() < 48


def test_zero_settings_change_nothing(run):
    images, points = batch(2)
    changed = run(lambda *arguments: augment(*arguments, NOTHING), images, points, np.int32([5, 6]))
    np.testing.assert_allclose(changed[0], images, atol=1e-4)
    np.testing.assert_allclose(changed[1], points, atol=1e-6)


@pytest.mark.parametrize('size', [(48, 48), (96, 96), (40, 60)])
def test_shapes_and_dtypes_stay(run, size):
    images, points = batch(3, 5, *size)
    changed = run(lambda *arguments: augment(*arguments, AugmentSettings()), images, points, np.int32([1, 2]))
    for before, after in zip((images, points), changed, strict=True):
        assert after.shape == before.shape
        assert after.dtype == tf.float32
        assert np.isfinite(after).all()


def test_the_same_seed_gives_the_same_batch(run):
    images, points = batch(4)

    def changed(*seed: int) -> tuple[np.ndarray, np.ndarray]:
        return run(lambda *arguments: augment(*arguments, AugmentSettings()), images, points, np.int32(seed))

    eagerly = augment(images, points, [1, 2], AugmentSettings())
    for first, second, eager in zip(changed(1, 2), changed(1, 2), eagerly, strict=True):
        np.testing.assert_array_equal(first, second)
        np.testing.assert_allclose(first, eager, atol=1e-5)
    for other in ((1, 3), (2, 2)):
        for first, second in zip(changed(1, 2), changed(*other), strict=True):
            assert (first != second).numpy().any()


@few
@given(
    seed=st.integers(0, 2**31),
    mirrored=st.lists(st.booleans(), min_size=6, max_size=6),
    missing=st.lists(st.integers(0, POINTS - 1), unique=True),
)
def test_flipping_twice_is_the_identity_and_once_swaps_left_and_right(seed, mirrored, missing):
    images, points = batch(seed)
    points[:, missing] = np.nan
    mirrored = np.array(mirrored)
    once = flip(images, points, mirrored)
    twice = flip(*once, mirrored)
    np.testing.assert_array_equal(twice[0], images)
    np.testing.assert_allclose(twice[1], points, atol=1e-6)

    flipped = points[:, FLIP_ORDER] * [-1, 1] + [1, 0]
    np.testing.assert_array_equal(once[0], np.where(mirrored[:, None, None, None], images[:, :, ::-1], images))
    np.testing.assert_allclose(once[1], np.where(mirrored[:, None, None], flipped, points), atol=1e-6)


def test_the_left_eye_of_a_drawn_face_stays_on_the_same_side_of_the_picture(draw_faces):
    (face,) = draw_faces(faces.KEYPOINT_MODEL, 2, 8)[1:]
    points = face.points.reshape(1, POINTS, 2) / faces.KEYPOINT_SIZE
    _, flipped = flip(np.float32(face.image[None, ..., None]), points, np.array([True]))
    for found in (points, flipped.numpy()):
        left, right = (found[0, index] for index in faces.EYE_CENTERS)
        # The person's own left is at the right of the picture, in a mirrored face as in any other.
        assert left[0] > right[0]


@few
@given(seed=seeds, missing=st.sets(st.integers(0, POINTS - 1), max_size=POINTS))
def test_missing_points_stay_missing_under_their_mirrored_name(seed, missing):
    images, points = batch(5)
    points[:, list(missing)] = np.nan
    flipped = flip(images, points, np.ones(6, bool))[1].numpy()
    changed = augment(images, points, list(seed), AugmentSettings())[1].numpy()
    mirrored = {FLIP_ORDER[index] for index in missing}
    assert {index for index in range(POINTS) if np.isnan(flipped[0, index]).all()} == mirrored
    assert np.isnan(flipped).sum() == 6 * 2 * len(missing)
    for one in np.isnan(changed):
        assert set(np.flatnonzero(one.all(axis=1))) in (missing, mirrored)
        assert one.sum() == 2 * len(missing)


@few
@given(seed=seeds, brightness=st.floats(0, 1), contrast=st.floats(0, 0.5))
def test_light_changes_within_its_bounds(seed, brightness, contrast):
    images, _ = batch(6)
    changed = change_light(images, list(seed), AugmentSettings(brightness=brightness, contrast=contrast)).numpy()
    shift = changed.mean(axis=(1, 2, 3)) - images.mean(axis=(1, 2, 3))
    ratio = changed.std(axis=(1, 2, 3)) / images.std(axis=(1, 2, 3))
    assert np.abs(shift).max() <= brightness + 1e-4
    assert np.abs(ratio - 1).max() <= contrast + 1e-4


def test_light_differs_between_the_images_of_a_batch():
    images, _ = batch(6, count=100)
    changed = change_light(images, [1, 2], AugmentSettings(brightness=0.5, contrast=0.4)).numpy()
    assert np.ptp(changed.mean(axis=(1, 2, 3)) - images.mean(axis=(1, 2, 3))) > 0.8
    assert np.ptp(changed.std(axis=(1, 2, 3)) / images.std(axis=(1, 2, 3))) > 0.6


@few
@given(seed=seeds, occlusion=st.floats(0, 0.6), probability=st.floats(0, 1))
def test_the_covered_part_is_bounded_and_one_rectangle(seed, occlusion, probability):
    asked = AugmentSettings(occlusion=occlusion, occlusion_probability=probability)
    covered = np.asarray(occlude(np.ones((20, 40, 40, 1), np.float32), list(seed), asked))[..., 0] == 0
    # Half a pixel at either edge may count as covered.
    assert covered.mean(axis=(1, 2)).max() <= (occlusion + 1 / 40) ** 2
    for one in covered:
        np.testing.assert_array_equal(one, one.any(axis=1)[:, None] & one.any(axis=0)[None, :])


@pytest.mark.parametrize('probability', [0.0, 0.3, 1.0])
def test_the_share_of_covered_images_is_the_one_asked_for(run, probability):
    asked = AugmentSettings(occlusion=0.5, occlusion_probability=probability)
    images = np.ones((2000, 32, 32, 1), np.float32)
    covered = run(lambda *arguments: occlude(*arguments, asked), images, np.int32([1, 2])).numpy()[..., 0] == 0
    # The smallest squares lie between the centres of pixels and cover nothing.
    assert covered.any(axis=(1, 2)).mean() == pytest.approx(probability, abs=0.06)
    if probability:
        sides = covered.any(axis=1).sum(axis=1) / 32
        assert sides.max() > 0.45


@few
@given(seed=seeds, alpha=st.floats(0.01, 2.0), eager=st.booleans())
def test_a_blend_has_the_shares_of_its_target(seed, alpha, eager):
    """Images of one value each, and targets that name them: both must be blended alike."""
    values = np.arange(6, dtype=np.float32)
    images, targets = np.ones((6, 4, 4, 1), np.float32) * values[:, None, None, None], np.eye(6, dtype=np.float32)
    blend = mix if eager else tf.function(mix)
    mixed, shares = (found.numpy() for found in blend(tf.constant(images), tf.constant(targets), list(seed), alpha))
    np.testing.assert_allclose(shares.sum(axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(mixed, np.ones_like(mixed) * (shares @ values)[:, None, None, None], atol=1e-5)
    # The face itself prevails, and its partner is the one from the other end of the batch.
    assert (shares.argmax(axis=1) == np.arange(6)).all() or np.isclose(shares.max(axis=1), 0.5, atol=1e-3).any()
    np.testing.assert_allclose(np.diag(shares) + np.diag(shares[:, ::-1]), 1, atol=1e-6)


def test_blends_follow_their_seed_and_the_larger_parameter_blends_more():
    images, targets = np.zeros((512, 2, 2, 1), np.float32), np.eye(512, dtype=np.float32)
    first, again, other = (mix(images, targets, seed, 0.4)[1] for seed in ([1, 2], [1, 2], [1, 3]))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 0.1
    assert np.diag(mix(images, targets, [1, 2], 2.0)[1]).mean() < np.diag(first).mean() - 0.05


def of_one_value(count: int, size: int = 32) -> tuple[np.ndarray, np.ndarray]:
    """Images whose pixels all tell which one they are of, and targets that name them."""
    images = np.ones((count, size, size, 1), np.float32) * np.arange(count, dtype=np.float32)[:, None, None, None]
    return images, np.eye(count, dtype=np.float32)


@few
@given(seed=seeds, alpha=st.floats(0.1, 4.0), count=st.integers(2, 7))
def test_a_square_of_another_image_counts_by_its_pixels(seed, alpha, count):
    images, targets = of_one_value(count)
    found, shares = (tensor.numpy() for tensor in cut_and_mix(images, targets, list(seed), alpha))
    for index, one in enumerate(found[..., 0]):
        foreign = one == count - 1 - index
        if 2 * index + 1 != count:
            assert (one[~foreign] == index).all()
            assert shares[index, index] == pytest.approx(1 - foreign.mean(), abs=1e-6)
        np.testing.assert_array_equal(foreign, foreign.any(axis=1)[:, None] & foreign.any(axis=0)[None, :])
    np.testing.assert_allclose(shares.sum(axis=1), 1, atol=1e-6)


def test_squares_are_of_all_sizes_and_at_all_places(run):
    images, targets = of_one_value(2000, 16)
    found, shares = run(lambda *arguments: cut_and_mix(*arguments, 1.0), images, targets, np.int32([1, 2]))
    foreign = found.numpy()[..., 0] != images[..., 0]
    assert 0.3 < np.diag(shares).mean() < 0.85
    assert (np.diag(shares) < 0.2).any()
    assert (np.diag(shares) > 0.95).any()
    assert foreign.mean(axis=0).min() > 0.1


def test_both_blends_go_about_half_and_half(run):
    images, targets = of_one_value(2000, 16)
    images = images + 0.25  # a value that no cut makes
    asked = AugmentSettings(mixup=0.5, cutmix=1.0)
    found, shares = run(lambda *arguments: blend(*arguments, asked), images, targets, np.int32([1, 2]))
    values = [np.unique(one) for one in found.numpy()]
    pure = np.array([np.isin(value, images).all() for value in values])
    blended = np.diag(shares) < 0.999
    assert 0.35 < (pure & blended).sum() / blended.sum() < 0.65
    np.testing.assert_allclose(shares.numpy().sum(axis=1), 1, atol=1e-6)
    again = run(lambda *arguments: blend(*arguments, asked), images, targets, np.int32([1, 2]))
    np.testing.assert_array_equal(found, again[0])


@pytest.mark.parametrize(
    ('asked', 'expected'),
    [
        (AugmentSettings(), lambda images, targets, seed: (images, targets)),
        (AugmentSettings(mixup=0.4), lambda *arguments: mix(*arguments, 0.4)),
    ],
)
def test_nothing_is_cut_unless_it_is_asked_for(asked, expected):
    images, targets = of_one_value(8)
    for found, one in zip(blend(images, targets, [1, 2], asked), expected(images, targets, [1, 2]), strict=True):
        np.testing.assert_array_equal(found, one)
