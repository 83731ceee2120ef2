"""The command line: what it prints, how it ends, and that it never shows a stack trace to who mistyped."""

import gzip
import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import pytest
import yaml
from click.testing import CliRunner, Result

from components.errors import StepError
from components.push import versions
from data.publish import write_expressions, write_keypoints
from pipeline import history
from pipeline.cli import main
from pipeline.config import load

COMMANDS = (
    'run',
    'runs',
    'report',
    'rollback',
    'config',
    'config show',
    'data',
    'data draw',
    'data published',
    'kubeflow',
    'kubeflow compile',
    'kubeflow submit',
    'kubeflow status',
    'kubeflow runs',
    'kubeflow schedule',
    'schedule',
    'predict',
    'watch',
    'schedule once',
    'schedule status',
    'schedule systemd',
)
EXECUTABLE = str(Path(sys.executable).with_name('emotion-pipeline'))


@pytest.fixture
def call(tmp_path, monkeypatch) -> Callable[..., Result]:
    """Runs the command in this process, in a folder of the test's own, on a terminal that is wide enough."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('COLUMNS', '300')
    return lambda *arguments: CliRunner().invoke(main, arguments)


def complaint(result: Result) -> str:
    """The one line in which a command ended."""
    # Whatever is no exit of click's own would be a stack trace outside a test.
    assert isinstance(result.exception, SystemExit), result.exception
    assert result.exit_code == 1
    (line,) = result.output.strip().splitlines()
    assert line.startswith('Error: ')
    return line


@pytest.mark.parametrize('command', ['', *COMMANDS])
@pytest.mark.parametrize('option', ['--help', '-h'])
def test_every_command_explains_itself(call, command, option):
    result = call(*command.split(), option)
    assert result.exit_code == 0
    assert result.output.startswith('Usage: ')
    assert 'Options:' in result.output


def test_help_lists_every_command(call):
    listed = call('--help').output.partition('Commands:')[2]
    assert {line.split()[0] for line in listed.strip().splitlines()} == {name.split()[0] for name in COMMANDS}


@pytest.mark.parametrize('arguments', [['--help'], ['run', '--help'], ['--version'], ['config', 'show'], ['runs']])
def test_nothing_heavy_is_imported_to_answer_a_small_question(arguments, tmp_path):
    code = """
import atexit, sys
from pipeline.cli import main
heavy = {'tensorflow', 'tfx', 'apache_beam', 'numpy', 'keras', 'cv2', 'matplotlib', 'sklearn'}
atexit.register(lambda: print('IMPORTED', sorted(heavy & set(sys.modules))))
main(sys.argv[1:], prog_name='emotion-pipeline')
"""
    began = time.monotonic()
    answer = subprocess.run(
        [sys.executable, '-c', code, *arguments], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.splitlines()[-1] == 'IMPORTED []'
    assert time.monotonic() - began < 20


def test_the_installed_command_is_this_one():
    answer = subprocess.run([EXECUTABLE, '--version'], capture_output=True, text=True, timeout=60)
    assert answer.stdout.startswith('emotion-pipeline, version 0.')


def test_config_show_prints_what_would_run(call, tmp_path):
    result = call('config', 'show', '--config', 'full', '--set', 'train.expression.epochs=3')
    assert result.exit_code == 0
    (tmp_path / 'shown.yaml').write_text(result.output)
    assert load(str(tmp_path / 'shown.yaml')) == load('full', ['train.expression.epochs=3'])
    assert yaml.safe_load(result.output)['train']['expression']['epochs'] == 3


def test_data_draw_writes_the_same_two_files_every_time(call, tmp_path):
    arguments = ('data', 'draw', '--expressions', '6', '--keypoints', '4', '--seed', '3')
    for folder in ('one', 'other'):
        result = call(*arguments, '--folder', folder)
        assert result.exit_code == 0
        assert result.output.split() == [f'{folder}/expressions.csv.gz', f'{folder}/keypoints.csv.gz']
    call(*arguments[:-1], '4', '--folder', 'another seed')
    for name, rows in (('expressions.csv.gz', 6), ('keypoints.csv.gz', 4)):
        written = (tmp_path / 'one' / name).read_bytes()
        assert len(gzip.decompress(written).splitlines()) == rows + 1
        assert (tmp_path / 'other' / name).read_bytes() == written
        assert (tmp_path / 'another seed' / name).read_bytes() != written


def test_data_draw_leaves_out_a_file_of_no_rows(call, tmp_path):
    assert call('data', 'draw', '--expressions', '0', '--keypoints', '1').exit_code == 0
    assert [path.name for path in (tmp_path / 'faces').iterdir()] == ['keypoints.csv.gz']


def test_data_draw_sheet_draws_a_picture_instead(call, tmp_path):
    result = call('data', 'draw', '--sheet', '--folder', 'here', '--seed', '1')
    assert result.output.split() == ['here/sheet.png']
    assert [path.name for path in (tmp_path / 'here').iterdir()] == ['sheet.png']
    height, width, _ = cv2.imread(str(tmp_path / 'here' / 'sheet.png')).shape
    assert width > height > 500


def test_data_published_says_how_to_fetch_them(call):
    result = call('data', 'published')
    assert result.exit_code == 0
    assert 'icml_face_data.csv' in result.output


@pytest.fixture
def past(tmp_path) -> Path:
    """A history of four runs: pushed, refused, killed, and one without a report."""
    with subprocess.Popen([sys.executable, '-c', '']) as dead:
        pass
    folder = tmp_path / 'runs' / 'demo' / 'history'
    started = '2024-01-01T00:00:00+00:00'
    for entry in (
        history.Entry(
            '1-first',
            'pushed',
            started,
            61.4,
            kpis={'expression': {'accuracy': 0.9123}, 'keypoints': {'rmse': 2.5}},
            pushed={'expression': 1, 'faces': 2},
            report='/somewhere/1/report.html',
        ),
        history.Entry('2-second', 'refused', started, 5.0, 'it was worse', report='/somewhere/2/report.html'),
        history.Entry('3-third', history.RUNNING, started, process=dead.pid),
        history.Entry('4-fourth', history.RUNNING, started, process=os.getpid()),
    ):
        history.write(folder / entry.run, entry)
    return folder


def test_runs_lists_every_run_with_state_figures_and_pushes(call, past):
    result = call('runs')
    assert result.exit_code == 0
    rows = [[cell.strip() for cell in line.split('│')[1:-1]] for line in result.output.splitlines() if '│' in line]
    assert rows == [
        ['1-first', 'pushed', '61 s', 'expression: accuracy 0.912; keypoints: rmse 2.500', 'expression/1, faces/2', ''],
        ['2-second', 'refused', '5 s', '', '', 'it was worse'],
        ['3-third', 'killed', '', '', '', ''],
        ['4-fourth', 'running', '', '', '', ''],
    ]


def test_runs_of_a_new_pipeline_are_none(call):
    result = call('runs', '--set', 'name=new')
    assert result.exit_code == 0
    assert 'No run of new in' in result.output


def test_report_prints_the_path_of_the_last_or_of_a_named_run(call, past):
    assert call('report').output == '/somewhere/2/report.html\n'
    assert call('report', '--run', '1-first').output == '/somewhere/1/report.html\n'


def test_a_report_that_is_not_there_is_told_with_those_that_are(call, past):
    assert 'run 9 in' in complaint(call('report', '--run', '9'))
    assert complaint(call('report', '--run', '3-third')).endswith('runs with one: 1-first, 2-second.')
    assert 'none yet' in complaint(call('report', '--set', 'name=new'))


def test_a_damaged_history_is_told_in_one_line(call, past):
    (past / '1-first' / history.FILE_NAME).write_text('{')
    for command in ('runs', 'report'):
        assert 'is damaged' in complaint(call(command))


@pytest.fixture
def serving(tmp_path) -> Path:
    folder = tmp_path / 'serving' / 'keypoints'
    for name in 'abc':
        model = tmp_path / name
        model.mkdir()
        (model / 'saved_model.pb').write_text(name)
        facts = versions.Provenance('keypoints', name, name, '', '', '', '')
        versions.publish(model, folder, facts, None, 9)
    return folder


def test_rollback_serves_the_version_before_or_a_named_one(call, serving):
    assert call('rollback', 'keypoints').output == 'keypoints: version 2 is served again, as version 4.\n'
    assert call('rollback', 'keypoints', '--to', '1').output == 'keypoints: version 1 is served again, as version 5.\n'
    assert (serving / '5' / 'saved_model.pb').read_text() == 'a'
    facts = versions.provenance(serving, 5)
    assert facts.rollback_of == 1
    assert facts.created > '2024'


def test_a_rollback_to_nowhere_is_told_in_one_line(call, serving):
    assert 'holds no version 9: choose one of 1, 2, 3' in complaint(call('rollback', 'keypoints', '--to', '9'))
    assert 'holds 0 version(s)' in complaint(call('rollback', 'faces'))
    (serving / '2' / versions.PROVENANCE).write_text('')
    assert 'missing or damaged' in complaint(call('rollback', 'keypoints'))


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ('config show --config nothing', "There is no configuration 'nothing'"),
        ('runs --config nothing.yaml', "There is no configuration 'nothing.yaml'"),
        ('report --set trian.epochs=1', 'did you mean train?'),
        ('run --set train.expression.epochs=many', "expected int, got str 'many'"),
        ('run --config nothing', "There is no configuration 'nothing'"),
        ('rollback faces --set seed', 'write it as section.key=value'),
        ('data draw --folder file', 'File exists: file'),
        ('data draw --folder file/inside', 'Not a directory: file/inside'),
        ('data draw --sheet --folder /proc/none', 'No such file or directory: /proc/none'),
        ('run --set runs=file', 'Not a directory'),
    ],
)
def test_a_mistake_is_told_in_one_line(call, tmp_path, arguments, message):
    (tmp_path / 'file').write_text('')
    assert message in complaint(call(*arguments.split()))


@pytest.mark.parametrize(
    'arguments', ['fly', 'rollback nose', 'rollback', 'rollback faces --to x', 'data draw --seed -1', 'run --faster']
)
def test_a_mistyped_command_ends_with_status_2_and_its_usage(call, arguments):
    result = call(*arguments.split())
    assert result.exit_code == 2
    assert result.output.startswith('Usage: ')


@pytest.fixture
def logging_as_before() -> Iterator[None]:
    """A run sends every log to its own file; the tests after it shall not."""
    loggers = [logging.getLogger(), logging.getLogger('emotion_pipeline.progress')]
    before = [(logger, logger.handlers[:], logger.level) for logger in loggers]
    yield
    logging.captureWarnings(False)
    for logger, handlers, level in before:
        logger.handlers[:] = handlers
        logger.setLevel(level)


def test_a_second_run_at_once_is_told_in_one_line_and_touches_nothing(call, tmp_path, logging_as_before):
    from pipeline import local

    config = load('demo', ['draw.folder=data'])
    with local.exclusive(config):
        result = call('run', '--set', 'draw.folder=data')
    assert (result.exit_code, type(result.exception)) == (1, SystemExit)
    *_, told = result.output.strip().splitlines()
    assert told == (
        f"Error: Another run of 'demo' is going on in {tmp_path}/runs/demo: wait for it, or name another pipeline with "
        '--set name=….'
    )
    # The first may be reading the faces; and what never began is no run.
    assert not (tmp_path / 'data').exists()
    assert history.read(tmp_path / 'runs' / 'demo' / 'history') == []


def test_a_store_is_free_again_however_a_run_ended(tmp_path):
    from pipeline import local

    mine, other = (load('demo', [f'runs={tmp_path}', f'name={name}']) for name in ('mine', 'other'))
    with pytest.raises(KeyError), local.exclusive(mine):
        raise KeyError
    with local.exclusive(mine), local.exclusive(other), pytest.raises(StepError), local.exclusive(mine):
        pass
    with local.exclusive(mine):
        pass


def test_a_run_that_cannot_begin_ends_in_one_line_with_its_entry_and_its_report(call, tmp_path, logging_as_before):
    write_keypoints(tmp_path / 'keypoints.csv', 2, seed=0)
    write_expressions(tmp_path / 'expressions.csv', 2, seed=0)
    settings = {
        'name': 'mine',
        'ingest': {'expression': {'files': ['expresions.csv']}, 'keypoints': {'files': ['keypoints.csv']}},
    }
    (tmp_path / 'mine.yaml').write_text(yaml.safe_dump(settings))
    result = call('run', '--config', 'mine.yaml')
    assert (result.exit_code, type(result.exception)) == (1, SystemExit)
    (told,) = [line for line in result.output.splitlines() if 'Nothing matches expresions.csv' in line]
    # By what name the file lies there is part of the answer.
    assert '(there: expressions.csv' in told
    (entry,) = history.read(tmp_path / 'runs' / 'mine' / 'history')
    assert (entry.state, entry.message) == ('failed', told.strip())
    assert 'Nothing matches expresions.csv' in Path(entry.report).read_text()
    # For who has to look deeper, the stack trace is in the log.
    assert 'Traceback' not in result.output
    assert 'Traceback' in (tmp_path / 'runs' / 'mine' / 'history' / entry.run / 'log.txt').read_text()
