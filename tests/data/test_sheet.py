"""The contact sheet and the instructions."""

from pathlib import Path

import numpy as np
from PIL import Image

from data.published import INSTRUCTIONS
from data.sheet import draw_sheet


def test_the_sheet_is_a_picture_with_a_row_for_each_expression(tmp_path: Path) -> None:
    draw_sheet(tmp_path / 'new' / 'sheet.png', seed=1, columns=2)
    with Image.open(tmp_path / 'new' / 'sheet.png') as picture:
        assert picture.format == 'PNG'
        pixels = np.asarray(picture.convert('RGB')).astype(int)
    assert pixels.shape == (5 * 192, 96 + 2 * 192, 3)
    green = pixels[..., 1] - pixels[..., 0] > 100
    for row in range(5):
        band = green[row * 192 : (row + 1) * 192]
        assert not band[:, : 96 + 192].any()  # the first face of a row can be read without points
        assert band[:, 96 + 192 :].any()
    labels = [pixels[row * 192 : (row + 1) * 192, :96].tobytes() for row in range(5)]
    assert len(set(labels)) == 5


def test_the_instructions_name_both_competitions() -> None:
    assert 'challenges-in-representation-learning-facial-expression-recognition-challenge' in INSTRUCTIONS
    assert 'facial-keypoints-detection' in INSTRUCTIONS
