"""Cron expressions, read as cron(8) reads them: when they fire next, and how systemd writes them.

APScheduler's CronTrigger would not do: its weekday 0 is Monday, it demands day of month *and* weekday where cron is
content with either, it fires twice at an hour that the clocks repeat, and in the night in which they go forward it
loses midnight (3.11.3: the time of `0 0 * * *` in Europe/Berlin after 31 March 2024 0:00 is 2 April).
"""

import datetime
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final
from zoneinfo import ZoneInfo

from tzlocal import get_localzone

from components.errors import StepError

_DAY: Final = datetime.timedelta(days=1)
_LONGEST_WAIT: Final = 41 * 366
"""Days: 29 February falls on a given weekday every 28 years, and once in 40 where a century has no leap day."""

_ALL_DAYS: Final = tuple(range(1, 32))
_ALL_WEEKDAYS: Final = tuple(range(7))
_ITEM: Final = re.compile(r'(?P<first>\*|[0-9]{1,2}|[a-z]{3})(-(?P<last>[0-9]{1,2}|[a-z]{3}))?(/(?P<step>[0-9]{1,2}))?')
_MONTHS: Final = ('jan', 'feb', 'mar', 'apr', 'may', 'jun', 'jul', 'aug', 'sep', 'oct', 'nov', 'dec')
_WEEKDAYS: Final = ('sun', 'mon', 'tue', 'wed', 'thu', 'fri', 'sat')


@dataclass(frozen=True)
class _Field:
    name: str
    first: int
    last: int
    words: tuple[str, ...] = ()


_FIELDS: Final = (
    _Field('minute', 0, 59),
    _Field('hour', 0, 23),
    _Field('day of month', 1, 31),
    _Field('month', 1, 12, _MONTHS),
    _Field('weekday', 0, 7, _WEEKDAYS),
)


@dataclass(frozen=True)
class Cron:
    """A cron expression in a time zone.

    Attributes:
        expression: its five fields, as they were written.
        zone: the time zone.
        minutes, hours, days, months: the numbers that each field names.
        weekdays: likewise, 0 to 6 from Sunday on.
        either: whether a day of month or a weekday is enough: cron's rule where neither field begins with `*`.
        fixed_hours: whether the hours are named, not `*`.
    """

    expression: str
    zone: datetime.tzinfo
    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: tuple[int, ...]
    months: tuple[int, ...]
    weekdays: tuple[int, ...]
    either: bool
    fixed_hours: bool

    def next_after(self, moment: datetime.datetime) -> datetime.datetime:
        """The first time after a moment.

        A named hour that the clocks leave out in spring is made up an hour later; one that they repeat in autumn counts
        once, the first time. `*` follows the hours that really pass.

        Raises:
            StepError: there is none, as on 30 February.
        """
        # In UTC: two times of one zone are compared by what the clock shows.
        moment = moment.astimezone(datetime.UTC)
        today = moment.astimezone(self.zone).date()
        for days in range(-1, _LONGEST_WAIT):
            for time in self._moments_on(today + days * _DAY):
                if time > moment:
                    return time.astimezone(self.zone)
        raise StepError(f'Cron expression {self.expression!r} never fires: no year has such a day.')

    def latest(self, after: datetime.datetime, until: datetime.datetime) -> datetime.datetime | None:
        """The last time after one moment and no later than another; None when there is none."""
        after, until = after.astimezone(datetime.UTC), until.astimezone(datetime.UTC)
        first, day = after.astimezone(self.zone).date() - _DAY, until.astimezone(self.zone).date()
        while day >= first:
            times = [time for time in self._moments_on(day) if after < time <= until]
            if times:
                return times[-1].astimezone(self.zone)
            day -= _DAY
        return None

    def calendar(self, zone: str = '') -> list[str]:
        """The values of systemd's `OnCalendar=` that together fire at these times; see systemd.time(7).

        Args:
            zone: name of the time zone to write; the machine's when left out.
        """
        weekdays = sorted((day - 1) % 7 for day in self.weekdays)
        pairs = [(self.days, _ALL_WEEKDAYS), (_ALL_DAYS, weekdays)] if self.either else [(self.days, weekdays)]
        clock = f'{_spans(self.hours, 0, 23)}:{_spans(self.minutes, 0, 59)}:00'
        return [
            ' '.join(
                part
                for part in (
                    '' if len(named) == 7 else _spans(named, 0, 6, ('Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat', 'Sun')),
                    f'*-{_spans(self.months, 1, 12)}-{_spans(days, 1, 31)}',
                    clock,
                    zone,
                )
                if part
            )
            for days, named in pairs
        ]

    def _moments_on(self, day: datetime.date) -> list[datetime.datetime]:
        """The times of a day, in UTC and in their order."""
        if not self._fires_on(day):
            return []
        shown = (
            datetime.datetime(day.year, day.month, day.day, hour, minute, tzinfo=self.zone, fold=fold)
            for fold in ((0,) if self.fixed_hours else (0, 1))
            for hour in self.hours
            for minute in self.minutes
        )
        # By way of UTC, a time that the clocks leave out becomes the one that they show instead.
        return sorted({time.astimezone(datetime.UTC) for time in shown if self.fixed_hours or _exists(time)})

    def _fires_on(self, day: datetime.date) -> bool:
        by_date, by_weekday = day.day in self.days, day.isoweekday() % 7 in self.weekdays
        return day.month in self.months and (by_date or by_weekday if self.either else by_date and by_weekday)


def parse(expression: str, zone: str = '') -> Cron:
    """Reads the five fields of a cron expression.

    Args:
        expression: minute, hour, day of month, month, weekday; numbers, names, `*`, lists, ranges and steps.
        zone: a name of the time zone database; the machine's zone when left out.

    Raises:
        StepError: the expression or the zone is wrong.
    """
    texts = expression.lower().split()
    if len(texts) != len(_FIELDS):
        raise StepError(
            f'Cron expression {expression!r} has {len(texts)} field(s) instead of 5: minute, hour, day of month, '
            'month, weekday; "0 3 * * *" is every day at 3:00.'
        )
    minutes, hours, days, months, weekdays = map(_numbers, _FIELDS, texts)
    cron = Cron(
        expression=' '.join(texts),
        zone=_zone(zone),
        minutes=minutes,
        hours=hours,
        days=days,
        months=months,
        weekdays=tuple(sorted({day % 7 for day in weekdays})),
        either=not texts[2].startswith('*') and not texts[4].startswith('*'),
        fixed_hours=not texts[1].startswith('*'),
    )
    cron.next_after(datetime.datetime.now(datetime.UTC))
    return cron


def _zone(name: str) -> datetime.tzinfo:
    try:
        return ZoneInfo(name) if name else get_localzone()
    except (KeyError, ValueError, OSError) as error:
        what = f'{name!r} is no time zone' if name else "The machine's time zone cannot be told"
        raise StepError(f'{what}: name one such as Europe/Berlin or UTC with --time-zone.') from error


def _numbers(field: _Field, text: str) -> tuple[int, ...]:
    return tuple(sorted({number for item in text.split(',') for number in _item(field, item)}))


def _item(field: _Field, text: str) -> Iterator[int]:
    match = _ITEM.fullmatch(text)
    if not match or (match['first'] == '*' and match['last']):
        raise _wrong(field, text)
    step = int(match['step'] or 1)
    first = field.first if match['first'] == '*' else _number(field, match['first'], text)
    if match['last']:
        last = _number(field, match['last'], text)
        if field.name == 'weekday' and last == 0 < first:
            last = 7  # fri-sun
    else:
        last = field.last if match['first'] == '*' or match['step'] else first
    if not step or last < first:
        raise _wrong(field, text)
    yield from range(first, last + 1, step)


def _number(field: _Field, text: str, item: str) -> int:
    if text in field.words:
        return field.words.index(text) + (field.first if field.name == 'month' else 0)
    if not text.isdecimal() or not field.first <= int(text) <= field.last:
        raise _wrong(field, item)
    return int(text)


def _wrong(field: _Field, text: str) -> StepError:
    names = f' or {field.words[0]} to {field.words[-1]}' if field.words else ''
    return StepError(
        f'Cron expression: {text!r} is no {field.name}: write {field.first} to {field.last}{names}, *, a list 1,2, a '
        'range 1-5 or a step */2.'
    )


def _exists(time: datetime.datetime) -> bool:
    """Whether the clocks ever show this time."""
    shown = time.astimezone(datetime.UTC).astimezone(time.tzinfo)
    return shown.replace(tzinfo=None) == time.replace(tzinfo=None)


def _spans(values: Sequence[int], first: int, last: int, names: Sequence[str] = ()) -> str:
    """`*` for all of them, else a list in which neighbours are drawn together, as `1..5,7`."""
    if len(values) == last - first + 1:
        return '*'
    groups: list[list[int]] = []
    for value in values:
        if groups and value == groups[-1][-1] + 1:
            groups[-1].append(value)
        else:
            groups.append([value])
    return ','.join(
        '..'.join(names[value] if names else f'{value:02}' for value in dict.fromkeys((group[0], group[-1])))
        for group in groups
    )
