"""Which Examples a training sees, and in what order."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_transform as tft

from components import faces
from components.errors import StepError
from components.ingest.examples import to_example
from components.settings import AugmentSettings, TrainSettings
from components.train.batches import (
    Share,
    Split,
    evaluation_batches,
    evaluation_shares,
    evaluation_steps,
    load_split,
    training_batches,
    training_steps,
)

COUNT = 22
SETTINGS = TrainSettings(epochs=4, batch_size=5)
PLAIN = AugmentSettings(False, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)


def split(is_keypoints: bool = False) -> Split:
    random = np.random.default_rng(1)
    names = np.arange(COUNT)
    truth = random.uniform(0.2, 0.8, (COUNT, 15, 2)).astype(np.float32) if is_keypoints else names
    return Split(
        random.normal(size=(COUNT, 12, 12, 1)).astype(np.float32), truth, names.astype('U'), names, names, names
    )


def batches(data: Split, settings=SETTINGS, seed: int = 7, first_epoch: int = 0):
    return list(training_batches(data, settings, seed, first_epoch, tf.identity).as_numpy_iterator())


def assert_same(first, second):
    assert len(first) == len(second)
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one[0], other[0])
        np.testing.assert_array_equal(one[1], other[1])


def test_each_example_comes_once_an_epoch_in_another_order():
    settings = dataclasses.replace(SETTINGS, batch_size=11)
    found = [labels for _, labels in batches(split(), settings)]
    assert [len(labels) for labels in found] == [11] * 8
    epochs = np.reshape(found, (4, COUNT))
    for epoch in epochs:
        assert sorted(epoch) == list(range(COUNT))
    assert len({tuple(epoch) for epoch in epochs}) == 4


def test_what_is_left_over_waits_for_another_epoch():
    found = [labels for _, labels in batches(split())]
    assert [len(labels) for labels in found] == [5] * 4 * training_steps(split(), SETTINGS)
    epochs = np.reshape(found, (4, 20))
    assert all(len(set(epoch)) == 20 for epoch in epochs)
    assert set(epochs.ravel()) == set(range(COUNT))


def shared(data: Split, share: Share, seed: int = 7, first_epoch: int = 0):
    return list(training_batches(data, SETTINGS, seed, first_epoch, tf.identity, share).as_numpy_iterator())


@pytest.mark.parametrize('size', [4, 7], ids=['too many rows', 'too few rows'])
def test_a_worker_of_any_number_of_rows_has_its_share_of_every_batch(size):
    found = shared(split(), Share(4, size))
    assert [len(labels) for _, labels in found] == [size] * 16
    epochs = np.reshape([labels for _, labels in found], (4, 4 * size))
    for epoch in epochs:
        times = np.bincount(epoch, minlength=COUNT)
        assert times.max() - times.min() == 1
    assert len({tuple(epoch) for epoch in epochs}) == 4


def test_the_share_of_a_worker_that_goes_on_is_what_it_would_have_been():
    assert_same(shared(split(), Share(4, 7, 1))[8:], shared(split(), Share(4, 7, 1), first_epoch=2))


def test_each_worker_changes_its_images_in_a_way_of_its_own():
    first, second = shared(split(), Share(4, 5, 0)), shared(split(), Share(4, 5, 1))
    for (images, labels), (others, same_labels) in zip(first, second, strict=True):
        np.testing.assert_array_equal(labels, same_labels)
        assert np.abs(images - others).max() > 0.1


def test_the_only_workers_share_is_everything():
    assert_same(batches(split()), shared(split(), Share(4, 5)))


@pytest.mark.parametrize('replicas', [1, 3])
def test_each_eval_row_comes_once_and_every_device_has_one_of_every_batch(replicas):
    found = evaluation_shares(split(), SETTINGS, tf.identity, replicas)
    assert [row for _, labels in found for row in labels.numpy()] == list(range(COUNT))
    assert min(len(labels) for _, labels in found) >= replicas
    with pytest.raises(StepError, match='22 eval rows are too few for 23 devices'):
        evaluation_shares(split(), SETTINGS, tf.identity, 23)


def test_a_split_smaller_than_a_batch_is_one_batch():
    settings = dataclasses.replace(SETTINGS, batch_size=64)
    assert training_steps(split(), settings) == evaluation_steps(split(), settings) == 1
    assert [len(labels) for _, labels in batches(split(), settings)] == [COUNT] * 4


def test_images_stay_with_their_truths():
    data = split()
    for images, labels in batches(data, dataclasses.replace(SETTINGS, augment=PLAIN)):
        np.testing.assert_allclose(images, data.pixels[labels], atol=1e-4)


@pytest.mark.parametrize('is_keypoints', [False, True])
def test_the_seed_alone_decides(is_keypoints):
    data = split(is_keypoints)
    assert_same(batches(data), batches(data))
    other = np.concatenate([truth for _, truth in batches(data, seed=8)])
    assert (other != np.concatenate([truth for _, truth in batches(data)])).any()


@pytest.mark.parametrize('is_keypoints', [False, True])
@pytest.mark.parametrize('first_epoch', [1, 3, 4])
def test_a_training_that_goes_on_sees_what_it_would_have_seen(first_epoch, is_keypoints):
    data = split(is_keypoints)
    assert_same(batches(data, first_epoch=first_epoch), batches(data)[4 * first_epoch :])


def test_each_epoch_is_augmented_anew():
    found = batches(split(), dataclasses.replace(SETTINGS, batch_size=11))
    shown = {tuple(images[labels == 3].ravel()) for images, labels in found if 3 in labels}
    assert len(shown) == 4


def test_points_are_augmented_with_their_images():
    data = split(is_keypoints=True)
    flipped = dataclasses.replace(PLAIN, flip=True)
    mirrored = 0
    for images, truth in batches(data, dataclasses.replace(SETTINGS, augment=flipped)):
        for image, points in zip(images, truth, strict=True):
            places = [np.abs(data.pixels - shown).max(axis=(1, 2, 3)) for shown in (image, image[:, ::-1])]
            is_mirrored = places[1].min() < places[0].min()
            original = data.truth[places[is_mirrored].argmin()]
            expected = original[list(faces.FLIP_ORDER)] * [-1, 1] + [1, 0] if is_mirrored else original
            np.testing.assert_allclose(points, expected, atol=1e-5)
            mirrored += is_mirrored
    assert 20 < mirrored < 60


def test_the_eval_split_keeps_its_order_and_its_pixels():
    data = split()
    found = list(evaluation_batches(data, SETTINGS, tf.identity).as_numpy_iterator())
    assert [len(labels) for _, labels in found] == [5, 5, 5, 5, 2]
    assert len(found) == evaluation_steps(data, SETTINGS)
    np.testing.assert_array_equal(np.concatenate([images for images, _ in found]), data.pixels)
    np.testing.assert_array_equal(np.concatenate([labels for _, labels in found]), data.truth)


@pytest.mark.parametrize('task', [faces.EXPRESSION_MODEL, faces.KEYPOINT_MODEL])
def test_a_split_is_loaded_whole_with_where_it_comes_from(transformed, load, task):
    drawn = transformed[task].faces[faces.EVAL_SPLIT]
    found = load(task, faces.EVAL_SPLIT)
    assert len(found) == len(drawn) == 15
    assert found.pixels.shape == (15, 48, 48, 1)
    assert found.row.tolist() == [face.row for face in drawn]
    assert found.content_hash.tolist() == [face.content_hash.hex() for face in drawn]
    assert set(found.source) == {'drawn.csv'}
    assert found.group.tolist() == found.content_hash.tolist(), 'no column names a person'
    if task == faces.EXPRESSION_MODEL:
        assert found.truth.tolist() == [face.label for face in drawn]
    else:
        np.testing.assert_allclose(found.truth.reshape(15, 30) * 96, [face.points for face in drawn], rtol=1e-5)


def test_mixup_blends_expressions_and_leaves_points_alone():
    settings = dataclasses.replace(SETTINGS, batch_size=11, augment=dataclasses.replace(PLAIN, mixup=1.0))
    encode = lambda label: tf.one_hot(label, COUNT)  # noqa: E731
    blended = list(training_batches(split(), settings, 7, 0, encode).as_numpy_iterator())
    for _, targets in blended:
        np.testing.assert_allclose(targets.sum(axis=1), 1, atol=1e-6)
    assert min(targets.max(axis=1).min() for _, targets in blended) < 0.9
    # A training that was killed sees the same blends when it goes on.
    assert_same(blended[2:], list(training_batches(split(), settings, 7, 1, encode).as_numpy_iterator()))
    plain = dataclasses.replace(settings, augment=PLAIN)
    assert_same(batches(split(True), settings), batches(split(True), plain))


def test_names_beyond_ascii_come_back(tmp_path, transformed, draw_faces, write_splits):
    drawn = [
        dataclasses.replace(face, source='visages-é.csv', group='名')
        for face in draw_faces(faces.EXPRESSION_MODEL, 5, 2)
    ]
    write_splits(tmp_path, {faces.TRAIN_SPLIT: [to_example(face) for face in drawn]})
    transform_output = tft.TFTransformOutput(str(transformed[faces.EXPRESSION_MODEL].transform_output))
    files = [str(tmp_path / f'Split-{faces.TRAIN_SPLIT}' / '*')]
    found = load_split(files, transform_output, faces.EXPRESSION_MODEL)
    assert (set(found.source), set(found.group)) == ({'visages-é.csv'}, {'名'})
