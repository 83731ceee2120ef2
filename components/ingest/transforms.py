"""The two passes over the data, as Beam transforms.

The first pass reads the files, spills what each row becomes into files of its own, and keeps a few bytes a row, to find
images and persons that turn up more than once. The second reads what was spilled and writes each image straight into
its split: no image is ever grouped, or shared between the passes, where Beam would keep it, so memory grows by these
few bytes alone. Text is read and images are encoded once, which is nearly all of the work.
"""

import itertools
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any, Final, NamedTuple

import apache_beam as beam
from apache_beam.pvalue import TaggedOutput

from components import faces
from components.errors import StepError
from components.ingest import duplicates, examples, images, parse, rejects, spill
from components.ingest.corrections import EXCLUDE, EXCLUDED, Corrections
from components.ingest.duplicates import Sighting
from components.ingest.parse import Face, LeftOut, Rejected
from components.ingest.sources import is_table
from components.ingest.spill import Fault, Prepared
from components.settings import IngestSettings

REJECTS = 'rejects'
PICTURES = 'pictures'
TALLIES = 'tallies'

Count = tuple[tuple[str, str], tuple[int, str, int]]
"""(kind, reason), (rows, file of the first of them, its row); see `rejects.Tally`."""


_PORTION_IMAGES: Final = 256
_BLOCK_SIGHTINGS: Final = 8192


class Rows(NamedTuple):
    """What the first pass found.

    Attributes:
        spilled: paths of the files that hold the rows, for `spill.read`.
        images: (content hash, reason) of images that not all of their rows may keep.
        persons: (name, True) of persons in both splits.
        counts: `Count`s of duplicates, leaks and corrections.
    """

    spilled: beam.PCollection
    images: beam.PCollection
    persons: beam.PCollection
    counts: beam.PCollection


def portions(paths: Iterable[str]) -> list[tuple[str, ...]]:
    """What is read by one worker: a table each, or some hundred images, in the order in which they were given."""
    found: list[tuple[str, ...]] = []
    for is_of_tables, group in itertools.groupby(paths, is_table):
        together = list(group)
        size = 1 if is_of_tables else _PORTION_IMAGES
        found += [tuple(together[start : start + size]) for start in range(0, len(together), size)]
    return found


def read_rows(
    files: beam.PCollection, task: str, settings: IngestSettings, corrections: Corrections, folder: str
) -> Rows:
    """The first pass.

    Args:
        files: `portions` of paths.
        task: `faces.EXPRESSION_MODEL` or `faces.KEYPOINT_MODEL`.
        settings: how they are read and split.
        corrections: of the labels.
        folder: where rows are spilled; all workers reach it, and the caller removes it.
    """
    read = files | 'Read' >> beam.ParDo(_Read(task, settings, corrections, folder)).with_outputs(
        'images', 'persons', main='spilled'
    )
    judged = (
        read.images
        | 'GroupByHash' >> beam.GroupByKey()
        | 'Judge' >> beam.ParDo(_Judge(settings)).with_outputs('counts', main='images')
    )
    persons = (
        read.persons
        | 'OncePerSplit' >> beam.Distinct()
        | 'GroupByPerson' >> beam.GroupByKey()
        | 'InBothSplits' >> beam.FlatMap(_in_both_splits)
    )
    return Rows(read.spilled, judged.images, persons, judged.counts)


def make_examples(rows: Rows, corrections: Corrections) -> dict[str, beam.PCollection]:
    """The second pass.

    Returns:
        lists of serialized Examples by split name, and lines of JSON under `REJECTS`, `PICTURES` and `TALLIES`.
    """
    decided = (
        rows.spilled
        | 'DealOutSpilled' >> beam.Reshuffle()
        | 'Decide'
        >> beam.ParDo(
            _Decide(corrections), beam.pvalue.AsDict(rows.images), beam.pvalue.AsDict(rows.persons)
        ).with_outputs(*faces.SPLITS, REJECTS, PICTURES, main=TALLIES)
    )
    pictures = (
        decided[PICTURES]
        | 'FewPerReason' >> beam.combiners.Top.SmallestPerKey(rejects.PICTURES_PER_REASON)
        | 'PictureLines' >> beam.FlatMap(_picture_lines)
    )
    tallies = (
        (decided[TALLIES], rows.counts)
        | 'AllCounts' >> beam.Flatten()
        | 'AddUp' >> beam.CombinePerKey(_add)
        | 'TallyLines' >> beam.Map(_tally_line)
    )
    split = {name: decided[name] for name in faces.SPLITS}
    return {**split, REJECTS: decided[REJECTS], PICTURES: pictures, TALLIES: tallies}


class _Read(beam.DoFn):
    def __init__(self, task: str, settings: IngestSettings, corrections: Corrections, folder: str):
        self._task = task
        self._settings = settings
        self._corrections = corrections
        self._folder = folder

    def process(self, paths: tuple[str, ...]) -> Iterator[Any]:
        # 256 groups of many images: a group each would cost several times the memory of what it holds.
        sightings: dict[bytes, list[tuple[bytes, str, bytes, int | None]]] = defaultdict(list)
        persons: set[tuple[str, str]] = set()
        count = 0
        with spill.Writer(self._folder) as writer:
            for read in self._outcomes(paths):
                if not isinstance(read, Face):
                    writer.add(read)
                    continue
                split = duplicates.wanted_split(read, self._settings)
                writer.add(_prepared(read, split))
                correction = self._corrections.get((read.content_hash, read.label))
                sighting = (read.content_hash, split, duplicates.label_key(read), correction)
                sightings[read.content_hash[:1]].append(sighting)
                if read.group:
                    persons.add((read.group, split))
                count += 1
                if count % _BLOCK_SIGHTINGS == 0:
                    yield from _found(sightings, persons)
                    sightings, persons = defaultdict(list), set()
        yield from _found(sightings, persons)
        yield writer.path

    def _outcomes(self, paths: tuple[str, ...]) -> Iterator[parse.Outcome | Fault]:
        for path in paths:
            try:
                yield from parse.read(path, self._task, self._settings)
            except StepError as error:
                # An exception would reach the executor as a stack trace, and differently from each runner.
                yield Fault(path, str(error))


def _prepared(face: Face, split: str) -> Prepared:
    example = examples.to_example(face)
    return Prepared(face.source, face.row, face.content_hash, face.group, face.label, split, example)


def _found(sightings: dict[bytes, list], persons: set[tuple[str, str]]) -> Iterator[TaggedOutput]:
    for first_byte, of_images in sightings.items():
        yield TaggedOutput('images', (first_byte, of_images))
    for person in persons:
        yield TaggedOutput('persons', person)


class _Judge(beam.DoFn):
    def __init__(self, settings: IngestSettings):
        self._is_clean = settings.protocol == 'clean'

    def process(self, group: tuple[bytes, Iterable[list[tuple[bytes, str, bytes, int | None]]]]) -> Iterator[Any]:
        images_sighted: dict[bytes, list[Sighting]] = defaultdict(list)
        for content_hash, split, label, correction in itertools.chain.from_iterable(group[1]):
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
    def __init__(self, corrections: Corrections):
        self._corrections = corrections

    def process(self, path: str, judged: dict[bytes, str], persons: dict[str, bool]) -> Iterator[Any]:
        counts: dict[tuple[str, str], tuple[int, str, int]] = {}
        for block in spill.read(path):
            kept: dict[str, list[bytes]] = defaultdict(list)
            for read in block:
                outcome = self._decide(read, judged, persons) if isinstance(read, Prepared) else read
                if isinstance(outcome, Prepared):
                    _count(counts, rejects.KEPT, outcome.split, outcome)
                    if outcome is not read:
                        _count(counts, rejects.CORRECTIONS, rejects.RELABELLED, outcome)
                    kept[outcome.split].append(outcome.example)
                elif isinstance(outcome, Rejected):
                    _count(counts, rejects.REJECTED, outcome.reason, outcome)
                    yield from _reject(outcome)
                elif isinstance(outcome, LeftOut):
                    _count(counts, rejects.LEFT_OUT, outcome.reason, outcome)
                else:
                    counts[rejects.FAULT, outcome.message] = (1, outcome.path, 0)
            for split, of_split in kept.items():
                yield TaggedOutput(split, of_split)
        yield from counts.items()

    def _decide(
        self, face: Prepared, judged: dict[bytes, str], persons: dict[str, bool]
    ) -> Prepared | Rejected | LeftOut:
        if face.split not in faces.SPLITS:
            return LeftOut(face.source, face.row, face.split)
        is_trained = face.split == faces.TRAIN_SPLIT
        correction = self._corrections.get((face.content_hash, face.label)) if is_trained else None
        if correction == EXCLUDE:
            return LeftOut(face.source, face.row, EXCLUDED)
        reason = judged.get(face.content_hash, '')
        if reason == duplicates.CONTRADICTING:
            return Rejected(face.source, face.row, reason, '', examples.image_of(face.example))
        if not is_trained:
            return face
        if face.group in persons:
            reason = duplicates.SAME_PERSON
        if reason:
            return LeftOut(face.source, face.row, reason)
        if correction is None:
            return face
        return face._replace(label=correction, example=examples.relabelled(face.example, correction))


def _count(
    counts: dict[tuple[str, str], tuple[int, str, int]], kind: str, reason: str, row: Prepared | Rejected | LeftOut
) -> None:
    rows, source, number = counts.get((kind, reason), (0, row.source, row.row))
    counts[kind, reason] = (rows + 1, *min((source, number), (row.source, row.row)))


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
