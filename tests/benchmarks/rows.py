"""The rows that the benchmarks train on and are judged by, as the pipeline's own ingest and Transform leave them.

    python -m tests.benchmarks.rows benchmarks/rows

The published faces where `full.yaml` finds them, else built-in ones. The steps run once; they run again when the data,
their settings or their code have changed.
"""

import argparse
import dataclasses
import hashlib
import json
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from components import faces
from components.errors import StepError
from components.settings import to_json
from pipeline.beam.settings import to_flags
from pipeline.config import Config, Ingest, load, of
from tests.benchmarks import processes

FILE_NAME: Final = 'rows.json'
PUBLISHED, BUILT_IN = 'the published faces', 'built-in faces'


@dataclass(frozen=True)
class Rows:
    """Where both tasks' rows lie.

    Attributes:
        source: `PUBLISHED` or `BUILT_IN`.
        key: of the data, the settings and the code that they were made of.
        examples: folder of the Examples, by task.
        transform: folder of Transform's output, by task.
    """

    source: str
    key: str
    examples: dict[str, str]
    transform: dict[str, str]

    def files(self, task: str, split: str) -> list[str]:
        """Patterns of gzipped TFRecord files."""
        return [f'{self.examples[task]}/Split-{split}/*']


def prepared(folder: Path) -> Rows:
    """The rows, made where they are not there yet, in another process: Beam and TFX leave much memory taken."""
    command = [sys.executable, '-W', 'ignore', '-m', 'tests.benchmarks.rows', str(folder)]
    list(processes.lines(command, folder.with_suffix('.log')))
    return Rows(**json.loads((folder / FILE_NAME).read_text(encoding='utf-8')))


def _prepare(folder: Path) -> None:
    from components.ingest import sources
    from components.source import fingerprint

    config, source = _configuration(folder.with_name('faces'))
    parts = [fingerprint('ingest', 'transform')]
    for task in faces.TASKS:
        ingest = of(config.ingest, task)
        parts += [to_json(ingest), sources.resolve(ingest).fingerprint, str(of(config.train, task).image_size)]
    key = hashlib.blake2b(json.dumps(parts).encode(), digest_size=16).hexdigest()
    path = folder / FILE_NAME
    if path.exists() and json.loads(path.read_text(encoding='utf-8'))['key'] == key:
        return
    shutil.rmtree(folder, ignore_errors=True)
    rows = _make(config, source, key, folder.absolute())
    path.write_text(json.dumps(dataclasses.asdict(rows), indent=1), encoding='utf-8')


def _configuration(drawn: Path) -> tuple[Config, str]:
    """`full` on its own data, or on those of `demo`, drawn into a folder, where `full`'s are not there."""
    from components.ingest import sources

    full = load('full')
    try:
        for task in faces.TASKS:
            sources.resolve(of(full.ingest, task))
    except StepError:
        demo = load('demo')
        files = {name: str(drawn / f'{name}.csv.gz') for name in ('expressions', 'keypoints')}
        _draw(demo, files)
        ingest = Ingest(
            expression=dataclasses.replace(demo.ingest.expression, files=(files['expressions'],)),
            keypoints=dataclasses.replace(demo.ingest.keypoints, files=(files['keypoints'],)),
        )
        return dataclasses.replace(full, ingest=ingest), BUILT_IN
    return full, PUBLISHED


def _draw(demo: Config, files: dict[str, str]) -> None:
    from data.publish import FILES

    for name, path in files.items():
        # A file appears whole or not at all.
        if not Path(path).exists():
            FILES[name](Path(path), getattr(demo.draw, name), demo.draw.seed)


def _make(config: Config, source: str, key: str, folder: Path) -> Rows:
    from tfx.orchestration.local.local_dag_runner import LocalDagRunner
    from tfx.orchestration.metadata import sqlite_metadata_connection_config
    from tfx.orchestration.pipeline import Pipeline

    from components.ingest.component import FaceExampleGen
    from components.transform.component import configuration, transform
    from components.validate.packaged_schema import PackagedSchema

    steps = []
    for task in faces.TASKS:
        ingest = FaceExampleGen(task, to_json(of(config.ingest, task))).with_id(f'FaceExampleGen-{task}')
        schema = PackagedSchema(task).with_id(f'ImportSchemaGen-{task}')
        settings = configuration(of(config.train, task))
        preprocessing = transform(task, ingest.outputs['examples'], schema.outputs['schema'], settings)
        steps += [ingest, schema, preprocessing.with_id(f'Transform-{task}')]
    folder.mkdir(parents=True)
    LocalDagRunner().run(
        Pipeline(
            pipeline_name='benchmarks',
            pipeline_root=str(folder / 'artifacts'),
            metadata_connection_config=sqlite_metadata_connection_config(str(folder / 'metadata.sqlite')),
            components=steps,
            beam_pipeline_args=list(to_flags(config.beam)),
        )
    )
    return Rows(
        source,
        key,
        {task: _only(folder / 'artifacts' / f'FaceExampleGen-{task}' / 'examples') for task in faces.TASKS},
        {task: _only(folder / 'artifacts' / f'Transform-{task}' / 'transform_graph') for task in faces.TASKS},
    )


def _only(folder: Path) -> str:
    (artifact,) = folder.iterdir()
    return str(artifact)


if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('folder', type=Path)
    _prepare(parser.parse_args().folder)
