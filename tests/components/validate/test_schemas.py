"""The curated schemas say what the code's own words say."""

import pytest
import tensorflow as tf

from components import faces

TASKS = (faces.EXPRESSION_MODEL, faces.KEYPOINT_MODEL)


def domain(schema, feature: str) -> list[str]:
    name = next(entry.domain for entry in schema.feature if entry.name == feature)
    return list(next(entry.value for entry in schema.string_domain if entry.name == name))


@pytest.mark.parametrize('task', TASKS)
def test_features_are_those_of_an_example(schemas, examples, task):
    features = tf.train.Example.FromString(examples[task][0]).features.feature
    kinds = {'bytes_list': 'BYTES', 'int64_list': 'INT', 'float_list': 'FLOAT'}
    expected = {name: kinds[value.WhichOneof('kind')] for name, value in features.items()}
    types = schemas[task].feature[0].DESCRIPTOR.fields_by_name['type'].enum_type.values_by_number
    assert {feature.name: types[feature.type].name for feature in schemas[task].feature} == expected


@pytest.mark.parametrize('task', TASKS)
def test_every_feature_is_demanded_of_every_example(schemas, task):
    assert all(feature.presence.min_fraction == 1 for feature in schemas[task].feature)
    assert all(feature.HasField('shape') for feature in schemas[task].feature)


@pytest.mark.parametrize('task', TASKS)
def test_levels_are_those_of_the_slices(schemas, task):
    assert domain(schemas[task], faces.BRIGHTNESS) == list(faces.BRIGHTNESS_LEVELS)
    assert domain(schemas[task], faces.CONTRAST) == list(faces.CONTRAST_LEVELS)


def test_classes_are_the_expressions(schemas):
    assert domain(schemas['expression'], faces.EXPRESSION) == list(faces.EXPRESSIONS)
    label = next(feature for feature in schemas['expression'].feature if feature.name == faces.LABEL)
    assert (label.int_domain.min, label.int_domain.max) == (0, len(faces.EXPRESSIONS) - 1)


def test_points_are_the_keypoints(schemas):
    features = {feature.name: feature for feature in schemas['keypoints'].feature}
    assert features[faces.POINTS].shape.dim[0].size == len(faces.KEYPOINT_COLUMNS)
    assert features[faces.POINTS].float_domain.max == faces.KEYPOINT_SIZE
    assert features[faces.POINTS_PRESENT].shape.dim[0].size == len(faces.KEYPOINTS)
