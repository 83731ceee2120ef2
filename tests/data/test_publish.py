"""The two published formats, as a reader of theirs sees them."""

import csv
import gzip
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from components import faces
from components.errors import StepError
from data import publish
from data.publish import write_expressions, write_keypoints


def read(path: Path) -> tuple[list[str], list[list[str]]]:
    csv.field_size_limit(1 << 20)
    content = path.read_bytes()
    text = (gzip.decompress(content) if path.suffix == '.gz' else content).decode('ascii')
    header, *rows = csv.reader(text.splitlines())
    return header, rows


def coordinates(rows: list[list[str]]) -> np.ndarray:
    cells = [[float(cell) if cell else np.nan for cell in row[:30]] for row in rows]
    return np.array(cells).reshape(-1, 15, 2)


def test_expression_file_is_in_the_published_format(tmp_path: Path) -> None:
    write_expressions(tmp_path / 'faces.csv', 60, seed=1)
    assert (tmp_path / 'faces.csv').read_bytes().startswith(b'emotion, Usage, pixels\n')
    header, rows = read(tmp_path / 'faces.csv')
    assert header == ['emotion', ' Usage', ' pixels']
    assert len(rows) == 60
    assert {row[0] for row in rows} == set('01234')
    assert [row[1] for row in rows].count('PublicTest') == 12
    assert {row[1] for row in rows} == {'Training', 'PublicTest'}
    for row in rows:
        pixels = np.array(row[2].split(' '), int)
        assert pixels.shape == (48 * 48,)
        assert pixels.min() >= 0
        assert pixels.max() <= 255
        assert pixels.std() > 5.0


def test_keypoint_file_is_in_the_published_format(tmp_path: Path) -> None:
    write_keypoints(tmp_path / 'points.csv.gz', 20, seed=1)
    header, rows = read(tmp_path / 'points.csv.gz')
    assert header == [*faces.KEYPOINT_COLUMNS, 'Image']
    assert len(rows) == 20
    for row in rows:
        pixels = np.array(row[30].split(' '), int)
        assert pixels.shape == (96 * 96,)
        assert 0 <= pixels.min() <= pixels.max() <= 255
    points = coordinates(rows)
    assert np.nanmin(points) > 0.0
    assert np.nanmax(points) < 96.0


@pytest.mark.parametrize(('share', 'least', 'most'), [(0.0, 0, 0), (0.3, 30, 62), (1.0, 150, 150)])
def test_a_share_of_the_rows_lacks_points_but_never_the_eyes(
    tmp_path: Path, share: float, least: int, most: int
) -> None:
    write_keypoints(tmp_path / 'points.csv', 150, seed=2, missing_share=share)
    missing = np.isnan(coordinates(read(tmp_path / 'points.csv')[1]))
    assert (missing[..., 0] == missing[..., 1]).all()
    assert not missing[:, list(faces.EYE_CENTERS)].any()
    assert least <= missing.any(axis=(1, 2)).sum() <= most
    if share:
        assert 11 in missing[..., 0].sum(axis=1)


def test_equal_arguments_write_equal_bytes(tmp_path: Path) -> None:
    for write in (write_expressions, write_keypoints):
        write(tmp_path / 'first.csv.gz', 5, seed=3)
        write(tmp_path / 'second.csv.gz', 5, seed=3)
        write(tmp_path / 'other.csv.gz', 5, seed=4)
        first = (tmp_path / 'first.csv.gz').read_bytes()
        assert first == (tmp_path / 'second.csv.gz').read_bytes()
        assert first[4:8] == bytes(4)  # no time in the archive's head (RFC 1952, section 2.3)
        assert first != (tmp_path / 'other.csv.gz').read_bytes()


def test_a_longer_file_begins_with_the_shorter_one_and_packing_changes_nothing(tmp_path: Path) -> None:
    for write in (write_expressions, write_keypoints):
        write(tmp_path / 'short.csv.gz', 4, seed=5)
        write(tmp_path / 'long.csv', 6, seed=5)
        short = gzip.decompress((tmp_path / 'short.csv.gz').read_bytes())
        assert (tmp_path / 'long.csv').read_bytes().startswith(short)


def test_the_two_files_show_different_people(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    people: list[tuple[int, int]] = []
    draw = publish.draw_face
    monkeypatch.setattr(publish, 'draw_face', lambda seed, index: people.append((seed, index)) or draw(seed, index))
    write_expressions(tmp_path / 'faces.csv', 3, seed=6)
    write_keypoints(tmp_path / 'points.csv', 3, seed=6)
    assert len(set(people)) == 6


def test_progress_counts_the_rows(tmp_path: Path) -> None:
    seen: list[int] = []
    write_expressions(tmp_path / 'new' / 'folder' / 'faces.csv', 3, seed=0, progress=seen.append)
    write_keypoints(tmp_path / 'new' / 'folder' / 'points.csv', 2, seed=0, progress=seen.append)
    assert seen == [1, 2, 3, 1, 2]


@pytest.mark.parametrize('name', ['faces.csv', 'faces.csv.gz'])
def test_an_interrupted_write_leaves_the_old_file_and_nothing_else(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_text('old')

    def interrupt(number: int) -> None:
        if number == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_expressions(path, 3, seed=0, progress=interrupt)
    assert path.read_text() == 'old'
    assert list(tmp_path.iterdir()) == [path]


def refused(folder: Path) -> Iterator[tuple]:
    yield write_expressions, (folder / 'faces.zip', 1, 0)
    yield write_expressions, (folder / 'faces.csv', 0, 0)
    yield write_keypoints, (folder / 'points.csv', 1, -1)
    yield write_keypoints, (folder / 'points.csv', 1, 0, 1.5)


def test_what_cannot_be_written_is_refused_in_one_line(tmp_path: Path) -> None:
    for write, arguments in refused(tmp_path):
        with pytest.raises(StepError) as raised:
            write(*arguments)
        assert '\n' not in str(raised.value)
    assert list(tmp_path.iterdir()) == []
