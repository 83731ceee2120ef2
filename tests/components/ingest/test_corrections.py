"""Corrections: what a person may write, what is said of what they may not, and what they change."""

import csv
import dataclasses
import io
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from components import faces
from components.errors import StepError
from components.ingest import corrections, images, rejects
from components.ingest.corrections import EXCLUDE, EXCLUDED
from components.settings import IngestSettings

HEADER = 'content_hash,source,row,label,suggestion,quality,action'
HASH = '0123456789abcdef' * 2
OTHER = 'f' * 32


def line(content_hash: str, label: str, action: str, suggestion: str = 'sad') -> str:
    return f'{content_hash},faces.csv,7,{label},{suggestion},0.125,{action}'


def hash_of(image) -> str:
    return images.content_hash(image).hex()


@pytest.mark.parametrize('name', ['issues.csv', 'issues.csv.gz'])
def test_rows_with_an_action_are_read(table, name):
    path = table(
        name,
        HEADER,
        [
            line(HASH, 'anger', 'exclude'),
            line(HASH, 'disgust', ' relabel '),
            line(OTHER, 'surprise', ''),
            line(OTHER.upper(), 'happiness', 'exclude', suggestion=''),
            line(HASH, 'anger', 'exclude'),
            '',
            line('no hash', 'no label', ''),
        ],
    )
    assert corrections.read([path]) == {
        (bytes.fromhex(HASH), 0): EXCLUDE,
        (bytes.fromhex(HASH), 1): 2,
        (b'\xff' * 16, 3): EXCLUDE,
    }


def test_columns_are_found_by_their_names(table):
    path = table('few.csv', '\ufeffaction, label,content_hash,suggestion', [f'relabel,sad,{HASH},"anger"'])
    assert corrections.read([path]) == {(bytes.fromhex(HASH), 2): 0}
    assert corrections.read([]) == {}


@pytest.mark.parametrize(
    ('row', 'message'),
    [
        (line(HASH, 'anger', 'delete'), "action is 'delete': write exclude, relabel or nothing"),
        (line(HASH, 'angry', 'exclude'), "label is 'angry': use one of anger, disgust"),
        (line(HASH, 'anger', 'relabel', 'fear'), "suggestion is 'fear'"),
        (line(HASH, 'anger', 'relabel', ''), "suggestion is ''"),
        (line(HASH, 'sad', 'relabel'), 'relabel from sad to the same'),
        (line(HASH[1:], 'anger', 'exclude'), 'not 32 hexadecimal digits'),
        (line(HASH + '00', 'anger', 'exclude'), 'not 32 hexadecimal digits'),
        (line('1.23457E+31', 'anger', 'exclude'), "content_hash is '1.23457E\\+31'"),
        (line('', 'anger', 'exclude'), 'not 32 hexadecimal digits'),
        (line(HASH, 'anger', 'exclude,'), '8 cells instead of 7'),
        ('exclude', '1 cells instead of 7'),
        ('x' * (1 << 20), 'more than 1048576 characters'),
        (f'"{"x" * 200_000}",1', 'field larger than field limit'),
        (line('\n\x1b[31m'[1:], 'anger', 'exclude'), 'not 32 hexadecimal digits'),
    ],
)
def test_a_row_that_is_no_correction_is_told_in_one_line(table, row, message):
    path = table('bad.csv', HEADER, [line(OTHER, 'anger', 'exclude'), row])
    with pytest.raises(StepError, match=rf'bad\.csv:2: .*{message}') as caught:
        corrections.read([path])
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 300 + len(path)


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        (b'', 'lacks the columns content_hash, label, suggestion, action'),
        (b'content_hash;label;suggestion;action\n', 'lacks the columns .* its header begins'),
        (HEADER.replace('label', 'Label').encode(), 'lacks the columns label that'),
        (b'\xff\xfe\x00\x81' * 50, 'lacks the columns'),
        (b'x' * (1 << 21), 'lacks the columns'),
    ],
)
def test_missing_columns_are_named(tmp_path, content, message):
    (tmp_path / 'broken.csv').write_bytes(content)
    with pytest.raises(StepError, match=f'broken.csv {message}') as caught:
        corrections.read([str(tmp_path / 'broken.csv')])
    assert str(caught.value).isprintable()


def test_entries_that_contradict_name_both_places(table):
    first = table('first.csv', HEADER, [line(OTHER, 'anger', ''), line(HASH, 'anger', 'exclude')])
    second = table('second.csv', HEADER, [line(HASH, 'anger', 'relabel')])
    with pytest.raises(StepError, match=r'second\.csv:1 contradicts .*first\.csv:2'):
        corrections.read([first, second])


def test_a_file_that_is_too_large_is_not_read_on(table, monkeypatch):
    monkeypatch.setattr(corrections, 'MAXIMUM_CHARACTERS', 1 << 20)
    path = table('large.csv.gz', HEADER, [line(OTHER, 'anger', '')] * 20_000)
    with pytest.raises(StepError, match=r'large\.csv\.gz:\d+: the file is larger than 1 MiB: remove'):
        corrections.read([path])


HOSTILE = st.one_of(
    st.text(max_size=12), st.sampled_from(['exclude', 'relabel', '', HASH, OTHER, *faces.EXPRESSIONS, '"', '\0'])
)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(*[HOSTILE] * 4), max_size=6))
def test_hostile_rows_end_in_a_line_or_in_corrections(tmp_path, rows):
    text = io.StringIO()
    csv.writer(text).writerows([('content_hash', 'label', 'suggestion', 'action'), *rows])
    path = tmp_path / 'hostile.csv'
    path.write_bytes(text.getvalue().encode('utf-8', 'surrogatepass'))
    try:
        found = corrections.read([str(path)])
    except StepError as error:
        assert 'hostile.csv' in str(error)
        assert str(error).isprintable()
    else:
        for (content_hash, label), right in found.items():
            assert len(content_hash) == 16
            assert right in {EXCLUDE, 0, 1, 2, 3, 4} - {label}


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=300))
def test_any_bytes_end_in_a_step_error(tmp_path, content):
    for name in ('any.csv', 'any.csv.gz'):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(StepError, match=name):
            corrections.read([str(tmp_path / name)])


def labels(examples: list[dict]) -> dict[int, str]:
    return {example[faces.ROW][0]: example[faces.EXPRESSION][0].decode() for example in examples}


def test_training_rows_are_left_out_or_relabelled_before_twins_are_judged(run, table, text, face):
    rows = [
        f'0,Training,{text(face(1))}',  # relabelled
        f'0,Training,{text(face(2))}',  # excluded
        f'0,Training,{text(face(3))}',  # relabelled: no longer contradicts the next
        f'2,Training,{text(face(3))}',
        f'0,Training,{text(face(4))}',  # excluded: the next stays
        f'4,Training,{text(face(4))}',
        f'1,Training,{text(face(5))}',  # corrected to what the eval row has, and yet both are rejected as before
        f'2,PublicTest,{text(face(5))}',
        f'3,PublicTest,{text(face(6))}',  # named, and left alone
        f'3,Training,{text(face(6))}',  # its twin
        f'0,Training,{text(face(7))}',  # has another label than the correction
    ]
    path = table('faces.csv', 'emotion, Usage, pixels', rows)
    issues = table(
        'issues.csv',
        HEADER,
        [
            line(hash_of(face(1)), 'anger', 'relabel'),
            line(hash_of(face(2)), 'anger', 'exclude'),
            line(hash_of(face(3)), 'anger', 'relabel'),
            line(hash_of(face(4)), 'anger', 'exclude'),
            line(hash_of(face(5)), 'disgust', 'relabel'),
            line(hash_of(face(6)), 'happiness', 'relabel'),
            line(hash_of(face(7)), 'sad', 'exclude'),
            line(OTHER, 'sad', 'exclude'),
            line(hash_of(face(1)), 'sad', ''),
        ],
    )
    plain = IngestSettings(files=(path,), split='usage', maximum_reject_share=1)
    result = run('expression', dataclasses.replace(plain, corrections=(issues,)))
    summary = result.summary
    assert labels(result.examples['train']) == {1: 'sad', 3: 'sad', 4: 'sad', 6: 'surprise', 11: 'anger'}
    assert labels(result.examples['eval']) == {9: 'happiness'}
    assert next(e for e in result.examples['train'] if e[faces.ROW] == [1])[faces.LABEL] == [2]
    assert summary.rejected == {'contradicting labels': 2}
    assert summary.left_out == {EXCLUDED: 2, 'twin of an evaluation row': 1}
    assert summary.corrections == {rejects.RELABELLED: 2, rejects.LEFT_ALONE: 1, rejects.UNMATCHED: 2}
    assert summary.rows == 11 == sum(sum(part.values()) for part in (summary.kept, summary.rejected, summary.left_out))


def test_class_folders_are_corrected_alike_and_the_eval_split_stays(run, tmp_path, table, face):
    def save(name: str, seed: int) -> None:
        path = tmp_path / 'fer' / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(face(seed)).save(path)

    save('train/anger/1.png', 1)  # contradicts the next until it is excluded
    save('train/sad/1.png', 1)
    save('train/anger/2.png', 2)  # contradicts an eval row, before and after
    save('test/sad/2.png', 2)
    save('train/anger/3.png', 3)  # stays a twin, excluded or not
    save('test/anger/3.png', 3)
    save('test/anger/4.png', 4)
    plain = IngestSettings(files=(str(tmp_path / 'fer'),), split='usage', maximum_reject_share=1)
    issues = table('issues.csv.gz', HEADER, [line(hash_of(face(n)), 'anger', 'exclude') for n in range(1, 5)])
    before = run('expression', plain)
    (tmp_path / 'out').rename(tmp_path / 'before')
    after = run('expression', dataclasses.replace(plain, corrections=(str(Path(issues).parent / '*.csv.gz'),)))
    assert before.summary.corrections == {}
    assert after.examples['eval'] == before.examples['eval']
    assert after.summary.kept == {'train': 1, 'eval': 2}
    assert labels(after.examples['train']) == {0: 'sad'}
    assert before.summary.rejected == {'contradicting labels': 4}
    assert after.summary.rejected == {'contradicting labels': 1}
    assert after.summary.left_out == {EXCLUDED: 3}
    assert after.summary.corrections == {rejects.RELABELLED: 0, rejects.LEFT_ALONE: 2, rejects.UNMATCHED: 0}


def test_the_protocol_of_the_original_corrects_training_rows_alone(run, table, text, face):
    path = table('faces.csv', 'emotion,pixels', [f'0,{text(face(n % 50))}' for n in range(150)])
    issues = table('issues.csv', HEADER, [line(hash_of(face(seed)), 'anger', 'relabel') for seed in range(50)])
    result = run('expression', IngestSettings(files=(path,), protocol='original', corrections=(issues,)))
    assert set(labels(result.examples['train']).values()) == {'sad'}
    assert set(labels(result.examples['eval']).values()) == {'anger'}
    assert result.summary.corrections == {
        rejects.RELABELLED: result.summary.kept['train'],
        rejects.LEFT_ALONE: result.summary.kept['eval'],
        rejects.UNMATCHED: 0,
    }
    assert result.summary.leaks == result.summary.kept['eval']
