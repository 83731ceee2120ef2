"""Which faces of the eval split are asked about."""

import dataclasses

import cv2
import numpy as np
import pytest

from components import faces
from components.behaviour.sample import read_sample
from components.errors import StepError
from components.ingest.examples import to_example


@pytest.mark.parametrize('task', faces.TASKS)
def test_the_faces_with_the_smallest_hashes_are_read_whatever_their_order(task, draw_faces, write_splits, tmp_path):
    drawn = draw_faces(task, 20, 3)
    rows = [to_example(face) for face in drawn]
    first = write_splits(tmp_path / 'first', {faces.EVAL_SPLIT: rows, faces.TRAIN_SPLIT: []})
    second = write_splits(tmp_path / 'second', {faces.EVAL_SPLIT: rows[::-1]})
    chosen = sorted(drawn, key=lambda face: face.content_hash)[:8]
    for folder in (first, second):
        sample = read_sample(folder, task, 8)
        for image, face in zip(sample.images, chosen, strict=True):
            assert (image == face.image).all()
        if task == faces.EXPRESSION_MODEL:
            assert sample.truth.tolist() == [face.label for face in chosen]
        else:
            np.testing.assert_array_equal(sample.truth.reshape(8, 30), np.stack([face.points for face in chosen]))
            assert np.isnan(sample.truth).any(), 'missing points stay missing'


def test_sizes_are_widths_and_heights_in_this_order(draw_faces, write_splits, tmp_path):
    (face,) = draw_faces(faces.EXPRESSION_MODEL, 1, 3)
    face = dataclasses.replace(face, image=cv2.resize(face.image, (60, 40)))
    folder = write_splits(tmp_path / 'examples', {faces.EVAL_SPLIT: [to_example(face)]})
    assert read_sample(folder, faces.EXPRESSION_MODEL, 5).sizes.tolist() == [[60, 40]]


def test_an_empty_split_is_told_in_one_line(write_splits, tmp_path):
    folder = write_splits(tmp_path / 'examples', {faces.EVAL_SPLIT: []})
    with pytest.raises(StepError, match='the eval split holds no face to test the keypoints model on'):
        read_sample(folder, faces.KEYPOINT_MODEL, 5)
