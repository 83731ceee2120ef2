"""The drawn faces that every model must know."""

import numpy as np
import pytest

from components import faces
from components.behaviour.drawn import PEOPLE, draw_extremes, extreme_units
from data.action_units import PROTOTYPES, random_units


def test_every_person_is_drawn_with_every_expression():
    drawn = draw_extremes(faces.EXPRESSION_MODEL, 0)
    assert drawn.truth.tolist() == [0, 1, 2, 3, 4] * PEOPLE
    assert {image.shape for image in drawn.images} == {(48, 48)}
    # One person's faces are more like each other than like other people's.
    pixels = np.stack(drawn.images).astype(float).reshape(PEOPLE, 5, -1)
    own = np.abs(pixels[:, :1] - pixels[:, 1:]).mean()
    other = np.abs(pixels - np.roll(pixels, 1, axis=0)).mean()
    assert own < other / 2


@pytest.mark.parametrize('expression', faces.EXPRESSIONS)
def test_no_drawn_face_of_the_datasets_shows_more_of_its_expression(expression):
    extreme = extreme_units(expression)
    for name, unit in PROTOTYPES[expression].items():
        assert getattr(extreme, name) == (unit.most if unit.chance >= 0.5 else 0)
    random = np.random.default_rng(0)
    certain = [name for name, unit in PROTOTYPES[expression].items() if unit.chance == 1]
    usual = np.mean([[getattr(random_units(random, expression), name) for name in certain] for _ in range(50)])
    assert np.mean([getattr(extreme, name) for name in certain]) > 1.2 * usual


def test_the_points_lie_on_the_face_and_no_single_answer_hits_them():
    drawn = draw_extremes(faces.KEYPOINT_MODEL, 0)
    assert {image.shape for image in drawn.images} == {(96, 96)}
    assert drawn.truth.shape == (5 * PEOPLE, 15, 2)
    assert (drawn.truth > 0).all() and (drawn.truth < 96).all()
    best_single = np.sqrt(np.square(drawn.truth - drawn.truth.mean(axis=0)).mean())
    assert best_single > 3


def test_the_seed_draws_the_people():
    first, again, other = (draw_extremes(faces.KEYPOINT_MODEL, seed) for seed in (0, 0, 1))
    assert all((one == two).all() for one, two in zip(first.images, again.images, strict=True))
    assert (first.truth == again.truth).all()
    assert not any((one == two).all() for one, two in zip(first.images, other.images, strict=True))
