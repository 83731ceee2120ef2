"""The serving folder, seen by a server that reads it while versions come and go."""

import dataclasses
import json
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from components.errors import StepError
from components.push import versions
from components.push.versions import baseline, provenance, publish, rollback, served
from tests.components.push.facts import facts


@pytest.fixture
def saved_model(tmp_path: Path) -> Path:
    folder = tmp_path / 'saved'
    (folder / 'variables').mkdir(parents=True)
    (folder / 'assets.extra').mkdir()
    (folder / 'assets.extra' / 'names.json').write_text('{}')
    (folder / 'saved_model.pb').write_bytes(b'graph')
    (folder / 'variables' / 'variables.data').write_bytes(bytes(200_000))
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / 'serving' / 'expression'


def in_sight(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir() if not entry.name.startswith('.'))


def staged(folder: Path) -> list[Path]:
    return list(folder.glob('.staged*'))


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob('*') if path.is_file()}


def test_versions_count_upward_and_hold_the_model_its_provenance_and_its_warmup(saved_model, folder, tmp_path):
    warmup = tmp_path / 'warmup'
    warmup.write_bytes(b'requests')
    assert [publish(saved_model, folder, facts(name), warmup, keep=5) for name in ('a', 'b', 'c')] == [1, 2, 3]
    assert served(folder) == 3
    assert in_sight(folder) == ['1', '2', '3']
    assert provenance(folder, 2) == facts('b')
    expected = contents(saved_model) | {'assets.extra/tf_serving_warmup_requests': b'requests'}
    written = contents(folder / '3')
    assert json.loads(written.pop(versions.PROVENANCE)) == dataclasses.asdict(facts('c'))
    assert written == expected
    assert (folder / '3').stat().st_mode & 0o777 == 0o755, 'a server runs as another user'
    assert not staged(folder)


def test_a_number_is_never_used_again_while_a_higher_one_is_there(saved_model, folder):
    for name in 'abc':
        publish(saved_model, folder, facts(name), None, keep=5)
    shutil.rmtree(folder / '2')
    assert publish(saved_model, folder, facts('d'), None, keep=5) == 4


def test_what_is_no_version_is_overlooked(saved_model, folder):
    (folder / '.staged-9').mkdir(parents=True)
    (folder / 'notes').mkdir()
    (folder / '7').write_text('a file')
    assert versions.versions(folder) == []
    assert served(folder) is None
    assert versions.versions(folder / 'nothing') == []


def test_a_reader_never_sees_a_part_of_a_version(saved_model, folder):
    incomplete, seen = set(), set()
    done = threading.Event()

    def look() -> None:
        while not done.is_set():
            for version in versions.versions(folder):
                seen.add(version)
                whole = len(contents(saved_model)) + 1
                try:
                    assert json.loads((folder / str(version) / versions.PROVENANCE).read_text())['artifact']
                    assert len(contents(folder / str(version))) == whole
                    assert (folder / str(version) / 'variables' / 'variables.data').stat().st_size == 200_000
                except (OSError, ValueError, AssertionError):
                    incomplete.add(version)

    reader = threading.Thread(target=look)
    reader.start()
    try:
        for number in range(20):
            publish(saved_model, folder, facts(str(number)), None, keep=100)
    finally:
        done.set()
        reader.join()
    assert not incomplete
    assert len(seen) > 5, 'the reader has to have looked in between'


def test_nothing_is_removed_under_a_name_that_servers_read(saved_model, folder, monkeypatch):
    removed, rmtree = [], shutil.rmtree
    monkeypatch.setattr(shutil, 'rmtree', lambda path: (removed.append(path.name), rmtree(path)))
    for name in 'abcd':
        publish(saved_model, folder, facts(name), None, keep=2)
    assert in_sight(folder) == ['3', '4']
    assert len(removed) == 2
    assert all(name.startswith('.') for name in removed)


def test_pruning_keeps_the_newest_and_always_the_served_one(saved_model, folder):
    for name in 'abcdefghijkl':
        publish(saved_model, folder, facts(name), None, keep=3)
    assert versions.versions(folder) == [10, 11, 12], 'by number, not by name'
    publish(saved_model, folder, facts('z'), None, keep=0)
    assert versions.versions(folder) == [13]


def test_the_same_artifact_pushed_twice_stays_one_version(saved_model, folder):
    publish(saved_model, folder, facts('a'), None, keep=5)
    again = dataclasses.replace(facts('a'), run='a later run')
    assert publish(saved_model, folder, again, None, keep=5) == 1
    assert in_sight(folder) == ['1']
    assert provenance(folder, 1).run == 'run'


@pytest.mark.parametrize('step', ['copytree', 'copyfile', 'rename'])
def test_a_failed_publish_leaves_the_versions_alone_and_the_next_one_cleans_up(
    saved_model, folder, tmp_path, monkeypatch, step
):
    warmup = tmp_path / 'warmup'
    warmup.write_bytes(b'requests')
    publish(saved_model, folder, facts('a'), warmup, keep=5)
    before = contents(folder / '1')

    def fail(*arguments, **keywords):
        raise OSError(28, 'No space left on device')

    with monkeypatch.context() as patch:
        patch.setattr(Path if step == 'rename' else shutil, step, fail)
        with pytest.raises(OSError, match='No space left'):
            publish(saved_model, folder, facts('b'), warmup, keep=5)
    assert in_sight(folder) == ['1']
    assert contents(folder / '1') == before
    assert publish(saved_model, folder, facts('b'), warmup, keep=5) == 2
    assert not staged(folder)


KILLED = """
import os, signal, sys
from pathlib import Path
from components.push import versions
Path.rename = lambda *arguments: os.kill(os.getpid(), signal.SIGKILL)
versions.publish(Path(sys.argv[1]), Path(sys.argv[2]), versions.Provenance(*['b'] * 7), None, 5)
"""


def test_a_publish_that_is_killed_before_the_rename_holds_nobody_up(saved_model, folder):
    publish(saved_model, folder, facts('a'), None, keep=5)
    killed = subprocess.run([sys.executable, '-c', KILLED, str(saved_model), str(folder)], timeout=60)
    assert killed.returncode == -signal.SIGKILL
    (leftover,) = staged(folder)
    assert (leftover / 'saved_model.pb').exists(), 'the copy was made'
    assert served(folder) == 1
    # Neither the lock nor the leftover of the dead process stands in the way.
    assert publish(saved_model, folder, facts('b'), None, keep=5) == 2
    assert not staged(folder)


def test_two_publishers_at_once_get_numbers_of_their_own(saved_model, folder):
    numbers: list[int] = []
    names = [f'{publisher}-{count}' for publisher in range(4) for count in range(5)]

    def push(mine: list[str]) -> None:
        numbers.extend(publish(saved_model, folder, facts(name), None, keep=100) for name in mine)

    threads = [threading.Thread(target=push, args=(names[start::4],)) for start in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(numbers) == list(range(1, 21))
    assert {provenance(folder, number).artifact for number in numbers} == set(names)


def test_rollback_serves_a_copy_of_the_version_before_with_a_higher_number(saved_model, folder):
    publish(saved_model, folder, facts('a'), None, keep=5)
    (saved_model / 'saved_model.pb').write_bytes(b'another graph')
    publish(saved_model, folder, facts('b'), None, keep=5)
    assert rollback(folder, None, 'later') == (1, 3)
    assert served(folder) == 3
    assert in_sight(folder) == ['1', '2', '3']
    assert (folder / '3' / 'saved_model.pb').read_bytes() == b'graph'
    assert provenance(folder, 3) == dataclasses.replace(facts('a'), created='later', rollback_of=1)


def test_rollback_to_a_named_version(saved_model, folder):
    for name in 'abc':
        (saved_model / 'saved_model.pb').write_text(name)
        publish(saved_model, folder, facts(name), None, keep=5)
    assert rollback(folder, 1, 'later') == (1, 4)
    assert (folder / '4' / 'saved_model.pb').read_text() == 'a'
    # A rollback may be rolled back itself.
    assert rollback(folder, None, 'later still') == (3, 5)
    assert (folder / '5' / 'saved_model.pb').read_text() == 'c'


def test_rollback_removes_no_version(saved_model, folder):
    for name in 'ab':
        publish(saved_model, folder, facts(name), None, keep=2)
    rollback(folder, None, 'later')
    assert versions.versions(folder) == [1, 2, 3]


@pytest.mark.parametrize(
    ('present', 'wanted', 'message'),
    [('', None, 'none to go back to'), ('a', None, 'none to go'), ('ab', 9, r'no version 9: choose one of 1, 2')],
)
def test_a_rollback_to_nowhere_is_told_in_one_line(saved_model, folder, present, wanted, message):
    for name in present:
        publish(saved_model, folder, facts(name), None, keep=5)
    with pytest.raises(StepError, match=message) as caught:
        rollback(folder, wanted, 'later')
    assert '\n' not in str(caught.value)
    assert versions.versions(folder) == list(range(1, len(present) + 1))


def test_the_baseline_is_the_newest_version_that_is_not_the_candidate_itself(saved_model, folder):
    assert baseline(folder, 'x') is None
    for artifact, candidate in (('1', 'old'), ('2', 'new'), ('3', 'new')):
        publish(saved_model, folder, facts(artifact, candidate), None, keep=5)
    assert baseline(folder, 'newer') == 3
    assert baseline(folder, 'new') == 1
    # A candidate that was rolled back to is still itself.
    rollback(folder, 1, 'later')
    assert baseline(folder, 'old') == 3
    shutil.rmtree(folder / '1')
    shutil.rmtree(folder / '4')
    assert baseline(folder, 'new') is None


def test_identity_stays_until_the_folder_is_made_anew(saved_model, folder):
    first = versions.identity(folder)
    publish(saved_model, folder, facts('a'), None, keep=1)
    assert versions.identity(folder) == first
    assert in_sight(folder) == ['1'], 'servers overlook it'
    shutil.rmtree(folder)
    assert versions.identity(folder) != first


@pytest.mark.parametrize('text', [None, '', '{', '[]', '{"model": "x"}', '{"unknown": 1}', '7', b'\xff\xfe'])
def test_a_damaged_provenance_is_told_in_one_line(saved_model, folder, text):
    publish(saved_model, folder, facts('a'), None, keep=5)
    path = folder / '1' / versions.PROVENANCE
    if text is None:
        path.unlink()
    else:
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    for act in (
        lambda: provenance(folder, 1),
        lambda: baseline(folder, 'x'),
        lambda: publish(saved_model, folder, facts('b'), None, keep=5),
    ):
        with pytest.raises(StepError, match='missing or damaged: remove version 1') as caught:
            act()
        assert '\n' not in str(caught.value)
    assert in_sight(folder) == ['1']
