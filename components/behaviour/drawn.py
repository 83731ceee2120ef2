"""Drawn faces that nobody mistakes: a few people, almost from the front, with every expression at its most extreme."""

from typing import Final

import cv2
import numpy as np

from components import faces
from components.behaviour.sample import Sample
from data.action_units import PROTOTYPES, ActionUnits
from data.anatomy import Pose, build_geometry, random_identity
from data.paint import Appearance, Light, paint

PEOPLE: Final = 6

_SOFT_LIGHT: Final = Light(x=0.2, y=-0.4, ambient=0.5)
_EXPOSURE: Final = 140.0  # mean grey of the middle of the picture
_TYPICAL: Final = 0.5  # an expression's units that fewer of its faces show are left out


def extreme_units(expression: str) -> ActionUnits:
    """The expression's typical action units, each as strong as it is ever drawn."""
    typical = {name: unit.most for name, unit in PROTOTYPES[expression].items() if unit.chance >= _TYPICAL}
    return ActionUnits(**typical)


def draw_extremes(task: str, seed: int) -> Sample:
    """`PEOPLE` people with each of the five expressions, with the truth of the task.

    Expressions are drawn at 48x48 and keypoints at 96x96 pixels, as the built-in datasets are.

    Args:
        task: `expression` or `keypoints`.
        seed: other seeds draw other people.
    """
    is_expression = task == faces.EXPRESSION_MODEL
    side = faces.EXPRESSION_SIZE if is_expression else faces.KEYPOINT_SIZE
    images, labels, points = [], [], []
    for person in range(PEOPLE):
        for label, expression in enumerate(faces.EXPRESSIONS):
            image, found = _draw(np.random.default_rng([seed, person]), expression)
            images.append(cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA))
            labels.append(label)
            points.append(found)
    return Sample(images, np.array(labels) if is_expression else np.stack(points))


def _draw(random: np.random.Generator, expression: str) -> tuple[np.ndarray, np.ndarray]:
    """The image, uint8 `[96, 96]`, and the points `[15, 2]` of one person, whom `random` draws."""
    units = extreme_units(expression)
    geometry = build_geometry(random_identity(random), units, _random_pose(random))
    scene = paint(geometry, units, _random_appearance(random), _SOFT_LIGHT, random)
    quarter = faces.KEYPOINT_SIZE // 4
    exposed = scene * (_EXPOSURE / scene[quarter:-quarter, quarter:-quarter].mean())
    return np.clip(np.rint(exposed), 0, 255).astype(np.uint8), geometry.points


def _random_pose(random: np.random.Generator) -> Pose:
    """Turned and tilted a little, and off the middle, so that no model hits the points that looks at nothing."""
    yaw, roll = random.uniform(-0.15, 0.15, 2)
    shift_x, shift_y = random.uniform(-5.0, 5.0, 2)
    return Pose(yaw, pitch=0.0, roll=roll, scale=random.uniform(0.95, 1.12), shift_x=shift_x, shift_y=shift_y)


def _random_appearance(random: np.random.Generator) -> Appearance:
    """Nothing that hides a part of the face."""
    skin = random.uniform(110.0, 210.0)
    return Appearance(
        skin=skin,
        hair=random.uniform(20.0, 0.6 * skin),
        lips=0.7 * skin,
        iris=50.0,
        clothes=random.uniform(30.0, 220.0),
        background=(random.uniform(60.0, 230.0), random.uniform(60.0, 230.0)),
        hair_style='short',
        beard=0.0,
        moustache=0.0,
        age=random.uniform(0.1, 0.5),
        glasses=0.0,
        tint=0.0,
    )
