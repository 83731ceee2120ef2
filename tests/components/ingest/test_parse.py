import gzip
import os

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from components import faces
from components.errors import StepError
from components.ingest import parse, tables
from components.ingest.parse import Face, LeftOut, Rejected
from components.settings import IngestSettings

SEVEN = ('angry', 'disgust', 'fear', 'happy', 'sad', 'surprise', 'neutral')
MAPPING = {'angry': 'anger', 'happy': 'happiness'}
KEYPOINT_HEADER = ','.join([*faces.KEYPOINT_COLUMNS, 'Image'])
EXPRESSION_HEADER = 'emotion, Usage, pixels'


def read(path, task='expression', **options):
    return list(parse.read(path, task, IngestSettings(**options)))


@pytest.fixture
def reason(table, text, face):
    """The reason for which the one row of a table is rejected."""

    def of(task, header, row):
        (outcome,) = read(table('one.csv', header, [row]), task)
        assert isinstance(outcome, Rejected)
        assert (outcome.source, outcome.row) == ('one.csv', 1)
        return outcome.reason

    return of


def test_expression_rows_are_read_with_and_without_usage(table, text, face):
    image = face(3)
    for name in ('a.csv', 'a.csv.gz'):
        (got,) = read(table(name, EXPRESSION_HEADER, [f'3,PublicTest,{text(image)}']))
        np.testing.assert_array_equal(got.image, image)
        assert (got.source, got.row, got.usage, faces.EXPRESSIONS[got.label]) == (name, 1, 'PublicTest', 'happiness')
    (got,) = read(table('b.csv', 'emotion, pixels', [f'0,{text(image)}']))
    assert (got.usage, got.label) == ('', 0)
    (got,) = read(table('c.csv', '\ufeff"pixels" ,emotion,note', [f'"{text(image)}", 4 ,x']))
    assert faces.EXPRESSIONS[got.label] == 'surprise'


def test_seven_classes_map_to_five_and_the_others_are_left_out(table, text, face):
    rows = [f'{code},Training,{text(face(code))}' for code in range(7)]
    got = read(table('seven.csv', EXPRESSION_HEADER, rows), classes=SEVEN, mapping=MAPPING)
    kept = {outcome.row: faces.EXPRESSIONS[outcome.label] for outcome in got if isinstance(outcome, Face)}
    assert kept == {1: 'anger', 2: 'disgust', 4: 'happiness', 5: 'sad', 6: 'surprise'}
    assert [(o.row, o.reason) for o in got if isinstance(o, LeftOut)] == [(3, 'class fear'), (7, 'class neutral')]


def test_unused_usages_are_left_out(table, text, face):
    path = table('a.csv', EXPRESSION_HEADER, [f'1,PrivateTest,{text(face(1))}', f'1, Training ,{text(face(2))}'])
    first, second = read(path)
    assert first == LeftOut('a.csv', 1, 'unused usage')
    assert second.usage == 'Training'


@pytest.mark.parametrize('code', ['5', '-1', '', 'anger', '1.0', '²', '99999', '\0'])
def test_unknown_labels_are_rejected(reason, text, face, code):
    assert reason('expression', EXPRESSION_HEADER, f'{code},Training,{text(face(1))}') == 'unknown label'


def test_misshapen_rows_are_rejected_and_the_next_one_is_read(table, text, face):
    good = f'1,Training,{text(face(1))}'
    rows = [
        '1,Training',
        good + ',',
        '1,"Training,' + text(face(1)),
        '1,Training,' + '1 ' * tables.MAXIMUM_LINE,
        f'1,"{"x" * 200_000}",1',
        '1,Training,' + '7 ' * 2304,
        '',
        good,
    ]
    got = read(table('rows.csv', EXPRESSION_HEADER, rows))
    assert [(o.row, o.reason) for o in got if isinstance(o, Rejected)] == [
        (1, 'wrong number of columns'),
        (2, 'wrong number of columns'),
        (3, 'wrong number of columns'),
        (4, 'row too long'),
        (5, 'row too long'),
        (6, 'flat image'),
    ]
    assert [o.row for o in got if isinstance(o, Face)] == [8]


def keypoint_row(text, image, **cells):
    values = {name: str(20 + index) for index, name in enumerate(faces.KEYPOINT_COLUMNS)} | cells
    return ','.join([*values.values(), text(image)])


def test_keypoint_rows_are_read_with_missing_points(table, text, face):
    image = face(1, 96)
    rows = [keypoint_row(text, image), keypoint_row(text, image, nose_tip_x='', nose_tip_y=' ')]
    full, partial = read(table('points.csv', KEYPOINT_HEADER, rows), 'keypoints')
    np.testing.assert_array_equal(full.points, np.arange(20, 50))
    np.testing.assert_array_equal(full.image, image)
    missing = [faces.KEYPOINT_COLUMNS[index] for index in np.flatnonzero(np.isnan(partial.points))]
    assert missing == ['nose_tip_x', 'nose_tip_y']


@pytest.mark.parametrize(
    ('cells', 'expected'),
    [
        ({'nose_tip_x': 'abc'}, 'a coordinate is no number'),
        ({'nose_tip_x': 'nan'}, 'a coordinate is no number'),
        ({'nose_tip_x': '4_2'}, 'a coordinate is no number'),
        ({'nose_tip_x': '-0.1'}, 'a coordinate outside the image'),
        ({'nose_tip_x': '96.1'}, 'a coordinate outside the image'),
        ({'nose_tip_x': 'inf'}, 'a coordinate outside the image'),
        ({'nose_tip_x': '1e300'}, 'a coordinate outside the image'),
        ({'nose_tip_x': ''}, 'half of a point is missing'),
        (dict.fromkeys(faces.KEYPOINT_COLUMNS, ''), 'no point is known'),
    ],
)
def test_impossible_points_are_rejected_with_their_picture(table, text, face, cells, expected):
    image = face(1, 96)
    (got,) = read(table('p.csv', KEYPOINT_HEADER, [keypoint_row(text, image, **cells)]), 'keypoints')
    assert got.reason == expected
    np.testing.assert_array_equal(got.image, image)


def test_keypoint_images_have_96_pixels_a_side(reason, text, face):
    assert reason('keypoints', KEYPOINT_HEADER, keypoint_row(text, face(1, 48))) == 'wrong number of pixels'


def test_identities_are_read_and_must_be_there(table, text, face):
    rows = [f'1,{text(face(1))}, ann ', f'1,{text(face(2))}, ']
    first, second = read(table('g.csv', 'emotion,pixels, person', rows), group_column='person')
    assert first.group == 'ann'
    assert second.reason == 'no identity in the group column'


def test_the_limit_stops_reading_early(table, text, face):
    path = table('l.csv', EXPRESSION_HEADER, [f'1,Training,{text(face(n))}' for n in range(5)])
    assert [outcome.row for outcome in read(path, limit=3)] == [1, 2, 3]


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        (b'', 'lacks the columns pixels, emotion'),
        (b'emotion,image\n', 'lacks the columns pixels'),
        (b'\xff\xfe\x00\x81' * 50, 'lacks the columns'),
    ],
)
def test_missing_columns_are_named_with_the_file(tmp_path, content, message):
    path = tmp_path / 'broken.csv'
    path.write_bytes(content)
    with pytest.raises(StepError, match=f'broken.csv {message}') as caught:
        parse.check((str(path),), 'expression', IngestSettings())
    assert '\n' not in str(caught.value)


def test_missing_coordinates_usage_and_group_columns_are_named(table):
    with pytest.raises(StepError, match='left_eye_center_y, right_eye_center_x, right_eye_center_y and 26 more'):
        parse.check((table('k.csv', 'Image,left_eye_center_x', []),), 'keypoints', IngestSettings())
    path = table('e.csv', 'emotion,pixels', [])
    with pytest.raises(StepError, match='lacks the columns Usage'):
        parse.check((path,), 'expression', IngestSettings(split='usage'))
    with pytest.raises(StepError, match='lacks the columns person'):
        parse.check((path,), 'expression', IngestSettings(group_column='person'))


def test_settings_that_cannot_be_followed_are_refused(table):
    with pytest.raises(StepError, match="mapping names 'joy'"):
        parse.check((), 'expression', IngestSettings(mapping={'happy': 'joy'}))
    with pytest.raises(StepError, match='keypoints are read from CSV'):
        parse.check(('train/sad/1.png',), 'keypoints', IngestSettings())
    with pytest.raises(StepError, match='only the labels of expressions can be corrected'):
        parse.check((), 'keypoints', IngestSettings(corrections=('issues.csv',)))
    with pytest.raises(StepError, match='group_column is set'):
        parse.check(('train/sad/1.png',), 'expression', IngestSettings(group_column='person'))


def test_a_gzip_file_that_ends_early_or_is_none_names_itself(tmp_path, table, text, face):
    path = table('cut.csv.gz', EXPRESSION_HEADER, [f'1,Training,{text(face(n))}' for n in range(50)])
    os.truncate(path, 20_000)
    with pytest.raises(StepError, match='cut.csv.gz cannot be read to its end'):
        read(path)
    plain = tmp_path / 'plain.csv.gz'
    plain.write_text('emotion,pixels\n')
    with pytest.raises(StepError, match='plain.csv.gz cannot be read to its end.*Not a gzipped file'):
        parse.check((str(plain),), 'expression', IngestSettings())
    damaged = bytearray(gzip.compress(b'emotion,pixels\n' * 1000))
    damaged[30:34] = b'\xff' * 4
    plain.write_bytes(damaged)
    with pytest.raises(StepError, match='plain.csv.gz'):
        read(str(plain))


HOSTILE = st.one_of(st.text(max_size=30), st.from_regex(r'[0-9 .,"eE+-]{0,40}'), st.just('1 ' * 2304))


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(HOSTILE, HOSTILE, HOSTILE), max_size=5))
def test_every_hostile_row_is_accounted_for(tmp_path, rows):
    path = tmp_path / 'hostile.csv'
    body = '\n'.join(','.join(row) for row in rows)
    path.write_bytes(f'{EXPRESSION_HEADER}\n{body}\n'.encode('utf-8', 'surrogatepass'))
    outcomes = read(str(path))
    with path.open(encoding='utf-8', errors='replace') as stream:
        written = [number for number, line in enumerate(stream) if number and line != '\n']
    assert [outcome.row for outcome in outcomes] == written


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=300))
def test_any_bytes_end_in_a_step_error_or_in_outcomes(tmp_path, content):
    for name in ('any.csv', 'any.csv.gz'):
        path = tmp_path / name
        path.write_bytes(content)
        try:
            read(str(path))
        except StepError as error:
            assert name in str(error)
            assert '\n' not in str(error)
