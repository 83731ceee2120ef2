"""The annotated video is as long as what was watched."""

import cv2
import numpy as np
import pytest

from components.errors import StepError
from components.watch.frames import Film, parse_source
from components.watch.video import CODECS, AnnotatedVideo


def shade(value: int) -> np.ndarray:
    return np.full((90, 160, 3), value, np.uint8)


def read(path) -> list[int]:
    film = Film(parse_source(str(path)))
    shades = []
    while (frame := film.read()) is not None:
        shades.append(round(float(frame.image.mean())))
    film.close()
    return shades


def write(path, rate: float, *frames: tuple[float, int], end: float | None = None) -> AnnotatedVideo:
    video = AnnotatedVideo(path, rate, (160, 90))
    for seconds, value in frames:
        video.write(shade(value), seconds)
    video.close(end)
    return video


@pytest.mark.parametrize('rate', [12.5, 25.0, 29.97, 60.0])
def test_even_frames_are_written_once_each(tmp_path, rate):
    write(tmp_path / 'a.mp4', rate, *((5.0 + index / rate, 4 * index) for index in range(40)))
    shades = read(tmp_path / 'a.mp4')
    assert len(shades) == 40
    np.testing.assert_allclose(shades, 4 * np.arange(40), atol=4)
    capture = cv2.VideoCapture(str(tmp_path / 'a.mp4'))
    assert capture.get(cv2.CAP_PROP_FPS) == pytest.approx(rate, rel=1e-3)


def test_a_frame_lasts_until_the_next_one(tmp_path):
    write(tmp_path / 'a.mp4', 10.0, (0.0, 40), (0.1, 80), (1.0, 160), (1.02, 200), (1.1, 240), end=1.5)
    shades = read(tmp_path / 'a.mp4')
    assert len(shades) == 15
    np.testing.assert_allclose(shades, [40] + [80] * 9 + [200] + [240] * 4, atol=6)


def test_a_rate_that_cannot_be_is_no_flood_of_frames(tmp_path):
    write(tmp_path / 'a.mp4', 1000.0, (0.0, 40), (1.0, 80))
    assert len(read(tmp_path / 'a.mp4')) == pytest.approx(121, abs=1)


def test_odd_sizes_are_written(tmp_path):
    video = AnnotatedVideo(tmp_path / 'a.mp4', 25.0, (161, 91))
    for index in range(5):
        video.write(np.full((91, 161, 3), 50 * index, np.uint8), index / 25)
    video.close()
    assert len(read(tmp_path / 'a.mp4')) == 5


def test_its_coding_is_said(tmp_path):
    assert write(tmp_path / 'a.mp4', 25.0, (0.0, 1)).codec in CODECS.values()


def test_a_folder_that_is_missing_is_refused(tmp_path):
    with pytest.raises(StepError, match='a.mp4 cannot be written'):
        AnnotatedVideo(tmp_path / 'missing' / 'a.mp4', 25.0, (160, 90))
