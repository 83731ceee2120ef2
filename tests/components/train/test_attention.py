"""What a network looks at: on networks of which that is known, and against the formulas in numpy."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

from components import faces
from components.settings import TrainSettings
from components.train import expression, keypoints
from components.train.attention import FACES_CONSIDERED, FILE_NAME, grad_cam, ranking, write_attention
from components.train.batches import Split
from components.train.network import expression_network, keypoint_network

TINY = TrainSettings(widths=(16, 16, 16, 16), blocks=(1, 1, 1, 1))
PATCH = (slice(32, 48), slice(8, 24))  # rows and columns of 48x48 pixels
CELLS = (slice(8, 12), slice(2, 6))  # the same of 12x12 cells
QUESTIONS = {faces.EXPRESSION_MODEL: expression.TASK.question, faces.KEYPOINT_MODEL: keypoints.TASK.question}


def images(count: int, size: int = 48) -> np.ndarray:
    return np.random.default_rng(1).normal(size=(count, size, size, 1)).astype(np.float32)


def convolved(inputs: keras.KerasTensor) -> keras.KerasTensor:
    """Maps of 12x12 cells of 4x4 pixels each, none of which sees another's pixels."""
    patches = keras.layers.Conv2D(6, 4, strides=4, use_bias=False)(inputs)
    return keras.layers.ReLU()(patches)


def pooled(inputs: keras.KerasTensor, features: keras.KerasTensor) -> keras.Model:
    return keras.Model(inputs, keras.layers.Dense(5)(keras.layers.GlobalAveragePooling2D()(features)))


def flattened(inputs: keras.KerasTensor, features: keras.KerasTensor) -> keras.Model:
    return keras.Model(inputs, keras.layers.Dense(5)(keras.layers.Flatten()(features)))


def test_a_network_that_sees_one_patch_alone_looks_there():
    mask = np.zeros((48, 48, 1), np.float32)
    mask[PATCH] = 1
    inputs = keras.Input((48, 48, 1))
    network = pooled(inputs, convolved(inputs * mask))
    maps = grad_cam(network, images(20), lambda outputs: tf.reduce_max(outputs, axis=1), is_pooled=True)
    assert maps.shape == (20, 12, 12)
    assert maps[:, *CELLS].max() == 1
    maps[:, *CELLS] = 0
    assert not maps.any()


def test_a_network_whose_head_weighs_one_patch_alone_looks_there():
    """Grad-CAM's mean over all places would spread its weights over the whole face."""
    inputs = keras.Input((48, 48, 1))
    network = flattened(inputs, convolved(inputs))
    weights, bias = network.layers[-1].get_weights()
    places = weights.reshape(12, 12, 6, 5)
    kept = np.zeros_like(places)
    kept[CELLS] = places[CELLS]
    network.layers[-1].set_weights([kept.reshape(weights.shape), bias])
    maps = grad_cam(network, images(20), lambda outputs: tf.reduce_max(outputs, axis=1), is_pooled=False)
    assert maps[:, *CELLS].max() == 1
    maps[:, *CELLS] = 0
    assert not maps.any()


@pytest.mark.parametrize('is_pooled', [True, False])
def test_maps_are_those_of_the_formula(is_pooled):
    inputs = keras.Input((48, 48, 1))
    features = convolved(inputs)
    network = (pooled if is_pooled else flattened)(inputs, features)
    pixels = images(5)
    activations, outputs = (tensor.numpy() for tensor in keras.Model(inputs, [features, network.output])(pixels))
    head = network.layers[-1].get_weights()[0]
    chosen = outputs.argmax(axis=1)
    if is_pooled:
        expected = np.einsum('nhwc,cn->nhw', activations, head[:, chosen])
    else:
        expected = np.einsum('nhwc,hwcn->nhw', activations, head.reshape(12, 12, 6, 5)[..., chosen])
    expected = np.maximum(expected, 0)
    expected /= expected.max(axis=(1, 2), keepdims=True)
    maps = grad_cam(network, pixels, lambda outputs: tf.reduce_max(outputs, axis=1), is_pooled)
    np.testing.assert_allclose(maps, expected, atol=1e-4)


@pytest.mark.parametrize(
    ('changes', 'cells'),
    [
        ({}, 6),  # the last stage has 3
        ({'image_size': 96}, 6),
        ({'image_size': 64}, 8),
        ({'widths': (16,), 'blocks': (1,)}, 24),
        ({'image_size': 16, 'stem_stride': 4}, 4),  # the largest that there is
    ],
)
def test_the_last_map_that_is_not_too_small_is_looked_at(changes, cells):
    settings = dataclasses.replace(TINY, **changes)
    network = expression_network(settings)
    maps = grad_cam(network, images(2, settings.image_size), lambda outputs: outputs[:, 0], is_pooled=True)
    assert maps.shape == (2, cells, cells)


def test_a_face_that_adds_nothing_has_an_empty_map():
    maps = grad_cam(
        expression_network(TINY), np.zeros((1, 48, 48, 1), np.float32), lambda outputs: 0 * outputs[:, 0], True
    )
    np.testing.assert_array_equal(maps, 0)


def evaluated(task: str, count: int, size: int = 1) -> tuple[Split, np.ndarray, np.ndarray]:
    """An eval split with its truths and predictions, some of them equally good, and some points unknown."""
    random = np.random.default_rng(2)
    names = random.permutation(count)
    if task == faces.EXPRESSION_MODEL:
        truth = random.integers(0, 5, count)
        prediction = random.dirichlet(np.ones(5), count).round(1).astype(np.float32)
    else:
        truth = random.integers(20, 70, (count, 15, 2)).astype(np.float32)
        prediction = truth + random.integers(1, 9, (count, 1, 1)).astype(np.float32)
        truth[random.random((count, 15)) < 0.2] = np.nan
        truth[::10] = np.nan
    pixels = np.zeros((count, size, size, 1), np.float32)
    return Split(pixels, truth, names.astype('U'), np.full(count, 'drawn.csv'), names, names), truth, prediction


@pytest.mark.parametrize('task', list(QUESTIONS))
def test_the_best_and_the_worst_of_each_kind_are_chosen(task):
    split, truth, prediction = evaluated(task, 200)
    if task == faces.EXPRESSION_MODEL:
        rightness, kinds = [row[label] for row, label in zip(prediction, truth, strict=True)], truth.tolist()
    else:
        rightness = [-np.sqrt(np.mean(row[~np.isnan(row)])) for row in (prediction - truth) ** 2]
        kinds = [0] * 200
    for found, sign in zip(ranking(QUESTIONS[task], split, truth, prediction), (-1, 1), strict=True):
        expected = []
        for kind in sorted(set(kinds)):
            known = [row for row in range(200) if kinds[row] == kind and not np.isnan(rightness[row])]
            known.sort(key=lambda row: (sign * rightness[row], split.content_hash[row]))
            expected += known[: QUESTIONS[task].count]
        assert found.tolist() == expected


@pytest.mark.parametrize('task', list(QUESTIONS))
def test_of_a_large_split_the_first_rows_are_considered_and_few_chosen(task):
    split, truth, prediction = evaluated(task, FACES_CONSIDERED + 5000)
    found = np.concatenate(ranking(QUESTIONS[task], split, truth, prediction))
    assert found.max() < FACES_CONSIDERED
    assert len(found) == {faces.EXPRESSION_MODEL: 2 * 5 * 4, faces.KEYPOINT_MODEL: 2 * 12}[task]
    known = slice(0, FACES_CONSIDERED)
    again = ranking(QUESTIONS[task], split.at(known), truth[known], prediction[known])
    np.testing.assert_array_equal(np.concatenate(again), found)


@pytest.mark.parametrize(
    ('task', 'build'), [(faces.EXPRESSION_MODEL, expression_network), (faces.KEYPOINT_MODEL, keypoint_network)]
)
def test_maps_are_written_with_the_faces_that_they_are_of(task, build, tmp_path):
    split, truth, prediction = evaluated(task, 60)
    split = dataclasses.replace(split, pixels=images(60))
    network = build(TINY)
    write_attention(tmp_path, QUESTIONS[task], network, split, truth, prediction)
    found = np.load(tmp_path / FILE_NAME)
    best, worst = ranking(QUESTIONS[task], split, truth, prediction)
    assert found['best'].tolist() == [True] * len(best) + [False] * len(worst)
    assert found['maps'].shape == (len(best) + len(worst), 6, 6)
    assert found['maps'].dtype == np.float16
    assert np.isfinite(found['maps']).all()
    assert found['maps'].min() >= 0
    assert set(found['maps'].max(axis=(1, 2))) <= {0, 1}
    # Row 7 of the file, reckoned by itself, whichever row of the split that is.
    row = np.concatenate([best, worst])[7]
    assert (found['content_hash'][7], found['source'][7]) == (split.content_hash[row], 'drawn.csv')
    assert found['row'][7] == split.row[row]
    question = QUESTIONS[task]
    alone = grad_cam(
        network,
        split.pixels[[row]],
        lambda outputs: question.quantity(outputs, prediction, np.array([row])),
        question.is_pooled,
    )
    np.testing.assert_allclose(found['maps'][7], alone[0], atol=2e-3)
