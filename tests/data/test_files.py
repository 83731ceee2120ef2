"""Faces in several files, drawn by several processes."""

import gzip
from pathlib import Path

import pytest

from components.errors import StepError
from data.files import draw_files
from data.publish import FILES


@pytest.mark.parametrize('form', list(FILES))
def test_files_that_are_drawn_side_by_side_hold_what_one_file_would(tmp_path: Path, form: str) -> None:
    FILES[form](tmp_path / 'one.csv.gz', 7, seed=3)
    told: list[int] = []
    paths = draw_files(form, tmp_path / 'several', 7, seed=3, rows_per_file=3, processes=2, progress=told.append)
    assert [path.name for path in paths] == [
        f'{form}-{first:08}-{last:08}.csv.gz' for first, last in ((0, 3), (3, 6), (6, 7))
    ]
    tables = [gzip.decompress(path.read_bytes()).splitlines() for path in (tmp_path / 'one.csv.gz', *paths)]
    one, *several = tables
    assert {table[0] for table in several} == {one[0]}
    assert [row for table in several for row in table[1:]] == one[1:]
    assert sorted(told) == told
    assert (told[0], told[-1]) == (0, 7)


def test_what_is_there_is_not_drawn_again(tmp_path: Path) -> None:
    first, second = draw_files('expressions', tmp_path, 4, seed=0, rows_per_file=2, processes=1)
    first.write_bytes(b'as it was')
    content = second.read_bytes()
    second.unlink()
    told: list[int] = []
    draw_files('expressions', tmp_path, 4, seed=0, rows_per_file=2, processes=1, progress=told.append)
    assert (first.read_bytes(), second.read_bytes(), told) == (b'as it was', content, [2, 4])
    assert {path.name for path in tmp_path.iterdir()} == {first.name, second.name}


def test_a_drawing_that_fails_ends_with_its_error(tmp_path: Path) -> None:
    (tmp_path / 'taken').write_text('no folder')
    with pytest.raises((OSError, StepError)):
        draw_files('expressions', tmp_path / 'taken', 4, seed=0, rows_per_file=2, processes=2)


@pytest.mark.parametrize('wrong', [{'count': 0}, {'seed': -1}, {'rows_per_file': 0}])
def test_impossible_numbers_are_refused_in_one_line(tmp_path: Path, wrong: dict[str, int]) -> None:
    arguments = {'count': 2, 'seed': 0, 'rows_per_file': 2} | wrong
    with pytest.raises(StepError, match='cannot be drawn'):
        draw_files('expressions', tmp_path, **arguments)
