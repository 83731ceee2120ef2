"""Draws faces: each from a seed and an index of its own, with its expression and its exact keypoints."""

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np

from components import faces
from components.errors import StepError
from data.action_units import random_expression, random_units
from data.anatomy import Geometry, build_geometry, random_identity, random_pose
from data.paint import SIZE, Appearance, Canvas, HairStyle, Light, paint

_STYLES: Final[tuple[HairStyle, ...]] = ('bald', 'receding', 'short', 'fringe', 'long')
_STYLE_SHARES: Final = (0.08, 0.14, 0.36, 0.14, 0.28)
_METERED: Final = 32  # side of the square by which the camera sets its exposure


@dataclass(frozen=True)
class Face:
    """A drawn face.

    Attributes:
        image: grey, uint8 [96, 96].
        points: the 15 points of `faces.KEYPOINTS`, float32 [15, 2], (x, y) in pixels of `image`, all inside it; (0, 0)
            is the top left corner of the first pixel.
        expression: one of `faces.EXPRESSIONS`.
    """

    image: np.ndarray
    points: np.ndarray
    expression: str


def draw_face(seed: int, index: int, expression: str | None = None) -> Face:
    """Face `index` of those that `seed` makes, the same however many are drawn and in whatever order.

    With an expression named, the same person in the same picture shows that one.

    Raises:
        StepError: seed or index is negative, or the expression is unknown.
    """
    if seed < 0 or index < 0:
        raise StepError(f'Face {index} of seed {seed} cannot be drawn: name a seed and an index of 0 or more.')
    if expression is not None and expression not in faces.EXPRESSIONS:
        raise StepError(f'Expression {expression!r} cannot be drawn: name one of {", ".join(faces.EXPRESSIONS)}.')
    random = np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed, spawn_key=(index,))))
    drawn = random_expression(random)
    expression = expression or drawn
    units = random_units(random, expression)
    geometry = build_geometry(random_identity(random), units, random_pose(random))
    scene = paint(geometry, units, _random_appearance(random), _random_light(random), random)
    return Face(_photograph(scene, geometry, random), geometry.points, expression)


def _random_appearance(random: np.random.Generator) -> Appearance:
    skin = float(np.clip(random.normal(165.0, 38.0), 70.0, 225.0))
    hair = float(np.clip(random.gamma(1.6, 28.0) + 12.0, 12.0, 210.0)) * min(1.0, skin / 150.0)
    style = _STYLES[int(np.searchsorted(np.cumsum(_STYLE_SHARES), random.random()))]
    age, bearded, hairy = random.beta(1.3, 2.2), random.random(), random.uniform(0.3, 1.0)
    can_grow = style != 'long'
    has_glasses, frame, tinted = random.random(3)
    return Appearance(
        skin=skin,
        hair=hair,
        lips=skin * random.uniform(0.55, 0.85),
        iris=random.uniform(18.0, 95.0),
        clothes=random.uniform(15.0, 235.0),
        background=(random.uniform(20.0, 255.0), random.uniform(20.0, 255.0)),
        hair_style=style,
        beard=hairy if can_grow and bearded < 0.16 else 0.0,
        moustache=hairy if can_grow and bearded < 0.24 else 0.0,
        age=age,
        glasses=0.1 + 0.9 * frame if has_glasses < 0.18 else 0.0,
        tint=0.6 * tinted if tinted > 0.7 else 0.0,
    )


def _random_light(random: np.random.Generator) -> Light:
    return Light(random.normal(0.0, 0.6), random.normal(-0.35, 0.35), random.uniform(0.15, 0.6))


def _photograph(scene: np.ndarray, geometry: Geometry, random: np.random.Generator) -> np.ndarray:
    """What the camera makes of the scene: something in the way, exposure, contrast, focus and noise."""
    left, top = np.clip(geometry.points.mean(axis=0).astype(int) - _METERED // 2, 0, SIZE - _METERED)
    metered = scene[top : top + _METERED, left : left + _METERED].mean()
    exposure, contrast = random.triangular(55.0, 140.0, 240.0) / max(metered, 20.0), random.uniform(0.7, 1.15)
    image = np.clip(exposure * scene, 0.0, 255.0)
    if random.random() < 0.15:
        image = _occlude(image, geometry, random)
    image = 110.0 + contrast * (image - 110.0)
    sigma = random.uniform(0.0, 1.2)
    if sigma > 0.3:
        image = cv2.GaussianBlur(image, (0, 0), sigma)
    image = image + random.uniform(1.0, 8.0) * random.standard_normal(image.shape, np.float32)
    return np.clip(np.rint(image), 0.0, 255.0).astype(np.uint8)


def _occlude(image: np.ndarray, geometry: Geometry, random: np.random.Generator) -> np.ndarray:
    """A scarf over the chin, a hand at the cheek or strands of hair over one eye."""
    canvas = Canvas(0)
    canvas.pixels = image.astype(np.uint8)
    (_scarf, _hand, _lock)[random.integers(3)](canvas, geometry, random)
    return canvas.pixels.astype(np.float32)


def _scarf(canvas: Canvas, geometry: Geometry, random: np.random.Generator) -> None:
    curves = geometry.curves
    chin = curves['face'][len(curves['face']) // 2]
    edge = curves['chin_fold'][8] + random.uniform(-0.35, 0.5) * (chin - curves['chin_fold'][8])
    x = np.linspace(-5.0, SIZE + 5.0, 9)
    tone = random.uniform(25.0, 225.0)
    for fold in range(4):
        y = edge[1] + 7.0 * fold + 3.0 * np.sin(x / 9.0 + fold) - 8.0 * ((x - edge[0]) / SIZE) ** 2
        cloth = np.concatenate([np.stack([x, y], axis=1), [[SIZE + 5.0, SIZE + 5.0], [-5.0, SIZE + 5.0]]])
        canvas.fill(cloth, tone * (1.0 - 0.12 * (fold % 2)))
        canvas.line(cloth[:9], 0.7 * tone)


def _hand(canvas: Canvas, geometry: Geometry, random: np.random.Generator) -> None:
    curves, scale = geometry.curves, geometry.scale
    side, outward = _random_side(random)
    cheek = curves[f'{side}_cheek'][0]
    wrist = cheek + np.array([outward * random.uniform(9.0, 16.0), 44.0]) * scale
    x, y = np.clip(cheek.astype(int), 0, SIZE - 1)
    tone = float(np.clip(canvas.pixels[y, x], 40, 240))
    palm = wrist - np.array([0.0, 17.0 * scale])
    canvas.line(np.stack([wrist + np.array([0.0, 10.0]), palm]), 0.9 * tone, 15.0 * scale)
    for finger in range(4):
        spread = (finger - 1.5) * 5.4
        root = palm + np.array([spread, 1.0]) * scale
        tip = root + np.array([0.25 * spread - 4.0 * outward, -19.0 - 3.0 * (finger in (1, 2))]) * scale
        canvas.line(np.stack([root, tip]), 0.55 * tone, 6.4 * scale)
        canvas.line(np.stack([root, tip]), tone * (0.9 + 0.03 * finger), 5.0 * scale)


def _lock(canvas: Canvas, geometry: Geometry, random: np.random.Generator) -> None:
    curves = geometry.curves
    side, outward = _random_side(random)
    start = 0.7 * curves['hairline'][7] + 0.3 * curves['crown'][12]
    end = curves[f'{side}_cheek'][0] + random.normal(0.0, 2.5, 2)
    bend = 0.5 * (start + end) + np.array([6.0 * outward, -7.0]) * geometry.scale
    t = np.linspace(0.0, 1.0, 9)[:, None]
    lock = (1.0 - t) ** 2 * start + 2.0 * t * (1.0 - t) * bend + t**2 * end
    across = (1.05 - t) ** 0.6 * np.array([1.0, 0.35 * outward]) * geometry.scale
    x, y = np.clip(start.astype(int), 0, SIZE - 1)
    tone = min(float(canvas.pixels[y, x]), 110.0) * random.uniform(0.7, 1.1) + 5.0
    for offset in random.permutation(np.linspace(-6.0, 6.0, 9)):
        canvas.line(lock + offset * across, tone * random.uniform(0.8, 1.25), 1.8 * geometry.scale)


def _random_side(random: np.random.Generator) -> tuple[str, float]:
    """A side of the person and the direction in which it lies in the image."""
    return ('left', 1.0) if random.random() < 0.5 else ('right', -1.0)
