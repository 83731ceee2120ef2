"""One guarded run: how it ends, what is remembered, and that its decision is told once."""

import datetime
import os
import subprocess
import sys
import time

import filelock
import pytest
import yaml

from components.errors import StepError
from data.publish import write_expressions, write_keypoints
from pipeline.schedule import state
from pipeline.schedule.arrivals import is_new
from pipeline.schedule.attempt import attempt, pipeline_command
from pipeline.schedule.child import StopSignals
from pipeline.schedule.state import Data

PLANNED = datetime.datetime(2024, 1, 1, 3, tzinfo=datetime.UTC)


def run(job):
    job.store.mkdir(parents=True, exist_ok=True)
    with StopSignals() as signals:
        return attempt(job, PLANNED, signals)


def workers(workplace) -> list[int]:
    """The processes of a job that hangs."""
    return [int(process) for process in (workplace.store / 'workers').read_text().split()]


@pytest.mark.parametrize(
    ('how', 'decision', 'status'),
    [
        ('pushed', 'pushed', 0),
        ('unchanged', 'nothing new', 0),
        ('refused', 'refused', 3),
        ('stopped', 'stopped', 4),
        ('failed', 'failed', 1),
        ('is killed', 'failed', 1),
        ('refuses to begin', 'failed', 1),
    ],
)
def test_a_run_is_remembered_and_told_once_as_it_ended(workplace, how, decision, status):
    found = run(workplace.job(how))
    assert (found.decision, found.exit_status, found.planned) == (decision, status, PLANNED.isoformat())
    (told,) = workplace.told()
    now = state.read(workplace.store)
    assert now.past == (found,)
    assert (now.going, now.handled) == (None, PLANNED.isoformat())
    assert (told['decision'], told['run'], told['message']) == (decision, found.run, found.message)


def test_the_decision_of_a_run_carries_its_figures_and_versions(workplace):
    found = run(workplace.job('pushed'))
    assert (found.pipeline, found.kpis, found.pushed) == ('mine', {'expression': {'accuracy': 0.9}}, {'faces': 7})
    (entry,) = (workplace.store / 'history').iterdir()
    assert found.run == entry.name


@pytest.mark.parametrize('how', ['hangs', 'hangs deaf'])
def test_a_run_that_hangs_is_ended_after_the_limit_with_all_that_it_started(workplace, how):
    began = time.monotonic()
    found = run(workplace.job(how, limit=4.0))
    assert 4 < time.monotonic() - began < 15
    assert (found.decision, found.message, found.exit_status) == ('timed out', 'Ended after the limit of 4s.', 1)
    assert found.run
    assert workplace.decisions() == ['timed out']
    assert len(workers(workplace)) == 2
    assert all(workplace.ends(process) for process in workers(workplace))
    # The store is free for the next one.
    assert run(workplace.job('pushed')).decision == 'pushed'


def test_what_a_run_leaves_behind_ends_with_it(workplace):
    leave = 'import subprocess; print(subprocess.Popen(["sleep", "600"]).pid, file=open("left", "w"))'
    code = f'import os; os.chdir({str(workplace.folder)!r}); {leave}'
    run(workplace.job('pushed', command=(sys.executable, '-c', code)))
    assert workplace.ends(int((workplace.folder / 'left').read_text()))


def test_no_run_begins_while_another_is_going_on(workplace):
    workplace.store.mkdir(parents=True)
    with filelock.FileLock(workplace.store / 'lock').acquire(timeout=0):
        found = run(workplace.job('pushed'))
    assert (found.decision, found.message, found.exit_status) == ('skipped', 'Another run is going on.', 0)
    assert not (workplace.store / 'history').exists()
    assert workplace.decisions() == ['skipped']


def test_a_run_that_finds_the_store_taken_after_all_was_skipped(workplace):
    assert run(workplace.job('comes second')).decision == 'skipped'
    assert workplace.decisions() == ['skipped']


def test_a_signal_ends_the_run_and_leaves_its_time_open(workplace):
    wait = f'while not os.path.exists({str(workplace.store / "workers")!r}): time.sleep(0.1)'
    code = f'import os, time\n{wait}\nos.kill({os.getpid()}, 15)'
    with subprocess.Popen([sys.executable, '-c', code]):
        found = run(workplace.job('hangs'))
    assert (found.decision, found.exit_status) == ('interrupted', 130)
    assert all(workplace.ends(process) for process in workers(workplace))
    assert state.read(workplace.store).handled == ''
    assert workplace.decisions() == ['interrupted']


def test_only_the_last_decisions_are_kept(workplace):
    workplace.store.mkdir(parents=True)
    past = tuple(run(workplace.job('refuses to begin')) for _ in range(2)) * state.KEPT
    state.write(workplace.store, state.State(past=past))
    assert state.read(workplace.store).past == past[-state.KEPT :]


@pytest.mark.parametrize('text', ['', '{', '[]', '{"past": 3}', '{"unknown": 1}', '{"limit": "x"}', '\xff'])
def test_a_damaged_state_is_told_in_one_line(workplace, text):
    workplace.store.mkdir(parents=True)
    (workplace.store / state.FILE_NAME).write_bytes(text.encode('latin-1'))
    with pytest.raises(StepError, match='is damaged: remove it'):
        state.read(workplace.store)


@pytest.mark.parametrize(
    ('found', 'handled', 'new'),
    [
        (Data(3, 'a'), None, True),
        (Data(4, 'b'), Data(3, 'a'), True),
        # Files that were delivered once more are no new span, nor is an old one that is the newest again.
        (Data(3, 'b'), Data(3, 'a'), False),
        (Data(2, 'b'), Data(3, 'a'), False),
        (Data(None, 'a'), Data(None, 'a'), False),
        (Data(None, 'b'), Data(None, 'a'), True),
        (Data(1, 'a'), Data(None, 'b'), True),
    ],
)
def test_data_are_new_by_span_or_without_spans_by_content(found, handled, new):
    known = Data(9, 'same')
    before = {'keypoints': known} | ({'expression': handled} if handled else {})
    assert is_new({'expression': found, 'keypoints': known}, before) is new


def test_a_run_per_span_waits_for_new_data(workplace, tmp_path):
    write_expressions(tmp_path / 'expressions-1.csv', 2, seed=0)
    write_keypoints(tmp_path / 'keypoints.csv', 2, seed=0)
    expression, keypoints = ({'files': [str(tmp_path / name)]} for name in ('expressions-{SPAN}.csv', 'keypoints.csv'))
    settings = {'name': 'mine', 'ingest': {'expression': expression, 'keypoints': keypoints}}
    (tmp_path / 'mine.yaml').write_text(yaml.safe_dump(settings))

    def next_run(how: str) -> str:
        job = workplace.job(how, once_per_span=True, name=str(tmp_path / 'mine.yaml'))
        return run(job).decision

    # A run that failed did not use the data up; one that was refused did.
    assert [next_run(how) for how in ('failed', 'refused', 'pushed')] == ['failed', 'refused', 'nothing new']
    assert state.read(workplace.store).past[-1].message == (
        'No new data since the last run (expression: span 1, keypoints: the same files).'
    )
    write_expressions(tmp_path / 'expressions-2.csv', 2, seed=1)
    assert next_run('pushed') == 'pushed'
    assert workplace.decisions() == ['failed', 'refused', 'nothing new', 'pushed']
    assert len(list((workplace.store / 'history').iterdir())) == 3


def test_data_that_cannot_be_looked_at_are_left_to_the_run(workplace, tmp_path, capfd):
    (tmp_path / 'mine.yaml').write_text('name: mine\n')
    job = workplace.job('failed', once_per_span=True, name=str(tmp_path / 'mine.yaml'))
    assert run(job).decision == 'failed'
    assert 'The data cannot be looked at: No data are named' in capfd.readouterr().err


def test_the_command_is_the_installed_one_with_the_same_options():
    program, *arguments = pipeline_command('demo', ('a=1', 'b=2'))
    assert arguments == ['run', '--config', 'demo', '--set', 'a=1', '--set', 'b=2']
    answer = subprocess.run([program, '--version'], capture_output=True, text=True, timeout=60)
    assert answer.stdout.startswith('emotion-pipeline, version')
