import gzip
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from tfx.dsl.components.base.base_beam_executor import BaseBeamExecutor
from tfx.types import standard_artifacts

from components import faces, settings
from components.ingest.artifacts import Rejects
from components.ingest.executor import Executor
from components.ingest.rejects import RejectedPicture, Summary, read_pictures, read_summary
from components.settings import IngestSettings

# Naming an image keeps TFX from packing itself for remote workers, which takes seconds and nobody reads.
BEAM = ['--direct_running_mode=in_memory', '--direct_num_workers=1', '--sdk_container_image=none']


@dataclass(frozen=True)
class Run:
    """What one run of the executor left behind."""

    artifact: standard_artifacts.Examples
    examples: dict[str, list[dict]]
    summary: Summary
    rejects: list[dict]
    pictures: list[RejectedPicture]
    names: set[str]


def execute(task: str, ingest: IngestSettings, folder: Path) -> Run:
    examples, rejects = standard_artifacts.Examples(), Rejects()
    examples.uri, rejects.uri = str(folder / 'examples'), str(folder / 'rejects')
    properties = {'task': task, 'settings': settings.to_json(ingest), 'code': '', 'data': ''}
    executor = Executor(BaseBeamExecutor.Context(beam_pipeline_args=BEAM))
    executor.Do({}, {'examples': [examples], 'rejects': [rejects]}, properties)
    return Run(
        artifact=examples,
        examples={split: read_examples(folder / 'examples', split) for split in faces.SPLITS},
        summary=read_summary(folder / 'rejects'),
        rejects=[
            json.loads(line)
            for path in sorted((folder / 'rejects').glob('rejects*.jsonl'))
            for line in path.read_text().splitlines()
        ],
        pictures=read_pictures(folder / 'rejects'),
        names={path.name for path in (folder / 'rejects').iterdir()},
    )


def read_examples(folder: Path, split: str) -> list[dict]:
    paths = sorted(map(str, (folder / f'Split-{split}').glob('data_tfrecord-*.gz')))
    found = []
    for record in tf.data.TFRecordDataset(paths, compression_type='GZIP').as_numpy_iterator():
        features = tf.train.Example.FromString(record).features.feature
        found.append({name: list(getattr(value, value.WhichOneof('kind')).value) for name, value in features.items()})
    return found


@pytest.fixture
def run(tmp_path: Path) -> Callable[[str, IngestSettings], Run]:
    return lambda task, ingest: execute(task, ingest, tmp_path / 'out')


@pytest.fixture
def face() -> Callable[..., np.ndarray]:
    """Draws another image of noise for each seed."""

    def draw(seed: int, height: int = 48, width: int | None = None) -> np.ndarray:
        return np.random.default_rng(seed).integers(0, 256, (height, width or height), np.uint8)

    return draw


@pytest.fixture
def text() -> Callable[[np.ndarray], str]:
    return lambda image: ' '.join(map(str, image.ravel()))


@pytest.fixture
def table(tmp_path: Path) -> Callable[..., str]:
    """Writes a header and rows; gives the path."""

    def write(name: str, header: str, rows: list[str]) -> str:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        content = '\n'.join([header, *rows]).encode() + b'\n'
        path.write_bytes(gzip.compress(content) if name.endswith('.gz') else content)
        return str(path)

    return write
