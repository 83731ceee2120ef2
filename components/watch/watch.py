"""Watches a film: frames in, faces followed, asked about and smoothed; timeline, annotated video and chart out.

Three things go on at a time, as there may be two cores: frames are decoded, looked at, and drawn and encoded.
"""

import dataclasses
import queue
import shutil
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from components.errors import StepError
from components.faces import Which
from components.inference.detect import Detection
from components.inference.network import ServedVersion
from components.inference.photo import FaceAnswer, Finder, read_faces, read_photo
from components.watch.chart import draw_chart
from components.watch.draw import draw_entries
from components.watch.follow import LOST_AFTER, Follower
from components.watch.frames import Feed, Film, Frame
from components.watch.live import LiveView
from components.watch.smooth import ExponentialAverage, OneEuroFilter
from components.watch.timeline import Entry, Summary, TimelineWriter, read_timeline, summarise, write_json
from components.watch.track import MAXIMUM_PEOPLE
from components.watch.video import AnnotatedVideo

TIMELINE, TIMELINE_JSON, VIDEO, CHART = 'timeline.csv', 'timeline.json', 'annotated.mp4', 'expressions.svg'
OUTPUTS: Final = (TIMELINE, TIMELINE_JSON, VIDEO, CHART)

NOTICE: Final = (
    'Recognising the emotions of people at work or in education is prohibited in the EU, except for medical or safety '
    'reasons (AI Act, Article 5(1)(f)).'
)

_RESERVE: Final = 64 * 2**20  # bytes of the disk that are left free, so that what was begun can be ended
_LOOK_EVERY: Final = 64  # frames between two looks at the disk
_WAITING: Final = 3  # frames that wait to be drawn


@dataclass(frozen=True)
class WatchSettings:
    """How a film is watched.

    Attributes:
        faces: `largest` follows one face, the largest when it was found; `all` follows up to 16; `whole` takes each
            frame for one face.
        every: every n-th frame is looked at.
        start: seconds that are left out at the beginning.
        duration: seconds that are watched; None for all.
        smoothing: time constant of the probabilities' average, in seconds; 0 for none, neither of the points.
        lost_after: seconds after which a face that is not seen any more is another person's when it comes back.
        video: whether the annotated video is written.
    """

    faces: Which = 'all'
    every: int = 1
    start: float = 0.0
    duration: float | None = None
    smoothing: float = 0.3
    lost_after: float = LOST_AFTER
    video: bool = True


@dataclass(frozen=True)
class Watched:
    """What was watched.

    Attributes:
        ended: `end` of the film, `duration`, `interrupted`, or `disk full`.
        frames: that were read.
        seconds: from the first to the end of the last.
        people: who was seen, by number.
        files: that were written, by their names.
        notes: what a person should know, a line each.
    """

    ended: str
    frames: int
    seconds: float
    people: list[Summary]
    files: list[Path]
    notes: list[str]


def watch(
    film: Film,
    model: ServedVersion,
    settings: WatchSettings,
    folder: Path,
    stop: threading.Event,
    progress: Callable[[float], None] = lambda seconds: None,
    live: LiveView | None = None,
    finders: tuple[Finder, Finder] | None = None,
) -> Watched:
    """Watches a film and writes `OUTPUTS` into a folder; closes the film.

    Args:
        film: opened at `settings.start`.
        model: a version of `faces`.
        settings: how.
        folder: exists; what it has of these files is replaced.
        stop: ends the watching when it is set, and all is written.
        progress: told the seconds that are watched so far.
        live: shown every frame as it is drawn.
        finders: find faces in whole frames and in windows; the detector's where they are left out.

    Raises:
        StepError: the film has what cannot be read, or something cannot be written. What was seen until then is in the
            CSV.
    """
    is_drawn = settings.video or live is not None
    skip = 0 if film.live or is_drawn else settings.every - 1
    watcher = _Watcher(model, settings, film.rate, finders)
    with ExitStack() as stack:
        feed = Feed(film, skip)
        stack.callback(feed.close)
        rows = TimelineWriter(folder / TIMELINE)
        stack.callback(rows.close)
        video = AnnotatedVideo(folder / VIDEO, film.rate, (film.width, film.height)) if settings.video else None
        canvas = _Canvas(video, live) if is_drawn else None
        if canvas is not None:
            stack.callback(canvas.close)
        course = _Course(settings, folder)
        for frame in feed.frames(stop):
            if course.is_over(frame):
                break
            entries = watcher.look(frame)
            rows.write(entries if watcher.is_fresh else ())
            if canvas is not None:
                canvas.draw(frame, entries)
            course.add(frame)
            progress(course.seconds)
        if stop.is_set():
            course.ended = 'interrupted'
    return _conclude(film, model, settings, folder, course, video)


class _Watcher:
    """Looks at frames, and remembers what it needs of those before."""

    def __init__(
        self, model: ServedVersion, settings: WatchSettings, rate: float, finders: tuple[Finder, Finder] | None
    ):
        self._model = model
        self._settings = settings
        most = 1 if settings.faces == 'largest' else MAXIMUM_PEOPLE
        # Nobody is lost between two frames that are looked at.
        lost_after = max(settings.lost_after, 1.5 * settings.every / rate)
        self._follower = Follower(most, lost_after, *(finders or ()))
        self._smoothers: dict[int, _Smoother] = {}
        self._entries: list[Entry] = []
        self.is_fresh = False

    def look(self, frame: Frame) -> list[Entry]:
        """Who is seen in a frame; in one that is passed over, who was seen in the last that was not."""
        self.is_fresh = frame.number % self._settings.every == 0
        if self.is_fresh:
            people, answers = self._ask(frame)
            self._entries = [
                Entry(frame.seconds, frame.number, person, answer, self._smooth(frame.seconds, person, answer))
                for person, answer in zip(people, answers, strict=True)
            ]
        return self._entries

    def _ask(self, frame: Frame) -> tuple[list[int], list[FaceAnswer]]:
        colours = frame.image[..., ::-1]
        if self._settings.faces == 'whole':
            return [1], read_photo(np.ascontiguousarray(colours), self._model, _nobody, 'whole')
        tracks = self._follower.find(frame.seconds, frame.image)
        return [track.person for track in tracks], read_faces(colours, self._model, [track.steady for track in tracks])

    def _smooth(self, seconds: float, person: int, face: FaceAnswer) -> FaceAnswer:
        if not self._settings.smoothing:
            return face
        smoother = self._smoothers.get(person)
        if smoother is None:
            # Numbers only rise, so whoever is long gone needs no memory.
            for gone in [key for key, old in self._smoothers.items() if seconds - old.seconds > 60.0]:
                del self._smoothers[gone]
            smoother = self._smoothers[person] = _Smoother(self._settings.smoothing)
        return smoother.smooth(seconds, face)


class _Nobody:
    def find(self, image: np.ndarray) -> list[Detection]:
        return []


_nobody: Final = _Nobody()


class _Smoother:
    """One person's."""

    def __init__(self, time: float):
        self._probabilities = ExponentialAverage(time)
        self._points = OneEuroFilter()
        self.seconds = 0.0

    def smooth(self, seconds: float, face: FaceAnswer) -> FaceAnswer:
        self.seconds = seconds
        return dataclasses.replace(
            face,
            keypoints=self._points(seconds, face.keypoints, max(face.box[2:])).astype(np.float32),
            probabilities=self._probabilities(seconds, face.probabilities).astype(np.float32),
        )


class _Course:
    """How far the watching has come, and whether it is to end."""

    def __init__(self, settings: WatchSettings, folder: Path):
        self._settings = settings
        self._folder = folder
        self.ended = 'end'
        self.frames = 0
        self.first: float | None = None
        self.last = 0.0

    @property
    def seconds(self) -> float:
        return self.last - (self.first or 0.0)

    def is_over(self, frame: Frame) -> bool:
        first = frame.seconds if self.first is None else self.first
        if self._settings.duration is not None and frame.seconds >= first + self._settings.duration:
            self.ended = 'duration'
        elif self.frames % _LOOK_EVERY == 0 and shutil.disk_usage(self._folder).free < _RESERVE:
            self.ended = 'disk full'
        return self.ended != 'end'

    def add(self, frame: Frame) -> None:
        if self.first is None:
            self.first = frame.seconds
        self.frames = frame.number + 1
        self.last = frame.seconds


class _Canvas:
    """Draws frames in a thread of its own, and gives them to the video and to the live view."""

    def __init__(self, video: AnnotatedVideo | None, live: LiveView | None):
        self._video = video
        self._live = live
        self._frames: queue.Queue[tuple[Frame, list[Entry]] | None] = queue.Queue(_WAITING)
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._draw, name='canvas', daemon=True)
        self._thread.start()

    def draw(self, frame: Frame, entries: Sequence[Entry]) -> None:
        """Takes the frame: nobody else may read it any more.

        Raises:
            StepError: it cannot be drawn.
        """
        self._frames.put((frame, list(entries)))
        if self._error is not None:
            raise StepError(f'The annotated video cannot be drawn ({self._error}): leave it out with --no-video.')

    def close(self) -> None:
        self._frames.put(None)
        self._thread.join()
        if self._video is not None:
            self._video.close()

    def _draw(self) -> None:
        while (waiting := self._frames.get()) is not None:
            if self._error is not None:
                # Taken all the same, so that nobody waits for ever.
                continue
            frame, entries = waiting
            try:
                draw_entries(frame.image, entries)
                if self._live is not None:
                    self._live.show(frame.image)
                if self._video is not None:
                    self._video.write(frame.image, frame.seconds)
            except Exception as error:
                self._error = error


def _conclude(
    film: Film,
    model: ServedVersion,
    settings: WatchSettings,
    folder: Path,
    course: _Course,
    video: AnnotatedVideo | None,
) -> Watched:
    path = folder / TIMELINE
    rate = course.frames / course.seconds if film.live and course.seconds else film.rate
    people = summarise(read_timeline(path), settings.every, rate)
    seconds = course.seconds + 1.0 / rate
    write_json(folder / TIMELINE_JSON, _head(film, model, settings, course, seconds, rate), people, read_timeline(path))
    chart = draw_chart(film.source.name, people, read_timeline(path), settings.every / rate)
    (folder / CHART).write_text(chart, encoding='utf-8')
    written = [name for name in OUTPUTS if name != VIDEO or video is not None]
    return Watched(
        course.ended, course.frames, seconds, people, [folder / name for name in written], _notes(film, course, video)
    )


def _head(
    film: Film, model: ServedVersion, settings: WatchSettings, course: _Course, seconds: float, rate: float
) -> dict[str, Any]:
    return {
        'notice': NOTICE,
        'video': {
            'name': film.source.name,
            'kind': film.source.kind,
            'width': film.width,
            'height': film.height,
            'rate': round(rate, 3),
        },
        'watched': {'ended': course.ended, 'frames': course.frames, 'seconds': round(seconds, 3)},
        'model': {'name': model.model, 'version': model.version},
        'settings': dataclasses.asdict(settings),
    }


def _notes(film: Film, course: _Course, video: AnnotatedVideo | None) -> list[str]:
    notes = []
    if course.ended == 'disk full':
        notes.append('The disk is nearly full: the watching ended there, and what was seen is written.')
    if course.ended == 'end' and film.length is not None and course.last < 0.9 * film.length - 0.5:
        notes.append(
            f'{film.source.name} ended at {course.last:.1f} s although it says that it is {film.length:.1f} s long: '
            'it may be cut short.'
        )
    if video is not None and video.codec != 'H.264':
        notes.append(
            f'The annotated video is {video.codec}, because this OpenCV cannot encode H.264: players show it, browsers '
            'may not.'
        )
    return notes
