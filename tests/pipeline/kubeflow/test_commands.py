"""The commands `emotion-pipeline kubeflow …`: what they print, how they end, and that no error shows a stack trace."""

import importlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from pipeline.kubeflow.commands import kubeflow_group
from pipeline.kubeflow.specification import read_file

COMMANDS = ('compile', 'submit', 'status', 'runs', 'schedule')


@pytest.fixture(scope='session')
def api() -> Iterator[ModuleType]:
    """The module `api_server`; `tests` is no package."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(Path(__file__).parent))
        yield importlib.import_module('api_server')


@pytest.fixture
def served(api) -> Iterator[tuple[str, Any]]:
    with api.serving() as served:
        yield served


@pytest.fixture
def state(served) -> Any:
    return served[1]


@pytest.fixture
def call(served, tmp_path, monkeypatch) -> Callable[..., Result]:
    """Runs a command in this process against the server, in a folder of the test's own, on a wide terminal."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('COLUMNS', '300')
    monkeypatch.setenv('TZ', 'UTC')
    time.tzset()
    monkeypatch.setenv('KF_PIPELINES_ENDPOINT', served[0])
    # Where kfp keeps a namespace and cookies.
    monkeypatch.setattr('kfp.client.Client._LOCAL_KFP_CONTEXT', str(tmp_path / 'context.json'))
    for name in ('KF_PIPELINES_UI_ENDPOINT', 'KUBERNETES_SERVICE_HOST', 'EMOTION_PIPELINE_KUBEFLOW_TOKEN'):
        monkeypatch.delenv(name, raising=False)
    return lambda *arguments: CliRunner().invoke(kubeflow_group, arguments)


@pytest.fixture
def file(tmp_path) -> str:
    """A compiled pipeline of two tasks, of the demo's name."""
    names = ('Trainer', 'Pusher')
    parameters = {
        'epochs': {'parameterType': 'NUMBER_INTEGER', 'defaultValue': 5},
        'note': {'parameterType': 'STRING', 'defaultValue': ''},
    }
    tasks = {name: {'taskInfo': {'name': name}, 'componentRef': {'name': name}} for name in names}
    document = {
        'schemaVersion': '2.1.0',
        'sdkVersion': 'tfx-1.16.0',
        'pipelineInfo': {'name': 'demo'},
        'root': {'inputDefinitions': {'parameters': parameters}, 'dag': {'tasks': tasks}},
        'components': {name: {'executorLabel': name} for name in names},
        'deploymentSpec': {'executors': {name: {'container': {'image': 'faces:1'}} for name in names}},
    }
    path = tmp_path / 'demo.yaml'
    path.write_text(yaml.safe_dump(document))
    return str(path)


def complaint(result: Result) -> str:
    """The one line in which a command ended."""
    # Whatever is no exit of click's own would be a stack trace outside a test.
    assert isinstance(result.exception, SystemExit), result.exception
    assert result.exit_code == 1, result.output
    (line,) = [line for line in result.output.splitlines() if line.startswith('Error: ')]
    return line


class TestCompile:
    def test_one_file_is_written_and_named(self, call, tmp_path):
        result = call('compile', '--config', 'demo')
        assert result.exit_code == 0, result.output
        assert result.stdout == 'demo.yaml\n'
        assert read_file(tmp_path / 'demo.yaml').name == 'demo'
        assert call('compile', '--config', 'demo', '--output', '-').stdout == (tmp_path / 'demo.yaml').read_text()

    def test_what_is_compiled_is_submitted_with_the_configurations_root(self, call, state, tmp_path):
        result = call('submit', '--config', 'demo', '--set', 'kubeflow.pipeline_root=s3://bucket/runs')
        assert result.exit_code == 0, result.output
        assert state.runs[0].runtime_config.pipeline_root == 's3://bucket/runs'
        assert state.pipelines[0].display_name == 'demo'

    def test_a_folder_that_is_not_there_is_named(self, call):
        assert 'none/demo.yaml' in complaint(call('compile', '--config', 'demo', '--output', 'none/demo.yaml'))


class TestSubmit:
    def test_the_run_and_its_page_are_printed(self, call, state, file, served):
        result = call('submit', '--file', file, '--parameter', 'epochs=3', '--pipeline-root', 's3://bucket/runs')
        (run,) = state.runs
        assert result.exit_code == 0, result.output
        assert run.runtime_config.parameters == {'epochs': 3}
        assert f'{served[0]}/#/runs/details/{run.run_id}' in result.output.splitlines()
        assert 'uploaded' in result.output and run.run_id in result.output

    @pytest.mark.parametrize('option', [('--config', 'demo'), ('--set', 'seed=1')], ids=' '.join)
    def test_a_configuration_of_what_is_compiled_already_is_refused(self, call, state, file, option):
        assert call('submit', '--file', file, *option).exit_code == 2
        assert state.requests == []

    def test_the_second_run_finds_its_version_there(self, call, state, file):
        call('submit', '--file', file)
        assert 'there already' in call('submit', '--file', file).output
        assert (len(state.versions), len(state.runs)) == (1, 2)

    def test_without_cache_another_version_runs(self, call, state, file):
        call('submit', '--file', file)
        call('submit', '--file', file, '--no-cache')
        tasks = state.versions[1].pipeline_spec['pipeline_spec']['root']['dag']['tasks']
        assert [task['cachingOptions'] for task in tasks.values()] == [{'enableCache': False}] * 2

    def test_a_wrong_parameter_is_refused_before_anything_is_sent(self, call, state, file):
        assert 'did you mean epochs?' in complaint(call('submit', '--file', file, '--parameter', 'epoch=3'))
        assert state.requests == []

    @pytest.mark.parametrize(('end', 'status'), [('SUCCEEDED', 0), ('FAILED', 1), ('CANCELED', 5), ('SKIPPED', 5)])
    def test_waiting_ends_with_the_runs_state(self, call, state, file, end, status):
        state.course = [('RUNNING', [('Trainer', 'RUNNING', '')]), (end, [('Trainer', 'SUCCEEDED', '')])]
        result = call('submit', '--file', file, '--wait', '--interval', '0.05')
        assert result.exit_code == status, result.output
        assert f'The run ended: {end}' in result.output
        assert [line.split() for line in result.output.splitlines() if '✓' in line] == [['✓', 'Trainer', '0:00:30']]

    def test_waiting_for_a_failed_run_tells_what_failed(self, call, state, file):
        state.course = [('FAILED', [('Trainer', 'FAILED', 'out of\nmemory \x1b[31m'), ('Pusher', 'SKIPPED', '')])]
        result = call('submit', '--file', file, '--wait', '--interval', '0.05')
        assert 'Trainer failed: out of memory [31m' in result.output.splitlines()
        assert result.exit_code == 1 and '\x1b' not in result.output

    def test_waiting_stops_at_its_time_out_and_says_how_to_go_on(self, call, state, file):
        state.course = [('RUNNING', [])]
        result = call('submit', '--file', file, '--wait', '--interval', '0.05', '--timeout', '0.1')
        assert result.exit_code == 6
        assert f'emotion-pipeline kubeflow status {state.runs[0].run_id}' in result.output


class TestStatus:
    def test_state_tasks_parameters_and_errors_are_shown(self, call, state, file, served):
        call('submit', '--file', file, '--parameter', 'note=[bold]x')
        state.course = [('FAILED', [('Trainer', 'FAILED', 'out of memory'), ('Pusher', 'SKIPPED', '')])]
        result = call('status', state.runs[0].run_id)
        assert result.exit_code == 0, result.output
        assert f'{state.runs[0].display_name}: FAILED  0:01:30' in result.output
        assert "note = '[bold]x'" in result.output
        assert 'Trainer failed: out of memory' in result.output
        assert 'executor' not in result.output and 'driver' not in result.output

    @pytest.mark.parametrize('run_id', ['none', '../pipelines', 'a?b=c'])
    def test_an_unknown_run_is_told(self, call, run_id):
        assert 'does not know GET' in complaint(call('status', run_id))


class TestRuns:
    def test_the_last_runs_are_listed(self, call, state, file):
        assert 'No run of demo yet.' in call('runs').output
        for _ in range(3):
            call('submit', '--file', file)
        result = call('runs', '--limit', '2')
        assert [run.run_id in result.output for run in state.runs] == [False, True, True]

    def test_those_of_a_schedule_are_listed(self, call, state, file):
        call('schedule', 'nightly', '--cron', '0 3 * * *', '--file', file)
        call('submit', '--file', file)
        call('submit', '--file', file)
        state.runs[0].recurring_run_id = state.recurring[0].recurring_run_id
        result = call('runs', '--recurring', 'nightly')
        assert [run.run_id in result.output for run in state.runs] == [True, False]


class TestSchedule:
    def test_it_is_created_left_alone_and_changed(self, call, state, file):
        apply = ('schedule', 'nightly', '--cron', '0 3 * * 1-5', '--file', file)
        assert 'Schedule nightly: created' in call(*apply).output
        assert 'Schedule nightly: unchanged' in call(*apply).output
        assert 'Schedule nightly: changed' in call(*apply, '--parameter', 'epochs=9').output
        (run,) = state.recurring
        assert run.trigger.cron_schedule.cron == '0 0 3 * * 1,2,3,4,5'
        assert run.runtime_config.parameters == {'epochs': 9}

    def test_it_is_paused_listed_resumed_and_deleted(self, call, state, file):
        call('schedule', 'nightly', '--cron', '0 3 * * *', '--time-zone', 'Asia/Tokyo', '--file', file)
        assert 'nightly: paused' in call('schedule', 'nightly', '--pause').output
        again = call('schedule', 'nightly', '--cron', '0 3 * * *', '--time-zone', 'Asia/Tokyo', '--file', file)
        assert 'unchanged; it is paused' in again.output
        row = next(line for line in call('schedule', '--list').output.splitlines() if 'nightly' in line)
        assert [cell.strip() for cell in row.strip('│').split('│')][:4] == [
            'nightly',
            '0 3 * * *',
            'Asia/Tokyo',
            'paused',
        ]
        assert 'nightly: resumed' in call('schedule', 'nightly', '--resume').output
        assert 'nightly: deleted' in call('schedule', 'nightly', '--delete').output
        assert state.recurring == [] and 'No schedule yet.' in call('schedule', '--list').output

    def test_its_start_is_in_the_zone_of_its_expression(self, call, state, file):
        zone = ('--time-zone', 'Asia/Tokyo', '--start', '2027-01-01', '--end', '2027-02-01T12:00:00')
        call('schedule', 'nightly', '--cron', '0 3 * * *', *zone, '--file', file)
        schedule = state.recurring[0].trigger.cron_schedule
        assert schedule.start_time.isoformat() == '2027-01-01T00:00:00+09:00'
        assert schedule.end_time.isoformat() == '2027-02-01T12:00:00+09:00'
        assert 'unchanged' in call('schedule', 'nightly', '--cron', '0 3 * * *', *zone, '--file', file).output

    def test_daylight_saving_time_needs_the_clusters_zone(self, call, state, file, monkeypatch):
        apply = ('schedule', 'nightly', '--cron', '0 3 * * *', '--time-zone', 'Europe/Berlin', '--file', file)
        assert 'cronScheduleTimezone' in complaint(call(*apply))
        monkeypatch.setenv('EMOTION_PIPELINE_KUBEFLOW_TIME_ZONE', 'Europe/Berlin')
        assert 'created' in call(*apply).output
        assert state.recurring[0].trigger.cron_schedule.cron == '0 0 3 * * *'

    @pytest.mark.parametrize(
        'arguments',
        [
            (),
            ('nightly',),
            ('nightly', '--list'),
            ('--pause',),
            ('--cron', '0 3 * * *'),
            ('nightly', '--cron', '0 3 * * *', '--pause'),
        ],
        ids=' '.join,
    )
    def test_contradictions_are_refused(self, call, state, arguments):
        assert call('schedule', *arguments).exit_code == 2
        assert state.requests == []

    def test_an_unknown_one_is_told(self, call):
        assert "There is no schedule 'nightly'" in complaint(call('schedule', 'nightly', '--pause'))


class TestConnection:
    def test_the_token_comes_from_a_file_or_the_environment(self, call, state, monkeypatch, tmp_path):
        state.token = 'abc'
        (tmp_path / 'token').write_text('abc\n')
        assert 'EMOTION_PIPELINE_KUBEFLOW_TOKEN' in complaint(call('runs'))
        assert call('runs', '--token-file', 'token').exit_code == 0
        monkeypatch.setenv('EMOTION_PIPELINE_KUBEFLOW_TOKEN', 'abc')
        assert call('runs').exit_code == 0

    def test_the_namespace_comes_from_the_option_or_the_environment(self, call, state, monkeypatch):
        state.multi_user = True
        assert '--namespace' in complaint(call('schedule', '--list'))
        assert call('schedule', '--list', '--namespace', 'team').exit_code == 0
        monkeypatch.setenv('EMOTION_PIPELINE_KUBEFLOW_NAMESPACE', 'wrong')
        assert 'in namespace wrong (403)' in complaint(call('schedule', '--list'))

    def test_the_link_leads_to_the_dashboard(self, call, file, monkeypatch):
        monkeypatch.setenv('KF_PIPELINES_UI_ENDPOINT', 'https://kubeflow.example/pipeline/')
        assert '\nhttps://kubeflow.example/pipeline/#/runs/details/' in call('submit', '--file', file).output

    def test_a_server_that_fails_is_told_in_one_line(self, call, state, api):
        state.faults.append(api.Fault('GET .*', status=502, message='bad gateway'))
        assert 'bad gateway' in complaint(call('runs'))


def test_help_loads_neither_kfp_nor_tensorflow():
    script = (
        'import sys\n'
        'from click.testing import CliRunner\n'
        'from pipeline.kubeflow.commands import kubeflow_group\n'
        f'for command in {COMMANDS}:\n'
        '    assert CliRunner().invoke(kubeflow_group, [command, "--help"]).exit_code == 0, command\n'
        'heavy = {"kfp", "kfp_server_api", "kubernetes", "tfx", "tensorflow", "apscheduler"}\n'
        'print(sorted(heavy & set(sys.modules)))\n'
    )
    process = subprocess.run([sys.executable, '-c', script], capture_output=True, text=True, timeout=60)
    assert process.stdout == '[]\n', process.stderr


def test_ctrl_c_leaves_the_run_alone_and_says_how_to_look_at_it(served, file, tmp_path):
    """In a process of its own, which Ctrl-C reaches as it does on a terminal."""
    address, state = served
    state.course = [('RUNNING', [('Trainer', 'RUNNING', '')])]
    script = (
        'from pipeline.kubeflow.commands import kubeflow_group as main; main(prog_name="emotion-pipeline kubeflow")'
    )
    process = subprocess.Popen(
        [sys.executable, '-c', script, 'submit', '--file', file, '--host', address, '--wait', '--interval', '0.1'],
        cwd=tmp_path,
        env={**os.environ, 'HOME': str(tmp_path), 'COLUMNS': '300'},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 60
    while not any(looks > 2 for looks in state.looks.values()):
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=30)
    assert process.returncode == 130, errors
    assert errors == ''
    assert output.splitlines()[-1].endswith(f'emotion-pipeline kubeflow status {state.runs[0].run_id}')
    assert state.runs[0].state == 'RUNNING'
    assert list(tmp_path.iterdir()) == [Path(file)]
