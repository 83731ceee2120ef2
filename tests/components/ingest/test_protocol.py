"""The original project's split: by chance, leaks included."""

import dataclasses
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from components import faces
from components.ingest import protocol
from components.ingest.parse import Face
from components.settings import IngestSettings
from pipeline.config import load

DATASETS = Path(__file__).resolve().parents[4] / 'shared' / 'datasets'
ORIGINAL = IngestSettings(protocol='original')


def make(row: int, source: str = 'f.csv', usage: str = '', label: int = 0, seed: int = 0) -> Face:
    image = np.full((2, 2), seed, np.uint8)
    return Face(source, row, image, bytes([seed % 256]) * 16, usage, '', label, np.zeros(0, np.float32))


def hashes(examples: list[dict]) -> list[bytes]:
    return [example[faces.CONTENT_HASH][0] for example in examples]


def twins(examples: dict[str, list[dict]]) -> int:
    """Eval Examples whose image is in the training split."""
    trained = set(hashes(examples['train']))
    return sum(content_hash in trained for content_hash in hashes(examples['eval']))


def test_a_row_goes_by_chance_by_its_place_and_not_by_its_image():
    rows = range(20_000)
    splits = [protocol.random_split(make(row)) for row in rows]
    shares = {split: count / len(rows) for split, count in Counter(splits).items()}
    assert shares == pytest.approx({'train': 0.9, 'eval': 0.05, protocol.THIRD_PART: 0.05}, abs=0.006)
    assert splits == [protocol.random_split(make(row, seed=row % 251)) for row in rows]
    # Another place is another draw: two of them agree as often as chance has it.
    for other in ({'source': 'g.csv'}, {'usage': 'test'}, {'label': 1}):
        moved = [protocol.random_split(make(row, **other)) for row in rows]
        agreement = np.mean([a == b for a, b in zip(splits, moved, strict=True)])
        assert agreement == pytest.approx(0.9**2 + 2 * 0.05**2, abs=0.02)


def test_the_split_is_the_same_on_every_machine():
    splits = [protocol.random_split(make(row)) for row in range(1, 101)]
    assert [row for row, split in enumerate(splits, start=1) if split == 'eval'] == [11, 76]


def test_usages_and_persons_are_ignored_by_the_original_alone():
    settings = IngestSettings(split='usage', group_column='person', corrections=('a.csv',))
    assert protocol.in_effect(settings) is settings
    original = protocol.in_effect(dataclasses.replace(settings, protocol='original'))
    assert original == dataclasses.replace(ORIGINAL, unused_usages=(), corrections=('a.csv',))


def test_every_readable_row_of_a_table_is_split(run, table, text, face):
    rows = [f'{n % 3},{("PrivateTest", "Training")[n % 2]},,{text(face(n % 150))}' for n in range(300)]
    path = table('faces.csv', 'emotion, Usage,person, pixels', [*rows, '1,Training,,1 2 3', '7,Training,,1'])
    settings = IngestSettings(files=(path,), protocol='original', split='usage', group_column='person')
    result = run('expression', settings)
    summary = result.summary
    assert (summary.rows, summary.duplicates, summary.protocol) == (302, 150, 'original')
    assert summary.rejected == {'wrong number of pixels': 1, 'unknown label': 1}
    assert set(summary.left_out) == {protocol.THIRD_PART}
    assert summary.kept == {split: len(examples) for split, examples in result.examples.items()}
    assert sum(summary.kept.values()) + summary.left_out[protocol.THIRD_PART] == 300
    assert summary.kept['train'] / 300 == pytest.approx(0.9, abs=0.06)
    assert summary.leaks == twins(result.examples) > 0


def test_class_folders_are_split_by_the_names_of_their_files(run, tmp_path, face):
    for number in range(60):
        path = tmp_path / 'fer' / ('train', 'test')[number % 2] / faces.EXPRESSIONS[number % 5] / f'{number // 4}.png'
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(face(number // 4)).save(path)
    settings = IngestSettings(files=(str(tmp_path / 'fer'),), protocol='original', split='usage')
    result = run('expression', settings)
    assert sum(result.summary.kept.values()) + result.summary.left_out[protocol.THIRD_PART] == 60
    assert result.summary.leaks == twins(result.examples) > 0
    assert result.summary.rejected == {}


def test_the_configuration_is_that_of_full_but_for_names_and_protocol():
    full, original = load('full'), load('original')
    assert original.ingest.expression.protocol == 'original'
    assert original.serving != full.serving
    assert original.store != full.store
    assert {'name', 'serving', 'ingest'} == {
        field.name for field in dataclasses.fields(full) if getattr(full, field.name) != getattr(original, field.name)
    }
    assert original.ingest.keypoints == full.ingest.keypoints
    expression = dataclasses.replace(original.ingest.expression, protocol='clean', split=full.ingest.expression.split)
    assert expression == full.ingest.expression


def test_the_published_file_is_read_under_it(run):
    path = DATASETS / 'icml_face_data.csv.gz'
    if not path.exists():
        pytest.skip(f'{path} is not here: the published data stay outside the repository')
    ingest = dataclasses.replace(load('original').ingest.expression, files=(str(path),), limit=1000)
    result = run('expression', ingest)
    summary = result.summary
    assert summary.rows == 1000
    assert summary.kept['train'] / 1000 == pytest.approx(0.9, abs=0.02)
    assert summary.kept['eval'] / 1000 == pytest.approx(0.05, abs=0.02)
    assert set(summary.left_out) == {protocol.THIRD_PART}
    assert set(summary.rejected) <= {'flat image'}
    assert summary.leaks == twins(result.examples)
