"""Faces followed through films: by a finder of coloured patches, whose calls are counted, and by the real detector."""

import cv2
import numpy as np
import pytest

from components.inference.detect import Detection
from components.watch.follow import Follower
from tests.components.watch.films import Actor, Scene, at, frames

SIZE = (480, 270)


class PatchFinder:
    """Finds red patches, as large as they are seen."""

    def __init__(self) -> None:
        self.images: list[np.ndarray] = []

    def find(self, image: np.ndarray) -> list[Detection]:
        self.images.append(image)
        red = (image[..., 0] > 180) & (image[..., 2] < 60)
        _, _, boxes, _ = cv2.connectedComponentsWithStats(red.astype(np.uint8))
        return [Detection(*map(float, box[:4]), 0.9) for box in boxes[1:] if box[4] > 20]


def picture(*places: tuple[float, float], ground: int = 60, side: int = 40) -> np.ndarray:
    """Red patches about places, on grey."""
    image = np.full((SIZE[1], SIZE[0], 3), ground, np.uint8)
    for x, y in places:
        left, top = round(x - side / 2), round(y - side / 2)
        image[max(0, top) : top + side, max(0, left) : left + side] = (20, 20, 220)
    return image


@pytest.fixture
def finders() -> tuple[PatchFinder, PatchFinder]:
    return PatchFinder(), PatchFinder()


def people(follower: Follower, seconds: float, image: np.ndarray) -> dict[int, tuple[int, int]]:
    """The middles of the faces that were found."""
    tracks = follower.find(seconds, image)
    return {t.person: (round(t.face.left + t.face.width / 2), round(t.face.top + t.face.height / 2)) for t in tracks}


def test_whole_frames_are_searched_now_and_then_and_windows_in_between(finders):
    follower = Follower(anywhere=finders[0], nearby=finders[1])
    for index in range(61):
        x = 100 + 3 * index
        ((person, (found, y)),) = people(follower, index / 30, picture((x, 130))).items()
        assert person == 1
        assert (found, y) == (pytest.approx(x, abs=2), pytest.approx(130, abs=2))
    assert len(finders[0].images) == 5
    assert len(finders[1].images) == 56
    assert {image.shape for image in finders[0].images} == {(270, 480, 3)}
    assert {image.shape for image in finders[1].images} == {(128, 128, 3)}


@pytest.mark.parametrize('place', [(4, 4), (476, 130), (240, 268)])
def test_a_face_at_the_edge_is_followed(finders, place):
    follower = Follower(anywhere=finders[0], nearby=finders[1])
    first = people(follower, 0.0, picture(place))
    again = people(follower, 0.1, picture(place))
    assert len(finders[1].images) == 1
    np.testing.assert_allclose(again[1], first[1], atol=2)


def test_one_that_is_lost_is_looked_for_at_once(finders):
    follower = Follower(anywhere=finders[0], nearby=finders[1])
    people(follower, 0.0, picture((100, 130)))
    assert people(follower, 0.03, picture((400, 130))) == {2: (400, 130)}
    assert len(finders[0].images) == 2


def test_one_that_is_lost_is_not_looked_for_in_every_frame(finders):
    follower = Follower(anywhere=finders[0], nearby=finders[1], lost_after=1.0)
    people(follower, 0.0, picture((100, 130)))
    for index in range(1, 30):
        assert people(follower, index / 30, picture()) == {}
    assert len(finders[0].images) <= 3


def test_without_a_face_frames_are_searched_four_times_a_second(finders):
    follower = Follower(anywhere=finders[0], nearby=finders[1])
    for index in range(60):
        assert people(follower, index / 30, picture()) == {}
    assert 7 <= len(finders[0].images) <= 8
    assert not finders[1].images


def test_after_a_cut_everybody_is_somebody_else(finders):
    follower = Follower(anywhere=finders[0], nearby=finders[1])
    assert people(follower, 0.0, picture((100, 130))) == {1: (100, 130)}
    assert people(follower, 0.1, picture((102, 130), ground=200)) == {2: (102, 130)}


def test_a_film_that_grows_darker_has_no_cut(finders):
    follower = Follower(anywhere=finders[0], nearby=finders[1])
    for index in range(30):
        noise = np.random.default_rng(index).integers(0, 30, (270, 480, 3), np.uint8)
        assert list(people(follower, index / 30, picture((100, 130), ground=160 - 2 * index) + noise // 3)) == [1]


def test_of_many_faces_only_so_many_are_followed(finders):
    follower = Follower(most=2, anywhere=finders[0], nearby=finders[1])
    crowd = picture(*((60 + 80 * column, 60 + 80 * row) for column in range(5) for row in range(2)))
    for index in range(20):
        assert list(people(follower, index / 30, crowd)) == [1, 2]


@pytest.mark.parametrize('shape', [(2, 2, 3), (3, 200, 3), (400, 5, 3)])
def test_odd_frames_have_nobody_in_them(shape):
    follower = Follower()
    for index in range(3):
        assert follower.find(index / 3, np.full(shape, 90, np.uint8)) == []


# The real detector from here on.


def watch(shots: list[tuple[Scene, float]], rate: float = 15.0) -> list[dict[int, tuple[float, float]]]:
    """For each frame the persons, and the middles of their faces in shares of the frame."""
    follower = Follower()
    return [
        {
            track.person: (
                (track.steady.left + track.steady.width / 2) / SIZE[0],
                (track.steady.top + track.steady.height / 2) / SIZE[1],
            )
            for track in follower.find(seconds, image)
        }
        for seconds, image in frames(shots, rate)
    ]


def test_a_drawn_face_is_followed_wherever_it_moves():
    path = lambda seconds: (0.5 + 0.25 * np.sin(3.0 * seconds), 0.5 + 0.1 * np.cos(2.0 * seconds))  # noqa: E731
    seen = watch([(Scene(*SIZE, [Actor(3, path, size=0.6)]), 3.0)])
    assert all(list(people) == [1] for people in seen)
    misses = [np.hypot(*(np.subtract(people[1], path(index / 15)))) for index, people in enumerate(seen)]
    assert np.median(misses) < 0.04


def test_two_drawn_faces_that_pass_each_other_keep_their_numbers():
    left = Actor(1, lambda seconds: (0.15 + 0.35 * seconds, 0.4), size=0.4)
    right = Actor(4, lambda seconds: (0.85 - 0.35 * seconds, 0.55), size=0.45)
    seen = watch([(Scene(*SIZE, [left, right]), 2.0)], 25.0)
    assert set().union(*seen) == {1, 2}
    first = 1 if seen[0][1][0] < 0.5 else 2
    assert seen[0][first][0] < 0.3 < 0.7 < seen[-1][first][0]


def test_who_leaves_the_picture_is_gone_and_who_is_back_after_long_is_new():
    def path(seconds: float) -> tuple[float, float] | None:
        return (0.5 + 0.7 * seconds, 0.5) if seconds < 1.0 else None if seconds < 4.0 else (0.4, 0.5)

    seen = watch([(Scene(*SIZE, [Actor(5, path, size=0.6)]), 5.0)])
    assert 1 in seen[0]
    assert not any(seen[20:60])
    assert list(seen[-1]) == [2]


def test_a_cut_to_another_scene_makes_other_people():
    one, other = Scene(*SIZE, [Actor(3, at(0.4), size=0.6)]), Scene(*SIZE, [Actor(6, at(0.42), size=0.6)], ground=5)
    seen = watch([(one, 1.0), (other, 1.0)])
    assert all(list(people) == [1] for people in seen[:15])
    assert all(list(people) == [2] for people in seen[15:])


def test_nobody_is_seen_where_nobody_is():
    assert not any(watch([(Scene(*SIZE, []), 2.0)]))
