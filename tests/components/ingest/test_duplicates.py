import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components import faces
from components.ingest import duplicates
from components.ingest.corrections import EXCLUDE
from components.ingest.duplicates import CONTRADICTING, TWIN, Sighting, judge
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
        ([('train', key(1))], (1, '', 0)),
        ([('train', key(1)), ('train', key(1))], (2, '', 0)),
        ([('eval', key(1)), ('eval', key(1))], (2, '', 0)),
        ([('eval', key(1)), ('train', key(1)), ('train', key(1))], (3, TWIN, 1)),
        ([('eval', key(1)), ('eval', key(1)), ('train', key(1))], (3, TWIN, 2)),
        ([('eval', key(1)), ('elsewhere', key(1))], (2, '', 0)),
        ([('train', key(1)), ('train', key(2))], (2, CONTRADICTING, 0)),
        ([('eval', key(1)), ('train', key(2))], (2, CONTRADICTING, 1)),
    ],
)
def test_rows_of_one_image_are_judged_together(sightings, expected):
    verdict = judge(Sighting(*sighting) for sighting in sightings)
    assert (verdict.rows, verdict.reason, verdict.leaks) == expected
    assert (verdict.matched, verdict.left_alone) == (0, 0)


@pytest.mark.parametrize(
    ('sightings', 'reason'),
    [
        ([('train', key(1), 2), ('train', key(2))], ''),
        ([('train', key(1), EXCLUDE), ('train', key(2))], ''),
        ([('train', key(1), 3), ('train', key(1), 3)], ''),
        ([('train', key(1), 3), ('train', key(2))], CONTRADICTING),
        ([('train', key(1), EXCLUDE), ('train', key(2)), ('train', key(3))], CONTRADICTING),
        ([('train', key(1), 2), ('train', key(2), 1)], CONTRADICTING),
        ([('train', key(1), 2), ('eval', key(2))], CONTRADICTING),
        ([('train', key(1), 2), ('eval', key(1), 2)], TWIN),
        ([('train', key(1), EXCLUDE), ('eval', key(1), EXCLUDE)], ''),
    ],
)
def test_images_of_the_training_split_are_judged_as_corrected(sightings, reason):
    verdict = judge(Sighting(*sighting) for sighting in sightings)
    assert verdict.reason == reason
    assert verdict.matched == len({label for _, label, *correction in sightings if correction})
    assert verdict.left_alone == sum(len(row) == 3 and row[0] == 'eval' for row in sightings)


@given(
    st.lists(st.tuples(st.sampled_from(['train', 'eval']), st.integers(0, 2)), min_size=1, max_size=6),
    st.dictionaries(st.integers(0, 2), st.sampled_from([EXCLUDE, 0, 1, 2])),
)
def test_no_correction_moves_an_eval_row_in_or_out(rows, corrections):
    given_rows = [Sighting(split, bytes([label])) for split, label in rows]
    corrected = [row._replace(correction=corrections.get(row.label[0])) for row in given_rows]
    if any(split == 'eval' for split, _ in rows):
        assert (judge(corrected).reason == CONTRADICTING) == (judge(given_rows).reason == CONTRADICTING)


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
    verdict = judge([Sighting('train', key()), Sighting('train', key(**moved))])
    assert (verdict.rows, verdict.reason == CONTRADICTING) == (2, contradicting)


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
