"""The comparisons, on statistics that TFDV made of Examples."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_data_validation as tfdv
from tensorflow_metadata.proto.v0 import statistics_pb2

from components import faces
from components.settings import ValidateSettings
from components.validate import gate

TASKS = (faces.EXPRESSION_MODEL, faces.KEYPOINT_MODEL)


def classes(examples, counts):
    """So many Examples of each expression."""
    of_class = [examples[label :: len(faces.EXPRESSIONS)] for label in range(len(faces.EXPRESSIONS))]
    return [example for label, count in enumerate(counts) for example in of_class[label][:count]]


def by_feature(findings):
    return {finding.message.split()[0]: finding for finding in findings}


def check(schema, statistics):
    return list(gate.schema_findings({faces.TRAIN_SPLIT: tfdv.validate_statistics(statistics, schema)}))


@pytest.mark.parametrize(
    ('before', 'now', 'drifted'),
    [
        ((20, 20, 20, 20, 20), (20, 20, 20, 20, 20), False),
        ((20, 20, 20, 20, 20), (10, 10, 10, 10, 10), False),
        ((20, 20, 20, 20, 20), (20, 19, 21, 20, 18), False),
        ((20, 20, 20, 20, 20), (20, 20, 20, 3, 20), True),
        ((24, 20, 20, 20, 0), (20, 20, 20, 10, 24), True),
    ],
)
def test_class_drift_is_the_largest_change_of_a_share(examples, measure, before, now, drifted):
    current, accepted = (measure(classes(examples['expression'], counts)) for counts in (now, before))
    finding = by_feature(gate.drift_findings({'train': current}, {'train': accepted}, ValidateSettings()))['expression']
    shares = [np.array(counts) / sum(counts) for counts in (now, before)]
    assert finding.value == pytest.approx(np.abs(shares[0] - shares[1]).max(), abs=1e-6)
    assert finding.gate == 'class-drift'
    assert finding.threshold == 0.1
    assert finding.passed is not drifted


def test_the_configured_limit_decides(examples, measure):
    current, accepted = (measure(classes(examples['expression'], counts)) for counts in ((24, 6, 6), (12, 12, 12)))
    for limit, passed in ((0.32, False), (0.34, True)):
        settings = ValidateSettings(maximum_class_drift=limit)
        findings = by_feature(gate.drift_findings({'train': current}, {'train': accepted}, settings))
        assert findings['expression'].passed is passed


def test_image_drift_is_found_in_darker_images_alone(examples, change, measure):
    accepted = measure(examples['expression'])
    means = [
        tf.train.Example.FromString(e).features.feature[faces.MEAN].float_list.value[0] for e in examples['expression']
    ]
    darker = measure([change(e, mean=mean / 3) for e, mean in zip(examples['expression'], means, strict=True)])

    same = by_feature(gate.drift_findings({'train': accepted}, {'train': accepted}, ValidateSettings()))
    assert same.keys() == {'expression', 'mean', 'standard_deviation'}
    assert all(finding.passed and finding.value == pytest.approx(0, abs=1e-6) for finding in same.values())

    found = by_feature(gate.drift_findings({'train': darker}, {'train': accepted}, ValidateSettings()))
    assert {name: finding.passed for name, finding in found.items()} == {
        'expression': True,
        'mean': False,
        'standard_deviation': True,
    }
    assert found['mean'].gate == 'image-drift'
    assert 0.1 < found['mean'].value <= 1.0


def test_keypoints_drift_by_their_images_alone(examples, measure):
    half, rest = (measure(part, 'keypoints') for part in (examples['keypoints'][::2], examples['keypoints'][1::2]))
    found = by_feature(gate.drift_findings({'train': half}, {'train': rest}, ValidateSettings()))
    assert found.keys() == {'mean', 'standard_deviation'}


def test_splits_that_differ_are_found(examples, other_faces, measure):
    train, alike = measure(examples['expression']), measure(other_faces)
    angry = measure(classes(other_faces, (20,)))
    settings = ValidateSettings(maximum_split_distance=0.25)
    passed = by_feature(gate.split_findings({'train': train, 'eval': alike}, settings))
    assert all(finding.passed for finding in passed.values())
    found = by_feature(gate.split_findings({'train': train, 'eval': angry}, settings))['expression']
    assert (found.gate, found.passed, found.threshold) == ('split-distance', False, 0.25)
    assert found.value == pytest.approx(0.8)


def test_too_few_examples_are_found_in_their_split_alone(examples, measure):
    statistics = {'train': measure(examples['expression'][:40]), 'eval': measure(examples['expression'][:39])}
    findings = list(gate.count_findings(statistics, ValidateSettings(minimum_examples=40)))
    assert [(finding.value, finding.threshold, finding.passed) for finding in findings] == [
        (40, 40, True),
        (39, 40, False),
    ]
    assert 'eval' in findings[1].message


def test_an_empty_split_has_no_distance_but_too_few_examples(examples, measure):
    empty = statistics_pb2.DatasetFeatureStatisticsList(datasets=[statistics_pb2.DatasetFeatureStatistics()])
    statistics = {'train': measure(examples['expression']), 'eval': empty}
    assert not list(gate.split_findings(statistics, ValidateSettings()))
    assert [finding.passed for finding in gate.count_findings(statistics, ValidateSettings())] == [True, False]


@pytest.mark.parametrize(
    ('repeated', 'leaks'),
    [((), 0), ((faces.CONTENT_HASH,), 3), ((faces.GROUP,), 3), ((faces.CONTENT_HASH, faces.GROUP), 3)],
)
def test_leaks_are_counted_by_image_and_by_person(
    tmp_path, examples, other_faces, change, write_splits, repeated, leaks
):
    """Three training Examples share a hash or a group with one Example of the eval split."""
    shown = tf.train.Example.FromString(other_faces[7]).features.feature
    values = {name: shown[name].bytes_list.value[0] for name in repeated}
    train = [change(example, **values) for example in examples['expression'][:3]] + examples['expression'][3:]
    folder = write_splits(tmp_path / 'examples', {'train': train, 'eval': other_faces})
    (finding,) = gate.leak_findings({split: (folder / f'Split-{split}').glob('*') for split in faces.SPLITS})
    assert (finding.gate, finding.value, finding.threshold) == ('leak', leaks, 0)
    assert finding.passed is (leaks == 0)
    assert finding.stops is (leaks > 0)


@pytest.mark.parametrize('shared', [0, 5])
def test_the_protocol_of_the_original_lets_leaks_pass_and_says_so(
    tmp_path, examples, other_faces, write_splits, shared
):
    train = examples['expression'] + other_faces[:shared]
    folder = write_splits(tmp_path / 'examples', {'train': train, 'eval': other_faces})
    files = {split: (folder / f'Split-{split}').glob('*') for split in faces.SPLITS}
    (finding,) = gate.leak_findings(files, 'original')
    assert not finding.stops
    assert (finding.value, finding.passed, finding.overridden) == (shared, not shared, bool(shared))
    assert ('as the protocol of the original has it' in finding.message) is bool(shared)


@pytest.mark.parametrize('task', TASKS)
def test_drawn_faces_are_as_the_schema_demands(examples, measure, schemas, task):
    statistics = measure(examples[task], task)
    (finding,) = check(schemas[task], statistics)
    assert finding.passed
    assert not list(gate.image_findings({'train': statistics}))


@pytest.mark.parametrize('task', TASKS)
@pytest.mark.parametrize(
    ('values', 'feature'),
    [
        ({'image': b'no image'}, 'image'),
        ({'brightness': b'dazzling'}, 'brightness'),
        ({'contrast': b'none'}, 'contrast'),
        ({'mean': 255.0}, 'mean'),
        ({'mean': float('nan')}, 'mean'),
        ({'standard_deviation': 0.0}, 'standard_deviation'),
        ({'width': 8}, 'width'),
        ({'height': 5000}, 'height'),
        ({'row': -1}, 'row'),
        ({'image': None}, 'image'),
        ({'group': None}, 'group'),
    ],
)
def test_one_example_outside_the_schema_is_found(examples, change, measure, schemas, task, values, feature):
    broken = measure([change(examples[task][0], **values), *examples[task][1:]], task)
    (finding,) = check(schemas[task], broken)
    assert not finding.passed
    assert finding.gate == 'schema'
    assert finding.message.startswith(f'train, feature {feature}: ')


@pytest.mark.parametrize(
    ('task', 'values'),
    [
        ('expression', {'expression': b'fear'}),
        ('expression', {'label': 5}),
        ('expression', {'label': -1}),
        ('keypoints', {'points': 1.0}),  # one value where there must be thirty
        ('keypoints', {'points_present': 1}),
    ],
)
def test_a_truth_outside_the_schema_is_found(examples, change, measure, schemas, task, values):
    (finding,) = check(schemas[task], measure([change(examples[task][0], **values), *examples[task][1:]], task))
    assert not finding.passed
    assert finding.message.startswith(f'train, feature {next(iter(values))}: ')


@pytest.mark.parametrize(('coordinate', 'passed'), [(96.0, True), (96.5, False), (-0.5, False), (float('nan'), True)])
def test_points_outside_the_image_are_found_and_missing_ones_are_not(examples, measure, schemas, coordinate, passed):
    example = tf.train.Example.FromString(examples['keypoints'][1])
    example.features.feature[faces.POINTS].float_list.value[4] = coordinate
    statistics = measure([example.SerializeToString(), *examples['keypoints'][1:]], 'keypoints')
    (finding,) = check(schemas['keypoints'], statistics)
    assert finding.passed is passed


@pytest.mark.parametrize(('broken', 'found_by_gate'), [(1, False), (20, False), (30, True), (120, True)])
def test_undecodable_images_are_found_however_many_there_are(examples, change, measure, schemas, broken, found_by_gate):
    """TFDV itself says nothing of a feature of which less than four fifths are images."""
    spoilt = [change(example, image=b'no image') for example in examples['expression'][:broken]]
    statistics = measure(spoilt + examples['expression'][broken:])
    findings = list(gate.image_findings({'train': statistics}))
    assert bool(findings) is found_by_gate
    failed = [finding for finding in findings + check(schemas['expression'], statistics) if not finding.passed]
    assert [finding.message.startswith('train, feature image: ') for finding in failed] == [True]
