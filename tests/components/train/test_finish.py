"""The network as it is served: what is put around the trained one."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_transform as tft

from components import faces
from components.inference.images import decode
from components.inference.network import Network, onnx_file
from components.ingest.images import to_png
from components.settings import TrainSettings
from components.train import expression, keypoints
from components.train.export import save
from components.train.fit import finish
from components.train.network import adjusted, expression_network, keypoint_network

SETTINGS = TrainSettings(
    widths=(16, 16), blocks=(1, 1), squeeze=4, stochastic_depth=0.3, logit_adjustment=0.5, average_mirror=False
)


def test_the_classes_shares_are_those_of_the_rows_that_were_trained_on(load):
    training = load(faces.EXPRESSION_MODEL, faces.TRAIN_SPLIT)
    uneven = training.at(np.flatnonzero((training.truth != 1) | (np.arange(len(training)) < 10)))
    shares = np.bincount(uneven.truth, minlength=5) / len(uneven)
    assert shares[1] < 0.1
    network, pixels = expression_network(SETTINGS), training.pixels[:4]
    found, _ = finish(expression.TASK, [network], SETTINGS, uneven.truth, training.at(slice(0)))
    expected = adjusted(network, shares.tolist(), 0.5)(pixels)
    np.testing.assert_allclose(found(pixels), expected, atol=1e-5)
    assert np.abs(found(pixels) - network(pixels)).max() > 0.1


@pytest.mark.parametrize(
    ('task', 'network', 'settings'),
    [
        (expression.TASK, expression_network(SETTINGS), dataclasses.replace(SETTINGS, logit_adjustment=0.0)),
        (keypoints.TASK, keypoint_network(SETTINGS), SETTINGS),
    ],
    ids=['expression', 'keypoints'],
)
def test_points_and_what_is_not_to_be_adjusted_stay_as_they_are(load, task, network, settings):
    training = load(task.name, faces.TRAIN_SPLIT)
    found, _ = finish(task, [network], settings, training.truth, training.at(slice(0)))
    assert isinstance(found, keras.Model)
    np.testing.assert_allclose(found(training.pixels[:4]), network(training.pixels[:4]), atol=1e-6)


@pytest.mark.parametrize('task', [expression.TASK, keypoints.TASK], ids=['expression', 'keypoints'])
def test_the_onnx_form_answers_as_the_saved_model_whatever_is_put_around_it(load, transformed, tmp_path, task):
    training = load(task.name, faces.TRAIN_SPLIT)
    settings = dataclasses.replace(SETTINGS, image_size=48, average_mirror=True)
    network, _ = finish(
        task, [task.build(settings), task.build(settings)], settings, training.truth, training.at(slice(0))
    )
    save(task.export(network, tft.TFTransformOutput(str(transformed[task.name].transform_output))), tmp_path)
    face = transformed[task.name].faces[faces.EVAL_SPLIT][0].image
    signature = tf.saved_model.load(str(tmp_path)).signatures[faces.SERVING_SIGNATURE]
    (expected,) = signature(image_bytes=tf.constant([to_png(face)])).values()
    found = Network(task.name, onnx_file(tmp_path, task.name)).answer([decode(to_png(face))])
    np.testing.assert_allclose(found, expected, atol=1e-3)
