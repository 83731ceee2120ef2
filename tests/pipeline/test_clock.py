"""A clock that is set back during a run is told where a step fails; see the soak for whole runs."""

import time

import pytest

from components.errors import StepError
from pipeline.config import load
from pipeline.local import _cause


def ahead(seconds: float) -> float:
    """What the clock was ahead of the monotonic one, had it been set back by so much since."""
    return time.time() - time.monotonic() + seconds


def test_an_error_after_the_clock_was_set_back_says_so_and_what_to_do():
    told = _cause(TypeError('expected str, not NoneType'), load('demo'), ahead(7200))
    assert isinstance(told, StepError)
    assert str(told).startswith('The clock was set back by 7,200 s during the run, and TypeError may come of it:')
    assert 'set it right and run it again' in str(told)


@pytest.mark.parametrize('seconds', [-7200, 0, 30])
def test_an_error_at_a_clock_that_was_not_set_back_stays_what_it_is(seconds):
    error = TypeError('expected str, not NoneType')
    assert _cause(error, load('demo'), ahead(seconds)) is error
