"""Paints a posed face in grey: what its surfaces are like, then how light falls on them.

As in an intrinsic image, a picture is the product of two layers: the albedo (skin, hair, eyes, lips) and the shading
(the head's roundness under one lamp, soft hollows, sharp folds).
"""

from dataclasses import dataclass
from typing import Final, Literal

import cv2
import numpy as np

from components import faces
from data.action_units import ActionUnits
from data.anatomy import SIDES, Curves, Geometry

SIZE: Final = faces.KEYPOINT_SIZE
_SUPERSAMPLING: Final = 2  # on top of OpenCV's own anti-aliasing
_SUBPIXEL_BITS: Final = 4
_NEUTRAL: Final = 128  # in a shading layer; smaller is darker

HairStyle = Literal['bald', 'receding', 'short', 'fringe', 'long']


@dataclass(frozen=True)
class Appearance:
    """What a person looks like besides the shape of the face. Tones are 0 (black) to 255 (white)."""

    skin: float
    hair: float
    lips: float
    iris: float
    clothes: float
    background: tuple[float, float]
    hair_style: HairStyle
    beard: float  # 0 (shaven) to 1
    moustache: float
    age: float  # how deep the folds are at rest, 0 to 1
    glasses: float  # 0 (none) to 1 (thick frames)
    tint: float  # of the lenses, 0 to 1


@dataclass(frozen=True)
class Light:
    """One lamp and the light from everywhere else.

    Attributes:
        x: where the lamp stands: -1 left of the viewer, 1 right.
        y: -1 above, 1 below.
        ambient: light from everywhere, as a share of all light.
    """

    x: float
    y: float
    ambient: float


class Canvas:
    """A grey image on which curves, given in pixels of the finished image, are drawn with anti-aliasing."""

    def __init__(self, tone: float, supersampling: int = 1) -> None:
        side = SIZE * supersampling
        self.pixels = np.full((side, side), tone, np.uint8)
        self._supersampling = supersampling
        self._factor = supersampling << _SUBPIXEL_BITS

    def fill(self, curve: np.ndarray, tone: float) -> None:
        """Fills the closed curve [n, 2]."""
        cv2.fillPoly(self.pixels, [self._fixed(curve)], (int(tone),), cv2.LINE_AA, _SUBPIXEL_BITS)

    def line(self, curve: np.ndarray, tone: float, width: float = 1.0, closed: bool = False) -> None:
        """Draws along the curve [n, 2], `width` pixels of the finished image wide."""
        thickness = max(1, round(width * self._supersampling))
        cv2.polylines(self.pixels, [self._fixed(curve)], closed, (int(tone),), thickness, cv2.LINE_AA, _SUBPIXEL_BITS)

    def lines(self, curves: np.ndarray, tone: float, width: float) -> None:
        """Draws along many open curves [m, n, 2] of one tone."""
        thickness = max(1, round(width * self._supersampling))
        cv2.polylines(
            self.pixels, list(self._fixed(curves)), False, (int(tone),), thickness, cv2.LINE_AA, _SUBPIXEL_BITS
        )

    def disc(self, center: np.ndarray, radius: float, tone: float) -> None:
        """Fills a circle."""
        x, y = self._fixed(center)
        cv2.circle(
            self.pixels, (int(x), int(y)), int(radius * self._factor), (int(tone),), -1, cv2.LINE_AA, _SUBPIXEL_BITS
        )

    def blend(self, curve: np.ndarray, tone: float, share: float, softness: float) -> None:
        """Mixes a share of the tone into the closed curve [n, 2], whose edge is blurred by `softness` pixels."""
        mask = np.zeros_like(self.pixels)
        cv2.fillPoly(mask, [self._fixed(curve)], (255,), cv2.LINE_AA, _SUBPIXEL_BITS)
        reach = 3.0 * softness + 1.0
        left, top = np.maximum((curve.min(axis=0) - reach) * self._supersampling, 0).astype(int)
        right, bottom = np.maximum((curve.max(axis=0) + reach) * self._supersampling, 1).astype(int)
        area = slice(top, bottom), slice(left, right)
        soft = cv2.GaussianBlur(mask[area], (0, 0), softness * self._supersampling)
        below = self.pixels[area]
        self.pixels[area] = below + np.float32(share / 255.0) * soft * (np.float32(tone) - below)

    def _fixed(self, curve: np.ndarray) -> np.ndarray:
        # OpenCV's origin is the middle of the first pixel, ours is that pixel's corner.
        return (curve * self._factor - (1 << (_SUBPIXEL_BITS - 1))).astype(np.int32)


def paint(
    geometry: Geometry, units: ActionUnits, look: Appearance, light: Light, random: np.random.Generator
) -> np.ndarray:
    """The face before the camera: float32 [96, 96], 0 to about 300 where light is strong."""
    albedo = _albedo(geometry, look, random)
    figure = _figure(geometry.curves, look).astype(np.float32) / 255.0
    shading = _lamp(geometry, light) * _hollows(geometry, units, look) * _folds(geometry, units, look)
    return albedo * (1.0 + figure * (shading - 1.0))


def _albedo(geometry: Geometry, look: Appearance, random: np.random.Generator) -> np.ndarray:
    canvas = Canvas(look.background[0], _SUPERSAMPLING)
    _paint_background(canvas, look, random)
    _paint_head(canvas, geometry, look)
    for side in SIDES:
        _paint_eye(canvas, geometry, look, side)
        canvas.fill(geometry.curves[f'{side}_brow_hair'], min(0.75 * look.hair + 0.2 * look.skin, 0.75 * look.skin))
    _paint_nose(canvas, geometry, look)
    if look.moustache > 0.0:
        _paint_moustache(canvas, geometry, look)
    _paint_mouth(canvas, geometry, look)
    _paint_hair(canvas, geometry, look, random)
    if look.glasses > 0.0:
        _paint_glasses(canvas, geometry, look)
    return cv2.resize(canvas.pixels, (SIZE, SIZE), interpolation=cv2.INTER_AREA).astype(np.float32)


def _paint_background(canvas: Canvas, look: Appearance, random: np.random.Generator) -> None:
    """A few large shapes of another tone, such as walls, windows and shelves make."""
    first, second = look.background
    for _ in range(random.integers(4)):
        corner, size = random.uniform(-10.0, 90.0, 2), random.uniform(10.0, 60.0, 2)
        lean = random.uniform(-10.0, 10.0)
        box = corner + size * np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
        box[2:, 0] += lean
        canvas.fill(box, np.clip(second + random.normal(0.0, 0.2) * (second - first), 0.0, 255.0))


def _paint_head(canvas: Canvas, geometry: Geometry, look: Appearance) -> None:
    curves = geometry.curves
    if look.hair_style == 'long':
        _fill_long_hair(canvas, curves, 0.8 * look.hair)
    canvas.fill(curves['neck'], 0.86 * look.skin)
    canvas.fill(curves['shoulders'], look.clothes)
    for side in SIDES:
        canvas.fill(curves[f'{side}_ear'], 0.9 * look.skin)
        canvas.line(0.4 * curves[f'{side}_ear'].mean(axis=0) + 0.6 * curves[f'{side}_ear'], 0.72 * look.skin, 0.7)
    canvas.fill(curves['face'], look.skin)
    if look.beard > 0.0:
        lower_face = curves['face'][len(curves['face']) // 4 : 3 * len(curves['face']) // 4 + 1]
        canvas.blend(
            np.concatenate([lower_face, curves['cheek_line']]), look.hair, 0.7 * look.beard, 2.0 * geometry.scale
        )


def _fill_long_hair(canvas: Canvas, curves: Curves, tone: float) -> None:
    canvas.fill(np.concatenate([curves['crown'], curves['left_lock'][:4], curves['right_lock'][3::-1]]), tone)


def _paint_eye(canvas: Canvas, geometry: Geometry, look: Appearance, side: str) -> None:
    """White, iris and pupil, then the lids over what of the iris the opening does not show."""
    curves, scale = geometry.curves, geometry.scale
    upper, lower = curves[f'{side}_lid_upper'], curves[f'{side}_lid_lower']
    center, iris = curves[f'{side}_eye_center'][0], curves[f'{side}_iris']
    canvas.fill(np.concatenate([upper, lower[::-1]]), 150.0 + 0.3 * look.skin)
    canvas.fill(iris, look.iris)
    canvas.fill(0.5 * (center + iris), 0.35 * look.iris)
    canvas.disc(center + np.array([-0.9, -1.0]) * scale, 0.7 * scale, 225.0)
    crease, pouch = curves[f'{side}_lid_crease'], curves[f'{side}_pouch']
    canvas.fill(np.concatenate([upper, crease[::-1]]), 0.93 * look.skin)
    canvas.fill(np.concatenate([lower, pouch[::-1]]), look.skin)
    canvas.line(upper, 0.22 * look.skin, 1.1 * scale)
    canvas.line(lower, 0.55 * look.skin, 0.5 * scale)
    canvas.line(crease, 0.72 * look.skin, 0.5 * scale)


def _paint_nose(canvas: Canvas, geometry: Geometry, look: Appearance) -> None:
    for side in SIDES:
        canvas.line(geometry.curves[f'{side}_nostril'], 0.32 * look.skin, 1.5 * geometry.scale)


def _paint_moustache(canvas: Canvas, geometry: Geometry, look: Appearance) -> None:
    curves = geometry.curves
    area = np.concatenate([curves['lip_upper'], curves['moustache'][::-1]])
    canvas.blend(area, look.hair, 0.8 * look.moustache, 0.7 * geometry.scale)


def _paint_mouth(canvas: Canvas, geometry: Geometry, look: Appearance) -> None:
    curves, scale = geometry.curves, geometry.scale
    upper, lower = curves['mouth_upper'], curves['mouth_lower']
    canvas.fill(np.concatenate([curves['lip_upper'], upper[::-1]]), 0.9 * look.lips)
    canvas.fill(np.concatenate([lower, curves['lip_lower'][::-1]]), look.lips)
    canvas.fill(np.concatenate([upper, lower[::-1]]), 0.22 * look.lips)
    canvas.fill(np.concatenate([upper, curves['teeth'][::-1]]), 215.0)
    canvas.line(upper, 0.4 * look.lips, 0.8 * scale)
    canvas.line(lower, 0.5 * look.lips, 0.5 * scale)


def _paint_hair(canvas: Canvas, geometry: Geometry, look: Appearance, random: np.random.Generator) -> None:
    curves = geometry.curves
    edge = _hair_edge(curves, look)
    if edge is None:
        return
    crown = curves['crown']
    canvas.fill(np.concatenate([crown, edge[::-1]]), look.hair)
    if look.hair_style == 'long':
        for side in SIDES:
            canvas.fill(curves[f'{side}_lock'], 0.92 * look.hair)
    tones = (0.75 * look.hair, look.hair, 1.15 * look.hair + 8.0, 1.35 * look.hair + 14.0)
    for tone, strands in zip(tones, _strands(crown, edge, random), strict=True):
        canvas.lines(strands, min(tone, 255.0), 0.6 * geometry.scale)


def _strands(crown: np.ndarray, edge: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Four tufts of twelve strands, [4, 12, 3, 2], from the crown to the hair's edge or a little beyond it."""
    share = random.uniform(0.08, 0.92, (4, 12))
    start, end = crown[(share * len(crown)).astype(int)], edge[(share * len(edge)).astype(int)]
    end = end + random.uniform(0.0, 0.08, (4, 12, 1)) * (end - start) + random.normal(0.0, 1.0, (4, 12, 2))
    bend = 0.5 * (start + end) + random.normal(0.0, 1.5, (4, 12, 2))
    return np.stack([start, bend, end], axis=2)


def _hair_edge(curves: Curves, look: Appearance) -> np.ndarray | None:
    if look.hair_style == 'bald':
        return None
    return curves[{'receding': 'receding', 'fringe': 'fringe'}.get(look.hair_style, 'hairline')]


def _paint_glasses(canvas: Canvas, geometry: Geometry, look: Appearance) -> None:
    """Two round lenses about the eyes, a bridge and the temples."""
    curves, scale = geometry.curves, geometry.scale
    turn = np.linspace(0.0, 2.0 * np.pi, 25)[:-1]
    tone, width = 30.0 + 60.0 * (1.0 - look.glasses), (0.7 + 0.8 * look.glasses) * scale
    rims = {}
    for side in SIDES:
        inner, outer = curves[f'{side}_lid_upper'][[0, -1]]
        along = 0.5 * (outer - inner) * 1.42
        down = np.array([-along[1], along[0]]) * (1.0 if side == 'left' else -1.0)
        middle = curves[f'{side}_eye_center'][0] + 0.12 * down
        squircle = (
            np.sign(np.cos(turn)) * np.abs(np.cos(turn)) ** 0.7,
            np.sign(np.sin(turn)) * np.abs(np.sin(turn)) ** 0.7,
        )
        rims[side] = middle + np.outer(squircle[0], along) + 0.78 * np.outer(squircle[1], down)
        if look.tint > 0.0:
            canvas.blend(rims[side], 15.0, look.tint, 0.3)
        canvas.line(rims[side], tone, width, closed=True)
        ear = curves[f'{side}_ear'].mean(axis=0)
        canvas.line(np.stack([rims[side][0], 0.8 * ear + 0.2 * rims[side][0]]), tone, width)
    canvas.line(np.stack([rims['left'][12], rims['right'][12]]), tone, width)


def _figure(curves: Curves, look: Appearance) -> np.ndarray:
    """Which pixels show the person, uint8 [96, 96]."""
    mask = Canvas(0)
    for name in ('neck', 'shoulders', 'left_ear', 'right_ear', 'face'):
        mask.fill(curves[name], 255)
    if look.hair_style == 'long':
        _fill_long_hair(mask, curves, 255)
    elif look.hair_style != 'bald':
        mask.fill(curves['crown'], 255)
    return mask.pixels


def _lamp(geometry: Geometry, light: Light) -> np.ndarray:
    """Lambert's law on the head's ellipsoid, float32 [96, 96], about 1 on average."""
    face = geometry.curves['face']
    low, high = face.min(axis=0), face.max(axis=0)
    middle, radius = 0.5 * (low + high), 0.52 * (high - low)
    axis = np.arange(SIZE, dtype=np.float32) + np.float32(0.5)
    x, y = ((axis - middle[0]) / radius[0]).astype(np.float32), ((axis - middle[1]) / radius[1]).astype(np.float32)
    toward = np.sqrt(np.maximum(1.0 - x[None, :] ** 2 - y[:, None] ** 2, 0.06))
    distance = np.sqrt(1.0 + light.x**2 + light.y**2)
    lambert = (x[None, :] * light.x + y[:, None] * light.y + toward) / distance
    return light.ambient + (1.0 - light.ambient) * 1.35 * np.maximum(lambert, 0.0).astype(np.float32)


def _hollows(geometry: Geometry, units: ActionUnits, look: Appearance) -> np.ndarray:
    """Soft shading, float32 [96, 96]: eye sockets, sides of the nose, cheeks, below the lip, below the hair."""
    curves, scale = geometry.curves, geometry.scale
    layer = Canvas(_NEUTRAL)
    layer.fill(curves['neck'], 96)
    layer.fill(curves['face'], _NEUTRAL)
    edge = _hair_edge(curves, look)
    if edge is not None:
        layer.line(edge, 104, 3.0 * scale)
        layer.line(0.5 * (edge[2:-2] + curves['crown'][7:-7]), 150, 5.0 * scale)
    for side in SIDES:
        brow, pouch = curves[f'{side}_brow'], curves[f'{side}_pouch']
        layer.fill(np.concatenate([brow[:7], pouch[::-1]]), 112 - 10 * units.brow_lowerer)
        layer.disc(curves[f'{side}_cheek'][0], 5.5 * scale, 134 + 12 * units.cheek_raiser)
        layer.line(curves[f'{side}_nose_side'], 114, 2.4 * scale)
        layer.line(curves[f'{side}_fold'], 120 - 14 * units.lip_corner_puller, 2.0 * scale)
    layer.line(curves['nose_ridge'], 143, 2.4 * scale)
    layer.disc(curves['nose_tip'][0], 2.4 * scale, 150)
    layer.line(curves['nose_base'] + np.array([0.0, 1.6 * scale]), 98, 2.0 * scale)
    layer.line(curves['chin_fold'], 104 - 10 * units.chin_raiser, 2.0 * scale)
    return _blur(layer, 1.7 * scale)


def _folds(geometry: Geometry, units: ActionUnits, look: Appearance) -> np.ndarray:
    """Sharp shading, float32 [96, 96]: the folds that the action units cut, deeper with age."""
    curves = geometry.curves
    layer = Canvas(_NEUTRAL)

    def cut(curve: np.ndarray, depth: float) -> None:
        if depth > 0.05:
            layer.line(curve, max(_NEUTRAL - 62.0 * min(depth, 1.1), 50.0), geometry.scale)

    cut(curves['forehead_lower'], 0.7 * units.inner_brow_raiser * (0.4 + 0.6 * look.age) + 0.2 * look.age)
    cut(curves['forehead_upper'], 0.6 * units.inner_brow_raiser * units.outer_brow_raiser + 0.2 * look.age)
    for side in SIDES:
        smile = max(units.lip_corner_puller, units.nose_wrinkler, 0.8 * units.upper_lip_raiser)
        cut(curves[f'{side}_fold'], 0.75 * smile + 0.35 * look.age)
        cut(curves[f'{side}_corner_fold'], 0.8 * units.lip_corner_depressor + 0.2 * look.age)
        cut(curves[f'{side}_glabella'], 0.9 * units.brow_lowerer)
        cut(curves[f'{side}_nose_wrinkle'], units.nose_wrinkler)
        cut(curves[f'{side}_nose_wrinkle_lower'], 0.9 * units.nose_wrinkler)
        cut(curves[f'{side}_crow_upper'], 0.7 * units.cheek_raiser * (0.4 + 0.6 * look.age))
        cut(curves[f'{side}_crow_lower'], 0.7 * units.cheek_raiser * (0.4 + 0.6 * look.age))
        cut(curves[f'{side}_pouch'], 0.15 + 0.4 * units.cheek_raiser + 0.25 * look.age)
        cut(curves[f'{side}_wing'], 0.5)
    edge = _hair_edge(curves, look)
    if edge is not None:
        layer.fill(np.concatenate([curves['crown'], edge[::-1]]), _NEUTRAL)
    return _blur(layer, 0.7)


def _blur(layer: Canvas, sigma: float) -> np.ndarray:
    return cv2.GaussianBlur(layer.pixels, (0, 0), sigma).astype(np.float32) / np.float32(_NEUTRAL)
