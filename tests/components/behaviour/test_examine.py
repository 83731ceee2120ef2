"""The tests of behaviour on real SavedModels: some bear everything, others break exactly one of them."""

import dataclasses
import math

import numpy as np
import pytest
import sklearn.metrics
import tensorflow as tf

from components import faces
from components.behaviour.drawn import draw_extremes
from components.behaviour.examine import DRAWN, Ask, examine
from components.behaviour.measures import YARDSTICKS, total_variation
from components.behaviour.perturbations import DEGRADATIONS, PERTURBATIONS
from components.behaviour.results import Behaviour, Curve, Outcome
from components.behaviour.sample import Sample
from components.ingest.images import to_png
from components.settings import ExpressionBehaviour, ExpressionLimits, KeypointBehaviour, KeypointLimits
from tests.components.behaviour.models import SIZE, framed, name_first_where

DEFAULTS = {faces.EXPRESSION_MODEL: ExpressionBehaviour(), faces.KEYPOINT_MODEL: KeypointBehaviour()}
ROWS = 12


def examined(task: str, images: list[np.ndarray], ask: Ask, truth: np.ndarray | None = None) -> Behaviour:
    if truth is None:
        truth = np.zeros(len(images), int) if task == faces.EXPRESSION_MODEL else np.full((len(images), 15, 2), 24.0)
    return examine(task, Sample(images, truth), draw_extremes(task, 0), ask, DEFAULTS[task])


def outcome(behaviour: Behaviour, test: str) -> Outcome:
    (found,) = (found for found in behaviour.outcomes if found.test == test)
    return found


def curve(behaviour: Behaviour, degradation: str) -> Curve:
    (found,) = (found for found in behaviour.curves if found.degradation == degradation)
    return found


def missed(behaviour: Behaviour) -> set[str]:
    """Of the changes; drawn faces are another matter."""
    return {found.test for found in behaviour.missed} - {DRAWN}


def texture(random: np.random.Generator) -> np.ndarray:
    return random.integers(60, 180, (24, 24))


def about_one_hundred(random: np.random.Generator) -> np.ndarray:
    """A frame of 100 and this middle have a mean of 97 or of 103."""
    return np.full((24, 24), 100 + 12 * random.choice([-1, 1]))


def bright_on_one_side(random: np.random.Generator) -> np.ndarray:
    return np.where(np.arange(24) < 12, *random.permutation([60, 180]))[None].repeat(24, 0)


def band(random: np.random.Generator) -> np.ndarray:
    """A bright band, four pixels high, whose middle lies in the middle of one of the model's stripes."""
    middle = np.full((24, 24), 100)
    top = 2 * random.integers(3, 8) - 1
    middle[top : top + 4] = 220
    return middle


def checkered(random: np.random.Generator) -> np.ndarray:
    down, across = np.indices((24, 24))
    return np.where((down + across) % 2, 60, 180)


def is_bright(images: tf.Tensor) -> tf.Tensor:
    return name_first_where(tf.reduce_mean(images, (1, 2)) > 100)


def is_bright_on_the_left(images: tf.Tensor) -> tf.Tensor:
    return name_first_where(tf.reduce_mean(images[:, :, :24], (1, 2)) > tf.reduce_mean(images[:, :, 24:], (1, 2)))


def lies_in_an_even_stripe(images: tf.Tensor) -> tf.Tensor:
    excess = tf.nn.relu(tf.reduce_sum(images, 2) / SIZE - tf.reduce_mean(images[:, 0], 1, keepdims=True) - 5)
    place = tf.reduce_sum(excess * (tf.range(48.0) + 0.5), 1) / tf.reduce_sum(excess, 1)
    return name_first_where(tf.cast(place // 2, tf.int32) % 2 == 0)


def is_finely_grained(images: tf.Tensor) -> tf.Tensor:
    grain = tf.reduce_mean(tf.abs(images[:, 13:35, 13:34] - images[:, 13:35, 14:35]), (1, 2))
    return name_first_where(grain > 75)


def is_png(image_bytes: tf.Tensor) -> tf.Tensor:
    return name_first_where(tf.equal(tf.strings.substr(image_bytes, 1, 3), 'PNG'))


def test_a_model_that_looks_at_nothing_bears_every_change_and_knows_no_drawn_face(ask_model):
    ask = ask_model(faces.EXPRESSION_MODEL, lambda images: tf.tile([[0.1, 0.1, 0.1, 0.1, 0.6]], [len(images), 1]))
    behaviour = examined(faces.EXPRESSION_MODEL, framed(ROWS, texture), ask, np.full(ROWS, 4))
    assert [found.test for found in behaviour.missed] == [DRAWN] and not behaviour.passed
    assert outcome(behaviour, DRAWN) == Outcome(DRAWN, 'minimum function', 'share', 0.2, 0.8, False, 30)
    for test in PERTURBATIONS:
        assert outcome(behaviour, test) == Outcome(
            test, 'invariance', 'share', 1.0, getattr(ExpressionLimits(), test), True, ROWS, 0.0
        )
    assert {values for found in behaviour.curves for values in (found.figures['accuracy'],)} == {(1.0,) * 5}


@pytest.mark.parametrize(
    ('test', 'middle', 'answer', 'share'),
    [
        ('mirror', bright_on_one_side, is_bright_on_the_left, 0.0),
        ('shift', band, lies_in_an_even_stripe, 0.5),  # to both sides it stays
        ('brightness', about_one_hundred, is_bright, 0.5),
        ('jpeg', texture, is_png, 0.0),
        ('blur', checkered, is_finely_grained, 0.0),
    ],
)
def test_a_model_that_cannot_bear_one_change_misses_that_test_alone(ask_model, test, middle, answer, share):
    ask = ask_model(faces.EXPRESSION_MODEL, answer, of_bytes=answer is is_png)
    behaviour = examined(faces.EXPRESSION_MODEL, framed(ROWS, middle), ask)
    assert missed(behaviour) == {test}
    found = outcome(behaviour, test)
    assert found.value == pytest.approx(share)
    # Where its answer turns, it turns from one certainty to another.
    assert found.distance == pytest.approx(1 - share)


def find_bright(images: tf.Tensor) -> tf.Tensor:
    """All 15 points at the centroid of what is brighter than the frame."""
    bright = tf.nn.relu(images - 130)
    weights = bright / tf.reduce_sum(bright, (1, 2), keepdims=True)
    places = tf.range(48.0) + 0.5
    across, down = tf.reduce_sum(weights * places, (1, 2)), tf.reduce_sum(weights * places[:, None], (1, 2))
    return tf.tile(tf.stack([across, down], 1)[:, None], [1, 15, 1])


def bright_spot(random: np.random.Generator) -> np.ndarray:
    middle = np.full((24, 24), 100)
    top, left = random.integers(4, 16, 2)
    middle[top : top + 4, left : left + 4] = 230
    return middle


def test_points_that_follow_the_image_pass_every_change(ask_model):
    ask = ask_model(faces.KEYPOINT_MODEL, find_bright)
    images = framed(ROWS, bright_spot)
    behaviour = examined(faces.KEYPOINT_MODEL, images, ask, ask([to_png(image) for image in images]))
    assert missed(behaviour) == set()
    kinds = {found.test: found.kind for found in behaviour.outcomes}
    assert kinds == {
        'mirror': 'equivariance',
        'shift': 'equivariance',
        'brightness': 'invariance',
        'jpeg': 'invariance',
        'blur': 'invariance',
        DRAWN: 'minimum function',
    }
    assert all(found.distance is None for found in behaviour.outcomes)
    # Turned back, the points of a turned face are those of the face.
    assert max(curve(behaviour, 'rotation').figures['rmse']) < 0.5


def test_points_that_ignore_the_image_miss_the_shift_by_its_length(ask_model):
    ask = ask_model(faces.KEYPOINT_MODEL, lambda images: tf.fill([len(images), 15, 2], 24.0))
    behaviour = examined(faces.KEYPOINT_MODEL, framed(ROWS, texture), ask)
    assert missed(behaviour) == {'shift'}
    # 2 px of 48 are 4 px of 96, on one of the two axes.
    assert outcome(behaviour, 'shift').value == pytest.approx(math.sqrt(16 / 2))
    assert outcome(behaviour, 'mirror').value == 0


def test_points_that_take_the_left_eye_for_the_right_miss_the_mirror(ask_model):
    left, right = faces.EYE_CENTERS
    fixed = np.full((15, 2), 24.0, np.float32)
    # Whatever the image, this model's left eye lies to the left, where a mirrored face has its right one.
    fixed[left, 0], fixed[right, 0] = 14, 24
    ask = ask_model(faces.KEYPOINT_MODEL, lambda images: tf.tile(fixed[None], [len(images), 1, 1]))
    behaviour = examined(faces.KEYPOINT_MODEL, framed(ROWS, texture), ask)
    # Two of 30 coordinates are off by 10 px of 48.
    assert outcome(behaviour, 'mirror').value == pytest.approx(math.sqrt(2 * 20**2 / 30))
    assert 'mirror' in missed(behaviour)


@pytest.mark.parametrize('task', faces.TASKS)
def test_who_knows_the_drawn_faces_passes_and_who_mixes_them_up_does_not(task):
    drawn = draw_extremes(task, 0)
    known = np.eye(5)[drawn.truth] if task == faces.EXPRESSION_MODEL else drawn.truth
    for answers, passes in ((known, True), (np.roll(known, 1, axis=0), False)):
        table = dict(zip(map(to_png, drawn.images), answers, strict=True))

        def ask(images, table=table):
            return np.stack([table.get(image, table[next(iter(table))]) for image in images])

        found = outcome(examined(task, framed(2, texture), ask), DRAWN)
        assert (found.passed, found.faces) == (passes, 30)


def test_a_model_that_looks_at_brightness_fails_as_it_grows_dark(ask_model):
    images = framed(ROWS, about_one_hundred)
    truth = np.array([0 if image.mean() > 100 else 1 for image in images])
    behaviour = examined(faces.EXPRESSION_MODEL, images, ask_model(faces.EXPRESSION_MODEL, is_bright), truth)
    darkness = curve(behaviour, 'darkness')
    assert darkness.strengths == (0, 20, 40, 60, 80)
    dark = (truth == 1).mean()
    assert darkness.figures['accuracy'] == pytest.approx((1, dark, dark, dark, dark))
    expected = sklearn.metrics.f1_score(truth, np.ones(ROWS), labels=range(5), average='macro', zero_division=0)
    assert darkness.figures['macro_f1'] == pytest.approx((0.4, *[expected] * 4))
    assert curve(behaviour, 'rotation').figures['accuracy'] == pytest.approx((1,) * 5)


def test_points_that_follow_the_image_are_lost_when_it_is_covered_or_noisy(ask_model):
    ask = ask_model(faces.KEYPOINT_MODEL, find_bright)
    images = framed(ROWS, bright_spot)
    behaviour = examined(faces.KEYPOINT_MODEL, images, ask, ask([to_png(image) for image in images]))
    noise = curve(behaviour, 'noise').figures['rmse']
    assert noise[0] == 0 and list(noise) == sorted(noise) and noise[-1] > 5
    # Where the spot is covered wholly there is no answer at all.
    assert None in curve(behaviour, 'darkness').figures['rmse']


def test_missing_points_do_not_count_and_errors_are_in_pixels_of_96():
    right = YARDSTICKS[faces.KEYPOINT_MODEL].right
    truth = np.full((2, 15, 2), np.nan)
    truth[0, 3], truth[1, 4] = (10, 10), (20, 20)
    found = truth + np.array([[[1.0, 0.0]], [[0.0, 3.0]]])
    found[np.isnan(found)] = 7.0
    sizes = np.array([[48.0, 48.0], [192.0, 96.0]])
    # 1 px of 48 is 2 px of 96; 3 px of a height of 96 are 3.
    assert right(found, truth, sizes) == pytest.approx(math.sqrt((4 + 0 + 0 + 9) / 4))


def test_the_distance_of_distributions_is_the_share_that_changes_place():
    before = np.array([[0.5, 0.5, 0, 0, 0], [1.0, 0, 0, 0, 0]])
    after = np.array([[0.25, 0.5, 0.25, 0, 0], [0, 0, 0, 0, 1.0]])
    assert total_variation(before, after) == pytest.approx((0.25 + 1) / 2)


@pytest.mark.parametrize('task', faces.TASKS)
def test_answers_that_are_no_numbers_pass_no_test(task):
    shape = (5,) if task == faces.EXPRESSION_MODEL else (15, 2)
    behaviour = examined(task, framed(ROWS, texture), lambda images: np.full((len(images), *shape), np.nan))
    assert len(behaviour.missed) == len(behaviour.outcomes) == 6
    expected = 0.0 if task == faces.EXPRESSION_MODEL else None
    assert [found.value for found in behaviour.outcomes] == [expected] * 6


@pytest.mark.parametrize(
    ('task', 'limits'), [(faces.EXPRESSION_MODEL, ExpressionLimits), (faces.KEYPOINT_MODEL, KeypointLimits)]
)
def test_a_limit_that_is_left_out_stops_nothing(ask_model, task, limits):
    none = limits(**{field.name: None for field in dataclasses.fields(limits)})
    settings = dataclasses.replace(DEFAULTS[task], limits=none)
    shape = (5,) if task == faces.EXPRESSION_MODEL else (15, 2)
    sample = Sample(framed(1, texture), np.zeros((1, *shape[1:]), int))
    if task == faces.KEYPOINT_MODEL:
        sample = Sample(sample.images, np.zeros((1, 15, 2)))
    behaviour = examine(
        task, sample, draw_extremes(task, 0), lambda images: np.full((len(images), *shape), np.nan), settings
    )
    assert behaviour.passed and all(found.limit is None for found in behaviour.outcomes)


def test_the_seed_decides_on_noise_and_places(ask_model):
    ask = ask_model(faces.KEYPOINT_MODEL, find_bright)
    images = framed(ROWS, bright_spot)
    sample = Sample(images, ask([to_png(image) for image in images]))

    def run(seed: int) -> Behaviour:
        drawn = draw_extremes(faces.KEYPOINT_MODEL, 0)
        return examine(faces.KEYPOINT_MODEL, sample, drawn, ask, KeypointBehaviour(seed=seed))

    first, again, other = run(1), run(1), run(2)
    assert first == again
    assert curve(first, 'noise').figures != curve(other, 'noise').figures
    assert curve(first, 'blur').figures == curve(other, 'blur').figures


def test_every_curve_begins_with_the_image_as_it_came():
    assert all(degradation.strengths[0] == 0 for degradation in DEGRADATIONS)
    assert len({degradation.name for degradation in DEGRADATIONS}) == len(DEGRADATIONS) == 5
