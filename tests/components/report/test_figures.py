"""The parts that the page is drawn from."""

import base64
import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from components import faces
from components.report import charts, gallery
from components.report.artifacts import Face, read_faces
from components.report.metrics import label, show
from components.report.render import duration


@given(st.lists(st.floats(width=32), min_size=1, max_size=30), st.booleans())
def test_curves_stay_inside_their_chart(values, more_is_better):
    chart = charts.line_chart('Loss', {'train': values, 'eval': values[::-1]}, more_is_better)
    finite = [value for value in values if np.isfinite(value)]
    if not finite:
        assert chart is None
        return
    for line in chart.lines:
        assert len(line.points) == len(finite)
        for x, y in (*line.points, line.best_point):
            assert charts.LEFT <= x <= charts.WIDTH - charts.RIGHT
            assert charts.TOP <= y <= charts.HEIGHT - charts.BOTTOM
    assert len(chart.y_ticks) >= 2


def test_a_curve_names_its_last_and_best_value():
    loss = charts.line_chart('Loss', {'eval': [3.0, 1.0, 2.0]}, more_is_better=False).lines[0]
    assert (loss.last, loss.best) == ('2', '1 in epoch 2')
    accuracy = charts.line_chart('Accuracy', {'eval': [0.5, 0.75, 0.25]}, more_is_better=True)
    assert accuracy.lines[0].best == '0.75 in epoch 2'
    assert [text for _, text in accuracy.x_ticks] == ['1', '2', '3']
    heights = [y for _, y in accuracy.lines[0].points]
    assert heights[1] < heights[0] < heights[2], 'larger values lie higher'


def test_samples_do_not_depend_on_the_order_of_the_records(folders):
    found = list(read_faces(folders[faces.EXPRESSION_MODEL] / 'examples', faces.TRAIN_SPLIT))
    assert gallery.sample_tiles(found) == gallery.sample_tiles(found[::-1])
    shown = [tile.lines[0] for tile in gallery.sample_tiles(found)]
    assert shown == [name for name in faces.EXPRESSIONS for _ in range(4)]


def test_missing_points_are_not_drawn(folders):
    found = {face.key: face for face in read_faces(folders[faces.KEYPOINT_MODEL] / 'examples', faces.EVAL_SPLIT)}
    missing = min(found.values(), key=lambda face: np.isfinite(face.points[:, 0]).sum())
    (tile,) = gallery.sample_tiles([missing])
    assert len(tile.truth) == np.isfinite(missing.points[:, 0]).sum() < len(faces.KEYPOINTS)


def test_mean_face_lays_turned_faces_onto_each_other():
    """A bright spot on the nose stays sharp, however the faces are turned, scaled and shifted."""
    random = np.random.default_rng(1)
    shape = random.uniform(30, 66, (15, 2))
    turned = []
    for row in range(20):
        angle, scale = random.uniform(-0.4, 0.4), random.uniform(0.8, 1.2)
        rotation = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        points = ((shape - 48) @ rotation.T + 48 + random.uniform(-4, 4, 2)).astype(np.float32)
        image = np.full((96, 96), 20, np.uint8)
        x, y = np.rint(points[faces.KEYPOINTS.index('nose_tip')]).astype(int)
        image[y - 2 : y + 3, x - 2 : x + 3] = 240
        turned.append(Face((str(row), 'drawn', row), png(image), None, points))
    picture, mean_shape = gallery.mean_face(turned)
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(picture.partition(',')[2]))))
    y, x = np.unravel_index(pixels.argmax(), pixels.shape)
    assert pixels.max() > 200
    assert np.hypot(*(mean_shape[faces.KEYPOINTS.index('nose_tip')] - (x, y))) < 3


def test_mean_face_of_no_points_is_none():
    image = png(np.zeros((96, 96), np.uint8))
    assert gallery.mean_face([]) is None
    assert gallery.mean_face([Face(('a', 'b', 1), image, None, np.full((15, 2), np.nan, np.float32))]) is None


def test_thumbnails_are_small_and_huge_images_are_not_decoded():
    picture, width, height = gallery.thumbnail(png(np.zeros((300, 600), np.uint8)))
    small = Image.open(io.BytesIO(base64.b64decode(picture.partition(',')[2])))
    assert (width, height, small.size) == (600, 300, (96, 48))
    with pytest.raises(ValueError, match='5000 x 4000'):
        gallery.thumbnail(png(np.zeros((4000, 5000), np.uint8)))


@pytest.mark.parametrize(
    ('metric', 'value', 'digits', 'expected'),
    [
        ('accuracy', 0.8666, 0, '86.7%'),
        ('accuracy', 0.84996, 1, '85.00%'),
        ('rmse_nose_tip', 1.2345, 0, '1.23 px'),
        ('macro_f1', 0.85, 0, '0.850'),
        ('example_count', 12345.0, 0, '12,345'),
        ('auc_sad', float('nan'), 0, '–'),
        ('rmse', None, 0, '–'),
    ],
)
def test_figures_have_their_units(metric, value, digits, expected):
    assert show(metric, value, digits) == expected


def test_metrics_have_names():
    assert [label(name) for name in ('macro_f1', 'f1_sad', 'auc_anger', 'precision_disgust', 'rmse_nose_tip')] == [
        'Macro F1',
        'F1 (sad)',
        'AUC (anger)',
        'Precision (disgust)',
        'RMSE (nose tip)',
    ]


@pytest.mark.parametrize(
    ('seconds', 'expected'),
    [(None, '–'), (0.04, '0.0 s'), (59.96, '1 min 00 s'), (187, '3 min 07 s'), (7500, '2 h 05 min')],
)
def test_durations_read_naturally(seconds, expected):
    assert duration(seconds) == expected


def png(image: np.ndarray) -> bytes:
    encoded = io.BytesIO()
    Image.fromarray(image).save(encoded, 'PNG')
    return encoded.getvalue()
