"""The scheduler as a process: its times, what becomes of missed ones, and what survives its end."""

import dataclasses
import datetime
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest

from components.errors import StepError
from pipeline.schedule import state
from pipeline.schedule.child import StopSignals
from pipeline.schedule.cron import parse
from pipeline.schedule.service import Plan, once, serve

SERVE = Path(__file__).with_name('serve.py')
EVERY_MINUTE = '* * * * *'


@pytest.fixture
def start(workplace) -> Iterator[Callable[..., subprocess.Popen]]:
    """Starts schedulers whose clock shows a time of the test's choice; ends what the test leaves."""
    with ExitStack() as stack:

        def begin(how: str, clock: str, cron: str = EVERY_MINUTE, missed: str = 'skip', **changes) -> subprocess.Popen:
            given = {'how': how, 'clock': clock, 'cron': cron, 'missed': missed, **changes}
            process = subprocess.Popen([sys.executable, str(SERVE), str(workplace.folder), json.dumps(given)])
            stack.callback(process.wait, 30)
            stack.callback(process.kill)
            return process

        yield begin


def until(condition: Callable[[], object], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def end(process: subprocess.Popen, number: int = signal.SIGTERM) -> int:
    process.send_signal(number)
    return process.wait(30)


def stop_when_it_waits(line: str) -> None:
    """Sends this process a signal when the scheduler has nothing left to do."""
    if line.startswith('Next run'):
        os.kill(os.getpid(), signal.SIGINT)


def planned(workplace) -> list[tuple[str, str]]:
    return [(decision['decision'], decision['planned']) for decision in workplace.told()]


def test_a_run_begins_at_its_time_and_not_before(workplace, start):
    process = start('pushed', '2024-01-01T02:59:57+00:00', cron='0 3 * * *')
    time.sleep(1)
    assert workplace.told() == []
    until(workplace.told)
    assert planned(workplace) == [('pushed', '2024-01-01T03:00:00+00:00')]
    assert end(process) == 0
    # Its next time is tomorrow's: nothing was run twice.
    assert len(workplace.told()) == 1


def test_the_next_scheduler_makes_up_for_missed_times_with_one_run(workplace, start):
    first = start('pushed', '2024-01-01T00:00:58+00:00')
    until(workplace.told)
    assert end(first) == 0
    second = start('refused', '2024-01-01T05:30:30+00:00', missed='run-once')
    until(lambda: len(workplace.told()) == 2)
    # The next minute is half a minute away: what ran, ran for the past.
    assert end(second) == 0
    assert planned(workplace) == [
        ('pushed', '2024-01-01T00:01:00+00:00'),
        ('refused', '2024-01-01T05:30:00+00:00'),
    ]


def test_the_next_scheduler_skips_missed_times_and_says_so(workplace, start):
    first = start('pushed', '2024-01-01T02:59:58+00:00', cron='0 3 * * *')
    until(workplace.told)
    assert end(first) == 0
    second = start('refused', '2024-01-04T12:00:00+00:00', cron='0 3 * * *')
    until(lambda: len(workplace.told()) == 2)
    assert end(second) == 0
    last = workplace.told()[-1]
    assert (last['decision'], last['run']) == ('skipped', '')
    assert last['message'] == 'Missed: 2024-01-02 03:00 to 2024-01-04 03:00 (UTC).'
    # They are missed once, not at each start.
    third = start('refused', '2024-01-04T12:00:10+00:00', cron='0 3 * * *')
    time.sleep(2)
    assert end(third) == 0
    assert len(workplace.told()) == 2


def test_under_another_expression_nothing_was_missed(workplace, start):
    first = start('pushed', '2024-01-01T02:59:58+00:00', cron='0 3 * * *')
    until(workplace.told)
    end(first)
    second = start('pushed', '2024-01-04T12:00:00+00:00', cron='0 4 * * *', missed='run-once')
    until(lambda: state.read(workplace.store).cron == '0 4 * * *')
    time.sleep(1)
    end(second)
    assert len(workplace.told()) == 1


@pytest.mark.parametrize(
    ('how', 'missed', 'expected'),
    [
        ('hangs', 'run-once', ['interrupted', 'pushed']),
        ('hangs before it begins', 'skip', ['interrupted', 'skipped']),
    ],
)
def test_a_killed_scheduler_leaves_no_run_behind_once_it_is_started_again(workplace, start, how, missed, expected):
    first = start(how, '2024-01-01T02:59:58+00:00', cron='0 3 * * *')
    until((workplace.store / 'workers').exists)
    end(first, signal.SIGKILL)
    workers = [int(number) for number in (workplace.store / 'workers').read_text().split()]
    assert all(psutil.pid_exists(worker) for worker in workers)
    second = start('pushed', '2024-01-01T03:03:30+00:00', cron='0 3 * * *', missed=missed)
    until(lambda: len(workplace.told()) == 2)
    end(second)
    assert workplace.decisions() == expected
    assert all(workplace.ends(worker) for worker in workers)


def test_a_run_that_outlived_its_scheduler_and_came_to_its_end_counts(workplace, start):
    first = start('takes its time', '2024-01-01T00:00:58+00:00')
    until((workplace.store / 'taken').exists)
    end(first, signal.SIGKILL)
    until(lambda: not state.is_held(workplace.store / 'lock'))
    (path,) = workplace.store.glob('history/*/run.json')
    path.write_text(path.read_text().replace('takes its time', 'pushed'))
    second = start('refused', '2024-01-01T00:01:20+00:00', missed='run-once')
    until(workplace.told)
    time.sleep(1)
    end(second)
    assert planned(workplace) == [('pushed', '2024-01-01T00:01:00+00:00')]


def test_a_process_that_merely_has_the_number_of_a_lost_run_is_left_alone(workplace):
    workplace.store.mkdir(parents=True)
    with subprocess.Popen(['sleep', '60'], start_new_session=True) as stranger:
        lately = psutil.Process(stranger.pid).create_time() - 60
        going = state.Going('2024-01-01T00:01:00+00:00', '2024-01-01T00:01:00+00:00', stranger.pid, lately)
        state.write(workplace.store, state.State(going=going))
        with StopSignals() as signals:
            once(workplace.job('pushed'), signals)
        assert stranger.poll() is None
        stranger.kill()
    assert workplace.decisions() == ['interrupted', 'pushed']


def test_a_scheduler_that_is_stopped_ends_its_run_and_goes_on_after_a_restart(workplace, start):
    first = start('hangs', '2024-01-01T00:00:58+00:00')
    until((workplace.store / 'workers').exists)
    assert end(first) == 0
    assert not state.is_held(workplace.store / 'lock')
    second = start('pushed', '2024-01-01T00:01:05+00:00')
    until(lambda: len(workplace.told()) == 2)
    assert end(second) == 0
    assert planned(workplace) == [(what, '2024-01-01T00:01:00+00:00') for what in ('interrupted', 'pushed')]


@pytest.mark.parametrize('missed', ['skip', 'run-once'])
def test_times_that_pass_during_a_run_are_not_run_one_by_one(workplace, missed):
    def clock() -> datetime.datetime:
        """The first run takes nine minutes and a half."""
        minute, second = (10, 31) if workplace.told() else (1, 0)
        return datetime.datetime(2024, 1, 1, 0, minute, second, tzinfo=datetime.UTC)

    workplace.store.mkdir(parents=True)
    before = state.State(cron=EVERY_MINUTE, time_zone='UTC', handled='2024-01-01T00:00:00+00:00')
    state.write(workplace.store, before)
    job = dataclasses.replace(workplace.job('pushed'), say=stop_when_it_waits)
    with StopSignals() as signals:
        serve(job, Plan(parse(EVERY_MINUTE, 'UTC'), missed), signals, now=clock)
    assert planned(workplace) == [('pushed', f'2024-01-01T00:{minute}:00+00:00') for minute in ('01', '10')]


def test_a_second_scheduler_of_a_pipeline_is_refused_in_one_line(workplace, start):
    start('pushed', '2024-01-01T12:00:00+00:00', cron='0 3 * * *')
    until(lambda: state.is_held(workplace.store / state.LOCK_NAME))
    job = workplace.job('pushed')
    with StopSignals() as signals:
        for begin in (lambda: serve(job, Plan(parse('0 3 * * *')), signals), lambda: once(job, signals)):
            with pytest.raises(StepError, match='Another scheduler is at work in'):
                begin()
    # The first one goes on unharmed, and its state is its own.
    assert state.read(workplace.store).cron == '0 3 * * *'
    assert workplace.told() == []


def test_a_run_at_the_start_makes_up_for_missed_times(workplace):
    workplace.store.mkdir(parents=True)
    before = state.State(cron='0 3 * * *', time_zone='UTC', handled='2024-01-01T03:00:00+00:00')
    state.write(workplace.store, before)
    clock = datetime.datetime(2024, 1, 9, 12, tzinfo=datetime.UTC)

    job = dataclasses.replace(workplace.job('pushed'), say=stop_when_it_waits)
    with StopSignals() as signals:
        serve(job, Plan(parse('0 3 * * *', 'UTC'), 'run-once'), signals, run_now=True, now=lambda: clock)
        assert signals.received == [signal.SIGINT]
    assert planned(workplace) == [('pushed', clock.isoformat())]
