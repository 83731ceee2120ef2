"""Runs on a disk that is full, or nearly: a file system of a few blocks, which only the run sees."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

OWN = ['unshare', '--mount', *(['--user', '--map-root-user'] if os.geteuid() else [])]
PROGRAM = Path(sys.executable).with_name('emotion-pipeline')


def may_mount() -> bool:
    return shutil.which('unshare') is not None and not subprocess.run([*OWN, 'true'], capture_output=True).returncode


@pytest.mark.skipif(not may_mount(), reason='needs a mount namespace: unshare (util-linux), and the right to it')
@pytest.mark.parametrize(
    ('size', 'lines'),
    [
        # Not even that a run began can be written.
        ('8k', ['Error: No space left on device']),
        # That can, but not the report.
        ('24k', ['Nothing matches nowhere.csv', 'Warning: There is no report: No space left on device.']),
    ],
)
def test_a_full_disk_ends_the_run_in_words_without_a_stack_trace(tmp_path, size, lines):
    files = {'files': ['nowhere.csv']}
    settings = {'name': 'mine', 'runs': 'small/runs', 'ingest': {'expression': files, 'keypoints': files}}
    (tmp_path / 'mine.yaml').write_text(yaml.safe_dump(settings))
    (tmp_path / 'small').mkdir()
    mounted = f'mount --types tmpfs --options size={size} tmpfs small && exec "$@"'
    command = [*OWN, 'sh', '-c', mounted, 'sh', PROGRAM, 'run', '--config', 'mine.yaml']
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    told = run.stdout + run.stderr
    assert run.returncode == 1, told
    for line in lines:
        assert line in told
    assert 'Traceback' not in told
    assert 'Report:' not in told
