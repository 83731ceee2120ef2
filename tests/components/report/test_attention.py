"""Pictures of what the networks look at: of the right faces, and bright in the right place."""

import base64
import io
from pathlib import Path

import jinja2
import numpy as np
import pytest
from PIL import Image

from components import faces
from components.report import attention as attention_module
from components.report import gallery
from components.report.artifacts import EXAMPLES_READ, Predictions, read_faces, read_predictions
from components.report.attention import FILE_NAME, Attention, Maps, attention, overlay, read_maps
from components.train import attention as trainer
from components.train import expression, keypoints
from components.train.batches import Split
from tests.components.report.test_report import Page

QUESTIONS = {faces.EXPRESSION_MODEL: expression.TASK.question, faces.KEYPOINT_MODEL: keypoints.TASK.question}


def chosen(task: str, predictions: Predictions) -> Maps:
    """Maps of the faces that the trainer chooses, each bright in one place of its own."""
    hashes, sources, rows = (np.array(part) for part in zip(*predictions.keys, strict=True))
    split = Split(np.zeros((len(rows), 1)), predictions.truth, hashes, sources, rows, hashes)
    best, worst = trainer.ranking(QUESTIONS[task], split, predictions.truth, predictions.prediction)
    ranked = np.concatenate([best, worst])
    maps = np.zeros((len(ranked), 6, 6), np.float32)
    for place in range(len(ranked)):
        maps[place, place // 6 % 6, place % 6] = 1
    return Maps([predictions.keys[row] for row in ranked], np.arange(len(ranked)) < len(best), maps)


def pixels(picture: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(picture.partition(',')[2]))))


def drawn(folders: dict[str, Path], task: str, keep: slice = slice(None)) -> tuple[Attention, Predictions, Maps]:
    predictions = read_predictions(folders[task] / 'model_run')
    maps = chosen(task, predictions)
    found = list(read_faces(folders[task] / 'examples', faces.EVAL_SPLIT))[keep]
    return attention(task, found, predictions, maps), predictions, maps


@pytest.mark.parametrize('task', list(QUESTIONS))
def test_the_faces_are_those_of_the_galleries_in_their_order(folders, task):
    """The trainer chooses them without the gallery, and both must agree."""
    found, predictions, _ = drawn(folders, task)
    tiles = gallery.expression_tiles if task == faces.EXPRESSION_MODEL else gallery.keypoint_tiles
    for is_best, shown in ((True, found.best), (False, found.worst)):
        expected = tiles(read_faces(folders[task] / 'examples', faces.EVAL_SPLIT), predictions, is_best)
        assert [tile.alt for tile in shown] == [f'What the network looks at. {tile.alt}' for tile in expected]
        assert [tile.lines for tile in shown] == [tile.lines for tile in expected]
        assert [tile.right for tile in shown] == [tile.right for tile in expected]


@pytest.mark.parametrize('task', list(QUESTIONS))
def test_each_face_lies_under_its_own_map(folders, task):
    found, _, maps = drawn(folders, task)
    shown = (*found.best, *found.worst)
    assert len(shown) == len(maps.keys)
    for tile, map_ in zip(shown, maps.maps, strict=True):
        picture = pixels(tile.picture).astype(int)
        assert picture.shape == (*picture.shape[:2], 3)
        # The map adds red where it is bright, and the face below is grey.
        redness = picture[..., 0] - picture[..., 2]
        row, column = np.unravel_index(redness.argmax(), redness.shape)
        height, width = redness.shape
        assert map_[row * 6 // height, column * 6 // width] == 1
        assert not tile.truth
        assert not tile.prediction


def test_faces_without_a_map_and_maps_without_a_face_are_left_out(folders):
    whole, _, maps = drawn(folders, faces.EXPRESSION_MODEL)
    part, _, _ = drawn(folders, faces.EXPRESSION_MODEL, slice(0, 30))
    read = {face.key for face in list(read_faces(folders[faces.EXPRESSION_MODEL] / 'examples', faces.EVAL_SPLIT))[:30]}
    kept = [key in read for key in maps.keys]
    assert 0 < sum(kept) < len(kept)
    assert (*part.best, *part.worst) == tuple(
        tile for tile, is_kept in zip((*whole.best, *whole.worst), kept, strict=True) if is_kept
    )


@pytest.mark.parametrize('size', [(96, 96), (48, 48), (96, 40)])
def test_an_overlay_blends_the_colours_of_the_map_with_the_face(size):
    grey = np.random.default_rng(1).integers(0, 256, size[::-1]).astype(np.uint8)
    encoded = io.BytesIO()
    Image.fromarray(grey).save(encoded, 'PNG')
    picture = 'data:image/png;base64,' + base64.b64encode(encoded.getvalue()).decode()
    black, yellow = (pixels(overlay(picture, np.full((3, 3), value, np.float32))) for value in (0, 1))
    assert black.shape == (*size[::-1], 3)
    np.testing.assert_allclose(black, np.repeat(grey[..., None] / 2, 3, axis=2), atol=3)
    np.testing.assert_allclose(yellow - grey[..., None] / 2, np.broadcast_to([126, 127.5, 82], yellow.shape), atol=2)


def test_maps_are_read_as_the_trainer_wrote_them(tmp_path):
    """And as many faces are considered there as are read here."""
    assert FILE_NAME == trainer.FILE_NAME
    assert EXAMPLES_READ == trainer.FACES_CONSIDERED
    maps = np.random.default_rng(1).random((2, 6, 6)).astype(np.float16)
    np.savez(
        tmp_path / FILE_NAME,
        content_hash=np.array(['a', 'b']),
        source=np.array(['c', 'd']),
        row=np.array([1, 2]),
        best=np.array([True, False]),
        maps=maps,
    )
    found = read_maps(tmp_path)
    assert found.keys == [('a', 'c', 1), ('b', 'd', 2)]
    assert found.best.tolist() == [True, False]
    np.testing.assert_array_equal(found.maps, maps)
    assert found.maps.dtype == np.float32


@pytest.mark.parametrize('task', list(QUESTIONS))
def test_the_page_shows_each_picture_with_its_words(folders, task):
    found, _, _ = drawn(folders, task)
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(attention_module.__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
    )
    template = environment.get_template('attention.html')
    page = Page(template.render(attention=found, is_expression=task == faces.EXPRESSION_MODEL))
    assert page.headings == ['Worst faces: what the network looked at', 'Best faces: what the network looked at']
    pictures = [attributes for tag, attributes in page.tags if tag == 'img']
    assert [picture['alt'] for picture in pictures] == [tile.alt for tile in (*found.worst, *found.best)]
    assert all(picture['src'].startswith('data:image/png;base64,') for picture in pictures)
    nothing = Page(template.render(attention=Attention((), ()), is_expression=True))
    assert nothing.headings == []
