"""What lies between the two passes, and what comes after them."""

import gzip
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import tensorflow as tf

from components import faces
from components.errors import StepError
from components.ingest import examples, spill, transforms
from components.ingest.parse import Face, LeftOut, Rejected
from components.ingest.records import ExampleSink, framed
from components.ingest.spill import Fault, Prepared
from components.settings import IngestSettings


def prepared(row: int, size: int = 10) -> Prepared:
    return Prepared('a.csv', row, bytes(16), 'ann', 3, faces.TRAIN_SPLIT, bytes(size))


def test_rows_come_back_in_their_order_and_in_blocks(tmp_path):
    picture = np.arange(12, dtype=np.uint8).reshape(3, 4)
    rows = [prepared(row) for row in range(700)]
    rows += [Rejected('a.csv', 701, 'flat image', 'x', picture), LeftOut('a.csv', 702, 'y'), Fault('a.csv', 'ended')]
    with spill.Writer(str(tmp_path / 'spill')) as writer:
        for row in rows:
            writer.add(row)
    blocks = list(spill.read(writer.path))
    assert max(map(len, blocks)) < 300
    back = [row for block in blocks for row in block]
    assert back[:700] == rows[:700]
    assert back[701:] == rows[701:]
    np.testing.assert_array_equal(back[700].image, picture)


def test_large_examples_make_small_blocks(tmp_path):
    with spill.Writer(str(tmp_path)) as writer:
        for row in range(5):
            writer.add(prepared(row, 3 << 20))
    assert [len(block) for block in spill.read(writer.path)] == [2, 2, 1]


def test_each_writer_has_a_file_of_its_own(tmp_path):
    with spill.Writer(str(tmp_path)) as first, spill.Writer(str(tmp_path)) as second:
        first.add(prepared(1))
        second.add(prepared(2))
    assert [row.row for block in spill.read(first.path) for row in block] == [1]
    assert [row.row for block in spill.read(second.path) for row in block] == [2]


def test_tables_are_read_one_by_one_and_images_together():
    images = [f'train/sad/{number}.png' for number in range(300)]
    found = transforms.portions(['a.csv', 'b.csv.gz', *images, 'c.csv'])
    assert [len(portion) for portion in found] == [1, 1, 256, 44, 1]
    assert [path for portion in found for path in portion] == ['a.csv', 'b.csv.gz', *images, 'c.csv']


def test_tensorflow_reads_what_the_sink_writes(tmp_path):
    records = [b'', b'one', bytes(range(256)) * 500]
    sink = ExampleSink(str(tmp_path / 'data'))
    path = tmp_path / 'data.gz'
    handle = sink.open(str(path))
    sink.write_record(handle, records[:2])
    sink.write_record(handle, records[2:])
    sink.close(handle)
    assert list(tf.data.TFRecordDataset(str(path), compression_type='GZIP').as_numpy_iterator()) == records
    with tf.io.TFRecordWriter(str(tmp_path / 'plain')) as writer:
        for record in records:
            writer.write(record)
    assert (tmp_path / 'plain').read_bytes() == gzip.decompress(path.read_bytes()) == b''.join(map(framed, records))


def test_an_example_gives_its_image_back_and_takes_another_label(face):
    one, other = (
        Face('a.csv', 1, face(1), bytes(16), 'Training', '', label, np.zeros(0, np.float32)) for label in (0, 4)
    )
    example = examples.to_example(one)
    np.testing.assert_array_equal(examples.image_of(example), face(1))
    assert examples.relabelled(example, 4) == examples.to_example(other) != example


def test_each_row_is_decoded_once_and_nothing_is_left_between(run, table, text, face, tmp_path, monkeypatch):
    """Hundreds of rows, so that there are several blocks, and images that the second pass decides about."""
    encoded = []
    encode = cv2.imencode
    monkeypatch.setattr(cv2, 'imencode', lambda *arguments: encoded.append(1) or encode(*arguments))
    rows = [f'{number % 5},Training,{text(face(number))}' for number in range(600)]
    rows += [f'0,PublicTest,{text(face(0))}', f'4,Training,{text(face(1))}']
    path = table('many.csv', 'emotion, Usage, pixels', rows)
    result = run('expression', IngestSettings(files=(path,), split='usage'))
    assert [example[faces.ROW][0] for example in result.examples['train']] == list(range(3, 601))
    assert [example[faces.ROW][0] for example in result.examples['eval']] == [601]
    assert result.summary.rejected == {'contradicting labels': 2}
    assert len(encoded) == 602 + 2  # each row, and the pictures of the two that were rejected
    assert result.names == {'rejects-00000-of-00001.jsonl', 'pictures.jsonl', 'summary.json'}


def test_a_run_that_fails_leaves_nothing_between(run, table, text, face, tmp_path):
    path = Path(table('cut.csv.gz', 'emotion,pixels', [f'1,{text(face(number))}' for number in range(50)]))
    path.write_bytes(path.read_bytes()[:20_000])
    with pytest.raises(StepError, match='cannot be read to its end'):
        run('expression', IngestSettings(files=(str(path),)))
    assert {found.name for found in (tmp_path / 'out' / 'rejects').iterdir()} == {
        *('rejects-00000-of-00001.jsonl', 'pictures.jsonl', 'summary.json')
    }
    assert json.loads((tmp_path / 'out' / 'rejects' / 'summary.json').read_text())['rows'] > 0
