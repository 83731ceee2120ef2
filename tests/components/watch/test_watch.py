"""Films watched with the real detector and a tiny model: all that is written, and that it agrees with itself."""

import csv
import json
import threading
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import cv2
import numpy as np
import pytest

from components import faces
from components.errors import StepError
from components.inference.detect import FaceDetector
from components.inference.photo import read_photo
from components.watch.frames import Film, parse_source
from components.watch.timeline import read_timeline
from components.watch.watch import NOTICE, OUTPUTS, Watched, WatchSettings, watch
from tests.components.watch.films import Actor, Scene, at, serve_motion_jpeg, write_film, write_matroska
from tests.components.watch.models import load, write_serving

SIZE = (480, 270)
ALONE = Scene(*SIZE, [Actor(3, lambda seconds: (0.4 + 0.1 * seconds, 0.5), size=0.6)])
EMPTY = Scene(*SIZE, [])


@pytest.fixture(scope='module')
def model(tmp_path_factory):
    return load(write_serving(tmp_path_factory.mktemp('serving')))


@pytest.fixture(scope='module')
def clip(tmp_path_factory) -> Path:
    """One face for a second, and nobody for half of one."""
    return write_film(tmp_path_factory.mktemp('clip') / 'clip.mp4', [(ALONE, 1.0), (EMPTY, 0.5)], 20.0)


@pytest.fixture
def see(model, tmp_path) -> Callable[..., Watched]:
    def see(path: Path | str, stop: threading.Event | None = None, **settings) -> Watched:
        film = Film(parse_source(str(path)), settings.get('start', 0.0))
        return watch(film, model, WatchSettings(**settings), tmp_path, stop or threading.Event())

    return see


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / 'timeline.csv').open(encoding='utf-8') as file:
        return list(csv.DictReader(file))


def test_everything_is_written(see, clip, tmp_path):
    watched = see(clip)
    assert (watched.ended, watched.frames, watched.seconds) == ('end', 30, pytest.approx(1.5))
    assert [path.name for path in watched.files] == list(OUTPUTS)
    assert {path.name for path in tmp_path.iterdir()} == set(OUTPUTS)
    found = rows(tmp_path)
    assert [int(row['frame']) for row in found] == list(range(20))
    assert {row['person'] for row in found} == {'1'}
    values = json.loads((tmp_path / 'timeline.json').read_text())
    assert values['notice'] == NOTICE
    assert values['video'] == {'name': 'clip.mp4', 'kind': 'file', 'width': 480, 'height': 270, 'rate': 20.0}
    assert values['model'] == {'name': 'faces', 'version': 1}
    assert len(values['entries']) == 20
    (person,) = values['people']
    assert person['seconds'] == pytest.approx(1.0)
    ElementTree.parse(tmp_path / 'expressions.svg')
    assert cv2.VideoCapture(str(tmp_path / 'annotated.mp4')).get(cv2.CAP_PROP_FRAME_COUNT) == 30


@pytest.mark.parametrize('which', ['all', 'whole'])
def test_a_frames_answer_is_that_of_a_photograph(see, model, tmp_path, which):
    yellow = Scene(*SIZE, [Actor(3, at(0.5), size=0.6)], light=(0.1, 1.0, 1.0))
    clip = write_film(tmp_path / 'yellow.mp4', [(yellow, 0.2)], 20.0)
    see(clip, video=False, faces=which)
    film = Film(parse_source(str(clip)))
    (entry, *_) = read_timeline(tmp_path / 'timeline.csv')
    image = cv2.cvtColor(film.read().image, cv2.COLOR_BGR2RGB)
    (answer,) = read_photo(image, model, FaceDetector(), which)
    # The detector looks at this size for smaller faces, and so trembles a little.
    np.testing.assert_allclose(entry.face.probabilities, answer.probabilities, atol=0.02)
    np.testing.assert_allclose(entry.face.keypoints, answer.keypoints, atol=4.0)
    np.testing.assert_allclose(entry.face.box, answer.box, atol=6.0)


def test_points_lie_on_the_face_in_every_frame(see, clip, tmp_path):
    see(clip)
    for entry in read_timeline(tmp_path / 'timeline.csv'):
        middle = entry.face.keypoints.mean(axis=0) / SIZE
        np.testing.assert_allclose(middle, [0.4 + 0.1 * entry.seconds, 0.5], atol=0.06)


def test_the_annotated_video_shows_what_was_seen(see, clip, tmp_path):
    see(clip)
    plain, drawn = (Film(parse_source(str(path))) for path in (clip, tmp_path / 'annotated.mp4'))
    entries = {entry.frame: entry for entry in read_timeline(tmp_path / 'timeline.csv')}
    for _ in range(30):
        frame, image = plain.read(), drawn.read().image
        changed = np.abs(frame.image.astype(int) - image).max(axis=-1) > 40
        if frame.number not in entries:
            assert changed.mean() < 0.005
            continue
        left, top, width, height = entries[frame.number].face.box
        border = changed[round(top) + 1, max(0, round(left)) : round(left + width)]
        assert changed.mean() > 0.02 and border.mean() > 0.5


def test_the_smoothed_follows_the_raw_more_slowly(see, tmp_path):
    dark, bright = (np.full((96, 96, 3), value, np.uint8) for value in (40, 220))
    film = [(index / 20, dark if index < 20 else bright) for index in range(40)]
    see(write_matroska(tmp_path / 'change.mkv', film), faces='whole', video=False)
    happiness = np.array([[float(row['happiness']), float(row['happiness_smoothed'])] for row in rows(tmp_path)])
    before, after = happiness[19, 0], happiness[21, 0]
    assert before < 0.2 < 0.8 < after
    elapsed = np.arange(1, 11) / 20
    expected = after + (before - after) * np.exp(-elapsed / 0.3)
    np.testing.assert_allclose(happiness[20:30, 1], expected, atol=0.02)
    assert [row['expression'] for row in rows(tmp_path)][20:26].count('sad') in (4, 5)


def test_an_unevenly_timed_film_is_smoothed_and_annotated_by_its_times(see, tmp_path):
    dark, bright = (np.full((96, 96, 3), value, np.uint8) for value in (40, 220))
    times = [0.0, 0.5, 1.0, 1.01, 1.3, 2.0, 2.05]
    film = [(seconds, dark if seconds <= 1.0 else bright) for seconds in times]
    watched = see(write_matroska(tmp_path / 'uneven.mkv', film), faces='whole')
    smoothed = {float(row['seconds']): float(row['happiness_smoothed']) for row in rows(tmp_path)}
    raw = {float(row['seconds']): float(row['happiness']) for row in rows(tmp_path)}
    assert smoothed[1.01] - raw[1.0] < 0.05 * (raw[1.01] - raw[1.0])
    left = np.exp(-0.29 / 0.3)
    assert smoothed[1.3] == pytest.approx(left * smoothed[1.01] + (1 - left) * raw[1.3], abs=2e-3)
    (person,) = watched.people
    assert person.seconds == pytest.approx(2.05, abs=0.2)
    drawn = cv2.VideoCapture(str(tmp_path / 'annotated.mp4'))
    length = drawn.get(cv2.CAP_PROP_FRAME_COUNT) / drawn.get(cv2.CAP_PROP_FPS)
    assert length == pytest.approx(watched.seconds, abs=0.2)


def test_every_nth_frame_is_looked_at_and_all_are_shown(see, clip, tmp_path):
    see(clip, every=4)
    assert [int(row['frame']) for row in rows(tmp_path)] == [0, 4, 8, 12, 16]
    assert cv2.VideoCapture(str(tmp_path / 'annotated.mp4')).get(cv2.CAP_PROP_FRAME_COUNT) == 30


def test_nobody_is_lost_between_two_frames_that_are_looked_at(see, tmp_path):
    still = Scene(*SIZE, [Actor(3, at(0.5), size=0.6)])
    watched = see(write_film(tmp_path / 'still.mp4', [(still, 8.0)], 10.0), every=35, video=False)
    assert [(person.person, person.frames) for person in watched.people] == [(1, 3)]


def test_every_nth_frame_is_the_same_without_a_video(see, clip, tmp_path):
    with_video = see(clip, every=4)
    found = rows(tmp_path)
    without = see(clip, every=4, video=False)
    assert rows(tmp_path) == found
    assert without.people == with_video.people
    assert [path.name for path in without.files] == ['timeline.csv', 'timeline.json', 'expressions.svg']


def test_a_part_is_watched(see, clip, tmp_path):
    watched = see(clip, start=0.5, duration=0.25)
    assert (watched.ended, watched.frames) == ('duration', 5)
    assert [row['seconds'] for row in rows(tmp_path)] == ['0.500', '0.550', '0.600', '0.650', '0.700']


def test_nobody_is_an_ordinary_answer(see, tmp_path):
    watched = see(write_film(tmp_path / 'empty.mp4', [(EMPTY, 0.5)], 20.0))
    assert watched.people == []
    assert rows(tmp_path) == []
    assert json.loads((tmp_path / 'timeline.json').read_text())['entries'] == []


def test_everybody_has_his_own_answer(see, tmp_path):
    actors = [Actor(1, at(0.25), size=0.45), Actor(3, at(0.7), size=0.65)]
    see(write_film(tmp_path / 'two.mp4', [(Scene(*SIZE, actors), 0.5)], 20.0), video=False)
    entries = list(read_timeline(tmp_path / 'timeline.csv'))
    assert [(entry.frame, entry.person) for entry in entries] == [(frame, who) for frame in range(10) for who in (1, 2)]
    for entry in entries:
        x = 0.7 if entry.person == 1 else 0.25
        left, _, width, _ = entry.face.box
        assert (left + width / 2) / SIZE[0] == pytest.approx(x, abs=0.06)
        np.testing.assert_allclose(entry.smoothed.keypoints.mean(axis=0) / SIZE, [x, 0.5], atol=0.08)


def test_the_largest_face_alone_is_followed(see, tmp_path):
    actors = [Actor(1, at(0.25), size=0.45), Actor(3, at(0.7), size=0.65)]
    see(write_film(tmp_path / 'two.mp4', [(Scene(*SIZE, actors), 0.5)], 20.0), faces='largest')
    found = rows(tmp_path)
    assert len(found) == 10
    assert all(float(row['left']) > 240 for row in found)


def test_the_whole_frame_is_one_face_where_it_is_cut_already(see, clip, tmp_path):
    see(clip, faces='whole')
    found = rows(tmp_path)
    assert len(found) == 30
    assert {(row['person'], row['score'], row['left'], row['width']) for row in found} == {('1', '', '0.0', '480.0')}


def test_a_film_that_is_cut_short_is_watched_as_far_as_it_goes_and_that_is_said(see, tmp_path):
    whole = write_film(tmp_path / 'whole.avi', [(ALONE, 4.0)], 10.0, 'MJPG')
    (tmp_path / 'short.avi').write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    watched = see(tmp_path / 'short.avi', video=False)
    assert 10 < watched.frames < 30
    assert any('short.avi ended at' in note and 'cut short' in note for note in watched.notes)


def test_what_is_interrupted_is_written(clip, model, tmp_path):
    stop = threading.Event()

    def progress(seconds: float) -> None:
        if seconds > 0.4:
            stop.set()

    watched = watch(Film(parse_source(str(clip))), model, WatchSettings(), tmp_path, stop, progress)
    assert watched.ended == 'interrupted'
    assert 8 < watched.frames < 14
    assert {path.name for path in tmp_path.iterdir()} == set(OUTPUTS)


def test_a_stream_is_watched_until_it_ends(see, tmp_path):
    images = [ALONE.frame(index / 20) for index in range(20)]
    with serve_motion_jpeg(images, pause=0.05) as url:
        watched = see(url)
    assert watched.people[0].person == 1
    assert watched.people[0].seconds > 0.3
    assert json.loads((tmp_path / 'timeline.json').read_text())['video']['kind'] == 'stream'


def test_a_full_disk_ends_the_watching_in_one_line(see, clip, tmp_path):
    (tmp_path / 'timeline.csv').symlink_to('/dev/full')
    with pytest.raises(StepError, match='No space left on device'):
        see(clip)


def test_a_nearly_full_disk_ends_the_watching_in_time(see, clip, tmp_path, monkeypatch):
    monkeypatch.setattr('components.watch.watch._RESERVE', 10**18)
    monkeypatch.setattr('components.watch.watch._LOOK_EVERY', 10)
    watched = see(clip)
    assert watched.ended == 'disk full'
    assert 'nearly full' in watched.notes[0]
    assert json.loads((tmp_path / 'timeline.json').read_text())['watched']['ended'] == 'disk full'


def test_probabilities_and_names_fit_the_domain(see, clip, tmp_path):
    see(clip)
    for row in rows(tmp_path):
        for suffix in ('', '_smoothed'):
            assert sum(float(row[f'{name}{suffix}']) for name in faces.EXPRESSIONS) == pytest.approx(1.0, abs=1e-3)
