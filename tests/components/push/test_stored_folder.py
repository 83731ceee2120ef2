"""The serving folder in an object store, seen by readers and by other pushers while versions come and go."""

import dataclasses
import datetime
import json
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from components.errors import StepError
from components.push import stored_folder, versions
from components.push.stored_folder import MARKER
from components.push.versions import baseline, provenance, publish, rollback, served
from components.storage.s3 import ObjectFolder, StorageError
from tests.components.push.facts import facts

NAMES = ['assets.extra/names.json', MARKER, 'variables/variables.data']


@pytest.fixture
def saved_model(tmp_path: Path) -> Path:
    folder = tmp_path / 'saved'
    for name in NAMES:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(name.encode() * 1000)
    return folder


def test_versions_count_upward_and_hold_the_model_its_provenance_its_card_and_its_warmup(saved_model, bucket, tmp_path):
    warmup = tmp_path / 'warmup'
    warmup.write_bytes(b'requests')
    assert [publish(saved_model, bucket, facts(name), warmup, 5, f'card of {name}') for name in 'abc'] == [1, 2, 3]
    assert versions.versions(bucket) == [1, 2, 3] and served(bucket) == 3
    assert provenance(bucket, 2) == facts('b')
    versions.copy(bucket, 3, tmp_path / '3')
    copied = {path.relative_to(tmp_path / '3').as_posix() for path in (tmp_path / '3').rglob('*') if path.is_file()}
    assert copied == {*NAMES, versions.PROVENANCE, versions.MODEL_CARD, 'assets.extra/tf_serving_warmup_requests'}
    assert (tmp_path / '3' / MARKER).read_bytes() == MARKER.encode() * 1000
    # The same artifact, pushed by a run that was killed afterwards, stays one version.
    assert publish(saved_model, bucket, dataclasses.replace(facts('c'), run='later'), None, 5) == 3
    assert publish(saved_model, bucket, facts('a'), None, 5) == 0
    assert versions.versions(bucket) == [1, 2, 3]


def test_a_reader_never_sees_a_part_of_a_version(saved_model, bucket, tmp_path):
    """Also not of one that goes: two of them stay."""
    seen, gone, broken = set(), [], []
    done = threading.Event()
    expected = {*NAMES, versions.PROVENANCE}

    def look() -> None:
        while not done.is_set():
            for version in versions.versions(bucket):
                copied = tmp_path / f'{version}-{threading.get_ident()}-{len(seen)}-{len(gone)}'
                try:
                    versions.copy(bucket, version, copied)
                except FileNotFoundError:
                    gone.append(version)
                    continue
                names = {path.relative_to(copied).as_posix() for path in copied.rglob('*') if path.is_file()}
                artifact = json.loads((copied / versions.PROVENANCE).read_text())['artifact'] if names else ''
                if names != expected or (copied / 'variables/variables.data').read_text() != artifact * 20_000:
                    broken.append((version, names))
                seen.add((version, len(seen)))

    readers = [threading.Thread(target=look) for _ in range(2)]
    for reader in readers:
        reader.start()
    try:
        for number in range(8):
            (saved_model / 'variables/variables.data').write_text(f'<{number}>' * 20_000)
            publish(saved_model, bucket, facts(f'<{number}>'), None, keep=2)
    finally:
        done.set()
        for reader in readers:
            reader.join()
    assert not broken
    assert len({version for version, _ in seen}) > 2, 'the readers have to have looked in between'
    assert versions.versions(bucket) == [7, 8]


def test_pushers_at_once_get_numbers_of_their_own(saved_model, bucket):
    pushed: dict[int, str] = {}
    start = threading.Barrier(4)

    def push(pusher: int) -> None:
        for count in range(3):
            name = f'{pusher}-{count}'
            start.wait(60)
            number = publish(saved_model, bucket, facts(name), None, 100)
            assert pushed.setdefault(number, name) == name

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(push, range(4)))
    assert len(pushed) == 12
    assert versions.versions(bucket) == sorted(pushed)
    for number, name in pushed.items():
        assert provenance(bucket, number).artifact == name


KILLED = """
import os, signal, sys
from pathlib import Path
from components.push import versions
from components.storage.s3 import ObjectFolder
ObjectFolder.put = lambda *arguments: os.kill(os.getpid(), signal.SIGKILL)
versions.publish(Path(sys.argv[1]), sys.argv[2], versions.Provenance(*['b'] * 7), None, 5)
"""


def test_a_push_that_is_killed_before_the_last_object_counts_for_nothing(saved_model, bucket, monkeypatch):
    publish(saved_model, bucket, facts('a'), None, 5)
    killed = subprocess.run([sys.executable, '-c', KILLED, str(saved_model), bucket], timeout=60)
    assert killed.returncode == -signal.SIGKILL
    assert '2/variables/variables.data' in ObjectFolder(bucket).list(), 'all but the last one was written'
    assert versions.versions(bucket) == [1] and served(bucket) == 1
    # Its number is not taken again, and what it left stays as long as it may be at work.
    assert publish(saved_model, bucket, facts('b'), None, 5) == 3
    assert ObjectFolder(bucket).list('2/')
    monkeypatch.setattr(stored_folder, 'ABANDONED', datetime.timedelta(seconds=-1))
    assert publish(saved_model, bucket, facts('c'), None, 5) == 4
    assert not ObjectFolder(bucket).list('2/')
    assert versions.versions(bucket) == [1, 3, 4]


def test_a_push_that_fails_takes_back_what_it_wrote(saved_model, bucket, monkeypatch):
    def fail(*arguments):
        raise StorageError('It is gone.')

    with monkeypatch.context() as patch:
        patch.setattr(ObjectFolder, 'put', fail)
        with pytest.raises(StorageError, match='It is gone'):
            publish(saved_model, bucket, facts('a'), None, 5)
    assert not ObjectFolder(bucket).list('1/')
    assert publish(saved_model, bucket, facts('a'), None, 5) == 2


def test_a_version_is_removed_from_its_first_object_on(saved_model, bucket, monkeypatch):
    publish(saved_model, bucket, facts('a'), None, 5)
    removed, remove = [], ObjectFolder.remove
    monkeypatch.setattr(ObjectFolder, 'remove', lambda self, names: (removed.append(list(names)), remove(self, names)))
    publish(saved_model, bucket, facts('b'), None, 1)
    assert removed[0] == [f'1/{MARKER}']
    assert not ObjectFolder(bucket).list('1/')
    assert versions.versions(bucket) == [2]


def test_rollback_and_baseline_are_as_on_this_machine(saved_model, bucket, tmp_path):
    with pytest.raises(StepError, match='none to go back to'):
        rollback(bucket, None, 'later')
    for name in 'ab':
        (saved_model / MARKER).write_text(name)
        publish(saved_model, bucket, facts(name), None, 5)
    assert (baseline(bucket, 'x'), baseline(bucket, 'made of b')) == (2, 1)
    assert rollback(bucket, None, 'later') == (1, 3)
    versions.copy(bucket, 3, tmp_path / '3')
    assert (tmp_path / '3' / MARKER).read_text() == 'a'
    assert provenance(bucket, 3) == dataclasses.replace(facts('a'), created='later', rollback_of=1)
    with pytest.raises(StepError, match='no version 9: choose one of 1, 2, 3'):
        rollback(bucket, 9, 'later')


def test_identity_stays_until_the_folder_is_made_anew(bucket):
    first = versions.identity(bucket)
    assert versions.identity(bucket) == first
    ObjectFolder(bucket).remove(['.identity'])
    assert versions.identity(bucket) != first


def test_a_missing_provenance_is_told_in_one_line(saved_model, bucket):
    publish(saved_model, bucket, facts('a'), None, 5)
    ObjectFolder(bucket).remove([f'1/{versions.PROVENANCE}'])
    with pytest.raises(StepError, match='missing or damaged: remove version 1'):
        baseline(bucket, 'x')
