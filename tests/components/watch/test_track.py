"""Whose face is whose: crossing, leaving, returning, trembling, too many."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.inference.detect import Detection
from components.watch.track import Tracker


def face(x: float, y: float = 200.0, size: float = 100.0, score: float = 0.9) -> Detection:
    """About a middle."""
    return Detection(x - size / 2, y - size / 2, size, size, score)


def numbers(tracker: Tracker, seconds: float, *found: Detection, everywhere: bool = True) -> dict[int, int]:
    """Persons' numbers and where their middles are, left to right."""
    tracks = tracker.update(seconds, found, everywhere)
    return {track.person: round(track.face.left + track.face.width / 2) for track in tracks}


def test_people_are_numbered_as_they_appear_and_larger_ones_first():
    tracker = Tracker(1.0)
    assert numbers(tracker, 0.0, face(100, size=60), face(400, size=120)) == {1: 400, 2: 100}
    assert numbers(tracker, 0.1, face(700), face(400, size=120), face(100, size=60)) == {1: 400, 2: 100, 3: 700}


@pytest.mark.parametrize('rate', [6.0, 12.5, 30.0, 60.0])
def test_two_who_cross_keep_their_numbers_although_one_is_hidden(rate):
    tracker = Tracker(2.0)
    for index in range(round(4 * rate)):
        seconds = index / rate
        left, right = face(100 + 150 * seconds, size=110), face(700 - 150 * seconds)
        hidden = abs(left.left - right.left) < 80
        seen = numbers(tracker, seconds, left) if hidden else numbers(tracker, seconds, right, left)
    assert seen[1] > 600
    assert seen[2] < 200


def test_two_side_by_side_are_not_mixed_up_by_trembling():
    random = np.random.default_rng(0)
    tracker = Tracker(1.0)
    for index in range(200):
        places = np.array([300.0, 420.0]) + random.normal(0.0, 8.0, 2)
        seen = numbers(tracker, index / 30, face(places[0], size=101), face(places[1]))
        assert seen == {1: round(places[0]), 2: round(places[1])}


def test_one_who_moves_on_by_more_than_a_face_a_frame_is_expected_there():
    tracker, x = Tracker(1.0), 0.0
    for index in range(18):
        assert numbers(tracker, index / 15, face(x)) == {1: round(x)}
        x += 10.0 * index
    assert 10.0 * index > 150


def test_who_is_back_in_time_is_still_the_same():
    tracker = Tracker(1.0)
    numbers(tracker, 0.0, face(300))
    assert numbers(tracker, 0.1) == {}
    assert numbers(tracker, 0.9, face(310)) == {1: 310}


def test_who_comes_back_too_late_is_another_person():
    tracker = Tracker(1.0)
    numbers(tracker, 0.0, face(300))
    assert numbers(tracker, 1.1, face(300)) == {2: 300}


def test_who_appears_elsewhere_is_another_person():
    tracker = Tracker(1.0)
    numbers(tracker, 0.0, face(100))
    assert numbers(tracker, 0.03, face(700)) == {2: 700}


def test_who_turned_away_after_a_nod_is_found_where_he_was():
    tracker = Tracker(2.0)
    for index in range(12):
        numbers(tracker, index / 30, face(300, 200 + 25 * index))
    numbers(tracker, 0.5)
    assert numbers(tracker, 1.8, face(300, 475)) == {1: 300}


def test_a_face_that_is_found_twice_is_one_person():
    tracker = Tracker(1.0)
    assert len(numbers(tracker, 0.0, face(300), face(305, score=0.8), face(310, size=120, score=0.7))) == 1


def test_nobody_is_taken_up_where_only_the_known_were_looked_for():
    tracker = Tracker(1.0)
    numbers(tracker, 0.0, face(300))
    assert numbers(tracker, 0.1, face(300), face(600), everywhere=False) == {1: 300}


def test_no_more_than_so_many_are_followed_and_the_largest_ones_of_them():
    tracker = Tracker(1.0, most=3)
    crowd = [face(150 * index, size=40 + index) for index in range(40)]
    assert numbers(tracker, 0.0, *crowd) == {1: 150 * 39, 2: 150 * 38, 3: 150 * 37}


BOXES = st.builds(face, st.floats(-50, 800), st.floats(-50, 600), st.floats(1, 300), st.floats(0, 1))


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(0.001, 1.5), st.lists(BOXES, max_size=8), st.booleans()), max_size=20))
def test_whatever_is_found_numbers_only_rise_and_nobody_is_in_two_places(steps):
    tracker = Tracker(1.0, most=5)
    seconds, highest = 0.0, 0
    for elapsed, found, everywhere in steps:
        seconds += elapsed
        tracks = tracker.update(seconds, found, everywhere)
        people = [track.person for track in tracks]
        assert len(set(people)) == len(people) <= len(tracker.tracks) <= 5
        assert all(track.face in found for track in tracks)
        fresh = [person for person in people if person > highest]
        assert sorted(fresh) == list(range(highest + 1, highest + 1 + len(fresh)))
        highest = max([highest, *people])
