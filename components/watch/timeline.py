"""What was seen over time: a CSV that grows while it is watched, and the same as JSON, with a summary, at the end."""

import csv
import dataclasses
import json
import math
import os
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from components import faces
from components.errors import StepError
from components.inference.photo import FaceAnswer

COLUMNS: Final = (
    'seconds',
    'frame',
    'person',
    'left',
    'top',
    'width',
    'height',
    'score',
    'expression',
    *faces.EXPRESSIONS,
    *(f'{name}_smoothed' for name in faces.EXPRESSIONS),
    *faces.KEYPOINT_COLUMNS,
    *(f'{name}_smoothed' for name in faces.KEYPOINT_COLUMNS),
)

_FIRST_SHARE: Final = COLUMNS.index(faces.EXPRESSIONS[0])
_FIRST_POINT: Final = COLUMNS.index(faces.KEYPOINT_COLUMNS[0])


@dataclass(frozen=True)
class Entry:
    """One person in one frame.

    Attributes:
        seconds: the frame's time in the film.
        frame: its number, from 0, counted from the first one that is watched.
        person: from 1, in the order of appearance.
        face: what the networks say of this frame alone; points in pixels of the frame.
        smoothed: the same face with points and probabilities smoothed over time.
    """

    seconds: float
    frame: int
    person: int
    face: FaceAnswer
    smoothed: FaceAnswer

    @property
    def expression(self) -> str:
        """The most probable one of the smoothed probabilities."""
        return self.smoothed.expression

    def to_json(self) -> dict[str, Any]:
        """Everything by name; points as `[x, y]`."""
        seen = _rounded(self.face.to_json())
        smoothed = _rounded(self.smoothed.to_json())
        return {
            'seconds': round(self.seconds, 3),
            'frame': self.frame,
            'person': self.person,
            **seen,
            'expression': self.expression,
            'smoothed': {name: smoothed[name] for name in ('probabilities', 'keypoints')},
        }


class TimelineWriter:
    """Writes entries into a CSV, each frame's at once, so that whatever ends the program leaves what was seen.

    Args:
        path: of a file that is written anew.

    Raises:
        StepError: it cannot be written.
    """

    def __init__(self, path: Path):
        self._path = path
        with self._refusing():
            self._file = path.open('w', encoding='utf-8', newline='')
            self._rows = csv.writer(self._file, lineterminator='\n')
            self._rows.writerow(COLUMNS)
            self._file.flush()

    def write(self, entries: Iterable[Entry]) -> None:
        """Adds the entries of a frame.

        Raises:
            StepError: they cannot be written, e.g. because the disk is full.
        """
        with self._refusing():
            self._rows.writerows(_cells(entry) for entry in entries)
            self._file.flush()

    def close(self) -> None:
        with self._refusing():
            self._file.close()

    def _refusing(self) -> '_Refusing':
        return _Refusing(self._path)


@dataclass
class Summary:
    """One person over the whole time.

    Attributes:
        person: its number.
        first, last: seconds at which it was seen first and last.
        frames: in which it was seen.
        seconds: for which it was seen: from frame to frame, gaps left out.
        expressions: seconds of each, in the order of `faces.EXPRESSIONS`.
        changes: of the expression.
    """

    person: int
    first: float
    last: float
    frames: int = 0
    seconds: float = 0.0
    expressions: list[float] = dataclasses.field(default_factory=lambda: [0.0] * len(faces.EXPRESSIONS))
    changes: int = 0

    @property
    def shares(self) -> dict[str, float]:
        """Of the time that it was seen, by expression."""
        return {
            name: seconds / self.seconds if self.seconds else 0.0
            for name, seconds in zip(faces.EXPRESSIONS, self.expressions, strict=True)
        }

    def to_json(self) -> dict[str, Any]:
        return {
            'person': self.person,
            'first': round(self.first, 3),
            'last': round(self.last, 3),
            'seconds': round(self.seconds, 3),
            'frames': self.frames,
            'expressions': {name: round(share, 4) for name, share in self.shares.items()},
            'changes': self.changes,
        }


def summarise(entries: Iterable[Entry], every: int, rate: float) -> list[Summary]:
    """The persons, by number.

    Args:
        entries: in the order of time.
        every: how many frames lie between two that were looked at.
        rate: frames a second, for how long a frame lasts that none of the same person's follows.
    """
    found: dict[int, Summary] = {}
    latest: dict[int, Entry] = {}
    for entry in entries:
        person = found.setdefault(entry.person, Summary(entry.person, entry.seconds, entry.seconds))
        before = latest.get(entry.person)
        if before is not None:
            goes_on = entry.frame - before.frame <= every
            _count(person, before, entry.seconds - before.seconds if goes_on else every / rate)
            person.changes += entry.expression != before.expression
        person.last = entry.seconds
        latest[entry.person] = entry
    for number, entry in latest.items():
        _count(found[number], entry, every / rate)
    return [found[number] for number in sorted(found)]


def read_timeline(path: Path) -> Iterator[Entry]:
    """The entries of a CSV that `TimelineWriter` wrote; one that is cut short, as a crash leaves it, is left out.

    Raises:
        StepError: it is none.
    """
    with path.open(encoding='utf-8', newline='') as file:
        rows = csv.reader(line for line in file if line.endswith('\n'))
        if tuple(next(rows, ())) != COLUMNS:
            raise StepError(f'{path} is no timeline: its first line has other columns.')
        for row in rows:
            try:
                yield _entry(row)
            except ValueError:
                return


def write_json(path: Path, head: dict[str, Any], people: Iterable[Summary], entries: Iterable[Entry]) -> None:
    """Writes the timeline as JSON: the head's values, `people` and `entries`; whole or not at all.

    Entry by entry, so that hours of film need no more memory than seconds.

    Raises:
        StepError: it cannot be written.
    """
    with _Refusing(path):
        beside = path.parent / f'.{uuid.uuid4().hex}.part'
        try:
            with beside.open('w', encoding='utf-8') as file:
                values = {**head, 'people': [person.to_json() for person in people]}
                file.write(json.dumps(values, indent=1, allow_nan=False)[:-2])
                file.write(',\n "entries": [')
                for index, entry in enumerate(entries):
                    file.write(',\n  ' if index else '\n  ')
                    file.write(json.dumps(entry.to_json(), allow_nan=False))
                file.write('\n ]\n}\n')
                file.flush()
                os.fsync(file.fileno())
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)


class _Refusing:
    """Turns what a file system refuses into one line."""

    def __init__(self, path: Path):
        self._path = path

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind, error, trace) -> None:
        if isinstance(error, OSError):
            raise StepError(
                f'{self._path} cannot be written ({error.strerror}): make room, or name another folder with --output.'
            ) from error


def _count(person: Summary, entry: Entry, seconds: float) -> None:
    person.frames += 1
    person.seconds += seconds
    person.expressions[faces.EXPRESSIONS.index(entry.expression)] += seconds


def _cells(entry: Entry) -> list[Any]:
    score = '' if entry.face.score is None else round(entry.face.score, 3)
    box = [round(value, 1) for value in entry.face.box]
    shares = [_shares(face.probabilities) for face in (entry.face, entry.smoothed)]
    points = [_points(face.keypoints) for face in (entry.face, entry.smoothed)]
    place = [f'{entry.seconds:.3f}', entry.frame, entry.person]
    return [*place, *box, score, entry.expression, *shares[0], *shares[1], *points[0], *points[1]]


def _shares(probabilities: np.ndarray) -> list[float]:
    return [round(value, 4) for value in probabilities.tolist()]


def _points(points: np.ndarray) -> list[float]:
    return [round(value, 2) for value in points.ravel().tolist()]


def _entry(row: list[str]) -> Entry:
    if len(row) != len(COLUMNS):
        raise ValueError('cut short')
    left, top, width, height = (float(cell) for cell in row[3:7])
    score = float(row[7]) if row[7] else None
    shares = np.array(row[_FIRST_SHARE:_FIRST_POINT], np.float32).reshape(2, -1)
    points = np.array(row[_FIRST_POINT:], np.float32).reshape(2, -1, 2)
    if not (np.isfinite(shares).all() and np.isfinite(points).all() and math.isfinite(float(row[0]))):
        raise ValueError('a figure that is none')
    face, smoothed = (FaceAnswer((left, top, width, height), score, points[index], shares[index]) for index in (0, 1))
    return Entry(float(row[0]), int(row[1]), int(row[2]), face, smoothed)


def _rounded(values: dict[str, Any]) -> dict[str, Any]:
    return {
        'box': {name: round(value, 1) for name, value in values['box'].items()},
        'score': None if values['score'] is None else round(values['score'], 3),
        'probabilities': {name: round(value, 4) for name, value in values['probabilities'].items()},
        'keypoints': {name: [round(x, 2), round(y, 2)] for name, (x, y) in values['keypoints'].items()},
    }
