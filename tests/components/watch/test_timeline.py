"""The timeline: what is written is what is read, also after a crash; and what it sums up to."""

import csv
import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from components import faces
from components.errors import StepError
from components.inference.photo import FaceAnswer
from components.watch.timeline import COLUMNS, Entry, TimelineWriter, read_timeline, summarise, write_json


def entry(seconds: float, frame: int, person: int = 1, expression: int = 3, score: float | None = 0.9) -> Entry:
    random = np.random.default_rng(frame)
    shares = random.dirichlet(np.ones(5)).astype(np.float32)
    smoothed = np.full(5, 0.1, np.float32)
    smoothed[expression] = 0.6
    points = random.uniform(0, 700, (15, 2)).astype(np.float32)
    face = FaceAnswer((10.5, -2.0, 100.0, 120.5), score, points, shares)
    return Entry(seconds, frame, person, face, FaceAnswer(face.box, score, points + 1.0, smoothed))


def write(path: Path, *entries: Entry) -> Path:
    writer = TimelineWriter(path)
    for one in entries:
        writer.write([one])
    writer.close()
    return path


def test_what_is_read_is_what_was_written(tmp_path):
    written = [entry(1 / 3, 0), entry(0.5, 1, person=2, score=None)]
    read = list(read_timeline(write(tmp_path / 'timeline.csv', *written)))
    assert len(read) == 2
    for one, other in zip(written, read, strict=True):
        assert (other.frame, other.person, other.face.score) == (one.frame, one.person, one.face.score)
        assert other.face.box == one.face.box
        assert other.expression == one.expression
        assert other.seconds == pytest.approx(one.seconds, abs=1e-3)
        for mine, its in ((one.face, other.face), (one.smoothed, other.smoothed)):
            np.testing.assert_allclose(its.probabilities, mine.probabilities, atol=1e-4)
            np.testing.assert_allclose(its.keypoints, mine.keypoints, atol=1e-2)


def test_a_spreadsheet_finds_its_columns(tmp_path):
    with write(tmp_path / 'timeline.csv', entry(2.0, 60)).open(encoding='utf-8') as file:
        (row,) = csv.DictReader(file)
    assert list(row) == list(COLUMNS)
    assert len(row) == 9 + 10 + 60
    assert (row['seconds'], row['frame'], row['person'], row['expression']) == ('2.000', '60', '1', 'happiness')
    assert row['happiness_smoothed'] == '0.6'
    assert float(row['nose_tip_x_smoothed']) == pytest.approx(float(row['nose_tip_x']) + 1.0, abs=0.011)
    assert sum(float(row[name]) for name in faces.EXPRESSIONS) == pytest.approx(1.0, abs=1e-3)


def test_a_row_that_is_cut_short_is_left_out(tmp_path):
    path = write(tmp_path / 'timeline.csv', entry(0.0, 0), entry(0.1, 1))
    whole = path.read_bytes()
    for length in range(1, 200):
        path.write_bytes(whole[:-length])
        assert [one.frame for one in read_timeline(path)] == [0]


def test_another_csv_is_none(tmp_path):
    (tmp_path / 'other.csv').write_text('a,b\n1,2\n')
    with pytest.raises(StepError, match='is no timeline'):
        list(read_timeline(tmp_path / 'other.csv'))


def test_a_killed_program_leaves_what_it_has_seen(tmp_path):
    program = (
        'import sys; from pathlib import Path; from tests.components.watch.test_timeline import *\n'
        'writer = TimelineWriter(Path(sys.argv[1]))\n'
        'for index in range(7): writer.write([entry(index / 30, index)])\n'
        'print("written", flush=True); signal.pause()'
    )
    path = tmp_path / 'timeline.csv'
    with subprocess.Popen([sys.executable, '-c', program, str(path)], stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b'written\n'
        process.send_signal(signal.SIGKILL)
    assert [one.frame for one in read_timeline(path)] == list(range(7))


def test_a_full_disk_is_said_in_one_line(tmp_path):
    (tmp_path / 'timeline.csv').symlink_to('/dev/full')
    with pytest.raises(StepError, match=r'timeline.csv cannot be written \(No space left on device\)'):
        TimelineWriter(tmp_path / 'timeline.csv')


def test_json_says_the_same_under_a_head(tmp_path):
    path = write(tmp_path / 'timeline.csv', entry(0.0, 0), entry(0.04, 1, expression=0), entry(0.08, 2, person=2))
    people = summarise(read_timeline(path), 1, 25.0)
    write_json(tmp_path / 'timeline.json', {'video': {'name': 'a "film"'}}, people, read_timeline(path))
    values = json.loads((tmp_path / 'timeline.json').read_text(encoding='utf-8'))
    assert list(values) == ['video', 'people', 'entries']
    assert [person['person'] for person in values['people']] == [1, 2]
    with path.open(encoding='utf-8') as file:
        for row, one in zip(csv.DictReader(file), values['entries'], strict=True):
            assert float(row['seconds']) == one['seconds']
            assert float(row['left']) == one['box']['left']
            assert row['expression'] == one['expression']
            for name in faces.EXPRESSIONS:
                assert float(row[name]) == one['probabilities'][name]
                assert float(row[f'{name}_smoothed']) == one['smoothed']['probabilities'][name]
            for name in faces.KEYPOINTS:
                assert [float(row[f'{name}_{axis}']) for axis in 'xy'] == one['keypoints'][name]
    assert {path.name for path in tmp_path.iterdir()} == {'timeline.csv', 'timeline.json'}


def test_json_of_nobody_is_json(tmp_path):
    write_json(tmp_path / 'timeline.json', {'a': 1}, [], [])
    assert json.loads((tmp_path / 'timeline.json').read_text()) == {'a': 1, 'people': [], 'entries': []}


def test_a_summary_counts_seconds_not_frames():
    # Two seconds of happiness in two long frames, one second of anger in ten short ones, unevenly timed.
    entries = [entry(0.0, 0), entry(1.0, 1)]
    entries += [entry(2.0 + 0.1 * index, 2 + index, expression=0) for index in range(10)]
    (person,) = summarise(entries, 1, 10.0)
    assert person.seconds == pytest.approx(3.0)
    assert person.shares['happiness'] == pytest.approx(2 / 3)
    assert person.shares['anger'] == pytest.approx(1 / 3)
    assert (person.first, person.last, person.frames, person.changes) == (0.0, pytest.approx(2.9), 12, 1)


def test_a_gap_is_not_time_that_somebody_was_seen():
    entries = [entry(0.0, 0), entry(0.5, 5), entry(9.5, 95), entry(10.0, 100)]
    (person,) = summarise(entries, 5, 10.0)
    assert person.seconds == pytest.approx(2.0)
    assert sum(person.shares.values()) == pytest.approx(1.0)


def test_people_are_summed_up_apart():
    entries = [entry(0.0, 0, 2, 1), entry(0.0, 0, 1, 4), entry(0.1, 1, 1, 4), entry(0.2, 2, 2, 1)]
    first, second = summarise(entries, 1, 10.0)
    assert (first.person, first.changes, first.shares['surprise']) == (1, 0, 1.0)
    assert (second.person, second.seconds, second.shares['disgust']) == (2, pytest.approx(0.2), 1.0)
