"""Frames and their times, from files, streams and what is neither."""

import threading
import time

import cv2
import numpy as np
import pytest

from components.errors import StepError
from components.watch.frames import Feed, Film, Source, parse_source
from tests.components.watch.films import Scene, serve_motion_jpeg, write_film, write_matroska

PLAIN = Scene(160, 120, [])


def shade(value: int) -> np.ndarray:
    return np.full((120, 160, 3), value, np.uint8)


def read_all(film: Film, skip: int = 0) -> list:
    frames = []
    while (frame := film.read(skip)) is not None:
        frames.append(frame)
    film.close()
    return frames


@pytest.fixture(scope='module')
def plain(tmp_path_factory):
    """Two seconds, 25 frames each."""
    return write_film(tmp_path_factory.mktemp('plain') / 'plain.mp4', [(PLAIN, 2.0)], 25.0)


def test_a_file_has_its_frames_with_their_times(plain):
    film = Film(parse_source(str(plain)))
    assert (film.width, film.height, film.live) == (160, 120, False)
    assert film.rate == pytest.approx(25.0)
    assert film.length == pytest.approx(2.0)
    frames = read_all(film)
    assert [frame.number for frame in frames] == list(range(50))
    np.testing.assert_allclose([frame.seconds for frame in frames], np.arange(50) / 25, atol=1e-3)
    assert frames[0].image.shape == (120, 160, 3)


def test_frames_that_are_passed_over_keep_their_numbers_and_times(plain):
    frames = read_all(Film(parse_source(str(plain))), skip=4)
    assert [frame.number for frame in frames] == list(range(0, 50, 5))
    np.testing.assert_allclose([frame.seconds for frame in frames], np.arange(0, 50, 5) / 25, atol=1e-3)


def test_frames_that_come_unevenly_have_their_own_times(tmp_path):
    times = [0.0, 0.02, 0.1, 0.75, 0.76, 2.0, 2.5]
    path = write_matroska(tmp_path / 'uneven.mkv', [(t, shade(30 * index)) for index, t in enumerate(times)])
    frames = read_all(Film(parse_source(str(path))))
    np.testing.assert_allclose([frame.seconds for frame in frames], times, atol=2e-3)


def test_times_that_stand_still_or_go_back_are_mended(tmp_path):
    times = [0.0, 0.5, 0.5, 0.2, 1.5]
    path = write_matroska(tmp_path / 'broken.mkv', [(t, shade(30 * index)) for index, t in enumerate(times)])
    seconds = [frame.seconds for frame in read_all(Film(parse_source(str(path))))]
    assert len(seconds) >= 4
    assert np.all(np.diff(seconds) > 0)


@pytest.mark.parametrize('start', [0.4, 1.0, 1.96])
@pytest.mark.parametrize('kind', ['plain', 'uneven'])
def test_the_beginning_is_left_out(plain, tmp_path, kind, start):
    if kind == 'uneven':
        times = np.concatenate([np.arange(0.0, 1.0, 0.02), np.arange(1.0, 2.0, 0.08)])
        plain = write_matroska(tmp_path / 'uneven.mkv', [(t, shade(int(100 * t))) for t in times])
    else:
        times = np.arange(50) / 25
    frames = read_all(Film(parse_source(str(plain)), start))
    expected = times[times >= start - 0.021]
    assert frames[0].number == 0
    assert abs(frames[0].seconds - start) < 0.085
    np.testing.assert_allclose([frame.seconds for frame in frames], expected[-len(frames) :], atol=2e-3)


def test_a_start_after_the_end_is_refused(plain):
    with pytest.raises(StepError, match=r'no frame that can be read after second 9: it ends at 2\.0|it ends at 1\.9'):
        Film(parse_source(str(plain)), 9.0)


def test_a_file_that_is_cut_short_is_read_as_far_as_it_goes(tmp_path):
    whole = write_film(tmp_path / 'whole.avi', [(PLAIN, 2.0)], 25.0, 'MJPG')
    short = tmp_path / 'short.avi'
    short.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    assert 5 < len(read_all(Film(parse_source(str(short))))) < 45


@pytest.mark.parametrize(
    ('name', 'content', 'message'),
    [
        ('empty.mp4', b'', 'empty.mp4 is empty'),
        ('text.mp4', b'a text and no video\n' * 99, 'text.mp4 is no video that can be read'),
        ('zeros.avi', bytes(5000), 'is no video'),
    ],
)
def test_what_is_no_video_is_refused_in_one_line(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(StepError, match=message):
        Film(parse_source(str(tmp_path / name)))


def test_an_mp4_without_its_end_is_refused(plain, tmp_path):
    (tmp_path / 'short.mp4').write_bytes(plain.read_bytes()[: plain.stat().st_size // 2])
    with pytest.raises(StepError, match='cut short'):
        Film(parse_source(str(tmp_path / 'short.mp4')))


def test_frames_of_too_many_pixels_are_refused(tmp_path, monkeypatch):
    path = write_film(tmp_path / 'large.avi', [(Scene(640, 480, []), 0.2)], 10.0, 'MJPG')
    monkeypatch.setattr('components.watch.frames.MAXIMUM_PIXELS', 640 * 480 - 1)
    with pytest.raises(StepError, match='frames of 640x480 pixels: give at most'):
        Film(parse_source(str(path)))


@pytest.mark.parametrize('text', ['0', '7', '/dev/video12'])
def test_cameras_have_a_number(text):
    number = int(text.removeprefix('/dev/video'))
    assert parse_source(text) == Source('camera', number, f'camera {number}', f'camera-{number}')


def test_a_camera_that_is_not_there_is_refused():
    with pytest.raises(StepError, match='There is no camera 987'):
        Film(parse_source('987'))


def test_a_streams_name_has_no_secrets():
    source = parse_source('RTSP://me:secret@host.example:554/live/1?token=abc')
    assert (source.kind, source.name, source.stem) == ('stream', 'rtsp://host.example:554/live/1', 'host.example')
    assert source.address == 'RTSP://me:secret@host.example:554/live/1?token=abc'


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('nowhere.mp4', 'There is no file nowhere.mp4'),
        ('a\0b.mp4', 'There is no file'),
        ('', 'There is no file'),
        ('file:///etc/passwd', 'file:// is no stream that is read'),
        ('concat://a|b', 'concat:// is no stream'),
        ('rtsp://', 'has no host'),
        ('http://[::1', 'has no host'),
    ],
)
def test_what_names_nothing_is_refused(tmp_path, monkeypatch, text, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StepError, match=message):
        parse_source(text)


def test_a_folder_is_refused(tmp_path):
    with pytest.raises(StepError, match='is a folder'):
        parse_source(str(tmp_path))


def test_a_stream_is_live_and_ends():
    with serve_motion_jpeg([shade(40 * index) for index in range(6)], pause=0.05) as url:
        film = Film(parse_source(url))
        assert film.live
        frames = read_all(film)
    assert len(frames) >= 4
    assert np.all(np.diff([frame.seconds for frame in frames]) > 0)
    assert frames[0].seconds == 0.0


def test_a_stream_has_no_start():
    with serve_motion_jpeg([shade(9)] * 30, pause=0.02) as url, pytest.raises(StepError, match='leave out --start'):
        Film(parse_source(url), 1.0)


def test_a_stream_that_is_none_is_refused():
    with serve_motion_jpeg([], pause=0.0) as url, pytest.raises(StepError, match='does not answer with a stream'):
        Film(parse_source(f'{url}/not-here'))


def test_a_slow_watcher_of_a_stream_sees_the_newest_frames():
    with serve_motion_jpeg([shade(2 * index) for index in range(100)], pause=0.01) as url:
        feed = Feed(Film(parse_source(url)))
        shades = []
        for frame in feed.frames(threading.Event()):
            shades.append(int(frame.image.mean()))
            time.sleep(0.1)
        feed.close()
    assert len(shades) < 40
    assert shades[-1] > 150


def test_a_slow_watcher_of_a_file_misses_nothing_and_little_waits_for_it(plain):
    film = Film(parse_source(str(plain)))
    feed = Feed(film)
    numbers = []
    for frame in feed.frames(threading.Event()):
        numbers.append(frame.number)
        time.sleep(0.005)
        assert film._number <= frame.number + 6
    feed.close()
    assert numbers == list(range(50))


def test_a_feed_ends_when_it_is_told_to_and_when_nobody_takes_its_frames(plain):
    stop = threading.Event()
    feed = Feed(Film(parse_source(str(plain))))
    for frame in feed.frames(stop):
        if frame.number == 3:
            stop.set()
    feed.close()
    assert frame.number == 3
    assert not feed._thread.is_alive()


def test_a_feed_of_a_source_that_falls_silent_ends_when_it_is_told_to():
    with serve_motion_jpeg([shade(40 * index) for index in range(6)], pause=0.02, silence=20.0) as url:
        stop = threading.Event()
        feed = Feed(Film(parse_source(url)))
        threading.Timer(0.5, stop.set).start()
        began = time.monotonic()
        assert len(list(feed.frames(stop))) >= 2
        feed.close()
        assert time.monotonic() - began < 8.0


def test_frames_that_change_their_size_are_brought_to_the_first_ones(tmp_path):
    large = cv2.resize(shade(200), (320, 240))
    path = write_matroska(tmp_path / 'sizes.mkv', [(0.0, shade(1)), (0.1, large), (0.2, shade(2))])
    assert {frame.image.shape for frame in read_all(Film(parse_source(str(path))))} == {(120, 160, 3)}
