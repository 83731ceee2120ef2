"""`emotion-pipeline schedule` as it is typed."""

import datetime
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable

import pytest
import yaml
from click.testing import CliRunner, Result

from components.errors import StepError
from pipeline import history
from pipeline.hooks import Decision
from pipeline.schedule import duration, state
from pipeline.schedule_commands import schedule_group


@pytest.fixture
def call(tmp_path, monkeypatch) -> Callable[..., Result]:
    """Runs the command in this process, in a folder of the test's own, on a terminal that is wide enough."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('COLUMNS', '300')
    return lambda *arguments: CliRunner().invoke(schedule_group, arguments)


def complaint(result: Result) -> str:
    """The one line in which a command ended."""
    assert isinstance(result.exception, SystemExit), result.exception
    assert result.exit_code == 1
    (line,) = result.output.strip().splitlines()
    assert line.startswith('Error: ')
    return line


@pytest.mark.parametrize('command', [(), ('systemd',)])
@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ((), 'No times are given'),
        (('--cron', '0 3 * *'), 'has 4 field(s) instead of 5'),
        (('--cron', '0 25 * * *'), "'25' is no hour"),
        (('--cron', '0 3 * * *', '--time-zone', 'Mars/Olympus'), "'Mars/Olympus' is no time zone"),
        (('--cron', '0 3 * * *', '--limit', 'long'), "'long' is no duration: write one such as 90m, 6h or 1h30m"),
        (('--cron', '0 3 * * *', '--config', 'nothing'), "There is no configuration 'nothing'"),
        (('--cron', '0 3 * * *', '--set', 'trian=1'), 'did you mean train?'),
    ],
)
def test_a_mistake_is_told_in_one_line(call, command, arguments, message):
    assert message in complaint(call(*command, *arguments))


def test_options_before_a_subcommand_are_not_lost_silently(call):
    result = call('--limit', '6h', 'status')
    assert result.exit_code == 2
    assert 'Write the options after status.' in result.output


@pytest.mark.parametrize(
    ('text', 'seconds'), [('90m', 5400), ('6h', 21600), ('1h30m', 5400), ('2d', 172800), ('45s', 45)]
)
def test_a_duration_is_read_in_seconds_and_shown_as_it_is_read(text, seconds):
    assert duration.read(text) == seconds
    assert duration.read(duration.shown(seconds)) == seconds


@pytest.mark.parametrize('text', ['', '6', '0h', '-6h', '6 h', '1.5h', '30m1h', 'h', '6h' * 2, '9' * 400 + 'h'])
def test_what_is_no_duration_is_refused(text):
    with pytest.raises(StepError, match='is no duration'):
        duration.read(text)


def test_status_of_a_new_pipeline_is_that_there_is_none(call):
    assert call('status').output == 'No schedule of demo yet.\n'


def test_status_shows_the_schedule_its_next_run_and_the_last_ones(call, tmp_path):
    store = tmp_path / 'runs' / 'demo'
    store.mkdir(parents=True)
    started = '2024-01-01T02:00:01+00:00'
    past = (
        Decision('demo', 'r1', 'pushed', '', started, 61.4, {'expression': {'accuracy': 0.9123}}, planned=started),
        Decision('demo', '', 'nothing new', 'No new data.', started, planned='2024-07-01T01:00:00+00:00'),
    )
    state.write(store, state.State('0 3 * * *', 'Europe/Berlin', 'run-once', 21600, True, started, past=past))
    output = call('status').output
    assert 'no scheduler is at work' in output
    assert '0 3 * * * (Europe/Berlin)' in output
    assert 'run-once' in output
    assert '6h, only for new data' in output
    shown = [line.split()[1:4] for line in output.splitlines() if line.strip().startswith('next')]
    (((_, date, clock),)) = shown
    upcoming = datetime.datetime.fromisoformat(f'{date} {clock}')
    assert (upcoming.hour, upcoming.minute) == (3, 0)
    assert abs(upcoming - datetime.datetime.now()) < datetime.timedelta(hours=27)
    rows = [[cell.strip() for cell in line.split('│')[1:-1]] for line in output.splitlines() if '│' in line]
    assert rows == [
        ['2024-01-01 03:00', 'pushed', 'r1', '61 s', 'expression: accuracy 0.912', ''],
        ['2024-07-01 03:00', 'nothing new', '', '', '', 'No new data.'],
    ]
    with state.only_scheduler(store):
        assert 'the scheduler is at work' in call('status').output


def test_a_second_scheduler_is_refused_in_one_line(call, tmp_path):
    with state.only_scheduler(tmp_path / 'runs' / 'demo'):
        for arguments in (('--cron', '0 3 * * *'), ('once',)):
            assert 'Another scheduler is at work in' in complaint(call(*arguments))


def test_a_damaged_state_is_told_in_one_line(call, tmp_path):
    (tmp_path / 'runs' / 'demo').mkdir(parents=True)
    (tmp_path / 'runs' / 'demo' / state.FILE_NAME).write_text('{')
    for arguments in (('--cron', '0 3 * * *'), ('once',), ('status',)):
        assert 'is damaged: remove it' in complaint(call(*arguments))


def test_systemd_prints_units_with_whole_paths(call, tmp_path):
    options = ('--cron', '0 3 * * *', '--time-zone', 'Europe/Berlin', '--limit', '6h', '--config', 'mine.yaml')
    (tmp_path / 'mine.yaml').write_text('name: mine\n')
    output = call('systemd', *options, '--missed', 'run-once', '--set', 'seed=3').output
    program = f'"{sys.executable.rpartition("/")[0]}/emotion-pipeline" "schedule"'
    assert output.startswith('# /etc/systemd/system/emotion-pipeline-mine.service\n[Unit]')
    assert (
        f'ExecStart={program} "--cron" "0 3 * * *" "--missed" "run-once" "--time-zone" "Europe/Berlin" "--limit" "6h" '
        f'"--config" "{tmp_path}/mine.yaml" "--set" "seed=3"\n'
    ) in output
    output = call('systemd', '--timer', '--once-per-span', *options).output
    assert f'ExecStart={program} "once" "--limit" "6h" "--once-per-span" "--config" "{tmp_path}/mine.yaml"' in output
    assert 'OnCalendar=*-*-* 03:00:00 Europe/Berlin' in output


def test_systemd_writes_the_units_to_a_folder(call, tmp_path):
    result = call('systemd', '--timer', '--cron', '0 3 * * *', '--folder', '.')
    names = ['emotion-pipeline-demo.service', 'emotion-pipeline-demo.timer']
    assert result.output.split() == names
    if not shutil.which('systemd-analyze'):
        pytest.skip('systemd-analyze is not installed')
    answer = subprocess.run(['systemd-analyze', 'verify', *names], cwd=tmp_path, capture_output=True, text=True)
    assert (answer.returncode, answer.stderr) == (0, '')


def test_systemd_cannot_write_to_a_folder_that_is_not_there(call):
    assert 'No such file or directory' in complaint(call('systemd', '--cron', '0 3 * * *', '--folder', 'none'))


def scheduler(folder, *arguments: str) -> subprocess.Popen:
    """A scheduler as a process of its own."""
    code = 'import sys; from pipeline.schedule_commands import schedule_group; schedule_group(sys.argv[1:])'
    return subprocess.Popen(
        [sys.executable, '-c', code, *arguments],
        cwd=folder,
        env={**os.environ, 'COLUMNS': '300'},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.mark.parametrize(('number', 'status'), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_a_signal_ends_a_scheduler_that_waits(tmp_path, number, status):
    process = scheduler(tmp_path, '--cron', '0 0 29 2 *')
    assert 'Next run: ' in process.stdout.readline()
    process.send_signal(number)
    assert process.wait(20) == status
    assert process.stdout.read() == ''


@pytest.mark.e2e
def test_the_scheduler_runs_the_pipeline_and_shows_what_became_of_it(tmp_path):
    tell = [sys.executable, '-c', 'import sys; open("told", "a").write(sys.stdin.read() + "\\n")']
    ingest = {'expression': {'files': ['none.csv']}, 'keypoints': {'files': ['none.csv']}}
    settings = {'name': 'mine', 'ingest': ingest, 'hooks': {'command': tell}}
    (tmp_path / 'mine.yaml').write_text(yaml.safe_dump(settings))
    process = scheduler(tmp_path, '--cron', '0 0 29 2 *', '--config', 'mine.yaml', '--run-now')
    store = tmp_path / 'runs' / 'mine'
    deadline = time.monotonic() + 300
    while not (store / state.FILE_NAME).exists() or not state.read(store).past:
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.5)
    os.kill(process.pid, signal.SIGTERM)
    output, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    (decision,) = state.read(store).past
    (entry,) = history.read(store / 'history')
    assert (decision.decision, decision.run, decision.message) == ('failed', entry.run, entry.message)
    # Told once, although the run has the same hooks.
    (told,) = (tmp_path / 'told').read_text().splitlines()
    assert Decision(**json.loads(told)) == decision
    # The run's own lines come through.
    assert f'Run {entry.run} of mine' in output
    assert entry.message in output
    assert 'Traceback' not in output
