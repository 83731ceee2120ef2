import base64
import io
from pathlib import Path

import cv2
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from components import faces
from components.errors import StepError
from components.ingest.rejects import RejectShareError
from components.settings import IngestSettings
from tests.components.ingest.conftest import execute

HEADER = 'emotion, Usage, pixels'
KEYPOINT_HEADER = ','.join([*faces.KEYPOINT_COLUMNS, 'Image'])
COMMON = {
    *(faces.IMAGE, faces.CONTENT_HASH, faces.WIDTH, faces.HEIGHT, faces.MEAN, faces.STANDARD_DEVIATION),
    *(faces.BRIGHTNESS, faces.CONTRAST, faces.SOURCE, faces.ROW, faces.GROUP),
}


def decode(example: dict) -> np.ndarray:
    return cv2.imdecode(np.frombuffer(example[faces.IMAGE][0], np.uint8), cv2.IMREAD_UNCHANGED)


def places(examples: list[dict]) -> list[tuple[str, int]]:
    return sorted((example[faces.SOURCE][0].decode(), example[faces.ROW][0]) for example in examples)


def assert_adds_up(summary):
    parts = (summary.kept, summary.rejected, summary.left_out)
    assert summary.rows == sum(sum(part.values()) for part in parts)


def test_expressions_by_usage(run, table, text, face):
    """Two files, one of them compressed; every rule about rows that repeat."""
    first = table(
        'data/first.csv',
        HEADER,
        [
            f'0,Training,{text(face(1))}',  # kept
            f'0,Training,{text(face(1))}',  # kept: repeats a row of its own split
            f'3,Training,{text(face(2))}',  # the twin of second.csv:1
            f'1,Training,{text(face(3))}',  # contradicts the next
            f'2,Training,{text(face(3))}',
            f'1,PrivateTest,{text(face(1))}',  # left out: takes no part, or it would contradict the first
            '1,Training,' + '9 ' * 2304,  # flat
            '1,Training,1 2 3',
        ],
    )
    table('data/second.csv.gz', HEADER, [f'3,PublicTest,{text(face(2))}', f'4,PublicTest,{text(face(4))}'])
    settings = IngestSettings(files=(str(Path(first).parent / '*'),), split='usage', maximum_reject_share=0.4)
    result = run('expression', settings)

    assert places(result.examples['train']) == [('first.csv', 1), ('first.csv', 2)]
    assert places(result.examples['eval']) == [('second.csv.gz', 1), ('second.csv.gz', 2)]
    summary = result.summary
    assert summary.rows == 10
    assert summary.kept == {'train': 2, 'eval': 2}
    assert summary.rejected == {'contradicting labels': 2, 'flat image': 1, 'wrong number of pixels': 1}
    assert summary.left_out == {'twin of an evaluation row': 1, 'unused usage': 1}
    assert summary.duplicates == 3
    assert summary.files == ('first.csv', 'second.csv.gz')
    assert summary.span is None
    assert_adds_up(summary)

    assert {(line['source'], line['row'], line['reason']) for line in result.rejects} == {
        ('first.csv', 4, 'contradicting labels'),
        ('first.csv', 5, 'contradicting labels'),
        ('first.csv', 7, 'flat image'),
        ('first.csv', 8, 'wrong number of pixels'),
    }
    assert {(picture.row, picture.reason) for picture in result.pictures} == {
        (4, 'contradicting labels'),
        (5, 'contradicting labels'),
        (7, 'flat image'),
    }
    shown = next(picture for picture in result.pictures if picture.row == 4)
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(base64.b64decode(shown.png)))), face(3))
    assert result.names == {'rejects-00000-of-00001.jsonl', 'pictures.jsonl', 'summary.json'}

    example = next(e for e in result.examples['eval'] if e[faces.ROW] == [2])
    np.testing.assert_array_equal(decode(example), face(4))
    assert set(example) == COMMON | {faces.EXPRESSION, faces.LABEL}
    assert example[faces.EXPRESSION] == [b'surprise']
    assert example[faces.LABEL] == [4]
    assert (example[faces.WIDTH], example[faces.HEIGHT]) == ([48], [48])
    assert example[faces.MEAN] == pytest.approx([face(4).mean()])
    assert example[faces.STANDARD_DEVIATION] == pytest.approx([face(4).std()])
    assert example[faces.BRIGHTNESS] == [faces.brightness_level(face(4).mean()).encode()]
    assert example[faces.CONTRAST] == [faces.contrast_level(face(4).std()).encode()]
    assert example[faces.GROUP] == example[faces.CONTENT_HASH]
    repeated = [e[faces.CONTENT_HASH] for e in result.examples['train']]
    assert repeated[0] == repeated[1] != example[faces.CONTENT_HASH]

    assert result.artifact.split_names == '["train", "eval"]'
    assert result.artifact.get_string_custom_property('fingerprint') == summary.fingerprint
    assert not result.artifact.has_custom_property('span')


def test_keypoints_of_the_newest_span(run, table, text, face):
    def row(seed: int, shift: float = 0.0, missing: bool = False) -> str:
        cells = [f'{30 + index + shift}' for index in range(30)]
        if missing:
            cells[:2] = ['', '']
        return ','.join([*cells, text(face(seed, 96))])

    table('week-008.csv', KEYPOINT_HEADER, [row(1)])
    path = table(
        'week-12.csv', KEYPOINT_HEADER, [row(2, missing=True), row(3), row(3, 1.0), row(4), row(4, 3.0), row(5, 90.0)]
    )
    files = (path.replace('12', '{SPAN}'),)
    result = run('keypoints', IngestSettings(files=files, evaluation_percent=0, maximum_reject_share=0.5))
    assert places(result.examples['train']) == [('week-12.csv', 1), ('week-12.csv', 2), ('week-12.csv', 3)]
    assert result.summary.rejected == {'contradicting labels': 2, 'a coordinate outside the image': 1}
    assert result.summary.span == 12
    assert result.artifact.get_int_custom_property('span') == 12
    assert result.examples['eval'] == []
    assert_adds_up(result.summary)

    example = next(e for e in result.examples['train'] if e[faces.ROW] == [1])
    assert set(example) == COMMON | {faces.POINTS, faces.POINTS_PRESENT}
    np.testing.assert_array_equal(example[faces.POINTS], [np.nan, np.nan, *range(32, 60)])
    assert example[faces.POINTS_PRESENT] == [0] + [1] * 14
    np.testing.assert_array_equal(decode(example), face(2, 96))


def test_folders_of_images(run, tmp_path, face):
    def save(name: str, image: Image.Image | bytes) -> None:
        path = tmp_path / 'fer' / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(image) if isinstance(image, bytes) else image.save(path)

    colour = Image.merge('RGB', [Image.fromarray(face(seed, 60, 40)) for seed in (1, 2, 3)])
    save('train/angry/Training_1.png', Image.fromarray(face(1, 60, 40)))
    save('train/happy/Training_2.jpg', colour)
    save('train/happy/broken.jpg', b'\xff\xd8\xff\xe0 no more')
    save('train/happy/Thumbs.db', b'not an image')
    save('train/fear/Training_3.png', Image.fromarray(face(3)))
    save('train/sad/big.png', Image.new('L', (300, 300)))
    save('test/angry/PublicTest_1.png', Image.fromarray(face(1, 60, 40)))
    save('test/surprise/PublicTest_2.png', Image.fromarray(face(4, 16)))
    settings = IngestSettings(
        files=(str(tmp_path / 'fer'),),
        mapping={'angry': 'anger', 'happy': 'happiness'},
        split='usage',
        maximum_reject_share=0.5,
        maximum_image_pixels=200 * 200,
    )
    result = run('expression', settings)
    assert places(result.examples['train']) == [('Training_2.jpg', 0)]
    assert places(result.examples['eval']) == [('PublicTest_1.png', 0), ('PublicTest_2.png', 0)]
    assert result.summary.rejected == {'undecodable image': 2, 'image too large': 1}
    assert result.summary.left_out == {'class fear': 1, 'twin of an evaluation row': 1}
    assert_adds_up(result.summary)
    assert 'train/happy' in result.summary.files
    first = next(e for e in result.examples['eval'] if e[faces.SOURCE] == [b'PublicTest_1.png'])
    np.testing.assert_array_equal(decode(first), face(1, 60, 40))
    assert (first[faces.HEIGHT], first[faces.WIDTH], first[faces.EXPRESSION]) == ([60], [40], [b'anger'])


def test_a_person_lies_in_one_split_only(run, table, text, face):
    rows = [
        f'1,Training,ann,{text(face(1))}',
        f'1,PublicTest,ann,{text(face(2))}',
        f'1,Training,bob,{text(face(3))}',
        f'1,Training,eve,{text(face(2))}',  # another person, an evaluation row's image
        f'1,PublicTest,zoe,{text(face(4))}',
    ]
    path = table('people.csv', 'emotion, Usage,person, pixels', rows)
    result = run('expression', IngestSettings(files=(path,), split='usage', group_column='person'))
    assert places(result.examples['train']) == [('people.csv', 3)]
    assert places(result.examples['eval']) == [('people.csv', 2), ('people.csv', 5)]
    assert result.summary.left_out == {'person is in the evaluation split': 1, 'twin of an evaluation row': 1}
    assert result.examples['train'][0][faces.GROUP] == [b'bob']


def test_the_hash_split_keeps_images_and_persons_apart(run, table, text, face):
    rows = [f'{n % 5},p{n // 4},{text(face(n))}' for n in range(80)]
    rows += [f'{n % 5},q{n % 10},{text(face(n))}' for n in range(40)]  # the same images under other names
    path = table('hash.csv', 'emotion,person,pixels', rows)
    result = run('expression', IngestSettings(files=(path,), group_column='person', evaluation_percent=40))
    assert_adds_up(result.summary)
    assert result.summary.duplicates == 40
    assert result.summary.left_out['twin of an evaluation row'] > 0
    for feature in (faces.CONTENT_HASH, faces.GROUP):
        train, evaluation = ({e[feature][0] for e in result.examples[split]} for split in faces.SPLITS)
        assert train
        assert evaluation
        assert not train & evaluation


def test_each_row_goes_to_a_file_of_its_own_whenever_it_is_ingested(table, text, face, tmp_path):
    """Twice: Beam itself deals rows to a given number of files by chance."""
    path = table('rows.csv', HEADER, [f'1,{"PublicTest" if n % 5 else "Training"},{text(face(n))}' for n in range(60)])
    settings = IngestSettings(files=(path,), split='usage', shards=3)
    dealt = []
    for attempt in ('first', 'second'):
        execute('expression', settings, tmp_path / attempt)
        files = {
            split: sorted((tmp_path / attempt / 'examples' / f'Split-{split}').iterdir()) for split in faces.SPLITS
        }
        assert {split: [file.name for file in found] for split, found in files.items()} == {
            split: [f'data_tfrecord-{number:05d}-of-00003.gz' for number in range(3)] for split in faces.SPLITS
        }
        dealt.append([sorted(tf.data.TFRecordDataset(str(file), 'GZIP').as_numpy_iterator()) for file in files['eval']])
    assert dealt[0] == dealt[1]
    assert sum(map(len, dealt[0])) == 48
    assert min(map(len, dealt[0])) > 5


def test_too_many_rejects_stop_the_run_and_carry_the_account(run, table, text, face):
    rows = [f'1,{text(face(1))}'] + [f'1,{n % 2} ' * 2 for n in range(12)] + ['1,' + '8 ' * 2304] * 10
    path = table('bad.csv', 'emotion,pixels', rows)
    with pytest.raises(RejectShareError) as caught:
        run('expression', IngestSettings(files=(path,), maximum_reject_share=0.5))
    message = str(caught.value)
    assert '22 of 23 rows (95.7%)' in message
    assert '12 x wrong number of columns (e.g. bad.csv:2)' in message
    assert '10 x flat image (e.g. bad.csv:14)' in message
    assert 'maximum_reject_share' in message
    assert '\n' not in message
    assert caught.value.summary.rejected == {'wrong number of columns': 12, 'flat image': 10}
    assert [picture.row for picture in caught.value.pictures] == list(range(14, 22))


def test_files_that_cannot_be_used_end_in_one_line(run, tmp_path, table, text, face):
    cut = Path(table('cut.csv.gz', HEADER, [f'1,Training,{text(face(n))}' for n in range(50)]))
    cut.write_bytes(cut.read_bytes()[:20_000])
    with pytest.raises(StepError) as caught:
        run('expression', IngestSettings(files=(str(cut),)))
    assert str(caught.value).startswith(f'{cut} cannot be read to its end')
    assert '\n' not in str(caught.value)
    with pytest.raises(StepError, match='lacks the columns pixels'):
        run('expression', IngestSettings(files=(table('no.csv', 'emotion,image', []),)))


@pytest.mark.parametrize(
    ('rows', 'expected'),
    [(['2,Training,1'], 'None of 1 rows of all.csv is kept: 1 x class fear'), ([], 'None of 0 rows')],
)
def test_nothing_kept_stops_the_run(run, table, rows, expected):
    path = table('all.csv', HEADER, rows)
    with pytest.raises(StepError, match=expected):
        run('expression', IngestSettings(files=(path,), classes=('angry', 'disgust', 'fear')))
