"""Cron expressions as Kubeflow Pipelines reads them: six fields, in the one time zone of its controller.

The controller parses with robfig/cron 1.2.0, which refuses a prefix `CRON_TZ=` or `TZ=` ("Expected 5 to 6 fields,
found 7"), takes the first of five fields for the seconds, and knows no weekday 7. It reckons in CRON_SCHEDULE_TIMEZONE,
which the manifests fill from `cronScheduleTimezone` of the config map `pipeline-install-config`: UTC, unless somebody
changed it.
"""

import datetime
from collections.abc import Collection
from typing import Final
from zoneinfo import ZoneInfo

from components.errors import StepError
from pipeline.schedule.cron import Cron, parse

_DAY: Final = 24 * 60
_LOOK_AHEAD: Final = 2 * 366  # days in which two zones have to keep their distance


def in_cluster_zone(expression: str, zone: str, cluster_zone: str) -> str:
    """The expression for the controller.

    Args:
        expression: minute, hour, day of month, month, weekday.
        zone: in which it is meant.
        cluster_zone: in which the controller reckons.

    Raises:
        StepError: the expression or a zone is wrong, or no expression in the controller's zone fires at these times.
    """
    cron = parse(expression, zone)
    distance = _distance(zone, cluster_zone)
    moved = None if distance is None else _moved(cron, distance)
    if moved is None:
        raise StepError(
            f'Kubeflow reckons every schedule in one time zone, here {cluster_zone}, and {expression!r} in {zone} has '
            f'no equal there: write it for --time-zone {cluster_zone}, or set cronScheduleTimezone in the config map '
            f'pipeline-install-config to {zone} and give --cluster-time-zone {zone}.'
        )
    return moved


def _distance(zone: str, cluster_zone: str) -> int | None:
    """Minutes from one zone to the other; None when they do not keep it, as for daylight saving time."""
    one, other = _zone(zone), _zone(cluster_zone)
    now = datetime.datetime.now(datetime.UTC)
    moments = (now + datetime.timedelta(days=days) for days in range(_LOOK_AHEAD))
    distances = {_offset(moment, other) - _offset(moment, one) for moment in moments}
    return int(distances.pop().total_seconds()) // 60 if len(distances) == 1 else None


def _moved(cron: Cron, distance: int) -> str | None:
    """The six fields of the times that lie so many minutes later; None when none describe them."""
    times = [divmod(hour * 60 + minute + distance, _DAY) for hour in cron.hours for minute in cron.minutes]
    hours = sorted({time // 60 for _, time in times})
    minutes = sorted({time % 60 for _, time in times})
    turns = {turn for turn, _ in times}
    _, _, days, months, weekdays = cron.expression.split()
    if len(times) != len(hours) * len(minutes):
        return None
    if turns != {0} and (days, months, weekdays) != ('*', '*', '*'):
        # Into the day before or after: only weekdays can follow, and only if all times go the same way.
        if len(turns) > 1 or days != '*' or months != '*':
            return None
        turn = turns.pop()
        weekdays = _listed(sorted((day + turn) % 7 for day in cron.weekdays), range(7))
    else:
        # A field that begins with `*` keeps its text: whether day and weekday both have to fit hangs on it.
        days = days if days.startswith('*') else _listed(cron.days, range(1, 32))
        weekdays = weekdays if weekdays.startswith('*') else _listed(cron.weekdays, range(7))
    fields = _listed(minutes, range(60)), _listed(hours, range(24)), days, _listed(cron.months, range(1, 13)), weekdays
    return ' '.join(('0', *fields))


def _listed(values: Collection[int], every: range) -> str:
    return '*' if len(values) == len(every) else ','.join(map(str, values))


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        raise StepError(f'{name!r} is no time zone: name one such as Europe/Berlin or UTC.') from error


def _offset(moment: datetime.datetime, zone: ZoneInfo) -> datetime.timedelta:
    return moment.astimezone(zone).utcoffset() or datetime.timedelta()
