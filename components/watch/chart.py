"""Expressions over time, a panel for each person, as one SVG that needs nothing else."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final
from xml.sax.saxutils import escape

import numpy as np

from components import faces
from components.watch.colours import ON_DARK, ON_LIGHT
from components.watch.timeline import Entry, Summary

MOST_PEOPLE: Final = 20
"""With a panel of their own: those who were seen longest, by number."""

_WIDTH: Final = 960
_LEFT, _RIGHT, _TOP = 64, 24, 104  # margins
_PANEL: Final = 120  # height of the probabilities
_STRIP: Final = 18  # height of the most probable expression's band
_SIGN: Final = 7  # width of a letter in it, about
_STEP: Final = 216  # from panel to panel
_FOOT: Final = 44
_PLACES: Final = 480  # along the time; what is finer is averaged
_GAP: Final = 0.5  # seconds without a face that are shown as such
_MARKS: Final = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400)
_MOST_MARKS: Final = 9

_STYLE: Final = """
svg { font: 13px system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif; }
.page { fill: #f5f6f8; } .plate { fill: #ffffff; stroke: #e0e4ea; } .grid { stroke: #e0e4ea; }
text { fill: #1a2230; font-variant-numeric: tabular-nums; } .muted { fill: #566174; font-size: 12px; }
.title { font-size: 19px; font-weight: 650; } .person { font-size: 15px; font-weight: 600; }
.name { fill: #ffffff; font-size: 12px; font-weight: 600; }
.area { stroke: #ffffff; stroke-width: 0.7; stroke-linejoin: round; }
"""
_DARK_STYLE: Final = """
.page { fill: #0e1218; } .plate { fill: #171c25; stroke: #2b3341; } .grid { stroke: #2b3341; }
text { fill: #e6eaf1; } .muted { fill: #9ba7b9; } .name { fill: #0e1218; } .area { stroke: #171c25; }
"""


@dataclass
class _Run:
    """A stretch of time without a gap: times, and the probabilities `[5]` at each."""

    seconds: list[float] = field(default_factory=list)
    shares: list[np.ndarray] = field(default_factory=list)


def draw_chart(title: str, people: Sequence[Summary], entries: Iterable[Entry], rest: float) -> str:
    """The chart as SVG.

    Args:
        title: what was watched.
        people: who was seen.
        entries: the smoothed probabilities are drawn; in the order of time.
        rest: seconds that one frame lasts, about.
    """
    shown = sorted(sorted(people, key=lambda person: -person.seconds)[:MOST_PEOPLE], key=lambda person: person.person)
    start = min((person.first for person in people), default=0.0)
    end = max((person.last for person in people), default=0.0) + rest
    span = max(end - start, 1e-3)
    runs = _runs({person.person for person in shown}, entries, start, span, max(_GAP, 3.0 * rest), rest)
    height = _TOP + max(1, len(shown)) * _STEP + _FOOT - 24
    parts = [_head(title, people, shown, height)]
    for index, person in enumerate(shown):
        parts.append(_panel(person, runs[person.person], _TOP + index * _STEP, start, span))
    if not shown:
        parts.append(f'<text x="{_LEFT}" y="{_TOP + 40}">No face was found.</text>')
    parts.append('</svg>\n')
    return '\n'.join(parts)


def _runs(
    shown: set[int], entries: Iterable[Entry], start: float, span: float, gap: float, rest: float
) -> dict[int, list[_Run]]:
    """For each person its stretches, averaged in places along the time."""
    runs: dict[int, list[_Run]] = {number: [] for number in shown}
    waiting: dict[int, list[Entry]] = {number: [] for number in shown}

    def settle(number: int) -> None:
        """Puts what waits into the person's last run, as one point."""
        if waiting[number]:
            runs[number][-1].seconds.append(float(np.mean([entry.seconds for entry in waiting[number]])))
            runs[number][-1].shares.append(np.mean([entry.smoothed.probabilities for entry in waiting[number]], axis=0))
            waiting[number] = []

    latest: dict[int, float] = {}
    for entry in entries:
        number = entry.person
        if number not in shown:
            continue
        is_new = number not in latest or entry.seconds - latest[number] > gap
        if is_new or _place(entry.seconds, start, span) != _place(latest[number], start, span):
            settle(number)
        if is_new:
            _end(runs[number], latest.get(number), rest)
            runs[number].append(_Run())
        waiting[number].append(entry)
        latest[number] = entry.seconds
    for number in shown:
        settle(number)
        _end(runs[number], latest.get(number), rest)
    return runs


def _end(runs: list[_Run], last: float | None, rest: float) -> None:
    """Draws a run to the end of its last frame, so that one of one frame is seen too."""
    if runs and last is not None:
        runs[-1].seconds.append(last + rest)
        runs[-1].shares.append(runs[-1].shares[-1])


def _place(seconds: float, start: float, span: float) -> int:
    return int(_PLACES * (seconds - start) / span)


def _head(title: str, people: Sequence[Summary], shown: Sequence[Summary], height: int) -> str:
    light = ''.join(f'.e{index} {{ fill: {colour}; }} ' for index, colour in enumerate(ON_LIGHT))
    dark = ''.join(f'.e{index} {{ fill: {colour}; }} ' for index, colour in enumerate(ON_DARK))
    more = len(people) - len(shown)
    note = f'{_count(len(people), "person", "people")}'
    note += f'; the {len(shown)} who were seen longest are shown, all are in the timeline' if more else ''
    said = '; '.join(f'person {person.person}: {_in_words(person)}' for person in shown) or 'no face'
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" height="{height}" '
        'role="img" aria-labelledby="title description">',
        f'<title id="title">Expressions over time: {_text(title)}</title>',
        f'<desc id="description">Smoothed probabilities of the five expressions. {_text(said)}.</desc>',
        f'<style>{_STYLE}{light}@media (prefers-color-scheme: dark) {{{_DARK_STYLE}{dark}}}</style>',
        f'<rect class="page" width="{_WIDTH}" height="{height}"/>',
        f'<text class="title" x="{_LEFT}" y="36">{_text(_shortened(title))}</text>',
        f'<text class="muted" x="{_LEFT}" y="58">Probability of each expression over time, smoothed; {note}.</text>',
    ]
    x = _LEFT
    for index, name in enumerate(faces.EXPRESSIONS):
        lines.append(f'<rect class="e{index}" x="{x}" y="72" width="14" height="14" rx="3"/>')
        lines.append(f'<text x="{x + 20}" y="84">{name}</text>')
        x += 34 + 8 * len(name)
    return '\n'.join(lines)


def _panel(person: Summary, runs: Sequence[_Run], top: int, start: float, span: float) -> str:
    right, upper = _WIDTH - _RIGHT, top + 34
    lower = upper + _PANEL

    def along(seconds: float) -> float:
        return round(_LEFT + (seconds - start) / span * (right - _LEFT), 2)

    lines = [
        f'<g role="group" aria-label="Person {person.person}">',
        f'<text class="person" x="{_LEFT}" y="{top + 22}">Person {person.person}</text>',
        f'<text class="muted" x="{right}" y="{top + 22}" text-anchor="end">{_text(_in_words(person))}</text>',
        f'<rect class="plate" x="{_LEFT}" y="{upper}" width="{right - _LEFT}" height="{_PANEL}"/>',
    ]
    for share in (0.0, 0.5, 1.0):
        y = round(lower - share * _PANEL, 1)
        lines.append(f'<text class="muted" x="{_LEFT - 8}" y="{y + 4}" text-anchor="end">{share:.0%}</text>')
    for run in runs:
        lines += _areas(run, along, lower)
        lines += _strip(run, along, lower + 4)
    for mark, label in _marks(start, span):
        x = along(mark)
        lines.append(f'<line class="grid" x1="{x}" x2="{x}" y1="{lower + 4 + _STRIP}" y2="{lower + 9 + _STRIP}"/>')
        lines.append(f'<text class="muted" x="{x}" y="{lower + 38}" text-anchor="middle">{label}</text>')
    lines.append('</g>')
    return '\n'.join(lines)


def _areas(run: _Run, along, lower: float) -> list[str]:
    """The probabilities on top of one another, the first expression lowest."""
    edges = np.concatenate([np.zeros((len(run.shares), 1)), np.cumsum(run.shares, axis=1)], axis=1)
    edges /= np.maximum(edges[:, -1:], 1e-6)
    x = [along(seconds) for seconds in run.seconds]
    y = np.round(lower - _PANEL * edges, 1)
    lines = []
    for index in range(len(faces.EXPRESSIONS)):
        above = [f'{place},{height:g}' for place, height in zip(x, y[:, index + 1], strict=True)]
        below = [f'{place},{height:g}' for place, height in zip(x, y[:, index], strict=True)]
        lines.append(f'<polygon class="area e{index}" points="{" ".join(above + below[::-1])}"/>')
    return lines


def _strip(run: _Run, along, top: float) -> list[str]:
    """A band that has the most probable expression's colour, and its name where there is room."""
    lines = []
    begun = 0
    likeliest = [int(shares.argmax()) for shares in run.shares]
    for index in range(1, len(likeliest) + 1):
        if index == len(likeliest) or likeliest[index] != likeliest[begun]:
            left = along(run.seconds[begun])
            right = along(run.seconds[min(index, len(likeliest) - 1)])
            lines.append(
                f'<rect class="e{likeliest[begun]}" x="{left}" y="{top}" width="{max(right - left, 0.5):.2f}" '
                f'height="{_STRIP}"/>'
            )
            name = faces.EXPRESSIONS[likeliest[begun]]
            if right - left > _SIGN * len(name) + 8:
                middle = round((left + right) / 2, 2)
                lines.append(f'<text class="name" x="{middle}" y="{top + 13}" text-anchor="middle">{name}</text>')
            begun = index
    return lines


def _marks(start: float, span: float) -> list[tuple[float, str]]:
    """Round times along the axis, with their labels."""
    step = next((step for step in _MARKS if span / step <= _MOST_MARKS), _MARKS[-1])
    first = int(np.ceil(start / step - 1e-6))
    return [(index * step, _clock(index * step, step)) for index in range(first, int((start + span) / step + 1e-6) + 1)]


def _clock(seconds: float, step: float) -> str:
    if step < 1:
        return f'{seconds:.1f} s'
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return (
        f'{hours}:{minutes:02}:{rest:02}' if hours else f'{minutes}:{rest:02}' if minutes or step >= 60 else f'{rest} s'
    )


def _in_words(person: Summary) -> str:
    order = sorted(person.shares.items(), key=lambda pair: -pair[1])
    shares = ', '.join(f'{name} {share:.0%}' for name, share in order if share >= 0.005)
    return f'seen {person.seconds:.1f} s: {shares}; {_count(person.changes, "change", "changes")}'


def _count(number: int, one: str, many: str) -> str:
    return f'{number} {one if number == 1 else many}'


def _shortened(title: str) -> str:
    return title if len(title) <= 80 else f'{title[:79]}…'


def _text(text: str) -> str:
    """For XML, which knows no control characters."""
    return escape(''.join(sign if sign.isprintable() else '\N{REPLACEMENT CHARACTER}' for sign in text))
