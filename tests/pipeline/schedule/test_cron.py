"""Cron expressions: which times they name, in which zone, and what systemd makes of them."""

import datetime
import os
import shutil
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.errors import StepError
from pipeline.schedule.cron import Cron, parse


def times(cron: Cron, start: str, count: int) -> list[str]:
    """The first times after a moment, as the clock on the wall shows them."""
    moment = datetime.datetime.fromisoformat(start)
    shown = []
    for _ in range(count):
        moment = cron.next_after(moment)
        shown.append(f'{moment:%a %m-%d %H:%M%z}')
    return shown


@pytest.mark.parametrize(
    ('expression', 'expected'),
    [
        ('0 3 * * *', ['Mon 01-01 03:00', 'Tue 01-02 03:00', 'Wed 01-03 03:00']),
        ('0 3 * * 0', ['Sun 01-07 03:00', 'Sun 01-14 03:00', 'Sun 01-21 03:00']),
        ('0 3 * * 7', ['Sun 01-07 03:00', 'Sun 01-14 03:00', 'Sun 01-21 03:00']),
        ('0 3 * * 1', ['Mon 01-01 03:00', 'Mon 01-08 03:00', 'Mon 01-15 03:00']),
        ('0 3 * * 5-7', ['Fri 01-05 03:00', 'Sat 01-06 03:00', 'Sun 01-07 03:00']),
        ('0 3 * * FRI-Sun', ['Fri 01-05 03:00', 'Sat 01-06 03:00', 'Sun 01-07 03:00']),
        ('0 3 * * sun,wed', ['Wed 01-03 03:00', 'Sun 01-07 03:00', 'Wed 01-10 03:00']),
        ('0 0 1 feb-mar *', ['Thu 02-01 00:00', 'Fri 03-01 00:00', 'Sat 02-01 00:00']),
        ('*/25 6 * * *', ['Mon 01-01 06:00', 'Mon 01-01 06:25', 'Mon 01-01 06:50']),
        ('10-30/10 6 * * *', ['Mon 01-01 06:10', 'Mon 01-01 06:20', 'Mon 01-01 06:30']),
        ('50/5 6 * * *', ['Mon 01-01 06:50', 'Mon 01-01 06:55', 'Tue 01-02 06:50']),
        # Either is enough …
        ('0 0 3 * 1', ['Wed 01-03 00:00', 'Mon 01-08 00:00', 'Mon 01-15 00:00']),
        # … unless one begins with a star.
        ('0 0 */2 * 1', ['Mon 01-15 00:00', 'Mon 01-29 00:00', 'Mon 02-05 00:00']),
        ('0 0 29 2 *', ['Thu 02-29 00:00', 'Tue 02-29 00:00', 'Sun 02-29 00:00']),
    ],
)
def test_an_expression_names_the_times_that_cron_names(expression, expected):
    found = times(parse(expression, 'UTC'), '2024-01-01T00:00:00+00:00', 3)
    assert [time.removesuffix('+0000') for time in found] == expected


def test_a_time_that_the_clocks_leave_out_comes_an_hour_later_and_once():
    cron = parse('30 2 * * *', 'Europe/Berlin')
    expected = ['Sat 03-30 02:30+0100', 'Sun 03-31 03:30+0200', 'Mon 04-01 02:30+0200', 'Tue 04-02 02:30+0200']
    assert times(cron, '2024-03-30T00:00:00+01:00', 4) == expected


def test_a_time_that_the_clocks_repeat_comes_once():
    cron = parse('30 2 * * *', 'Europe/Berlin')
    expected = ['Sat 10-26 02:30+0200', 'Sun 10-27 02:30+0200', 'Mon 10-28 02:30+0100', 'Tue 10-29 02:30+0100']
    assert times(cron, '2024-10-26T00:00:00+02:00', 4) == expected


def test_every_hour_follows_the_hours_that_pass():
    cron = parse('30 * * * *', 'Europe/Berlin')
    spring = ['Sun 03-31 01:30+0100', 'Sun 03-31 03:30+0200', 'Sun 03-31 04:30+0200']
    assert times(cron, '2024-03-31T01:00:00+01:00', 3) == spring
    autumn = ['Sun 10-27 01:30+0200', 'Sun 10-27 02:30+0200', 'Sun 10-27 02:30+0100', 'Sun 10-27 03:30+0100']
    assert times(cron, '2024-10-27T01:00:00+02:00', 4) == autumn


def test_midnight_is_not_lost_on_the_day_after_the_clocks_go_forward():
    cron = parse('0 0 * * *', 'Europe/Berlin')
    assert times(cron, '2024-03-31T00:00:00+01:00', 1) == ['Mon 04-01 00:00+0200']


_TIME = st.datetimes(datetime.datetime(2024, 1, 1), datetime.datetime(2025, 12, 31), timezones=st.just(datetime.UTC))


@settings(max_examples=60, deadline=None)
@given(_TIME, st.sampled_from(['*/20 * * * *', '30 2 * * *', '0 1,2,3 * * 0', '15 2 1,15 * 3']))
def test_times_go_forward_and_the_latest_one_is_the_last_before_its_end(moment, expression):
    cron = parse(expression, 'Europe/Berlin')
    first = cron.next_after(moment)
    second = cron.next_after(first)
    utc = [time.astimezone(datetime.UTC) for time in (moment, first, second)]
    assert utc[0] < utc[1] < utc[2]
    just_before = second.astimezone(datetime.UTC) - datetime.timedelta(seconds=1)
    assert cron.latest(moment, just_before) == first
    assert cron.latest(moment, second) == second
    assert cron.latest(first, just_before) is None


def test_missed_years_of_minutes_are_found_at_once():
    cron = parse('* * * * *', 'UTC')
    start, end = (datetime.datetime(year, 1, 1, tzinfo=datetime.UTC) for year in (2020, 2024))
    assert cron.latest(start, end) == end


@pytest.mark.parametrize(
    ('expression', 'message'),
    [
        ('0 3 * *', 'has 4 field(s) instead of 5'),
        ('@daily', 'has 1 field(s) instead of 5'),
        ('60 * * * *', "'60' is no minute: write 0 to 59"),
        ('* 24 * * *', "'24' is no hour"),
        ('* * 0 * *', "'0' is no day of month"),
        ('* * * 13 *', "'13' is no month: write 1 to 12 or jan to dec"),
        ('* * * * 8', "'8' is no weekday: write 0 to 7 or sun to sat"),
        ('* * * * 5-2', "'5-2' is no weekday"),
        ('*/0 * * * *', "'*/0' is no minute"),
        ('*-5 * * * *', "'*-5' is no minute"),
        ('1,, * * * *', "'' is no minute"),
        ('1.5 * * * *', "'1.5' is no minute"),
        ('² * * * *', "'²' is no minute"),
        ('0 0 30 2 *', 'never fires'),
    ],
)
def test_a_wrong_expression_is_told_in_one_line(expression, message):
    with pytest.raises(StepError, match='^Cron expression') as caught:
        parse(expression, 'UTC')
    assert message in str(caught.value)


@pytest.mark.parametrize('zone', ['Mars/Olympus', 'Europe', '../../etc/passwd', '/etc/localtime', 'UTC\0'])
def test_a_wrong_zone_is_told_in_one_line(zone):
    with pytest.raises(StepError, match='is no time zone: name one such as Europe/Berlin'):
        parse('0 3 * * *', zone)


def test_without_a_zone_the_machines_counts():
    code = 'from pipeline.schedule.cron import parse; print(parse("0 3 * * *").zone)'
    environment = {**os.environ, 'TZ': 'Asia/Tokyo'}
    answer = subprocess.run([sys.executable, '-c', code], env=environment, capture_output=True, text=True, check=True)
    assert answer.stdout == 'Asia/Tokyo\n'


EXPRESSIONS = [
    ('0 3 * * *', ['*-*-* 03:00:00']),
    ('*/15 8-18 * * 1-5', ['Mon..Fri *-*-* 08..18:00,15,30,45:00']),
    ('0 0 * jan,jul fri-sun', ['Fri..Sun *-01,07-* 00:00:00']),
    ('0 0 * * 0,3', ['Wed,Sun *-*-* 00:00:00']),
    ('0 0 1,15 * 1', ['*-*-01,15 00:00:00', 'Mon *-*-* 00:00:00']),
    ('5 4 1-7 * *', ['*-*-01..07 04:05:00']),
    ('5 4 */10 2-12/5 */3', ['Wed,Sat..Sun *-02,07,12-01,11,21,31 04:05:00']),
]


@pytest.mark.parametrize(('expression', 'lines'), EXPRESSIONS)
def test_an_expression_is_written_as_systemd_writes_it(expression, lines):
    assert parse(expression, 'UTC').calendar() == lines
    assert parse(expression, 'UTC').calendar('Europe/Berlin') == [f'{line} Europe/Berlin' for line in lines]


@pytest.mark.skipif(not shutil.which('systemd-analyze'), reason='systemd-analyze is not installed')
@pytest.mark.parametrize('expression', [expression for expression, _ in EXPRESSIONS])
def test_systemd_finds_the_same_times(expression):
    start = '2024-01-01 00:00:00 UTC'
    found = set()
    cron = parse(expression, 'UTC')
    for line in cron.calendar('UTC'):
        answer = subprocess.run(
            ['systemd-analyze', 'calendar', '--iterations=12', f'--base-time={start}', line],
            capture_output=True,
            text=True,
            env={**os.environ, 'TZ': 'UTC', 'LC_ALL': 'C'},
        )
        assert answer.returncode == 0, answer.stderr
        rows = [row.partition(': ')[2] for row in answer.stdout.splitlines() if 'elapse:' in row or 'Iter.' in row]
        assert len(rows) == 12
        found |= {datetime.datetime.strptime(row, '%a %Y-%m-%d %H:%M:%S UTC').isoformat() for row in rows}
    moment = datetime.datetime.fromisoformat('2024-01-01T00:00:00+00:00') - datetime.timedelta(seconds=1)
    mine = []
    for _ in range(12):
        moment = cron.next_after(moment)
        mine.append(moment.replace(tzinfo=None).isoformat())
    # Its base time itself does not count for systemd.
    expected = [time for time in mine if time != '2024-01-01T00:00:00'][:8]
    assert sorted(found)[:8] == expected
