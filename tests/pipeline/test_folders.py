"""What a run says that could not write, on errors of the libraries that write: Linux' /dev/full has never any room."""

import sqlite3
from collections.abc import Callable
from pathlib import Path

import apache_beam as beam
import pytest
import tensorflow as tf

from pipeline.folders import interruption

KEPT = 'What was done before is kept: run it again to go on from there.'


def with_python(folder: Path) -> None:
    with Path('/dev/full').open('wb', buffering=0) as file:
        file.write(b'face')


def with_tensorflow(folder: Path) -> None:
    with tf.io.gfile.GFile('/dev/full', 'w') as file:
        file.write('face')


def with_beam(folder: Path) -> None:
    with beam.Pipeline() as pipeline:
        pipeline | beam.Create([folder]) | beam.Map(with_python)


def with_sqlite(folder: Path) -> None:
    with sqlite3.connect(folder / 'metadata.db') as database:
        database.execute('PRAGMA max_page_count = 2')
        for table in range(5):
            database.execute(f'CREATE TABLE table_{table} (id INT)')


def test_a_full_disk_is_told_in_one_line_with_what_to_do(tmp_path):
    for write in (with_python, with_tensorflow, with_beam, with_sqlite):
        message = interruption(raised(write, tmp_path), [tmp_path, tmp_path / 'missing', 's3://faces/serving'])
        assert '\n' not in message and 'Errno' not in message
        assert message.endswith(f'Make room on the disk of {tmp_path}. {KEPT}')


def read_only(folder: Path) -> None:
    sqlite3.connect(folder / 'metadata.db').close()
    (folder / 'metadata.db').touch()
    with sqlite3.connect(f'file:{folder}/metadata.db?mode=ro', uri=True) as database:
        database.execute('CREATE TABLE one (id INT)')


def refused(folder: Path) -> None:
    raise PermissionError(13, 'Permission denied', str(folder / 'serving'))


@pytest.mark.parametrize(('write', 'where'), [(read_only, 'ML Metadata'), (refused, 'serving')])
def test_a_folder_that_cannot_be_written_is_named(write, where, tmp_path):
    message = interruption(raised(write, tmp_path))
    assert where in message
    assert message.endswith(f'Let the pipeline read and write there, or name another folder. {KEPT}')


def test_other_errors_are_left_to_others():
    assert interruption(ValueError('The labels are wrong.')) == ''


def test_the_disk_with_the_least_room_is_named(tmp_path):
    message = interruption(raised(with_python, tmp_path), [tmp_path, '/proc'])
    assert 'Make room on the disk of /proc.' in message
    assert 'Make room on that disk.' in interruption(raised(with_python, tmp_path))


def raised(write: Callable[[Path], None], folder: Path) -> Exception:
    with pytest.raises(Exception) as caught:
        write(folder)
    return caught.value
