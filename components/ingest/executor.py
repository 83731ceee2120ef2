"""Runs the two passes and hands over Examples and rejects."""

import dataclasses
import hashlib
import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath
from typing import Any

import apache_beam as beam
from absl import logging
from tfx.dsl.components.base.base_beam_executor import BaseBeamExecutor
from tfx.dsl.io import fileio
from tfx.types import artifact, artifact_utils

from components import faces, settings
from components.ingest import corrections, parse, protocol, rejects, sources, transforms
from components.ingest.corrections import Corrections
from components.ingest.records import ExampleSink
from components.ingest.rejects import RejectedPicture, Summary, Tally
from components.ingest.sources import Sources
from components.ingest.transforms import PICTURES, REJECTS, TALLIES
from components.settings import IngestSettings
from components.storage.uris import is_stored

EXAMPLES_KEY = 'examples'
REJECTS_KEY = 'rejects'
TASK_KEY = 'task'
SETTINGS_KEY = 'settings'
CODE_KEY = 'code'
DATA_KEY = 'data'

_SPILL = 'spill'


class Executor(BaseBeamExecutor):
    """Reads one dataset into Examples; the rows that cannot be used end among the rejects.

    Raises:
        StepError: files or columns are missing, a file cannot be read, a correction is none, nothing is kept, or (a
            RejectShareError, which carries the summary and the pictures) too many rows were rejected.
    """

    def Do(  # noqa: N802
        self,
        input_dict: dict[str, list[artifact.Artifact]],
        output_dict: dict[str, list[artifact.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        self._log_startup(input_dict, output_dict, exec_properties)
        task = exec_properties[TASK_KEY]
        ingest = protocol.in_effect(settings.from_json(IngestSettings, exec_properties[SETTINGS_KEY]))
        examples = artifact_utils.get_single_instance(output_dict[EXAMPLES_KEY])
        rejected = artifact_utils.get_single_instance(output_dict[REJECTS_KEY])
        folder = rejected.uri

        found = sources.resolve(ingest)
        parse.check(found.files, task, ingest)
        corrected = corrections.read(found.corrections)
        examples.split_names = artifact_utils.encode_split_names(list(faces.SPLITS))
        try:
            with self._make_beam_pipeline() as pipeline:
                _build(pipeline, found.files, task, ingest, corrected, examples, folder)
        finally:
            if fileio.exists(f'{folder}/{_SPILL}'):
                fileio.rmtree(f'{folder}/{_SPILL}')

        tallies = _take_tallies(folder)
        summary = rejects.summarize(
            tallies, _named(found), found.span, found.fingerprint, faces.SPLITS, ingest.protocol, len(corrected)
        )
        _warn(summary)
        _write_summary(folder, summary)
        _describe(examples, rejected, found, summary)
        rejects.check(summary, tallies, _pictures(folder), ingest.maximum_reject_share)


def _build(
    pipeline: beam.Pipeline,
    files: tuple[str, ...],
    task: str,
    ingest: IngestSettings,
    corrected: Corrections,
    examples: artifact.Artifact,
    folder: str,
) -> None:
    # The workers may stand in another folder.
    paths = [sources.absolute(path) for path in sources.limit_images(files, ingest.limit)]
    # Dealt out, so that each file can be read by another worker.
    portions = pipeline | 'Files' >> beam.Create(transforms.portions(paths)) | 'DealOutFiles' >> beam.Reshuffle()
    spilled = f'{folder}/{_SPILL}'
    fileio.makedirs(spilled)
    outputs = transforms.make_examples(transforms.read_rows(portions, task, ingest, corrected, spilled), corrected)
    for split in faces.SPLITS:
        prefix = f'{artifact_utils.get_split_uri([examples], split)}/data_tfrecord'
        _write_split(outputs[split], split, prefix, ingest.shards)
    for name, single in ((REJECTS, False), (TALLIES, False), (PICTURES, True)):
        outputs[name] | f'Write-{name}' >> beam.io.WriteToText(
            f'{folder}/{name}',
            file_name_suffix='.jsonl',
            num_shards=1 if single else 0,
            shard_name_template='' if single else None,
            # Beam 2.62 cannot write an empty object: S3 takes no upload without parts.
            skip_if_empty=is_stored(folder),
        )


def _write_split(blocks: beam.PCollection, split: str, prefix: str, shards: int) -> None:
    """Blocks of serialized Examples into gzipped TFRecord files.

    Beam deals blocks to a given number of files by chance; here each row has its own file, so that workers which read
    different files train on the same rows whenever the data are ingested again.
    """
    if not shards:
        blocks | f'Write-{split}' >> beam.io.Write(ExampleSink(prefix))
        return
    parts = (
        blocks
        | f'Shard-{split}' >> beam.FlatMap(_by_shard, shards)
        | f'Part-{split}' >> beam.Partition(lambda part, count: part[0], shards)
    )
    for shard, part in enumerate(parts):
        path = f'{prefix}-{shard:05d}-of-{shards:05d}'
        (
            part
            | f'Rows-{split}-{shard}' >> beam.Values()
            | f'Write-{split}-{shard}' >> beam.io.Write(ExampleSink(path, is_single=True))
        )


def _by_shard(block: Sequence[bytes], shards: int) -> Iterator[tuple[int, list[bytes]]]:
    """The block's Examples by the file that each belongs to."""
    parts: dict[int, list[bytes]] = defaultdict(list)
    for example in block:
        parts[int.from_bytes(hashlib.blake2b(example, digest_size=8).digest()) % shards].append(example)
    yield from parts.items()


def _take_tallies(folder: str) -> list[Tally]:
    """Reads what the pipeline counted, and removes it: the summary says it all."""
    paths = fileio.glob(f'{folder}/{TALLIES}*')
    tallies = [Tally(**line) for path in paths for line in _json_lines(path)]
    for path in paths:
        fileio.remove(path)
    return tallies


def _pictures(folder: str) -> list[RejectedPicture]:
    return [RejectedPicture(**line) for line in _json_lines(f'{folder}/{rejects.PICTURES_FILE}')]


def _json_lines(path: str) -> list[dict[str, Any]]:
    if not fileio.exists(path):
        return []
    with fileio.open(path) as lines:
        return [json.loads(line) for line in lines]


def _named(found: Sources) -> tuple[str, ...]:
    """Names of tables, and of class folders in place of their images."""
    return tuple(
        dict.fromkeys(
            PurePosixPath(path).name if sources.is_table(path) else '/'.join(PurePosixPath(path).parts[-3:-1])
            for path in found.files
        )
    )


def _write_summary(folder: str, summary: Summary) -> None:
    with fileio.open(f'{folder}/{rejects.SUMMARY_FILE}', 'w') as stream:
        stream.write(json.dumps(dataclasses.asdict(summary), indent=2))


def _warn(summary: Summary) -> None:
    if unmatched := summary.corrections.get(rejects.UNMATCHED):
        logging.warning('ingest.corrections: %d name an image or a label that is not in the data', unmatched)


def _describe(examples: artifact.Artifact, rejected: artifact.Artifact, found: Sources, summary: Summary) -> None:
    """What lists of artifacts show of them."""
    examples.set_string_custom_property('fingerprint', found.fingerprint)
    examples.set_string_custom_property('payload_format', 'FORMAT_TF_EXAMPLE')
    if found.span is not None:
        examples.set_int_custom_property('span', found.span)
    for split, rows in summary.kept.items():
        examples.set_int_custom_property(f'rows_{split}', rows)
    rejected.set_int_custom_property('rows_read', summary.rows)
    rejected.set_int_custom_property('rows_rejected', sum(summary.rejected.values()))
    rejected.set_int_custom_property('rows_left_out', sum(summary.left_out.values()))
