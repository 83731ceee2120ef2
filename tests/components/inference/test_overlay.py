"""Overlays: what is drawn and where, on photographs of any size, and under which names they are written."""

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from components.inference.inputs import find_sources
from components.inference.overlay import COLOURS, SUFFIX, OverlayFolder, draw_overlay
from components.inference.photo import FaceAnswer

GREY = 128
POINTS = np.stack([np.linspace(0.2, 0.8, 15), np.linspace(0.3, 0.7, 15)], axis=1)


def photograph(height: int, width: int) -> np.ndarray:
    return np.full((height, width, 3), GREY, np.uint8)


def face(left: float, top: float, side: float, score: float | None = 0.9, happy: float = 0.6) -> FaceAnswer:
    others = (1 - happy) / 4
    probabilities = np.array([others, others, others, happy, others], np.float32)
    keypoints = (POINTS * side + [left, top]).astype(np.float32)
    return FaceAnswer((left, top, side, side), score, keypoints, probabilities)


def share_of(picture: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    """bool `[height, width]`: where it has about this colour."""
    return np.abs(picture.astype(int) - colour).max(axis=2) < 12


@pytest.mark.parametrize(('height', 'width'), [(40, 60), (480, 640), (2736, 3648)])
def test_box_and_points_lie_on_the_face_and_bars_beside_the_picture(height, width):
    side = 0.5 * height
    answer = face(0.25 * width, 0.25 * height, side)
    drawn = draw_overlay(photograph(height, width), [answer])
    inked = share_of(drawn, COLOURS[0])
    stretch = drawn.shape[0] / height
    edge = round(width * stretch)
    assert min(drawn.shape[:2]) >= 420 and drawn.shape[1] > edge

    rows, columns = np.nonzero(inked[:, :edge])
    box = np.array([0.25 * width, 0.25 * width + side, 0.25 * height, 0.25 * height + side]) * stretch
    np.testing.assert_allclose(
        [columns.min(), columns.max(), rows.min(), rows.max()], box, atol=0.02 * height * stretch
    )
    for x, y in answer.keypoints * stretch:
        assert inked[int(y), int(x)]
    assert inked[:, edge:].any()


def test_a_bar_is_as_long_as_its_probability():
    photo = photograph(480, 640)
    lengths = {
        happy: share_of(draw_overlay(photo, [face(10, 10, 50, happy=happy)])[:, 640:], COLOURS[0]).sum(axis=1).max()
        for happy in (0.25, 0.5, 1.0)
    }
    assert lengths[1.0] > 50
    assert lengths[0.5] == pytest.approx(0.5 * lengths[1.0], abs=2)
    assert lengths[0.25] == pytest.approx(0.25 * lengths[1.0], abs=2)


def test_where_no_face_was_looked_for_no_box_is_drawn():
    photo = photograph(480, 640)
    whole = FaceAnswer((0.0, 0.0, 640.0, 480.0), None, face(100, 100, 200).keypoints, face(0, 0, 1).probabilities)
    drawn = draw_overlay(photo, [whole])[:, :640]
    assert (drawn[:60] == GREY).all() and (drawn[400:] == GREY).all()
    assert not (drawn == GREY).all()


def test_a_photograph_without_a_face_stays_as_it_is_and_says_so():
    photo = np.random.default_rng(0).integers(0, 256, (500, 600, 3), np.uint8)
    drawn = draw_overlay(photo, [])
    assert np.array_equal(drawn[:, :600], photo)
    assert len(np.unique(drawn[:, 600:])) > 3


def test_many_faces_are_all_listed_in_their_colours():
    answers = [face(20 + 70 * (index % 8), 20 + 70 * (index // 8), 60) for index in range(48)]
    drawn = draw_overlay(photograph(480, 640), answers)
    for colour in COLOURS:
        assert share_of(drawn[:, 640:], colour).sum() > 8 * 20


@settings(max_examples=30, deadline=None)
@given(
    # Of these sizes a photograph is drawn on as it is.
    size=st.tuples(st.integers(420, 500), st.integers(420, 500)) | st.tuples(st.integers(2, 40), st.integers(2, 40)),
    box=st.tuples(*[st.floats(-1e12, 1e12)] * 4),
    points=st.lists(st.floats(-1e12, 1e12), min_size=30, max_size=30),
    score=st.none() | st.floats(0, 1),
    count=st.integers(1, 3),
)
def test_no_answer_is_drawn_outside_the_picture_or_defeats_the_drawing(size, box, points, score, count):
    probabilities = np.full(5, 0.2, np.float32)
    answer = FaceAnswer(box, score, np.float32(points).reshape(15, 2), probabilities)
    inside = FaceAnswer((0, 0, 1, 1), score, np.zeros((15, 2), np.float32), probabilities)
    drawn, expected = (draw_overlay(photograph(*size), [face] * count) for face in (answer, inside))
    assert drawn.shape == expected.shape
    if min(size) >= 420:
        assert np.array_equal(drawn[:, size[1] :], expected[:, size[1] :])


def test_an_enormous_photograph_is_reduced():
    drawn = draw_overlay(photograph(5000, 6000), [face(1000, 1000, 2000)])
    assert drawn.shape[0] < 4000
    assert draw_overlay(photograph(30_000, 2), []).shape[0] <= 8000


def test_overlays_have_names_of_their_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ('one/a.jpg', 'one/A.jpg', 'one/a.png', 'two/a.jpg', 'out/a.overlay.jpg', 'one/deep/a.jpg'):
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_bytes(b'a photograph')
    sources = find_sources(['one', 'two', 'out/a.overlay.jpg'])
    overlays = OverlayFolder(Path('out'), sources)
    paths = [overlays.path(index) for index in range(len(sources))]
    assert len({str(path).casefold() for path in paths}) == len(sources) == 6
    assert Path('out/a.overlay.jpg') not in paths
    assert Path('out/deep/a.overlay.jpg') in paths
    assert all(path.name.endswith(SUFFIX) for path in paths)

    for index in range(len(sources)):
        overlays.write(index, photograph(50, 40 + index))
    assert [Image.open(path).width for path in paths] == [40 + index for index in range(len(sources))]
    assert all(Path(source.name).read_bytes() == b'a photograph' for source in sources)
    assert not [path for path in Path('out').rglob('*') if path.name.startswith('.')]
    assert OverlayFolder(Path('out'), sources).path(0) == paths[0]


@given(stems=st.lists(st.text('aAbß\udcffé.', min_size=1, max_size=130), min_size=1, max_size=6))
def test_any_names_can_be_written_and_are_told_apart(stems, tmp_path_factory):
    folder = tmp_path_factory.getbasetemp() / 'names'
    sources = find_sources([f'/somewhere/{number}/{stem}.jpg' for number, stem in enumerate(stems)])
    overlays = OverlayFolder(folder, sources)
    paths = [overlays.path(index) for index in range(len(sources))]
    assert len({str(path).casefold() for path in paths}) == len(paths)
    assert all(path.parent == folder and len(os.fsencode(path.name)) <= 255 for path in paths)


def test_an_overlay_that_cannot_be_written_leaves_nothing_behind(tmp_path):
    overlays = OverlayFolder(tmp_path, find_sources(['a.jpg']))
    (tmp_path / f'a{SUFFIX}').mkdir()
    with pytest.raises(OSError, match='directory'):
        overlays.write(0, photograph(20, 20))
    assert [path.name for path in tmp_path.iterdir()] == [f'a{SUFFIX}']
