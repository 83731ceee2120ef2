import numpy as np
import pytest

from components import faces
from components.ingest import duplicates
from components.ingest.parse import Face
from components.settings import IngestSettings


def make(seed: int = 0, usage: str = '', group: str = '', label: int = 0, points=()) -> Face:
    content_hash = np.random.default_rng(seed).bytes(16)
    return Face('f.csv', 1, np.zeros((2, 2), np.uint8), content_hash, usage, group, label, np.array(points, np.float32))


def key(label: int = -1, **moved: float) -> bytes:
    points = np.full(30, 50.0)
    for name, value in moved.items():
        points[faces.KEYPOINT_COLUMNS.index(name)] = value
    return duplicates.label_key(make(points=points) if label < 0 else make(label=label))


@pytest.mark.parametrize(
    ('sightings', 'expected'),
    [
        ([(False, key(1))], (1, '')),
        ([(False, key(1)), (False, key(1))], (2, '')),
        ([(True, key(1)), (True, key(1))], (2, '')),
        ([(True, key(1)), (False, key(1)), (False, key(1))], (3, duplicates.TWIN)),
        ([(False, key(1)), (False, key(2))], (2, duplicates.CONTRADICTING)),
        ([(True, key(1)), (False, key(2))], (2, duplicates.CONTRADICTING)),
    ],
)
def test_rows_of_one_image_are_judged_together(sightings, expected):
    assert duplicates.judge(iter(sightings)) == expected


@pytest.mark.parametrize(
    ('moved', 'contradicting'),
    [
        ({'nose_tip_x': 52.0}, False),
        ({'nose_tip_x': 52.1}, True),
        ({'nose_tip_x': 51.5, 'nose_tip_y': 51.5}, True),
        ({'nose_tip_x': 51.5, 'mouth_left_corner_y': 51.5}, False),
        ({'nose_tip_x': float('nan'), 'nose_tip_y': float('nan')}, False),
    ],
)
def test_points_contradict_when_one_known_in_both_moves_more_than_two_pixels(moved, contradicting):
    count, reason = duplicates.judge([(False, key()), (False, key(**moved))])
    assert (count, reason == duplicates.CONTRADICTING) == (2, contradicting)


def test_the_hash_split_has_the_wanted_share_and_keeps_groups_together():
    settings = IngestSettings(evaluation_percent=30)
    splits = [duplicates.wanted_split(make(seed), settings) for seed in range(2000)]
    assert 0.26 < splits.count(faces.EVAL_SPLIT) / len(splits) < 0.34
    assert splits == [duplicates.wanted_split(make(seed, label=3), settings) for seed in range(2000)]
    for person in 'abcdefgh':
        assert len({duplicates.wanted_split(make(seed, group=person), settings) for seed in range(50)}) == 1
    nobody = IngestSettings(evaluation_percent=0)
    assert {duplicates.wanted_split(make(seed), nobody) for seed in range(200)} == {faces.TRAIN_SPLIT}


def test_the_usage_split_goes_by_the_named_usages():
    settings = IngestSettings(split='usage')
    assert duplicates.wanted_split(make(usage='PublicTest'), settings) == faces.EVAL_SPLIT
    assert duplicates.wanted_split(make(usage='test'), settings) == faces.EVAL_SPLIT
    assert duplicates.wanted_split(make(usage='Training'), settings) == faces.TRAIN_SPLIT
    assert duplicates.wanted_split(make(usage=''), settings) == faces.TRAIN_SPLIT
