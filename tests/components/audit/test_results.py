"""The table that goes to a person and comes back."""

import csv
import dataclasses

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from components import faces
from components.audit.results import (
    COLUMNS,
    CSV_FILE,
    FORMULA_STARTS,
    Issue,
    Summary,
    read_issues,
    read_summary,
    write_issues,
    write_summary,
)
from components.ingest import corrections

TEXTS = st.text(st.characters(exclude_categories=['Cs']), max_size=30)
HOSTILE = ('=HYPERLINK("http://x","y")', '+1', '-1', '@SUM(A1)', '\t=1', '\r=1', "'=1", "''", 'a,"b"\r\nc', '<b>', '')


def issue(source: str, row: int = 1, quality: float = 0.25) -> Issue:
    return Issue('0f' * 16, source, row, 'sad', 'anger', quality)


@given(st.lists(st.builds(issue, TEXTS | st.sampled_from(HOSTILE), st.integers(0, 10**9), st.floats(0, 1)), max_size=6))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_the_table_is_read_as_it_was_written(tmp_path, issues):
    write_issues(tmp_path, issues)
    assert read_issues(tmp_path) == issues


@pytest.mark.parametrize('source', HOSTILE)
def test_no_cell_is_a_formula(tmp_path, source):
    write_issues(tmp_path, [issue(source)])
    with (tmp_path / CSV_FILE).open(newline='', encoding='utf-8') as file:
        header, cells = csv.reader(file)
    assert ','.join(header) == 'content_hash,source,row,label,suggestion,quality,action'
    assert not any(cell.startswith(FORMULA_STARTS[:-1]) for cell in cells)
    assert cells[COLUMNS.index('source')].removeprefix("'") == source
    assert cells[-1] == ''


def test_the_ingest_takes_what_a_person_decided(tmp_path):
    rows = [
        dataclasses.replace(issue(source), content_hash=f'{index:032x}', action=action)
        for index, (source, action) in enumerate([('=1,2.csv', 'exclude'), ('-"a".csv', 'relabel'), ('a.csv', '')])
    ]
    write_issues(tmp_path, rows)
    found = corrections.read([str(tmp_path / CSV_FILE)])
    sad, anger = faces.EXPRESSIONS.index('sad'), faces.EXPRESSIONS.index('anger')
    assert found == {
        (bytes.fromhex(rows[0].content_hash), sad): corrections.EXCLUDE,
        (bytes.fromhex(rows[1].content_hash), sad): anger,
    }


def test_the_summary_is_read_as_it_was_written(tmp_path):
    summary = Summary(7, 2, {'sad': {'anger': 2}}, {'sad': {'anger': 0.125}}, 0.5, 0.25, 3, 10)
    write_summary(tmp_path, summary)
    assert read_summary(tmp_path) == summary
