"""The eval rows and the models' answers, row by row."""

import numpy as np
import pytest

from components import faces
from components.errors import StepError
from components.evaluate.rows import read_rows


def files(examples):
    return [str(path) for path in (examples / 'Split-eval').iterdir()]


@pytest.mark.parametrize('batch_size', [1, 3, 100])
def test_rows_keep_their_order_persons_and_answers_whatever_the_batches(
    tmp_path, write_examples, save_model, batch_size
):
    random = np.random.default_rng(1)
    points = random.uniform(0, 96, (7, 30)).astype(np.float32)
    points[2, 4:6] = np.nan
    columns = {
        faces.POINTS: points,
        faces.CONTENT_HASH: np.array(list('abcdefg')),
        faces.SOURCE: np.array(['x.csv', 'ä.csv'] * 3 + ['x.csv']),
        faces.ROW: np.arange(10, 17),
        faces.GROUP: np.array(['Ann', 'Ann', 'c', 'd', 'Bo', 'Bo', 'g']),
        faces.WIDTH: np.array([48, 96, 48, 48, 96, 96, 48]),
        'first': random.normal(size=(7, 30)).astype(np.float32),
        'second': random.normal(size=(7, 30)).astype(np.float32),
    }
    examples = write_examples(tmp_path / 'examples', columns)
    models = {
        name: save_model(tmp_path / name, name, (15, 2), faces.KEYPOINTS_OUTPUT, largest_batch=batch_size)
        / 'Format-Serving'
        for name in ('first', 'second')
    }
    rows = read_rows(files(examples), faces.KEYPOINT_MODEL, (faces.SOURCE, faces.WIDTH), models, batch_size)
    for found, name in (
        (rows.content_hash, faces.CONTENT_HASH),
        (rows.source, faces.SOURCE),
        (rows.row, faces.ROW),
        (rows.person, faces.GROUP),
        (rows.slices[faces.SOURCE], faces.SOURCE),
    ):
        assert found.tolist() == columns[name].tolist()
    assert rows.slices[faces.WIDTH].tolist() == ['48', '96', '48', '48', '96', '96', '48']
    np.testing.assert_array_equal(rows.truth, points.reshape(7, 15, 2))
    for name in models:
        np.testing.assert_array_equal(rows.answers[name], columns[name].reshape(7, 15, 2))


def test_an_empty_split_is_told(tmp_path, write_examples):
    examples = write_examples(tmp_path / 'examples', {faces.LABEL: np.zeros(0, int)})
    with pytest.raises(StepError, match='expression: the eval split holds no rows'):
        read_rows(files(examples), faces.EXPRESSION_MODEL, (), {}, 8)
