"""The ways in which the benchmark makes batches, and its sums."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from components import faces
from components.settings import AugmentSettings, TrainSettings
from components.train import batches
from components.train.batches import Split
from tests.benchmarks.training_speed import (
    BARE,
    PIPELINE,
    TASKS,
    Means,
    Paces,
    batches_by,
    check,
    count_traces,
    markdown,
    random_batches,
)

SETTINGS = TrainSettings(
    image_size=24, widths=(16,), blocks=(1,), epochs=2, batch_size=8, augment=AugmentSettings(mixup=0.3)
)


def rows(task: str, count: int = 20) -> Split:
    random = np.random.default_rng(0)
    points = random.random((count, 15, 2), np.float32)
    points[::3, 4] = np.nan
    names = np.array([f'{number}' for number in range(count)])
    truth = random.integers(0, 5, count) if task == faces.EXPRESSION_MODEL else points
    return Split(random.random((count, 24, 24, 1), np.float32), truth, names, names, np.arange(count), names)


@pytest.mark.parametrize('task', TASKS)
def test_without_overlap_the_batches_are_the_pipelines(task):
    split = rows(task)
    expected = list(batches.training_batches(split, SETTINGS, 0, 0, TASKS[task].encode).as_numpy_iterator())
    found = list(batches_by(Means(overlapped=False), split, SETTINGS, TASKS[task], None).as_numpy_iterator())
    assert len(found) == len(expected) == 4
    for batch, wanted in zip(found, expected, strict=True):
        for part, same in zip(batch, wanted, strict=True):
            np.testing.assert_array_equal(part, same)


@pytest.mark.parametrize('task', TASKS)
def test_decoded_on_the_spot_the_batches_are_the_pipelines(task):
    split = rows(task)
    empty = dataclasses.replace(split, pixels=np.zeros_like(split.pixels), truth=np.zeros_like(split.truth))

    def decode(index):
        return split.pixels[index.numpy()], split.truth[index.numpy()]

    types = [tf.float32, tf.as_dtype(split.truth.dtype)]

    def fetch(index):
        pixels, truth = tf.py_function(decode, [index], types)
        return tf.ensure_shape(pixels, [None, 24, 24, 1]), tf.ensure_shape(truth, [None, *split.truth.shape[1:]])

    data = batches_by(Means(decode_once=False), empty, SETTINGS, TASKS[task], fetch)
    pipeline = batches.training_batches(split, SETTINGS, 0, 0, TASKS[task].encode)
    check(data, pipeline, Means(decode_once=False))


@pytest.mark.parametrize('task', TASKS)
def test_image_by_image_the_same_rows_make_batches_of_the_same_form(task):
    # Nothing is changed, so that rows can be told apart.
    settings = dataclasses.replace(SETTINGS, augment=AugmentSettings(False, *(0.0,) * 7))
    split = rows(task)
    data = batches_by(Means(in_batches=False), split, settings, TASKS[task], None)
    pipeline = batches.training_batches(split, settings, 0, 0, TASKS[task].encode)
    check(data, pipeline, Means(in_batches=False))
    for batch, wanted in zip(data.as_numpy_iterator(), pipeline.as_numpy_iterator(), strict=True):
        for part, same in zip(batch, wanted, strict=True):
            np.testing.assert_allclose(part, same, atol=1e-5)


@pytest.mark.parametrize('task', TASKS)
def test_random_batches_are_of_the_very_form_that_the_step_was_compiled_for(task):
    pipeline = batches.training_batches(rows(task), SETTINGS, 0, 0, TASKS[task].encode)
    assert random_batches(pipeline).element_spec == pipeline.element_spec


def test_traces_of_a_whole_training_are_counted():
    traces = count_traces(TASKS[faces.EXPRESSION_MODEL], SETTINGS, rows(faces.EXPRESSION_MODEL))
    assert traces['test_step'] == [0, 1, 1, 1]
    assert len(traces['train_step']) == 4
    # Two, where the first step creates the optimizer's variables.
    assert set(traces['train_step']) in ({1}, {2})


def test_shares_are_taken_within_a_round():
    """Half of the rounds ran on a machine that was four times as slow."""
    paces = Paces({BARE: [400.0, 100.0, 400.0], PIPELINE: [380.0, 95.0, 360.0]})
    assert paces.shares(PIPELINE, BARE) == pytest.approx([0.95, 0.95, 0.9])
    assert paces.share(PIPELINE, BARE) == pytest.approx(0.95)
    text = markdown('expression', paces, {'train_step': [2, 2, 2, 2], 'test_step': [0, 1, 1, 1]})
    assert '95%' in text and '90% to 95%' in text and 'bare step: reached' in text and '`train_step` 2, 2, 2, 2' in text
    assert 'no step was traced again' in text
    assert 'a step was traced again' in markdown('', paces, {'train_step': [2, 2, 3, 3], 'test_step': [0, 1, 1, 1]})
