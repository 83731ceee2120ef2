"""The fingerprint of a step's code."""

import shutil
from pathlib import Path

import pytest

from components import source


@pytest.fixture
def root(tmp_path, monkeypatch) -> Path:
    """A copy of the real code, to edit."""
    folder = tmp_path / 'components'
    shutil.copytree(source.ROOT, folder, ignore=shutil.ignore_patterns('__pycache__'))
    monkeypatch.setattr(source, 'ROOT', folder)
    return folder


def test_the_same_code_elsewhere_has_the_same_fingerprint(root, monkeypatch):
    copy = source.fingerprint('push')
    monkeypatch.undo()
    assert source.fingerprint('push') == copy


def test_an_edited_step_is_another_and_its_neighbours_stay(root):
    before = {step: source.fingerprint(step) for step in ('push', 'train')}
    path = root / 'push' / 'versions.py'
    path.write_text(path.read_text() + '\n')
    assert source.fingerprint('push') != before['push']
    assert source.fingerprint('train') == before['train']


@pytest.mark.parametrize('name', ['report/report.html', 'report/report.css', 'push/network_card.md'])
def test_an_edited_template_is_edited_code(root, name):
    step = name.partition('/')[0]
    before = source.fingerprint(step)
    (root / name).write_text((root / name).read_text() + '\n')
    assert source.fingerprint(step) != before


@pytest.mark.parametrize('name', ['faces.py', 'settings.py'])
def test_what_all_steps_share_changes_every_fingerprint(root, name):
    before = {step: source.fingerprint(step) for step in ('push', 'train')}
    (root / name).write_text((root / name).read_text() + '# edited\n')
    assert all(source.fingerprint(step) != value for step, value in before.items())


def test_a_new_a_renamed_and_a_nested_module_count(root):
    seen = {source.fingerprint('push')}
    (root / 'push' / 'new.py').write_text('')
    seen.add(source.fingerprint('push'))
    (root / 'push' / 'new.py').rename(root / 'push' / 'renamed.py')
    seen.add(source.fingerprint('push'))
    (root / 'push' / 'inner').mkdir()
    (root / 'push' / 'inner' / 'new.py').write_text('')
    seen.add(source.fingerprint('push'))
    assert len(seen) == 4


def test_compiled_code_does_not_count(root):
    before = source.fingerprint('push')
    (root / 'push' / '__pycache__').mkdir()
    (root / 'push' / '__pycache__' / 'versions.cpython-311.pyc').write_bytes(b'compiled')
    assert source.fingerprint('push') == before


def test_steps_count_together():
    assert len({source.fingerprint('push'), source.fingerprint('push', 'train'), source.fingerprint('train')}) == 3
