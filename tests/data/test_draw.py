"""The drawn faces: the same for the same seed, exact, and moved as the Facial Action Coding System says."""

import hashlib
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components import faces
from components.errors import StepError
from data.action_units import CLASS_SHARES, PROTOTYPES, ActionUnits, random_expression
from data.anatomy import IDENTITY_SPREAD, Identity, Pose, build_geometry
from data.draw import Face, draw_face

FRONTAL = Pose(yaw=0.0, pitch=0.0, roll=0.0, scale=1.0, shift_x=0.0, shift_y=0.0)
AVERAGE = Identity(**{name: mean for name, (mean, _) in IDENTITY_SPREAD.items()})

DIGEST = """
import hashlib
from data.draw import draw_face
digest = hashlib.sha256()
for index in {indices}:
    face = draw_face(11, index)
    digest.update(face.image.tobytes() + face.points.tobytes() + face.expression.encode())
print(digest.hexdigest())
"""


def named(points: np.ndarray) -> dict[str, np.ndarray]:
    return dict(zip(faces.KEYPOINTS, points, strict=True))


def mean_points(expression: str, count: int = 60) -> dict[str, np.ndarray]:
    """Mean of the points over the same people, with the eyes' middle at the origin and their distance as the unit."""
    every = np.stack([draw_face(4, index, expression).points for index in range(count)])
    eyes = every[:, list(faces.EYE_CENTERS)]
    distance = np.linalg.norm(eyes[:, 0] - eyes[:, 1], axis=1)
    return named(((every - eyes.mean(axis=1, keepdims=True)) / distance[:, None, None]).mean(axis=0))


@pytest.fixture(scope='module')
def means() -> dict[str, dict[str, np.ndarray]]:
    return {expression: mean_points(expression) for expression in faces.EXPRESSIONS}


@pytest.fixture(scope='module')
def crowd() -> list[Face]:
    return [draw_face(21, index) for index in range(600)]


def corner_lift(points: dict[str, np.ndarray]) -> float:
    """By how much the mouth's corners are higher than the middle of its lips, in inter-ocular distances."""
    middle = 0.5 * (points['mouth_center_top_lip'] + points['mouth_center_bottom_lip'])
    return float(middle[1] - 0.5 * (points['mouth_left_corner'] + points['mouth_right_corner'])[1])


def opening(points: dict[str, np.ndarray]) -> float:
    return float(points['mouth_center_bottom_lip'][1] - points['mouth_center_top_lip'][1])


def brow_height(points: dict[str, np.ndarray], end: str) -> float:
    return float(-0.5 * (points[f'left_eyebrow_{end}_end'] + points[f'right_eyebrow_{end}_end'])[1])


def test_a_face_is_grey_with_its_points_inside(crowd: list[Face]) -> None:
    for face in crowd:
        assert face.image.shape == (96, 96)
        assert face.image.dtype == np.uint8
        assert face.points.shape == (15, 2)
        assert face.points.dtype == np.float32
        assert face.points.min() >= 1.5
        assert face.points.max() <= 94.5
        assert face.image.std() > 5.0


def test_left_is_the_persons_own_left(crowd: list[Face]) -> None:
    for face in crowd:
        points = named(face.points)
        assert points['left_eye_center'][0] > points['right_eye_center'][0]
        assert points['mouth_left_corner'][0] > points['mouth_right_corner'][0]
        assert points['left_eye_outer_corner'][0] > points['left_eye_inner_corner'][0]
        assert points['right_eye_outer_corner'][0] < points['right_eye_inner_corner'][0]


def test_mirrored_points_of_a_symmetric_face_are_its_own_in_flip_order() -> None:
    symmetric = build_geometry(AVERAGE, ActionUnits(lip_corner_puller=0.7, brow_lowerer=0.4), FRONTAL).points
    mirrored = (symmetric * (-1.0, 1.0) + (96.0, 0.0))[list(faces.FLIP_ORDER)]
    np.testing.assert_allclose(mirrored, symmetric, atol=1e-4)


def test_other_processes_draw_the_same_bytes_in_any_order_and_number() -> None:
    digest = hashlib.sha256()
    for face in [draw_face(11, index) for index in range(12)][3:6]:
        digest.update(face.image.tobytes() + face.points.tobytes() + face.expression.encode())
    script = DIGEST.format(indices=[3, 4, 5])
    output = subprocess.run([sys.executable, '-c', script], capture_output=True, text=True, check=True)
    assert output.stdout.strip() == digest.hexdigest()


def test_seeds_and_indices_give_different_faces() -> None:
    images = {draw_face(seed, index).image.tobytes() for seed in (0, 1, 2**32 + 1) for index in range(3)}
    assert len(images) == 9


def test_a_named_expression_changes_the_face_and_not_the_person() -> None:
    happy, surprised = draw_face(2, 9, 'happiness'), draw_face(2, 9, 'surprise')
    assert (happy.expression, surprised.expression) == ('happiness', 'surprise')
    assert not np.array_equal(happy.image, surprised.image)
    eyes = list(faces.EYE_CENTERS)
    np.testing.assert_allclose(happy.points[eyes], surprised.points[eyes], atol=0.01)


def test_naming_the_drawn_expression_changes_nothing() -> None:
    for index in range(5):
        drawn = draw_face(3, index)
        np.testing.assert_array_equal(draw_face(3, index, drawn.expression).image, drawn.image)


def test_a_smile_lifts_the_mouths_corners_and_sadness_lowers_them(means: dict[str, dict[str, np.ndarray]]) -> None:
    assert corner_lift(means['happiness']) > 0.08
    assert corner_lift(means['sad']) < -0.02
    assert corner_lift(means['disgust']) < corner_lift(means['happiness']) - 0.1


def test_surprise_opens_the_mouth_most(means: dict[str, dict[str, np.ndarray]]) -> None:
    others = [opening(points) for expression, points in means.items() if expression != 'surprise']
    assert opening(means['surprise']) > max(others) + 0.05


def test_brows_rise_in_surprise_fall_in_anger_and_slant_in_sadness(means: dict[str, dict[str, np.ndarray]]) -> None:
    for end in ('inner', 'outer'):
        assert brow_height(means['surprise'], end) > brow_height(means['anger'], end) + 0.1
    slant = {name: brow_height(points, 'inner') - brow_height(points, 'outer') for name, points in means.items()}
    assert slant['sad'] == max(slant.values())
    assert slant['anger'] < -0.05


@pytest.mark.parametrize(
    ('unit', 'point', 'axis', 'sign'),
    [
        ('inner_brow_raiser', 'left_eyebrow_inner_end', 1, -1),
        ('outer_brow_raiser', 'left_eyebrow_outer_end', 1, -1),
        ('brow_lowerer', 'left_eyebrow_inner_end', 1, 1),
        ('brow_lowerer', 'left_eyebrow_inner_end', 0, -1),
        ('nose_wrinkler', 'nose_tip', 1, -1),
        ('upper_lip_raiser', 'mouth_center_top_lip', 1, -1),
        ('lip_corner_puller', 'mouth_left_corner', 1, -1),
        ('lip_corner_puller', 'mouth_left_corner', 0, 1),
        ('lip_corner_depressor', 'mouth_left_corner', 1, 1),
        ('lower_lip_depressor', 'mouth_center_bottom_lip', 1, 1),
        ('chin_raiser', 'mouth_center_bottom_lip', 1, -1),
        ('lip_tightener', 'mouth_center_bottom_lip', 1, -1),
        ('lips_part', 'mouth_center_bottom_lip', 1, 1),
        ('jaw_drop', 'mouth_center_bottom_lip', 1, 1),
    ],
)
def test_an_action_unit_moves_its_point(unit: str, point: str, axis: int, sign: int) -> None:
    rest = named(build_geometry(AVERAGE, ActionUnits(), FRONTAL).points)[point]
    moved = named(build_geometry(AVERAGE, ActionUnits(**{unit: 1.0}), FRONTAL).points)[point]
    assert sign * (moved - rest)[axis] > 0.4


@pytest.mark.parametrize('unit', ['lid_tightener', 'cheek_raiser', 'eyes_closed', 'nose_wrinkler'])
def test_an_action_unit_narrows_the_eye_and_the_upper_lid_raiser_widens_it(unit: str) -> None:
    def height(units: ActionUnits) -> float:
        curves = build_geometry(AVERAGE, units, FRONTAL).curves
        return float((curves['left_lid_lower'] - curves['left_lid_upper'])[:, 1].max())

    assert height(ActionUnits(**{unit: 1.0})) < height(ActionUnits()) < height(ActionUnits(upper_lid_raiser=1.0))


@settings(max_examples=60, deadline=None)
@given(
    st.floats(-0.55, 0.55), st.floats(-0.2, 0.2), st.floats(-0.4, 0.4), st.floats(-30.0, 30.0), st.floats(-30.0, 30.0)
)
def test_points_stay_inside_and_on_their_features_in_every_pose(
    yaw: float, pitch: float, roll: float, shift_x: float, shift_y: float
) -> None:
    geometry = build_geometry(AVERAGE, ActionUnits(jaw_drop=1.0), Pose(yaw, pitch, roll, 1.2, shift_x, shift_y))
    points, curves = named(geometry.points), geometry.curves
    assert geometry.points.min() >= 0.0
    assert geometry.points.max() <= 96.0
    np.testing.assert_allclose(points['nose_tip'], curves['nose_tip'][0], atol=1e-3)
    np.testing.assert_allclose(points['left_eye_center'], curves['left_iris'].mean(axis=0), atol=0.3)
    np.testing.assert_allclose(
        points['right_eyebrow_outer_end'], curves['right_brow_hair'][8:10].mean(axis=0), atol=0.3
    )
    np.testing.assert_allclose(points['mouth_left_corner'], curves['mouth_lower'][-1], atol=0.3)


def test_a_head_that_turns_to_its_left_shows_its_nose_further_left() -> None:
    turned = named(build_geometry(AVERAGE, ActionUnits(), Pose(0.3, 0.0, 0.0, 1.0, 0.0, 0.0)).points)
    middle = 0.5 * (turned['left_eye_center'] + turned['right_eye_center'])
    assert turned['nose_tip'][0] > middle[0] + 1.0


def test_the_iris_is_drawn_dark_where_the_eye_center_lies(crowd: list[Face]) -> None:
    darker = [
        face.image[int(y) - 1 : int(y) + 2, int(x) - 1 : int(x) + 2].mean() < face.image[int(y) + 7, int(x)]
        for face in crowd
        for x, y in face.points[list(faces.EYE_CENTERS)]
    ]
    assert np.mean(darker) > 0.85


def test_class_shares_are_as_stated(crowd: list[Face]) -> None:
    random = np.random.default_rng(0)
    drawn = [random_expression(random) for _ in range(8000)]
    shares = [drawn.count(expression) / len(drawn) for expression in faces.EXPRESSIONS]
    np.testing.assert_allclose(shares, CLASS_SHARES, atol=0.02)
    assert sum(CLASS_SHARES) == pytest.approx(1.0)
    seen = [face.expression for face in crowd]
    assert min(set(seen), key=seen.count) == 'disgust'


def test_every_level_of_brightness_and_contrast_occurs(crowd: list[Face]) -> None:
    assert {faces.brightness_level(face.image.mean()) for face in crowd} == set(faces.BRIGHTNESS_LEVELS)
    assert {faces.contrast_level(face.image.std()) for face in crowd} == set(faces.CONTRAST_LEVELS)


def test_every_expression_has_a_prototype() -> None:
    assert set(PROTOTYPES) == set(faces.EXPRESSIONS)


@pytest.mark.parametrize('arguments', [(-1, 0), (0, -1), (0, 0, 'neutral')])
def test_what_cannot_be_drawn_is_refused_in_one_line(arguments: tuple) -> None:
    with pytest.raises(StepError) as raised:
        draw_face(*arguments)
    assert '\n' not in str(raised.value)
