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
from components.train.network import averaged_over_mirror, expression_network, keypoint_network, mirror_points
from components.transform.augment import flip

TINY = TrainSettings(widths=(4, 8), blocks=(1, 2))


def test_the_networks_need_no_tensorflow():
    tree = ast.parse(inspect.getsource(network))
    imported = {name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names}
    imported |= {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name.split('.')[0] for name in imported} == {'collections', 'functools', 'keras', 'components'}
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
