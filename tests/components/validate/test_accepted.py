"""Which statistics a run is compared with, and how they are kept."""

import os
from pathlib import Path

import pytest

from components.validate.accepted import accept, previous


@pytest.fixture
def statistics(tmp_path):
    def write(name: str, **files: str) -> Path:
        folder = tmp_path / name
        for file, text in files.items():
            (folder / 'Split-train').mkdir(parents=True, exist_ok=True)
            (folder / 'Split-train' / file).write_text(text)
        return folder

    return write


def age(folder: Path, name: str, seconds: int) -> None:
    before = (folder / name).stat().st_mtime - seconds
    os.utime(folder / name, (before, before))


def test_there_is_nothing_before_the_first_run(tmp_path):
    assert previous(tmp_path / 'accepted', 'one') is None


def test_the_newest_other_data_are_compared_with(tmp_path, statistics):
    folder = tmp_path / 'accepted'
    for name, seconds in (('zebra', 300), ('apple', 200), ('mango', 100)):
        accept(folder, name, statistics(name, stats=name))
        age(folder, name, seconds)
    assert previous(folder, 'new') == folder / 'mango'
    assert previous(folder, 'mango') == folder / 'apple'
    assert (previous(folder, 'mango') / 'Split-train' / 'stats').read_text() == 'apple'


def test_data_are_not_compared_with_themselves(tmp_path, statistics):
    accept(tmp_path / 'accepted', 'same', statistics('same', stats='1'))
    assert previous(tmp_path / 'accepted', 'same') is None


def test_data_that_are_accepted_again_become_the_newest(tmp_path, statistics):
    folder = tmp_path / 'accepted'
    for name, seconds in (('first', 200), ('second', 100)):
        accept(folder, name, statistics(name, stats=name))
        age(folder, name, seconds)
    # copytree would hand on the source's own, old, time.
    os.utime(tmp_path / 'first', (1, 1))
    accept(folder, 'first', tmp_path / 'first')
    assert previous(folder, 'third') == folder / 'first'


def test_accepting_replaces_the_whole_folder(tmp_path, statistics):
    folder = tmp_path / 'accepted'
    accept(folder, 'data', statistics('old', stats='old', left='over'))
    accept(folder, 'data', statistics('new', stats='new'))
    assert [path.name for path in folder.iterdir()] == ['data']
    assert {path.name: path.read_text() for path in (folder / 'data' / 'Split-train').iterdir()} == {'stats': 'new'}


def test_a_copy_that_fails_leaves_what_was_accepted(tmp_path, statistics):
    folder = tmp_path / 'accepted'
    accept(folder, 'data', statistics('old', stats='old'))
    with pytest.raises(FileNotFoundError):
        accept(folder, 'data', tmp_path / 'missing')
    assert previous(folder, 'other') == folder / 'data'
    assert (folder / 'data' / 'Split-train' / 'stats').read_text() == 'old'
