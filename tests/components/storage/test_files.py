"""Artifacts as local files, on this machine and in an object store."""

import subprocess
import sys

import pytest

from components.storage.files import LocalFiles
from components.storage.s3 import ObjectFolder


def test_an_artifact_on_this_machine_is_its_own_folder(tmp_path):
    with LocalFiles() as files:
        assert files.read(str(tmp_path)) == files.write(str(tmp_path)) == files.edit(str(tmp_path)) == tmp_path


def test_what_is_written_is_stored_at_the_end_and_read_again(bucket):
    with LocalFiles() as files:
        folder = files.write(f'{bucket}/model')
        (folder / 'variables').mkdir()
        (folder / 'variables' / 'data').write_bytes(bytes(100_000))
        (folder / 'empty').write_bytes(b'')
        assert ObjectFolder(f'{bucket}/model').list() == []
    assert ObjectFolder(f'{bucket}/model').list() == ['empty', 'variables/data']
    assert not folder.exists(), 'the copy goes'
    with LocalFiles() as files:
        read = files.read(f'{bucket}/model')
        assert (read / 'variables' / 'data').read_bytes() == bytes(100_000)
        assert (read / 'empty').read_bytes() == b''
        assert files.read(f'{bucket}/model') == read, 'one copy'


def test_an_output_that_holds_nothing_is_there(bucket):
    with LocalFiles() as files:
        files.write(f'{bucket}/metrics')
    assert ObjectFolder(f'{bucket}/metrics').list() == ['.empty']


def test_a_step_that_fails_stores_nothing(bucket):
    with pytest.raises(RuntimeError), LocalFiles() as files:
        (files.write(f'{bucket}/model') / 'half').write_text('half')
        raise RuntimeError
    assert ObjectFolder(f'{bucket}/model').list() == []


def test_of_a_part_only_that_is_copied_and_the_rest_when_it_is_asked_for(bucket):
    with LocalFiles() as files:
        for name in ('Split-train/data', 'Split-eval/data'):
            path = files.write(f'{bucket}/examples') / name
            path.parent.mkdir()
            path.write_text(name)
    with LocalFiles() as files:
        folder = files.read(f'{bucket}/examples', 'Split-eval/')
        assert [path.name for path in folder.iterdir()] == ['Split-eval']
        assert (files.read(f'{bucket}/examples') / 'Split-train' / 'data').read_text() == 'Split-train/data'


def test_what_is_renamed_in_an_artifact_is_renamed_in_the_store(bucket):
    stored = ObjectFolder(f'{bucket}/blessing')
    stored.put('BLESSED', b'')
    stored.put('other', b'other')
    with LocalFiles() as files:
        folder = files.edit(f'{bucket}/blessing')
        (folder / 'BLESSED').rename(folder / 'NOT_BLESSED')
    assert stored.list() == ['NOT_BLESSED', 'other']


def test_local_files_bring_no_library_of_object_stores(tmp_path):
    code = f"""
import subprocess
import sys
from components.storage.files import LocalFiles
from components.storage.tensorflow import enable
from components.push import versions
import pipeline.cli, pipeline.storage
with LocalFiles() as files:
    files.read({str(tmp_path)!r})
enable({str(tmp_path)!r})
pipeline.storage.check(pipeline.config.Config())
versions.versions({str(tmp_path)!r})
print([name for name in sys.modules if name.partition('.')[0] in ('boto3', 'botocore', 'tensorflow_io', 'tensorflow')])
"""

    found = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == '[]'
