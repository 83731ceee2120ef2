"""`emotion-pipeline watch` as it is typed."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner, Result

from components.watch.watch import OUTPUTS
from pipeline.options import Group
from pipeline.watch_commands import watch_command
from tests.components.watch.films import Actor, Scene, at, serve_motion_jpeg, write_film
from tests.components.watch.models import write_serving

ROOT = Path(__file__).parents[2]
HEAVY = ('tensorflow', 'tfx', 'apache_beam', 'keras', 'scipy', 'matplotlib', 'pandas', 'jinja2')
"""What the server's environment has not, or what takes its time."""

PROGRAM = f"""
import sys
from pipeline.options import Group
from pipeline.watch_commands import watch_command
try:
    Group('main', {{'watch': watch_command}})(['watch', *sys.argv[1:]])
finally:
    loaded = [name for name in {HEAVY} if name in sys.modules]
    assert not loaded, loaded
"""


@pytest.fixture(scope='module')
def serving(tmp_path_factory) -> Path:
    return write_serving(write_serving(tmp_path_factory.mktemp('serving'), 1), 2)


@pytest.fixture(scope='module')
def clip(tmp_path_factory) -> Path:
    scene = Scene(320, 180, [Actor(3, at(0.5), size=0.7)])
    return write_film(tmp_path_factory.mktemp('clip') / 'My clip (1).mp4', [(scene, 0.5)], 20.0)


@pytest.fixture(scope='module')
def long_clip(tmp_path_factory) -> Path:
    """Half a minute, and large enough that they are not over at once."""
    scene = Scene(960, 540, [])
    return write_film(tmp_path_factory.mktemp('long') / 'long.avi', [(scene, 30.0)], 20.0, 'MJPG')


@pytest.fixture
def call(tmp_path, monkeypatch, serving) -> Callable[..., Result]:
    """Runs the command in this process, in a folder of the test's own."""
    monkeypatch.chdir(tmp_path)
    main = Group('main', {'watch': watch_command})
    return lambda *arguments: CliRunner().invoke(main, ['watch', '--serving', str(serving), *map(str, arguments)])


@pytest.fixture
def start(tmp_path, serving) -> Callable[..., subprocess.Popen]:
    """Starts the command as a process of its own."""

    def start(*arguments: object) -> subprocess.Popen:
        command = [sys.executable, '-c', PROGRAM, '--serving', str(serving), '--output', str(tmp_path / 'out')]
        environment = {**os.environ, 'PYTHONPATH': str(ROOT)}
        return subprocess.Popen(
            [*command, *map(str, arguments)],
            cwd=tmp_path,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return start


def complaint(result: Result) -> str:
    """The one line in which a command ended."""
    assert result.exit_code == 1, result.output
    (line,) = result.output.strip().splitlines()
    assert line.startswith('Error: ')
    return line


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / 'timeline.csv').open(encoding='utf-8') as file:
        return [row for row in csv.DictReader(file) if None not in row.values()]


def wait_for_rows(folder: Path, count: int) -> None:
    deadline = time.monotonic() + 60
    while not (folder / 'timeline.csv').exists() or len(rows(folder)) < count:
        assert time.monotonic() < deadline, 'nothing is written'
        time.sleep(0.02)


def test_a_video_is_watched_into_a_folder_with_its_name(call, clip, tmp_path):
    result = call(clip)
    assert result.exit_code == 0, result.output
    folder = tmp_path / 'My-clip-1-watched'
    assert {path.name for path in folder.iterdir()} == set(OUTPUTS)
    assert 'My clip (1).mp4: 0.5 s, 10 frames, 1 person; in ' in result.output
    assert 'x real time' in result.output
    assert 'person 1: seen 0.5 s from 0.0 s on; ' in result.output
    assert 'My-clip-1-watched/timeline.csv' in result.output
    assert len(rows(folder)) == 10
    assert json.loads((folder / 'timeline.json').read_text())['model']['version'] == 2


def test_options_reach_the_watching(call, clip, tmp_path):
    options = ('--every', 2, '--start', 0.1, '--duration', 0.3, '--smoothing', 0, '--faces', 'whole', '--version', 1)
    result = call(clip, '--no-video', '--output', 'here', *options)
    assert result.exit_code == 0, result.output
    values = json.loads((tmp_path / 'here' / 'timeline.json').read_text())
    assert values['settings'] == {
        'faces': 'whole',
        'every': 2,
        'start': 0.1,
        'duration': 0.3,
        'smoothing': 0.0,
        'lost_after': 2.0,
        'video': False,
    }
    assert values['model']['version'] == 1
    assert [entry['seconds'] for entry in values['entries']] == [0.1, 0.2, 0.3]
    assert all(entry['probabilities'] == entry['smoothed']['probabilities'] for entry in values['entries'])
    assert not (tmp_path / 'here' / 'annotated.mp4').exists()


def test_results_are_replaced_only_where_that_is_said(call, clip, tmp_path):
    call(clip, '--output', 'here')
    before = (tmp_path / 'here' / 'timeline.csv').stat().st_mtime_ns
    assert 'here/timeline.csv is there already' in complaint(call(clip, '--output', 'here', '--no-video'))
    assert (tmp_path / 'here' / 'timeline.csv').stat().st_mtime_ns == before
    assert call(clip, '--output', 'here', '--no-video', '--force').exit_code == 0
    assert (tmp_path / 'here' / 'timeline.csv').stat().st_mtime_ns != before
    # The video of another time would be taken for one of this.
    assert not (tmp_path / 'here' / 'annotated.mp4').exists()


def test_other_files_in_the_folder_are_left_alone(call, clip, tmp_path):
    (tmp_path / 'here').mkdir()
    (tmp_path / 'here' / 'notes.txt').write_text('mine')
    assert call(clip, '--output', 'here').exit_code == 0
    assert (tmp_path / 'here' / 'notes.txt').read_text() == 'mine'


def test_the_video_itself_is_not_replaced(call, clip, tmp_path):
    folder = tmp_path / 'here'
    call(clip, '--output', folder)
    before = (folder / 'annotated.mp4').read_bytes()
    assert 'is what would be replaced' in complaint(call(folder / 'annotated.mp4', '--output', folder, '--force'))
    assert (folder / 'annotated.mp4').read_bytes() == before


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (('nowhere.mp4',), 'There is no file nowhere.mp4'),
        (('text.mp4',), 'text.mp4 is no video that can be read'),
        (('.',), '. is a folder'),
        (('987',), 'There is no camera 987'),
        (('ftp://host/a.mp4',), 'ftp:// is no stream'),
        (('http://127.0.0.1:9/stream',), 'http://127.0.0.1:9/stream does not answer'),
        (('CLIP', '--version', '9'), 'holds no version 9: choose one of 1, 2'),
        (('CLIP', '--start', '90'), 'no frame that can be read after second 90'),
        (('CLIP', '--config', 'nothing', '--serving', ''), "There is no configuration 'nothing'"),
        (('CLIP', '--output', 'text.mp4/a'), 'Name another folder'),
        (('CLIP', '--serving', 'empty'), 'run `make run` first'),
    ],
)
def test_a_mistake_ends_in_one_line_and_leaves_nothing(call, clip, tmp_path, arguments, message):
    (tmp_path / 'text.mp4').write_text('no video')
    arguments = [str(clip) if argument == 'CLIP' else argument for argument in arguments]
    if '' in arguments:
        main = Group('main', {'watch': watch_command})
        result = CliRunner().invoke(main, ['watch', *arguments[:-2]])
    else:
        result = call(*arguments)
    assert message in complaint(result)
    assert {path.name for path in tmp_path.iterdir()} == {'text.mp4'}


def test_the_law_is_named():
    result = CliRunner().invoke(watch_command, ['--help'])
    said = ' '.join(result.output.split())
    assert 'Recognising the emotions of people at work or in education is prohibited in the EU' in said
    assert 'AI Act, Article 5(1)(f)' in said
    assert 'timeline.csv     a row for each person' in result.output


def test_the_servers_environment_has_all_that_it_needs(start, clip, tmp_path):
    with start(clip) as process:
        output, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert 'AssertionError' not in errors
    assert {path.name for path in (tmp_path / 'out').iterdir()} == set(OUTPUTS)


@pytest.mark.parametrize(('number', 'status'), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_file_is_written_as_far_as_it_was_watched(start, long_clip, tmp_path, number, status):
    with start(long_clip, '--faces', 'whole') as process:
        wait_for_rows(tmp_path / 'out', 5)
        process.send_signal(number)
        output, errors = process.communicate(timeout=60)
    assert process.returncode == status, errors
    assert 'Traceback' not in errors
    assert {path.name for path in (tmp_path / 'out').iterdir()} == set(OUTPUTS)
    values = json.loads((tmp_path / 'out' / 'timeline.json').read_text())
    assert values['watched']['ended'] == 'interrupted'
    assert 5 <= len(values['entries']) == len(rows(tmp_path / 'out')) < 600
    drawn = cv2.VideoCapture(str(tmp_path / 'out' / 'annotated.mp4')).get(cv2.CAP_PROP_FRAME_COUNT)
    assert drawn == values['watched']['frames']


def test_a_killed_watch_leaves_a_csv(start, long_clip, tmp_path):
    with start(long_clip, '--faces', 'whole') as process:
        wait_for_rows(tmp_path / 'out', 5)
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=60)
    found = rows(tmp_path / 'out')
    assert [int(row['frame']) for row in found] == list(range(len(found)))


def test_a_stream_is_ended_by_an_interrupt_as_it_should(start, tmp_path):
    images = [np.full((180, 320, 3), index % 250, np.uint8) for index in range(3000)]
    with serve_motion_jpeg(images, pause=0.03) as url, start(url, '--faces', 'whole') as process:
        wait_for_rows(tmp_path / 'out', 5)
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert {path.name for path in (tmp_path / 'out').iterdir()} == set(OUTPUTS)
    assert output.startswith(url)


def test_a_live_view_is_offered(start, long_clip):
    with start(long_clip, '--faces', 'whole', '--live') as process:
        line = process.stderr.readline()
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    assert line.startswith('Live view: http://127.0.0.1:')
