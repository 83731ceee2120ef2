"""A fault of the soak is what it says, and ends with the run."""

import os
import random
import subprocess
import sys
import time

import pytest

from tests.soak.faults import Scene, clock, find_faketime

PROGRAM = """
import time
began = time.monotonic()
time.sleep(0.3)
print(time.time(), time.monotonic() - began)
"""


@pytest.mark.skipif(not find_faketime(), reason='libfaketime is missing (Debian: libfaketime)')
def test_under_a_clock_set_back_a_program_reads_the_past_and_sleeps_as_long_as_it_asks(tmp_path):
    scene = Scene(tmp_path, tmp_path, 1, random.Random(0), find_faketime())
    with clock(scene) as disturbance:
        disturbance.act()
        printed = subprocess.run(
            [sys.executable, '-c', PROGRAM],
            env={**os.environ, **disturbance.environment},
            stdout=subprocess.PIPE,
            timeout=60,
            check=True,
            text=True,
        ).stdout
    now, slept = map(float, printed.split())
    assert time.time() - now > 3600
    assert slept == pytest.approx(0.3, abs=0.25)
