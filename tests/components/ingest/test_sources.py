import dataclasses

import pytest

from components.errors import StepError
from components.ingest import sources
from components.settings import IngestSettings
from components.storage.s3 import ObjectFolder


def resolve(*files, spans='latest'):
    return sources.resolve(IngestSettings(files=tuple(map(str, files)), spans=spans))


@pytest.fixture
def weeks(tmp_path):
    for week in ('01', '2', '09', '10'):
        folder = tmp_path / f'week-{week}'
        folder.mkdir()
        (folder / 'faces.csv').write_text(f'{week}\n')
    (tmp_path / 'week-old').mkdir()
    (tmp_path / 'week-old' / 'faces.csv').write_text('old\n')
    return tmp_path / 'week-{SPAN}' / 'faces.csv'


@pytest.mark.parametrize(
    ('spans', 'expected'),
    [
        ('latest', ['10']),
        ('latest-1', ['10']),
        ('latest-3', ['10', '09', '2']),
        ('latest-99', ['01', '2', '09', '10']),
        ('2-9', ['2', '09']),
        ('09', ['09']),
        (' 3-10 ', ['09', '10']),
    ],
)
def test_spans_are_numbers_however_they_are_padded(weeks, spans, expected):
    found = resolve(weeks, spans=spans)
    assert {path.split('week-')[1].split('/')[0] for path in found.files} == set(expected)
    assert found.span == max(map(int, expected))


def test_a_span_named_twice_is_one_number(tmp_path):
    for folder, name in (('1', '01'), ('2', '1')):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / f'faces-{name}.csv').touch()
    found = resolve(tmp_path / '{SPAN}' / 'faces-{SPAN}.csv')
    assert found.files == (str(tmp_path / '1' / 'faces-01.csv'),)


@pytest.mark.parametrize('spans', ['newest', '3-', '-3', 'latest-', '1,2', '', 'latest3'])
def test_spans_that_say_nothing_are_refused(weeks, spans):
    with pytest.raises(StepError, match='latest, latest-3 or a range'):
        resolve(weeks, spans=spans)


def test_spans_without_files_name_those_that_exist(weeks):
    with pytest.raises(StepError, match='no file of the spans 11-20; it has 1 to 10'):
        resolve(weeks, spans='11-20')


def test_every_pattern_must_have_the_chosen_span(weeks, tmp_path):
    (tmp_path / 'extra-9.csv').touch()
    with pytest.raises(StepError, match=r'extra-\{SPAN\}.csv has no file of the spans latest; it has 9'):
        resolve(weeks, tmp_path / 'extra-{SPAN}.csv')


def test_patterns_stay_within_a_folder_and_overlap_without_repeats(tmp_path):
    for name in ('a1.csv', 'a2.csv.gz', 'b.csv', 'a3.txt', 'deep/a4.csv', 'odd[1].csv'):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    names = [path.removeprefix(f'{tmp_path}/') for path in resolve(tmp_path / 'a*', tmp_path / 'a1.csv').files]
    assert names == ['a1.csv', 'a2.csv.gz']
    assert resolve(tmp_path / '?.csv').files == (str(tmp_path / 'b.csv'),)
    assert resolve(tmp_path / 'odd[1].csv').files == (str(tmp_path / 'odd[1].csv'),)


def test_a_folder_gives_whatever_lies_in_its_class_folders(tmp_path):
    for name in ('train/happy/1.png', 'train/happy/notes.txt', 'train/readme.md', 'test/sad/2.JPG', 'test/sad/.hidden'):
        path = tmp_path / 'fer' / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    names = [path.removeprefix(f'{tmp_path}/fer/') for path in resolve(tmp_path / 'fer').files]
    assert names == ['test/sad/2.JPG', 'train/happy/1.png', 'train/happy/notes.txt']
    assert resolve(tmp_path / 'fer/').files == resolve(tmp_path / 'f*r').files
    assert resolve(tmp_path / 'fer/*/*/*.png').files == (str(tmp_path / 'fer/train/happy/1.png'),)


def test_no_match_says_where_it_looked_and_what_is_there(tmp_path):
    (tmp_path / 'data').mkdir()
    (tmp_path / 'data' / 'icml_face_data.csv.gz').touch()
    with pytest.raises(StepError, match=r'looked in .*/data \(there: icml_face_data.csv.gz\)'):
        resolve(tmp_path / 'data' / 'icml_face_dta.csv')
    with pytest.raises(StepError, match=r'there: data\)'):
        resolve(tmp_path / 'date' / '*.csv')
    with pytest.raises(StepError, match='Nothing matches nowhere.csv'):
        resolve('nowhere.csv')
    with pytest.raises(StepError, match='No data are named'):
        resolve()


def test_the_fingerprint_follows_content_name_and_class_but_not_the_place(tmp_path):
    def fingerprint(folder, name, content):
        path = tmp_path / folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
        return resolve(path).fingerprint

    first = fingerprint('here', 'faces.csv', 'x')
    assert fingerprint('there', 'faces.csv', 'x') == first
    assert fingerprint('here', 'faces.csv', 'y') != first
    assert fingerprint('here', 'other.csv', 'x') != first
    assert fingerprint('here', 'train/sad/1.png', 'x') != fingerprint('here', 'train/happy/1.png', 'x')


def test_corrections_are_found_apart_and_change_the_fingerprint(tmp_path):
    for name in ('faces.csv', 'audit/a.csv', 'audit/b.csv.gz', 'audit/notes.txt'):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    plain = IngestSettings(files=(str(tmp_path / 'faces.csv'),))
    corrected = dataclasses.replace(plain, corrections=(str(tmp_path / 'audit/*'), str(tmp_path / 'audit/a.csv')))
    found = sources.resolve(corrected)
    assert found.files == sources.resolve(plain).files
    assert found.corrections == (str(tmp_path / 'audit/a.csv'), str(tmp_path / 'audit/b.csv.gz'))
    assert found.fingerprint == sources.resolve(corrected).fingerprint != sources.resolve(plain).fingerprint
    (tmp_path / 'audit/b.csv.gz').write_text('decided')
    assert sources.resolve(corrected).fingerprint != found.fingerprint
    for pattern in ('audit/*.txt', 'audit', 'odd/*'):
        with pytest.raises(StepError, match=r'Nothing matches .* files in ingest\.corrections'):
            sources.resolve(dataclasses.replace(plain, corrections=(str(tmp_path / pattern),)))


def test_the_limit_counts_images_by_class_folder_and_leaves_tables_alone():
    files = ['a.csv', 'b.csv', *(f'x/train/{name}/{n}.png' for name in ('sad', 'happy') for n in range(3))]
    assert sources.limit_images(files, 2) == [path for path in files if not path.endswith('2.png')]
    assert sources.limit_images(files, 0) == files


def test_files_in_an_object_store_are_found_and_told_apart_by_their_contents(bucket):
    stored = ObjectFolder(f'{bucket}/data')
    for name in ('2024-1/a.csv', '2024-2/a.csv', '2024-2/b.csv.gz', '2024-2/notes.txt'):
        stored.put(name, name.encode())
    newest = sources.resolve(IngestSettings(files=(f'{bucket}/data/2024-{{SPAN}}/*.csv*',)))
    assert newest.files == (f'{bucket}/data/2024-2/a.csv', f'{bucket}/data/2024-2/b.csv.gz')
    assert newest.span == 2
    settings = IngestSettings(files=(f'{bucket}/data/2024-2/*',))
    first = sources.resolve(settings)
    assert first.files == newest.files
    stored.put('2024-2/a.csv', b'another content')
    assert sources.resolve(settings).fingerprint != first.fingerprint
    with pytest.raises(StepError, match='no object there has such a name'):
        sources.resolve(IngestSettings(files=(f'{bucket}/data/none*.csv',)))


def test_images_in_class_folders_of_an_object_store_are_found(bucket):
    stored = ObjectFolder(f'{bucket}/faces')
    stored.put('train/happy/1.png', b'1')
    stored.put('train/sad/1.jpg', b'2')
    found = sources.resolve(IngestSettings(files=(f'{bucket}/faces/',)))
    assert found.files == (f'{bucket}/faces/train/happy/1.png', f'{bucket}/faces/train/sad/1.jpg')
