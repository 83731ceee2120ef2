"""The history of runs."""

import dataclasses
import subprocess
import sys
import threading

import pytest

from components.errors import StepError
from pipeline import history
from pipeline.history import Entry


@pytest.fixture(scope='module')
def dead() -> int:
    """The id of a process that has ended."""
    with subprocess.Popen([sys.executable, '-c', '']) as process:
        pass
    return process.pid


def test_entries_come_back_oldest_first(tmp_path):
    entries = [
        Entry('20240101-000000', 'pushed', '2024-01-01T00:00:00+00:00', 1.5, '', {'expression': {'accuracy': 0.5}}),
        Entry('20240102-000000', 'refused', '2024-01-02T00:00:00+00:00', message='why', pushed={'faces': 3}),
        Entry('20240102-000000-2', 'failed', '2024-01-02T00:00:00+00:00', report='/report.html'),
    ]
    for entry in reversed(entries):
        history.write(tmp_path / entry.run, entry)
    assert history.read(tmp_path) == entries


def test_a_store_without_runs_has_no_entries(tmp_path):
    (tmp_path / 'begun but not written').mkdir()
    assert history.read(tmp_path) == []
    assert history.read(tmp_path / 'nothing') == []


def test_a_run_whose_process_is_gone_was_killed(tmp_path, dead):
    entry = Entry('1', history.RUNNING, '', process=dead)
    history.write(tmp_path / '1', entry)
    assert history.read(tmp_path) == [dataclasses.replace(entry, state=history.KILLED)]


def test_a_run_whose_process_lives_is_running(tmp_path):
    with subprocess.Popen([sys.executable, '-c', 'input()'], stdin=subprocess.PIPE) as process:
        history.write(tmp_path / '1', Entry('1', history.RUNNING, '', process=process.pid))
        (entry,) = history.read(tmp_path)
    assert entry.state == history.RUNNING
    assert history.read(tmp_path)[0].state == history.KILLED


def test_a_run_that_ended_stays_what_it_was(tmp_path, dead):
    history.write(tmp_path / '1', Entry('1', 'pushed', '', process=dead))
    assert history.read(tmp_path)[0].state == 'pushed'


def test_a_reader_never_sees_half_an_entry(tmp_path):
    message = 'x' * 100_000
    history.write(tmp_path / '1', Entry('1', 'pushed', '', message=message))
    done = threading.Event()
    failures = []

    def look() -> None:
        while not done.is_set():
            try:
                assert len(history.read(tmp_path)[0].message) == len(message)
            except (AssertionError, StepError) as error:
                failures.append(error)

    reader = threading.Thread(target=look)
    reader.start()
    try:
        for number in range(50):
            history.write(tmp_path / '1', Entry('1', 'pushed', '', float(number), message))
    finally:
        done.set()
        reader.join()
    assert not failures


@pytest.mark.parametrize('text', [b'', b'{', b'[]', b'{"run": "1"}', b'{"unknown": 1}', b'\xff'])
def test_a_damaged_entry_is_told_in_one_line(tmp_path, text):
    (tmp_path / '1').mkdir()
    (tmp_path / '1' / history.FILE_NAME).write_bytes(text)
    with pytest.raises(StepError, match='is damaged: remove the folder of this run') as caught:
        history.read(tmp_path)
    assert str(tmp_path / '1') in str(caught.value)
