"""Cron expressions for Kubeflow's controller: the same times, in six fields and in its own zone."""

import datetime
import re

import pytest

from components.errors import StepError
from pipeline.kubeflow.cron import in_cluster_zone
from pipeline.schedule.cron import parse

BEGIN = datetime.datetime(2027, 1, 1, tzinfo=datetime.UTC)


def times(expression: str, zone: str, count: int = 100) -> list[datetime.datetime]:
    cron, found, moment = parse(expression, zone), [], BEGIN
    for _ in range(count):
        moment = cron.next_after(moment)
        found.append(moment.astimezone(datetime.UTC))
    return found


def test_seconds_are_put_before_the_five_fields():
    assert in_cluster_zone('0 3 * * *', 'UTC', 'UTC') == '0 0 3 * * *'


def test_names_and_sunday_as_seven_become_numbers_that_the_controller_reads():
    assert in_cluster_zone('*/20 8-10 * jan-mar mon,7', 'UTC', 'UTC') == '0 0,20,40 8,9,10 * 1,2,3 0,1'


def test_a_star_with_a_step_stays_so_that_day_and_weekday_both_have_to_fit():
    assert in_cluster_zone('0 3 */2 * 1', 'UTC', 'UTC') == '0 0 3 */2 * 1'


def test_day_and_weekday_without_a_star_stay_alternatives():
    assert in_cluster_zone('0 3 1,15 * 1', 'UTC', 'UTC') == '0 0 3 1,15 * 1'


@pytest.mark.parametrize(
    'expression',
    ['0 3 * * *', '30 23 * * *', '*/15 * * * *', '0 2,20 * * *', '45 22 * * 1-5', '15 3 * * sun', '0 12 1 * *'],
)
@pytest.mark.parametrize('zone', ['Asia/Tokyo', 'Asia/Kolkata', 'America/Phoenix', 'Pacific/Kiritimati'])
def test_an_expression_of_another_zone_fires_at_the_same_times(expression, zone):
    try:
        seconds, fields = in_cluster_zone(expression, zone, 'UTC').split(' ', 1)
    except StepError as error:
        # Only a day of the month may be refused, where it would become the day before or after.
        assert expression == '0 12 1 * *' and 'has no equal there' in str(error) and zone == 'Pacific/Kiritimati'
        return
    assert seconds == '0'
    assert times(fields, 'UTC') == times(expression, zone)


@pytest.mark.parametrize(
    ('expression', 'zone'),
    [
        ('0 3 * * *', 'Europe/Berlin'),  # in summer an hour earlier than in winter
        ('0 3 1 * *', 'Asia/Tokyo'),  # the last of the month before
        ('0 3,12 * * 1', 'Asia/Tokyo'),  # one on Sunday, the other on Monday
        ('0,40 3 * * *', 'Asia/Kolkata'),  # minutes of two hours
    ],
)
def test_what_the_controllers_zone_cannot_say_is_refused_with_the_cure(expression, zone):
    with pytest.raises(StepError, match=re.escape(f'--cluster-time-zone {zone}')):
        in_cluster_zone(expression, zone, 'UTC')


def test_zones_that_change_their_clocks_together_go_together():
    assert in_cluster_zone('0 3 * * *', 'Europe/Berlin', 'Europe/Berlin') == '0 0 3 * * *'
    assert in_cluster_zone('0 3 * * *', 'Europe/Berlin', 'Europe/London') == '0 0 2 * * *'


def test_an_unknown_zone_is_named():
    with pytest.raises(StepError, match='Europe/Nowhere'):
        in_cluster_zone('0 3 * * *', 'UTC', 'Europe/Nowhere')
