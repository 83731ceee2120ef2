"""The networks: their shapes, and that they are Keras alone."""

import ast
import dataclasses
import inspect

import keras
import numpy as np
import pytest
import tensorflow as tf

from components.settings import TrainSettings
from components.train import network
from components.train.network import (
    adjusted,
    averaged_over_mirror,
    excite,
    expression_network,
    keypoint_network,
    mirror_points,
    residual_block,
)
from components.transform.augment import flip

TINY = TrainSettings(widths=(4, 8), blocks=(1, 2))


def test_the_networks_need_no_tensorflow():
    tree = ast.parse(inspect.getsource(network))
    imported = {name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names}
    imported |= {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name.split('.')[0] for name in imported} == {
        'collections',
        'functools',
        'keras',
        'numpy',
        'components',
        'math',
        'typing',
    }
    assert {name for name in imported if name.startswith('components')} == {'components', 'components.settings'}


@pytest.mark.parametrize(('size', 'stride'), [(48, 1), (48, 2), (96, 2), (50, 2)])
@pytest.mark.parametrize(
    ('build', 'answer'), [(expression_network, (5,)), (keypoint_network, (15, 2))], ids=['expression', 'keypoints']
)
def test_pixels_to_answers(build, answer, size, stride):
    built = build(dataclasses.replace(TINY, image_size=size, stem_stride=stride))
    assert built.input_shape == (None, size, size, 1)
    assert built.output_shape == (None, *answer)
    pixels = np.random.default_rng(1).normal(size=(3, size, size, 1)).astype(np.float32)
    found = keras.ops.convert_to_numpy(built(pixels))
    assert found.dtype == np.float32
    assert np.isfinite(found).all()
    assert np.ptp(found, axis=0).min() > 0


def test_mirrored_points_are_those_of_the_flip_that_training_sees():
    points = np.random.default_rng(2).random((4, 15, 2)).astype(np.float32)
    images = np.zeros((4, 8, 8, 1), np.float32)
    _, flipped = flip(tf.constant(images), tf.constant(points), tf.ones(4, tf.bool))
    np.testing.assert_allclose(mirror_points(points), flipped, atol=1e-6)
    np.testing.assert_allclose(mirror_points(mirror_points(points)), points, atol=1e-6)


@pytest.mark.parametrize(
    ('build', 'mirror'),
    [(expression_network, lambda logits: logits), (keypoint_network, mirror_points)],
    ids=['expression', 'keypoints'],
)
def test_averaged_over_the_mirror_a_network_answers_a_mirror_image_alike(build, mirror):
    network = build(TINY)
    averaged = averaged_over_mirror(network, mirror)
    pixels = np.random.default_rng(3).normal(size=(3, 48, 48, 1)).astype(np.float32)
    plain, other = network(pixels), mirror(network(pixels[:, :, ::-1]))
    assert np.abs(plain - other).max() > 1e-3
    np.testing.assert_allclose(averaged(pixels), (plain + other) / 2, atol=1e-5)
    np.testing.assert_allclose(averaged(pixels[:, :, ::-1]), mirror(averaged(pixels)), atol=1e-5)


def test_answers_stay_float32_in_mixed_precision():
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy('mixed_float16')
    try:
        for build in (expression_network, keypoint_network):
            built = build(TINY)
            assert built(np.zeros((1, 48, 48, 1), np.float32)).dtype == 'float32'
            assert any(layer.compute_dtype == 'float16' for layer in built.layers)
    finally:
        keras.config.set_dtype_policy(before)


def test_stages_widen_and_halve_as_the_settings_say():
    built = expression_network(dataclasses.replace(TINY, widths=(4, 6, 10), blocks=(2, 1, 3)))
    adds = [layer.output.shape[1:] for layer in built.layers if isinstance(layer, keras.layers.Add)]
    assert adds == [(24, 24, 4)] * 2 + [(12, 12, 6)] + [(6, 6, 10)] * 3


def test_widths_without_their_blocks_are_refused():
    with pytest.raises(ValueError, match='widths and blocks'):
        expression_network(dataclasses.replace(TINY, widths=(4, 8, 16)))


def test_the_last_stage_keeps_its_resolution_where_asked():
    built = expression_network(dataclasses.replace(TINY, widths=(4, 6, 10), blocks=(1, 1, 2), last_stride=1))
    adds = [layer.output.shape[1:] for layer in built.layers if isinstance(layer, keras.layers.Add)]
    assert adds == [(24, 24, 4), (12, 12, 6), (12, 12, 10), (12, 12, 10)]


def test_channels_are_weighed_by_what_all_places_show():
    inputs = keras.Input((6, 6, 8))
    network = keras.Model(inputs, excite(inputs, 4))
    images = np.random.default_rng(4).normal(size=(3, 6, 6, 8)).astype(np.float32)
    weights = keras.ops.convert_to_numpy(network(images)) / images
    np.testing.assert_allclose(weights, np.broadcast_to(weights[:, :1, :1], weights.shape), rtol=1e-4)
    assert 0 < weights.min() < weights.max() < 1
    assert np.ptp(weights[:, 0, 0], axis=0).min() > 0, 'the weights depend on the image'
    assert [weight.shape for weight in network.weights] == [(8, 2), (2,), (2, 8), (8,)]


def test_later_blocks_are_skipped_more_often():
    built = expression_network(dataclasses.replace(TINY, blocks=(2, 2), stochastic_depth=0.4))
    rates = [layer.rate for layer in built.layers if isinstance(layer, keras.layers.Dropout) and layer.noise_shape]
    np.testing.assert_allclose(rates, [0.1, 0.2, 0.3, 0.4])


def test_no_block_is_skipped_in_answering():
    inputs = keras.Input((6, 6, 8))
    plain, deep = (keras.Model(inputs, residual_block(inputs, 8, 1, skipped=skipped)) for skipped in (0.0, 0.5))
    learnt = [weight for weight in deep.weights if weight.name != 'seed_generator_state']
    for weight, value in zip(learnt, plain.get_weights(), strict=True):
        weight.assign(value)
    images = np.random.default_rng(5).normal(size=(4, 6, 6, 8)).astype(np.float32)
    np.testing.assert_allclose(deep(images, training=False), plain(images, training=False), atol=1e-5)


def test_a_skipped_block_is_its_shortcut_for_the_whole_image():
    inputs = keras.Input((6, 6, 8))
    network = keras.Model(inputs, residual_block(inputs, 8, 1, skipped=0.5))
    images = np.abs(np.random.default_rng(6).normal(size=(200, 6, 6, 8))).astype(np.float32)
    found = keras.ops.convert_to_numpy(network(images, training=True))
    skipped = np.isclose(found, images, atol=1e-6).all(axis=(1, 2, 3))
    assert 0.3 < skipped.mean() < 0.7
    assert (np.abs(found - images)[~skipped].max(axis=(1, 2, 3)) > 1e-2).all()


def test_wholly_adjusted_a_network_answers_as_if_the_classes_were_equally_frequent():
    """By Bayes' rule: probabilities over shares, normalised."""
    network, shares = expression_network(TINY), np.array([0.5, 0.02, 0.18, 0.2, 0.1])
    pixels = np.random.default_rng(7).normal(size=(6, 48, 48, 1)).astype(np.float32)
    plain, whole, none = (
        keras.ops.convert_to_numpy(keras.ops.softmax(asked(pixels)))
        for asked in (network, adjusted(network, shares.tolist(), 1.0), adjusted(network, shares.tolist(), 0.0))
    )
    expected = plain / shares
    np.testing.assert_allclose(whole, expected / expected.sum(axis=1, keepdims=True), rtol=1e-4)
    np.testing.assert_allclose(none, plain, rtol=1e-5)
    assert np.isfinite(adjusted(network, [0.0, 0.0, 0.0, 0.5, 0.5], 1.0)(pixels)).all()
