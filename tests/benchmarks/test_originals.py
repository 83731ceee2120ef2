"""The original's networks as issue 3 and `../shared/design.md` describe them."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from components import faces
from data.draw import draw_face
from tests.benchmarks import originals


@pytest.fixture(scope='module')
def networks() -> dict[str, keras.Model]:
    return {task: build() for task, build in originals.NETWORKS.items()}


def test_parameters_are_those_of_the_issue(networks):
    found = {task: network.count_params() / 1e6 for task, network in networks.items()}
    assert found == {'expression': pytest.approx(1.17, abs=0.005), 'keypoints': pytest.approx(18.0, abs=0.05)}


def test_answers_to_a_png_are_those_of_the_network(networks):
    image = draw_face(1, 0).image
    png = tf.io.encode_png(image[:, :, None]).numpy()
    for task, network in networks.items():
        model = originals.OriginalModel(network, task)
        (answer,) = model.serve(tf.constant([png, png])).values()
        assert answer.shape == ((2, 5) if task == faces.EXPRESSION_MODEL else (2, 15, 2))
        # At 96x96 nothing is up-scaled: the pixels themselves, in 0..1.
        expected = network(image[None, :, :, None].astype(np.float32) / 255, training=False).numpy()
        np.testing.assert_allclose(answer.numpy()[0].ravel(), expected.ravel(), rtol=1e-4, atol=1e-4)


def test_smaller_faces_are_up_scaled():
    png = tf.io.encode_png(np.full((48, 48, 1), 51, np.uint8))
    np.testing.assert_allclose(originals.to_pixels(tf.stack([png])), np.full((1, 96, 96, 1), 0.2), atol=1e-5)


def test_copies_are_mirrored_without_swapping_sides_and_brightened():
    random = np.random.default_rng(0)
    pixels = random.random((4, 96, 96, 1), np.float32)
    points = random.uniform(0, 96, (4, 30)).astype(np.float32)
    points[1, 4:6] = np.nan
    images, truths = originals.with_copies(pixels, points, seed=0)
    np.testing.assert_array_equal(images[:4], pixels)
    np.testing.assert_array_equal(images[4:8], np.flip(pixels, axis=2))
    np.testing.assert_array_equal(truths[4:8, 1::2], points[:, 1::2])
    np.testing.assert_allclose(truths[4:8, ::2], 96 - points[:, ::2])
    np.testing.assert_array_equal(truths[8:], points)
    unclipped = images[8:] < 1
    factors = np.ma.masked_array(images[8:] / pixels, ~unclipped)
    assert factors.min() >= 1.5 and factors.max() <= 2
    np.testing.assert_allclose(factors.std(axis=(1, 2, 3)), 0, atol=1e-5)


def test_loss_is_keras_own_where_all_points_are_known():
    random = np.random.default_rng(1)
    truth, prediction = random.uniform(0, 96, (2, 6, 30)).astype(np.float32)
    found = originals.mean_squared_error(truth, prediction).numpy()
    np.testing.assert_allclose(found, keras.losses.mean_squared_error(truth, prediction), rtol=1e-5)


def test_loss_passes_over_missing_points():
    truth = np.full((2, 30), 10.0, np.float32)
    truth[0, 2:] = np.nan
    truth[1, :] = np.nan
    prediction = tf.Variable(np.full((2, 30), 13.0, np.float32))
    with tf.GradientTape() as tape:
        loss = originals.mean_squared_error(tf.constant(truth), prediction)
    np.testing.assert_allclose(loss, [9, 0])
    gradient = tape.gradient(loss, prediction).numpy()
    assert np.count_nonzero(gradient) == 2 and np.isfinite(gradient).all()


def test_expressions_are_turned_shifted_and_mirrored_but_not_turned_over():
    """A picture with a bright left half and a brighter top: mirrored it is often, upside down never."""
    picture = np.zeros((96, 96, 1), np.float32)
    picture[:, :48] = 0.5
    picture[:20] += 0.5
    pixels, labels = np.repeat(picture[None], 64, axis=0), np.zeros(64, np.int64)
    batches = originals.training(pixels, labels, faces.EXPRESSION_MODEL, seed=0)['x']
    images, targets = batches[0]
    assert images.shape == (64, 96, 96, 1) and targets.tolist() == [[1, 0, 0, 0, 0]] * 64
    mirrored = images[:, 40:, 48:].mean(axis=(1, 2, 3)) > images[:, 40:, :48].mean(axis=(1, 2, 3))
    assert 15 < mirrored.sum() < 49
    assert (images[:, :20].mean(axis=(1, 2, 3)) > images[:, -20:].mean(axis=(1, 2, 3))).all()
    assert len({image.tobytes() for image in images}) == 64
