"""The two passes over the data, as Beam transforms.

The first pass keeps a few bytes a row, to find images and persons that turn up more than once. The second reads the
files again and writes each image straight into its split: no image is ever grouped, or shared between the passes, where
Beam would keep it, so memory grows by these few bytes alone.
"""

import dataclasses
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import apache_beam as beam
from apache_beam.pvalue import TaggedOutput

from components import faces
from components.errors import StepError
from components.ingest import duplicates, images, parse, rejects
from components.ingest.corrections import EXCLUDE, EXCLUDED, Corrections
from components.ingest.duplicates import Sighting
from components.ingest.examples import to_example
from components.ingest.parse import Face, LeftOut, Outcome, Rejected
from components.settings import IngestSettings

REJECTS = 'rejects'
PICTURES = 'pictures'
TALLIES = 'tallies'

Count = tuple[tuple[str, str], tuple[int, str, int]]
"""(kind, reason), (rows, file of the first of them, its row); see `rejects.Tally`."""


class Repeats(NamedTuple):
    """What the first pass found.

    Attributes:
        images: (content hash, reason) of images that not all of their rows may keep.
        persons: (name, True) of persons in both splits.
        counts: `Count`s of duplicates, leaks and corrections.
    """

    images: beam.PCollection
    persons: beam.PCollection
    counts: beam.PCollection


def find_repeats(paths: beam.PCollection, task: str, settings: IngestSettings, corrections: Corrections) -> Repeats:
    """The first pass. Errors in the files are left to the second to report."""
    sightings = paths | 'Sight' >> beam.ParDo(_Sight(task, settings, corrections)).with_outputs(
        'persons', main='images'
    )
    judged = (
        sightings.images
        | 'GroupByHash' >> beam.GroupByKey()
        | 'Judge' >> beam.ParDo(_Judge(settings)).with_outputs('counts', main='images')
    )
    persons = (
        sightings.persons
        | 'OncePerSplit' >> beam.Distinct()
        | 'GroupByPerson' >> beam.GroupByKey()
        | 'InBothSplits' >> beam.FlatMap(_in_both_splits)
    )
    return Repeats(judged.images, persons, judged.counts)


def make_examples(
    paths: beam.PCollection, repeats: Repeats, task: str, settings: IngestSettings, corrections: Corrections
) -> dict[str, beam.PCollection]:
    """The second pass.

    Returns:
        serialized Examples by split name, and lines of JSON under `REJECTS`, `PICTURES` and `TALLIES`.
    """
    decided = paths | 'Decide' >> beam.ParDo(
        _Decide(task, settings, corrections), beam.pvalue.AsDict(repeats.images), beam.pvalue.AsDict(repeats.persons)
    ).with_outputs(*faces.SPLITS, REJECTS, PICTURES, main=TALLIES)
    pictures = (
        decided[PICTURES]
        | 'FewPerReason' >> beam.combiners.Top.SmallestPerKey(rejects.PICTURES_PER_REASON)
        | 'PictureLines' >> beam.FlatMap(_picture_lines)
    )
    tallies = (
        (decided[TALLIES], repeats.counts)
        | 'AllCounts' >> beam.Flatten()
        | 'AddUp' >> beam.CombinePerKey(_add)
        | 'TallyLines' >> beam.Map(_tally_line)
    )
    examples = {split: decided[split] for split in faces.SPLITS}
    return {**examples, REJECTS: decided[REJECTS], PICTURES: pictures, TALLIES: tallies}


class _Sight(beam.DoFn):
    def __init__(self, task: str, settings: IngestSettings, corrections: Corrections):
        self._task = task
        self._settings = settings
        self._corrections = corrections

    def process(self, path: str) -> Iterator[Any]:
        try:
            for outcome in parse.read(path, self._task, self._settings):
                if isinstance(outcome, Face):
                    split = duplicates.wanted_split(outcome, self._settings)
                    correction = self._corrections.get((outcome.content_hash, outcome.label))
                    label = duplicates.label_key(outcome)
                    # 256 groups of many images: a group each would cost several times the memory of what it holds.
                    yield outcome.content_hash[:1], (outcome.content_hash, split, label, correction)
                    if outcome.group:
                        yield TaggedOutput('persons', (outcome.group, split))
        except StepError:
            return


class _Judge(beam.DoFn):
    def __init__(self, settings: IngestSettings):
        self._is_clean = settings.protocol == 'clean'

    def process(self, group: tuple[bytes, Iterable[tuple[bytes, str, bytes, int | None]]]) -> Iterator[Any]:
        images_sighted: dict[bytes, list[Sighting]] = defaultdict(list)
        for content_hash, split, label, correction in group[1]:
            images_sighted[content_hash].append(Sighting(split, label, correction))
        for content_hash, sightings in images_sighted.items():
            verdict = duplicates.judge(sightings)
            if verdict.reason and self._is_clean:
                yield content_hash, verdict.reason
            for kind, reason, rows in (
                (rejects.DUPLICATES, '', verdict.rows - 1),
                (rejects.LEAKS, '', 0 if self._is_clean else verdict.leaks),
                (rejects.CORRECTIONS, rejects.MATCHED, verdict.matched),
                (rejects.CORRECTIONS, rejects.LEFT_ALONE, verdict.left_alone),
            ):
                if rows:
                    yield TaggedOutput('counts', ((kind, reason), (rows, '', 0)))


def _in_both_splits(person: tuple[str, Iterable[str]]) -> Iterator[tuple[str, bool]]:
    name, splits = person
    if len(set(splits)) > 1:
        yield name, True


class _Decide(beam.DoFn):
    def __init__(self, task: str, settings: IngestSettings, corrections: Corrections):
        self._task = task
        self._settings = settings
        self._corrections = corrections

    def process(self, path: str, judged: dict[bytes, str], persons: dict[str, bool]) -> Iterator[Any]:
        counts: dict[tuple[str, str], tuple[int, str, int]] = {}
        try:
            for read in parse.read(path, self._task, self._settings):
                split = duplicates.wanted_split(read, self._settings) if isinstance(read, Face) else ''
                outcome = self._decide(read, split, judged, persons) if isinstance(read, Face) else read
                if isinstance(outcome, Face):
                    _count(counts, rejects.KEPT, split, outcome)
                    if outcome is not read:
                        _count(counts, rejects.CORRECTIONS, rejects.RELABELLED, outcome)
                    yield TaggedOutput(split, to_example(outcome))
                elif isinstance(outcome, Rejected):
                    _count(counts, rejects.REJECTED, outcome.reason, outcome)
                    yield from _reject(outcome)
                else:
                    _count(counts, rejects.LEFT_OUT, outcome.reason, outcome)
        except StepError as error:
            # An exception would reach the executor as a stack trace, and differently from each runner.
            counts[rejects.FAULT, str(error)] = (1, path, 0)
        yield from counts.items()

    def _decide(self, face: Face, split: str, judged: dict[bytes, str], persons: dict[str, bool]) -> Outcome:
        if split not in faces.SPLITS:
            return LeftOut(face.source, face.row, split)
        correction = self._corrections.get((face.content_hash, face.label)) if split == faces.TRAIN_SPLIT else None
        if correction == EXCLUDE:
            return LeftOut(face.source, face.row, EXCLUDED)
        reason = judged.get(face.content_hash, '')
        if reason == duplicates.CONTRADICTING:
            return Rejected(face.source, face.row, reason, '', face.image)
        if split == faces.EVAL_SPLIT:
            return face
        if face.group in persons:
            reason = duplicates.SAME_PERSON
        if reason:
            return LeftOut(face.source, face.row, reason)
        return face if correction is None else dataclasses.replace(face, label=correction)


def _count(counts: dict[tuple[str, str], tuple[int, str, int]], kind: str, reason: str, outcome: Outcome) -> None:
    rows, source, row = counts.get((kind, reason), (0, outcome.source, outcome.row))
    counts[kind, reason] = (rows + 1, source, row)


def _reject(row: Rejected) -> Iterator[TaggedOutput]:
    line = {'source': row.source, 'row': row.row, 'reason': row.reason, 'detail': row.detail}
    yield TaggedOutput(REJECTS, json.dumps(line))
    if row.image is not None:
        yield TaggedOutput(PICTURES, (row.reason, (row.source, row.row, images.to_thumbnail(row.image))))


def _add(counts: Iterable[tuple[int, str, int]]) -> tuple[int, str, int]:
    counts = list(counts)
    if not counts:  # Beam also asks for the sum of nothing
        return 0, '', 0
    return sum(rows for rows, _, _ in counts), *min((source, row) for rows, source, row in counts if rows)


def _picture_lines(shown: tuple[str, list[tuple[str, int, str]]]) -> Iterator[str]:
    reason, pictures = shown
    for source, row, png in pictures:
        yield json.dumps({'source': source, 'row': row, 'reason': reason, 'png': png})


def _tally_line(count: Count) -> str:
    (kind, reason), (rows, source, row) = count
    return json.dumps({'kind': kind, 'reason': reason, 'count': rows, 'source': source, 'row': row})
