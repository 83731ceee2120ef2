"""Writes drawn faces in the two published CSV formats: FER2013's expressions and Kaggle's facial keypoints."""

import contextlib
import gzip
import io
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, Final, TextIO, cast

import cv2
import numpy as np

from components import faces
from components.errors import StepError
from data.draw import draw_face

EXPRESSION_HEADER: Final = 'emotion, Usage, pixels'
"""As published, with the blanks: they belong to the columns' names."""

KEYPOINT_HEADER: Final = ','.join((*faces.KEYPOINT_COLUMNS, 'Image'))

MISSING_TOGETHER: Final = tuple(
    place
    for place, name in enumerate(faces.KEYPOINTS)
    if name not in ('left_eye_center', 'right_eye_center', 'nose_tip', 'mouth_center_bottom_lip')
)
"""The points that most rows of Kaggle's file lack: all but four."""

_TEST_EVERY: Final = 5  # every fifth face is for the test
_COMPRESSION: Final = 4  # of digits, five times as fast as 6 and an eighth larger
_EXPRESSION_PEOPLE: Final = 0
_KEYPOINT_PEOPLE: Final = 1


def write_expressions(
    path: Path, count: int, seed: int, progress: Callable[[int], None] | None = None, first: int = 0
) -> None:
    """Writes `count` faces of 48x48 pixels with their expressions; every fifth is `PublicTest`, the others `Training`.

    The file appears whole or not at all; the same arguments write the same bytes.

    Args:
        path: the file; `.csv`, or `.csv.gz` for a compressed one. Its folder is made if need be.
        count: number of faces.
        seed: other seeds draw other people.
        progress: called after each row with the number of rows so far.
        first: number of the first face; files that begin where others end hold together what one file would.

    Raises:
        StepError: the file's suffix is neither, or count, seed or first is out of range.
    """
    _check(path, count, seed, first)
    indices = range(first, first + count)
    _write(path, EXPRESSION_HEADER, _expression_rows(indices, _stream(seed, _EXPRESSION_PEOPLE)), progress)


def write_keypoints(
    path: Path,
    count: int,
    seed: int,
    missing_share: float = 0.3,
    progress: Callable[[int], None] | None = None,
    first: int = 0,
) -> None:
    """Writes `count` faces of 96x96 pixels with their keypoints, other people than `write_expressions` draws.

    In a share of the rows points are missing (empty cells): in half of those the eleven that Kaggle's file often lacks,
    in the others one to three at random; never an eye's centre. All points lie inside the image.

    Args:
        path: the file; `.csv`, or `.csv.gz` for a compressed one. Its folder is made if need be.
        count: number of faces.
        seed: other seeds draw other people.
        missing_share: share of the rows that lack points, 0 to 1.
        progress: called after each row with the number of rows so far.
        first: number of the first face; files that begin where others end hold together what one file would.

    Raises:
        StepError: the file's suffix is neither, or count, seed, share or first is out of range.
    """
    _check(path, count, seed, first)
    if not 0.0 <= missing_share <= 1.0:
        raise StepError(f'Share of rows with missing points is {missing_share}: name one from 0 to 1.')
    indices = range(first, first + count)
    _write(path, KEYPOINT_HEADER, _keypoint_rows(indices, _stream(seed, _KEYPOINT_PEOPLE), missing_share), progress)


FILES: Final[dict[str, Callable[..., None]]] = {'expressions': write_expressions, 'keypoints': write_keypoints}
"""By the names of the files that a run on built-in faces reads, without `.csv.gz`."""


def _check(path: Path, count: int, seed: int, first: int) -> None:
    if not path.name.endswith(('.csv', '.csv.gz')):
        raise StepError(f'{path} cannot be written: name a file that ends in .csv or .csv.gz.')
    if count < 1 or seed < 0 or first < 0:
        raise StepError(
            f'{count} faces of seed {seed} cannot be drawn from number {first}: ask for 1 face or more, and a seed and '
            'a number of 0 or more.'
        )


def _stream(seed: int, people: int) -> int:
    """The seed of the faces of one of the two files."""
    return int(np.random.SeedSequence(seed, spawn_key=(people,)).generate_state(1)[0])


def _expression_rows(indices: Iterable[int], seed: int) -> Iterator[str]:
    size = (faces.EXPRESSION_SIZE, faces.EXPRESSION_SIZE)
    words = _words()
    for index in indices:
        face = draw_face(seed, index)
        image = cv2.resize(face.image, size, interpolation=cv2.INTER_AREA)
        usage = 'PublicTest' if index % _TEST_EVERY == _TEST_EVERY - 1 else 'Training'
        yield f'{faces.EXPRESSIONS.index(face.expression)},{usage},{_pixels(image, words)}'


def _keypoint_rows(indices: Iterable[int], seed: int, missing_share: float) -> Iterator[str]:
    words = _words()
    for index in indices:
        face = draw_face(seed, index)
        missing = _missing_points(seed, index, missing_share)
        cells = [
            '' if place in missing else f'{value:.3f}'
            for place, point in enumerate(face.points.tolist())
            for value in point
        ]
        yield f'{",".join(cells)},{_pixels(face.image, words)}'


def _missing_points(seed: int, index: int, missing_share: float) -> frozenset[int]:
    random = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(index, 1)))
    if random.random() >= missing_share:
        return frozenset()
    if random.random() < 0.5:
        return frozenset(MISSING_TOGETHER)
    optional = [place for place in range(len(faces.KEYPOINTS)) if place not in faces.EYE_CENTERS]
    return frozenset(random.choice(optional, random.integers(1, 4), replace=False).tolist())


def _words() -> np.ndarray:
    """uint8 [256, 4]: each level in digits and a blank, zero where there are fewer digits."""
    return np.array([f'{level} ' for level in range(256)], 'S4').view(np.uint8).reshape(256, 4)


def _pixels(image: np.ndarray, words: np.ndarray) -> str:
    """The levels row by row, a blank between them; whole arrays at once, or this is a third of the time of drawing."""
    text = words[image.ravel()].ravel()
    return text[text != 0].tobytes()[:-1].decode('ascii')


def _write(path: Path, header: str, rows: Iterable[str], progress: Callable[[int], None] | None) -> None:
    with _replacing(path) as file:
        file.write(f'{header}\n')
        for number, row in enumerate(rows, start=1):
            file.write(f'{row}\n')
            if progress is not None:
                progress(number)


@contextlib.contextmanager
def _replacing(path: Path) -> Iterator[TextIO]:
    """A text file that takes its place at `path` when all of it is written; what is left of a failure is removed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f'.{path.name}.{os.getpid()}.part')
    try:
        with partial.open('wb') as raw, contextlib.ExitStack() as stack:
            binary: IO[bytes] = raw
            if path.suffix == '.gz':
                # Neither a name nor a time in the archive's head: equal rows are equal bytes.
                binary = cast(IO[bytes], stack.enter_context(gzip.GzipFile('', 'wb', _COMPRESSION, raw, mtime=0)))
            yield stack.enter_context(io.TextIOWrapper(binary, encoding='ascii', newline='\n'))
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
