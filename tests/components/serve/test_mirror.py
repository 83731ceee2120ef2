"""A folder that follows a serving folder in an object store."""

from pathlib import Path

import pytest

from components import faces
from components.push import versions
from components.push.stored_folder import MARKER
from components.serve.mirror import Mirror
from components.storage.s3 import StorageError


def push(folder: Path, uri: str, name: str, keep: int = 5) -> None:
    folder.mkdir(exist_ok=True)
    (folder / MARKER).write_text(name)
    versions.publish(folder, f'{uri}/{faces.JOINT_MODEL}', versions.Provenance(*[name] * 7), None, keep)


def test_whole_versions_come_and_go_as_they_do_there(bucket, tmp_path):
    push(tmp_path / 'saved', bucket, 'a')
    mirror, here = Mirror(bucket, tmp_path / 'mirror'), tmp_path / 'mirror' / faces.JOINT_MODEL
    mirror.update()
    push(tmp_path / 'saved', bucket, 'b')
    assert versions.versions(here) == [1]
    mirror.update()
    assert versions.versions(here) == [1, 2]
    assert (here / '2' / MARKER).read_text() == 'b'
    assert versions.provenance(here, 2).artifact == 'b'
    push(tmp_path / 'saved', bucket, 'c', keep=1)
    mirror.update()
    assert versions.versions(here) == [3]
    assert sorted(entry.name for entry in here.iterdir()) == ['3'], 'nothing is left lying about'


def test_a_store_that_goes_away_leaves_what_is_here(bucket, tmp_path, monkeypatch, caplog):
    push(tmp_path / 'saved', bucket, 'a')
    mirror = Mirror(bucket, tmp_path / 'mirror')
    mirror.update()

    def fail(self):
        raise StorageError('It is gone.')

    monkeypatch.setattr('components.push.stored_folder.StoredFolder.numbers', fail)
    mirror.update()
    assert 'looking again. It is gone.' in caplog.text
    assert versions.versions(tmp_path / 'mirror' / faces.JOINT_MODEL) == [1]


def test_a_bucket_that_is_none_ends_the_start(bucket, tmp_path):
    with pytest.raises(StorageError, match='no bucket'):
        Mirror('s3://nowhere/serving', tmp_path)
