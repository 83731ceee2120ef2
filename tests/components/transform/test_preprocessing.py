"""The preprocessing graphs, from a real run of TFX's Transform on drawn faces."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_transform as tft

from components import faces
from components.ingest.examples import to_example
from components.transform.component import transform
from components.transform.preprocessing import IMAGE_SIZE, LABEL, PIXELS, POINTS


def preprocess(run, split: str) -> dict[str, np.ndarray]:
    output = tft.TFTransformOutput(str(run.transform_output))
    examples = [to_example(face) for face in run.faces[split]]
    features = tf.io.parse_example(examples, output.raw_feature_spec())
    return {key: value.numpy() for key, value in output.transform_features_layer()(features).items()}


def pixels(run, split: str) -> np.ndarray:
    return np.stack([face.image for face in run.faces[split]]).astype(np.float64)[..., None]


def test_training_pixels_have_zero_mean_and_unit_deviation(transformed):
    run = transformed[faces.EXPRESSION_MODEL]
    found = preprocess(run, faces.TRAIN_SPLIT)[PIXELS]
    assert found.shape == (40, 48, 48, 1)
    assert found.dtype == np.float32
    assert found.mean(dtype=np.float64) == pytest.approx(0, abs=1e-4)
    assert found.std(dtype=np.float64) == pytest.approx(1, abs=1e-4)


def test_the_order_in_which_rows_are_added_up_leaves_no_trace(transformed):
    """Of the constants nothing finer than hundredths is used, so that the same data give the same pixels."""
    run = transformed[faces.EXPRESSION_MODEL]
    found = preprocess(run, faces.TRAIN_SPLIT)[PIXELS].astype(np.float64)
    deviation, mean = np.polyfit(found.ravel(), pixels(run, faces.TRAIN_SPLIT).ravel(), 1)
    assert deviation == pytest.approx(round(deviation, 2), abs=1e-4)
    assert mean == pytest.approx(round(mean, 2), abs=1e-4)


def test_the_eval_split_is_normalised_by_the_training_split(transformed):
    run = transformed[faces.EXPRESSION_MODEL]
    training = pixels(run, faces.TRAIN_SPLIT)
    expected = (pixels(run, faces.EVAL_SPLIT) - training.mean()) / training.std()
    np.testing.assert_allclose(preprocess(run, faces.EVAL_SPLIT)[PIXELS], expected, atol=1e-3)
    assert abs(expected.mean()) > 1e-3


def test_expressions_keep_class_and_size(transformed):
    run = transformed[faces.EXPRESSION_MODEL]
    found = preprocess(run, faces.EVAL_SPLIT)
    assert found.keys() == {PIXELS, IMAGE_SIZE, LABEL}
    np.testing.assert_array_equal(found[LABEL], [face.label for face in run.faces[faces.EVAL_SPLIT]])
    np.testing.assert_array_equal(found[IMAGE_SIZE], np.full((15, 2), 48))


def test_keypoints_become_shares_of_the_image_and_missing_ones_stay_missing(transformed):
    run = transformed[faces.KEYPOINT_MODEL]
    found = preprocess(run, faces.EVAL_SPLIT)
    assert found.keys() == {PIXELS, IMAGE_SIZE, POINTS}
    assert found[PIXELS].shape == (15, 48, 48, 1)
    truth = np.stack([face.points.reshape(-1, 2) for face in run.faces[faces.EVAL_SPLIT]])
    np.testing.assert_allclose(found[POINTS], truth / 96, rtol=1e-6)
    assert np.isnan(found[POINTS]).any()
    assert np.nanmax(found[POINTS]) <= 1
    np.testing.assert_array_equal(found[IMAGE_SIZE], np.full((15, 2), 96))


@pytest.mark.parametrize('task', [faces.EXPRESSION_MODEL, faces.KEYPOINT_MODEL])
def test_the_image_alone_is_enough_to_serve(transformed, task):
    run = transformed[task]
    layer = tft.TFTransformOutput(str(run.transform_output)).transform_features_layer()
    examples = [tf.train.Example.FromString(to_example(face)) for face in run.faces[faces.EVAL_SPLIT]]
    images = [example.features.feature[faces.IMAGE].bytes_list.value[0] for example in examples]
    found = layer({faces.IMAGE: tf.constant(images)})
    for key in (PIXELS, IMAGE_SIZE):
        np.testing.assert_array_equal(found[key], preprocess(run, faces.EVAL_SPLIT)[key])


def test_an_unknown_task_is_refused(transformed):
    with pytest.raises(ValueError, match='gender'):
        transform('gender', None, None, '')
