"""The units: what they say, and that systemd understands it so."""

import configparser
import os
import pwd
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from components.errors import StepError
from pipeline.schedule.cron import parse
from pipeline.schedule.systemd import Unit, service, timer

ODD = ('name=a "b" %h $HOME \\n;x', "it's", '', 'ünïcode')
COMMAND = ('/bin/echo', 'schedule', *ODD)
FOLDER = Path('/tmp')
CRON = parse('*/30 3 1 * mon', 'UTC')


def read(unit: Unit) -> configparser.ConfigParser:
    """A unit with its settings; the last one counts of those that are there twice."""
    parser = configparser.ConfigParser(interpolation=None, strict=False, delimiters=('=',))
    parser.optionxform = str
    parser.read_string(unit.text)
    return parser


@pytest.mark.parametrize('unit', [service('mine', COMMAND, FOLDER)[0], timer('mine', COMMAND, FOLDER, CRON)[0]])
def test_every_argument_reaches_the_command_as_it_is(unit):
    line = read(unit)['Service']['ExecStart']
    # Without what systemd.service(5) takes for a specifier or a variable, the rest is quoted as in a shell.
    assert '%' not in line.replace('%%', '')
    assert '$' not in line.replace('$$', '')
    assert tuple(shlex.split(line.replace('%%', '%').replace('$$', '$'))) == COMMAND


def test_the_service_starts_with_the_machine_and_again_after_a_fault():
    (unit,) = service('mine', COMMAND, FOLDER)
    assert unit.name == 'emotion-pipeline-mine.service'
    said = read(unit)
    assert (said['Service']['Restart'], said['Service']['WorkingDirectory']) == ('on-failure', '/tmp')
    assert said['Install']['WantedBy'] == 'multi-user.target'


@pytest.mark.parametrize(('missed', 'persistent'), [('run-once', 'true'), ('skip', 'false')])
def test_the_timer_makes_up_for_missed_times_only_if_asked(missed, persistent):
    _, unit = timer('mine', COMMAND, FOLDER, CRON, missed=missed)
    assert read(unit)['Timer']['Persistent'] == persistent


def test_the_timer_has_a_line_for_each_of_two_ways_to_choose_a_day():
    job, times = timer('mine', COMMAND, FOLDER, CRON, 'Europe/Berlin')
    assert (job.name, times.name) == ('emotion-pipeline-mine.service', 'emotion-pipeline-mine.timer')
    assert [line for line in times.text.splitlines() if line.startswith('OnCalendar')] == [
        'OnCalendar=*-*-01 03:00,30:00 Europe/Berlin',
        'OnCalendar=Mon *-*-* 03:00,30:00 Europe/Berlin',
    ]


@pytest.mark.parametrize('argument', ['two\nlines', ' begins', 'ends\t', 'bell\a'])
def test_what_a_unit_cannot_say_is_refused_in_one_line(argument):
    with pytest.raises(StepError, match='A systemd unit cannot hold'):
        service('mine', ('/bin/echo', argument), FOLDER)


def test_a_name_that_no_unit_may_have_is_written_otherwise():
    (unit,) = service('a/b %c', COMMAND, FOLDER)
    assert unit.name == 'emotion-pipeline-a_b__c.service'


@pytest.mark.skipif(not shutil.which('systemd-analyze'), reason='systemd-analyze is not installed')
@pytest.mark.parametrize(
    'units',
    [
        service('mine 100%', COMMAND, FOLDER),
        timer('mine', COMMAND, FOLDER, CRON, missed='run-once'),
        timer('mine', COMMAND, FOLDER, CRON, 'Europe/Berlin'),
    ],
)
def test_systemd_finds_no_fault_in_the_units(units, tmp_path):
    paths = [tmp_path / unit.name for unit in units]
    for path, unit in zip(paths, units, strict=True):
        path.write_text(unit.text)
    answer = subprocess.run(['systemd-analyze', 'verify', *paths], capture_output=True, text=True)
    assert (answer.returncode, answer.stderr) == (0, '')
    # It would have told.
    paths[0].write_text(units[0].text.replace('/bin/echo', '/no/such/program'))
    assert subprocess.run(['systemd-analyze', 'verify', *paths], capture_output=True).returncode != 0


def test_the_units_in_the_documentation_are_those_that_are_printed():
    program, folder = '/srv/faces/.venv/bin/emotion-pipeline', Path('/srv/faces')
    bounds = ('--limit', '6h', '--config', 'full')
    times = ('--cron', '0 3 * * *', '--missed', 'skip', '--time-zone', 'Europe/Berlin')
    units = service('full', (program, 'schedule', *times, *bounds), folder)
    cron = parse('0 3 * * *', 'Europe/Berlin')
    units += timer('full', (program, 'schedule', 'once', *bounds), folder, cron, 'Europe/Berlin')
    documentation = Path(__file__).parents[3].joinpath('docs', 'schedule.md').read_text()
    said = '\n'.join(line.removeprefix('    ') for line in documentation.splitlines())
    for unit in units:
        # But for who typed the command.
        above, _, below = unit.text.partition(f'User={pwd.getpwuid(os.getuid()).pw_name}\n')
        assert above in said
        assert below in said
