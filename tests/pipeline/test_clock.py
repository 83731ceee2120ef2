"""A clock that is set back during a run is told where a step fails; see the soak for whole runs."""

import errno
import os
import time

import pytest

from pipeline.config import load
from pipeline.local import _ending


def message(error, folder, seconds):
    """What is said of an error where the clock has been set back by so many seconds since the run began."""
    ending = _ending(error, folder, load('demo'), time.time() - time.monotonic() + seconds)
    assert ending['state'] == 'failed'
    return ending['message']


def test_an_error_after_the_clock_was_set_back_says_so_and_what_to_do(tmp_path):
    told = message(TypeError('expected str, not NoneType'), tmp_path, 7200)
    assert told.startswith('The clock was set back by 7,200 s during the run, and TypeError may come of it:')
    assert 'set it right and run it again' in told
    assert f'{tmp_path}/log.txt' in told


@pytest.mark.parametrize('seconds', [-7200, 0, 30])
def test_an_error_at_a_clock_that_was_not_set_back_stays_what_it_is(tmp_path, seconds):
    told = message(TypeError('expected str, not NoneType'), tmp_path, seconds)
    assert told.startswith('TypeError: expected str, not NoneType')


def test_what_is_known_to_be_wrong_is_told_rather_than_the_clock(tmp_path):
    told = message(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), 'model'), tmp_path, 7200)
    assert 'Make room on' in told
    assert 'clock' not in told
