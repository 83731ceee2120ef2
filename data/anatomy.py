"""From a person, the action units and the head's pose to named curves and the 15 keypoints.

All lengths are in pixels of the 96x96 image at scale 1. A head has its own frame: the origin at its middle, x to the
person's left (the image's right), y down, z towards the viewer. The features lie on an ellipsoid, some (nose, lips) in
front of it; the head is turned in three dimensions and projected orthographically, so that the keypoints are exact in
every pose.
"""

import itertools
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike

from components import faces
from data.action_units import ActionUnits

Curves = dict[str, np.ndarray]
SIDES: Final = ('left', 'right')

_DEPTH: Final = 24.0  # of the head's ellipsoid
_MIDDLE: Final = (48.0, 47.0)  # where a head lies in the image
_MARGIN: Final = 2.0  # between the outermost keypoints and the border of the image
_LID: Final = np.linspace(-1.0, 1.0, 13)
_LIP: Final = np.linspace(-1.0, 1.0, 17)
_BROW: Final = np.linspace(0.0, 1.0, 9)
_TURN: Final = np.linspace(0.0, 2.0 * np.pi, 49)  # around the head, from the crown by the person's left
_RING_X: Final = np.sin(_TURN[:-1:4])
_RING_Y: Final = -np.cos(_TURN[:-1:4])


@dataclass(frozen=True)
class Identity:
    """What tells one person's face from another's, at rest. Widths are halves: from the middle outwards."""

    face_width: float
    skull_height: float  # from the middle to the crown
    chin_height: float  # from the middle to the chin
    jaw_squareness: float  # exponent of the lower outline: 2 is an ellipse
    eye_height: float
    eye_distance: float  # from the middle to an eye's centre
    eye_width: float
    eye_opening: float
    eye_tilt: float  # by how much the outer corner is higher
    iris_radius: float
    brow_height: float  # above the eye
    brow_gap: float
    brow_length: float
    brow_thickness: float
    brow_arch: float
    brow_asymmetry: float
    nose_length: float
    nose_width: float
    nose_depth: float
    mouth_height: float
    mouth_width: float
    mouth_asymmetry: float
    upper_lip: float
    lower_lip: float
    hairline: float
    hair_volume: float
    parting: float  # by how much the hairline is lower on one side


IDENTITY_SPREAD: Final = {
    'face_width': (32.5, 1.6),
    'skull_height': (48.0, 2.0),
    'chin_height': (41.0, 1.6),
    'jaw_squareness': (2.25, 0.2),
    'eye_height': (-8.0, 0.8),
    'eye_distance': (15.5, 0.9),
    'eye_width': (6.4, 0.55),
    'eye_opening': (5.2, 0.6),
    'eye_tilt': (0.3, 0.5),
    'iris_radius': (2.9, 0.2),
    'brow_height': (9.0, 1.1),
    'brow_gap': (7.4, 0.9),
    'brow_length': (17.5, 1.1),
    'brow_thickness': (2.7, 0.7),
    'brow_arch': (1.8, 0.8),
    'brow_asymmetry': (0.0, 0.5),
    'nose_length': (18.5, 1.4),
    'nose_width': (6.2, 0.8),
    'nose_depth': (9.0, 1.5),
    'mouth_height': (24.3, 1.1),
    'mouth_width': (11.8, 1.1),
    'mouth_asymmetry': (0.0, 0.6),
    'upper_lip': (2.3, 0.6),
    'lower_lip': (3.2, 0.7),
    'hairline': (-30.0, 2.5),
    'hair_volume': (4.0, 1.8),
    'parting': (0.0, 3.0),
}
"""Mean and standard deviation of each measure of `Identity`."""


@dataclass(frozen=True)
class Pose:
    """How a head is held: angles in radians, shifts in pixels."""

    yaw: float  # positive turns the face to the image's right
    pitch: float  # positive lifts the face
    roll: float  # positive turns clockwise in the image
    scale: float
    shift_x: float
    shift_y: float


@dataclass(frozen=True)
class Geometry:
    """A posed face.

    Attributes:
        curves: float arrays [n, 2] by name, in pixels of the image; (0, 0) is the top left corner of its first pixel.
        points: the 15 points of `faces.KEYPOINTS`, float32 [15, 2].
        scale: pixels of the image per unit of length.
    """

    curves: Curves
    points: np.ndarray
    scale: float


def random_identity(random: np.random.Generator) -> Identity:
    """A person: every measure normal about its mean, cut at two standard deviations."""
    spread = np.array(list(IDENTITY_SPREAD.values()))
    values = spread[:, 0] + spread[:, 1] * np.clip(random.normal(size=len(spread)), -2.0, 2.0)
    return Identity(**dict(zip(IDENTITY_SPREAD, values.tolist(), strict=True)))


def random_pose(random: np.random.Generator) -> Pose:
    """A head turned by up to 30, nodding by up to 10 and tilted by up to 22 degrees."""
    yaw, pitch, roll = np.radians(np.clip(random.normal(size=3), -2.2, 2.2) * (13.0, 4.5, 10.0))
    shift_x, shift_y = random.normal(0.0, 2.0, 2)
    return Pose(yaw, pitch, roll, random.uniform(0.96, 1.2), shift_x, shift_y)


def build_geometry(identity: Identity, units: ActionUnits, pose: Pose) -> Geometry:
    """The posed curves and keypoints of a face; the keypoints lie inside the image whatever the pose."""
    on_one_side = _brow(identity, units) | _eye(identity, units) | _nose_side(identity, units)
    on_one_side |= _side_folds(identity, units)
    on_face = _both_sides(on_one_side) | _nose(identity, units) | _mouth(identity, units)
    on_face |= _forehead(identity, units) | _hairline(identity)
    for name in ('right_brow', 'right_brow_hair'):
        on_face[name][:, 1] += identity.brow_asymmetry
    around_face = _outline(identity, units) | _hair(identity)
    every, curves = _project(identity, pose, on_face, around_face)
    points = np.stack([curves[curve][place] for curve, place in _KEYPOINT_PLACES])
    low, high = points.min(axis=0), points.max(axis=0)
    shift = np.maximum(_MARGIN - low, 0.0) - np.maximum(high - (faces.KEYPOINT_SIZE - _MARGIN), 0.0)
    every += shift  # and with it the curves, which are views of it
    return Geometry(curves, (points + shift).astype(np.float32), pose.scale)


def _place(name: str) -> tuple[str, int]:
    """The curve on which a keypoint lies and its index there; curves on a side run from its inner to its outer end."""
    side = 'left' if 'left' in name else 'right'
    if 'mouth' in name:
        ends = {'mouth_left_corner': ('lip_upper', -1), 'mouth_right_corner': ('lip_upper', 0)}
        middle = len(_LIP) // 2
        return ends.get(name) or ('lip_upper' if 'top' in name else 'lip_lower', middle)
    if name == 'nose_tip':
        return 'nose_tip', 0
    if 'center' in name:
        return f'{side}_eye_center', 0
    return f'{side}_{"brow" if "eyebrow" in name else "lid_upper"}', 0 if 'inner' in name else -1


_KEYPOINT_PLACES: Final = tuple(_place(name) for name in faces.KEYPOINTS)


def _curve(x: ArrayLike, y: ArrayLike, protrusion: ArrayLike = 0.0) -> np.ndarray:
    """A curve [n, 3] on the face: x, y and how far it stands out of the ellipsoid."""
    curve = np.empty((max(np.size(x), np.size(y)), 3))
    curve[:, 0], curve[:, 1], curve[:, 2] = x, y, protrusion
    return curve


def _both_sides(curves: Curves) -> Curves:
    """The person's left side, and its mirror image on the right."""
    left = {f'left_{name}': curve for name, curve in curves.items()}
    return left | {f'right_{name}': curve * (-1.0, 1.0, 1.0) for name, curve in curves.items()}


def _brow(identity: Identity, units: ActionUnits) -> Curves:
    """AU1 lifts the inner end, AU2 the outer; AU4 lowers and gathers the inner ends, and so does AU9, less."""
    base = identity.eye_height - identity.brow_height
    frown = units.brow_lowerer + 0.5 * units.nose_wrinkler
    inner_x = identity.brow_gap - 1.8 * frown
    inner_y = base - 6.5 * units.inner_brow_raiser + 5.0 * frown
    outer_x = identity.brow_gap + identity.brow_length
    outer_y = base + 1.5 - 5.0 * units.outer_brow_raiser + 0.8 * frown - 0.6 * units.brow_lowerer
    arch = identity.brow_arch + 1.5 * units.outer_brow_raiser - 1.2 * units.brow_lowerer
    x = inner_x + (outer_x - inner_x) * _BROW
    y = inner_y + (outer_y - inner_y) * _BROW - 4.0 * arch * _BROW * (1.0 - _BROW) * (0.4 + 0.8 * _BROW)
    half = 0.5 * identity.brow_thickness * (1.0 - 0.75 * _BROW**2)
    return {
        'brow': _curve(x, y, 1.0),
        'brow_hair': np.concatenate([_curve(x, y - half, 1.0), _curve(x, y + half, 1.0)[::-1]]),
    }


def _eye(identity: Identity, units: ActionUnits) -> Curves:
    """AU5 lifts the upper lid, AU43 lowers it; AU7 narrows both, AU6 pushes up the lower lid and the pouch below."""
    x = identity.eye_distance + identity.eye_width * _LID
    line = identity.eye_height - identity.eye_tilt * (0.5 + 0.5 * _LID)
    above = 0.6 + 0.4 * units.upper_lid_raiser - 0.22 * units.lid_tightener - 0.12 * units.cheek_raiser
    above -= 0.12 * units.nose_wrinkler + 0.42 * units.eyes_closed
    below = 0.4 + 0.12 * units.upper_lid_raiser - 0.2 * units.lid_tightener - 0.34 * units.cheek_raiser
    above, below = max(above, 0.14) * identity.eye_opening, max(below, 0.02) * identity.eye_opening
    upper = line - above * (1.0 - np.abs(_LID) ** 2.4)
    lower = line + below * (1.0 - _LID**2)
    crease = upper - (2.0 - 0.9 * units.upper_lid_raiser + 0.5 * units.eyes_closed) * (1.0 - 0.6 * _LID**2)
    pouch = lower + (3.4 - 1.4 * units.cheek_raiser) * (1.0 - 0.7 * _LID**2)
    crow = np.array([0.0, 1.0]) * 4.5 + identity.eye_distance + identity.eye_width + 1.2
    corner = identity.eye_height - identity.eye_tilt
    center = identity.eye_distance, identity.eye_height - 0.5 * identity.eye_tilt
    return {
        'lid_upper': _curve(x, upper),
        'lid_lower': _curve(x, lower),
        'lid_crease': _curve(x, crease),
        'pouch': _curve(x, pouch),
        'eye_center': _curve(*center),
        'iris': _curve(center[0] + identity.iris_radius * _RING_X, center[1] + identity.iris_radius * _RING_Y),
        'crow_upper': _curve(crow, (corner - 0.8, corner - 3.0)),
        'crow_lower': _curve(crow, (corner + 0.8, corner + 2.6)),
    }


def _mouth_line(identity: Identity, units: ActionUnits) -> tuple[float, float]:
    """Half width of the mouth and height of its corners: AU12 pulls them out and up, AU15 down, AU23 and AU26 in."""
    width = identity.mouth_width + 3.8 * units.lip_corner_puller + 0.6 * units.lip_corner_depressor
    width -= 1.6 * units.lip_tightener + 2.8 * units.jaw_drop
    height = identity.mouth_height - 5.2 * units.lip_corner_puller + 4.0 * units.lip_corner_depressor
    return width, height + 2.8 * units.jaw_drop - 0.6 * units.upper_lip_raiser


def _mouth(identity: Identity, units: ActionUnits) -> Curves:
    """The lips' outer and inner edges, right corner to left.

    AU25 and AU26 open the mouth, AU10 lifts the upper lip, AU16 lowers the lower one, AU17 pushes both up in the
    middle, AU23 makes them thin.
    """
    width, corner = _mouth_line(identity, units)
    corners = corner - identity.mouth_asymmetry * _LIP
    shut = identity.mouth_height + 0.8 * units.lip_corner_puller - 1.8 * units.chin_raiser
    top = shut - 2.6 * units.upper_lip_raiser - 1.2 * units.nose_wrinkler - 0.8 * units.lips_part
    opening = 3.4 * units.lips_part + 11.0 * units.jaw_drop + 1.6 * units.lower_lip_depressor * units.lips_part
    bottom = top + max(opening - 0.3, 0.0) + 2.0 * units.upper_lip_raiser * units.lips_part
    thin = 1.0 - 0.6 * units.lip_tightener
    upper_lip = identity.upper_lip * thin * (1.0 - 0.3 * units.lip_corner_puller)
    lower_lip = identity.lower_lip * thin * (1.0 - 0.2 * units.lip_corner_puller) + 1.4 * units.lower_lip_depressor
    arc = 1.0 - _LIP**2
    round_arc = (1.0 - units.jaw_drop) * arc + units.jaw_drop * np.sqrt(arc)
    square_arc = round_arc + 0.35 * units.upper_lip_raiser * arc * _LIP**2 * 4.0
    bow = arc**0.8 * (1.0 - 0.28 * np.exp(-((_LIP / 0.2) ** 2)))
    inner_upper = corners + (top - corners) * square_arc
    inner_lower = np.maximum(corners + (bottom - corners) * round_arc, inner_upper)
    bared = max(units.lip_corner_puller, units.upper_lip_raiser, units.lower_lip_depressor)
    teeth = np.minimum(inner_upper + 1.0 + 3.2 * bared, 0.25 * inner_upper + 0.75 * inner_lower)
    x = width * _LIP
    lip = 2.5 * arc
    return {
        'lip_upper': _curve(x, inner_upper - upper_lip * bow, lip),
        'lip_lower': _curve(x, inner_lower + lower_lip * arc**0.75, lip),
        'mouth_upper': _curve(x, inner_upper, lip),
        'mouth_lower': _curve(x, inner_lower, lip),
        'teeth': _curve(0.94 * x, teeth, 0.8 * lip),
        'moustache': _curve(1.05 * x, inner_upper - upper_lip * bow - 3.6 * arc**0.6, 0.8 * lip),
        'chin_fold': _curve(0.5 * x, inner_lower + lower_lip * arc**0.5 + 2.2 - 1.2 * arc, 0.5 * lip),
    }


def _nose(identity: Identity, units: ActionUnits) -> Curves:
    """AU9 draws the nose up and wrinkles its root; AU12 widens the nostrils."""
    tip, width = _nose_tip(identity, units)
    depth = identity.nose_depth
    ridge = np.array([0.0, 0.35, 0.7, 1.0])
    root = identity.eye_height - 1.0
    return {
        'nose_tip': _curve(0.0, tip, depth),
        'nose_ridge': _curve(0.0, root + (tip - root) * ridge, 2.0 + (depth - 2.0) * ridge),
        'nose_base': _curve(np.array([-0.55, 0.0, 0.55]) * width, tip + np.array([2.8, 3.6, 2.8]), 0.55 * depth),
    }


def _nose_tip(identity: Identity, units: ActionUnits) -> tuple[float, float]:
    """Height of the tip and half width of the nose."""
    tip = identity.eye_height + identity.nose_length - 1.6 * units.nose_wrinkler
    return tip, identity.nose_width * (1.0 + 0.16 * units.nose_wrinkler + 0.1 * units.lip_corner_puller)


def _nose_side(identity: Identity, units: ActionUnits) -> Curves:
    tip, width = _nose_tip(identity, units)
    eye, depth = identity.eye_height, identity.nose_depth
    wing = tip + 1.2 - 1.2 * units.nose_wrinkler
    return {
        'nostril': _curve((0.3 * width, 0.68 * width), (tip + 3.0, tip + 2.6), 0.5 * depth),
        'wing': _curve(width * np.array([0.8, 1.0, 1.0, 0.78]), wing + np.array([-2.8, -1.4, 0.8, 2.0]), 0.3 * depth),
        'nose_side': _curve(
            (3.4, 2.6, 3.0, 0.7 * width), (eye - 5.0, eye, 0.5 * (eye + tip), tip), (1.0, 2.0, 3.0, 0.4 * depth)
        ),
        'nose_wrinkle': _curve((0.6, 2.0, 3.6), eye + np.array([1.2, 1.8, 3.4]), 3.0),
        'nose_wrinkle_lower': _curve((0.8, 2.4, 4.2), eye + np.array([4.2, 4.9, 6.8]), 4.0),
    }


def _side_folds(identity: Identity, units: ActionUnits) -> Curves:
    """The nasolabial fold (AU9, AU10, AU12), the fold below the mouth's corner (AU15), the cheek, which AU6 lifts, and
    the upright fold at the brow's inner end (AU4).
    """
    width, corner = _mouth_line(identity, units)
    wing = identity.eye_height + identity.nose_length - 2.0 * units.nose_wrinkler
    bulge = 1.5 + 2.5 * units.lip_corner_puller + 1.2 * units.nose_wrinkler
    x = np.array([identity.nose_width + 0.8, identity.nose_width + 2.6 + 0.8 * bulge, width + 1.2 + bulge, width + 2.6])
    y = np.array([wing - 0.5, wing + 3.0, 0.4 * wing + 0.6 * corner, corner + 0.8 - 1.5 * units.lip_corner_puller])
    brow = identity.eye_height - identity.brow_height
    cheek_height = identity.eye_height + 13.5 - 2.5 * units.cheek_raiser
    return {
        'fold': _curve(x, y, 0.5),
        'corner_fold': _curve(width + np.array([0.6, 1.4, 1.6]), corner + np.array([0.4, 2.4, 5.4])),
        'cheek': _curve(identity.eye_distance + 1.5, cheek_height),
        'glabella': _curve((2.4, 2.0, 2.6), brow + np.array([-1.5, 3.0, 6.5]) + 1.5 * units.brow_lowerer, 1.0),
    }


def _forehead(identity: Identity, units: ActionUnits) -> Curves:
    """Lines across the forehead (AU1, AU2)."""
    brow = identity.eye_height - identity.brow_height - 5.0 * units.inner_brow_raiser
    x = np.linspace(-1.0, 1.0, 9)
    width = 9.0 + 8.0 * units.outer_brow_raiser
    sag = 2.0 * (1.0 - units.outer_brow_raiser) * (1.0 - x**2)
    return {
        'forehead_lower': _curve(width * x, brow - 4.5 - sag),
        'forehead_upper': _curve(0.9 * width * x, brow - 8.5 - sag),
    }


def _outline(identity: Identity, units: ActionUnits) -> Curves:
    """Silhouettes: the third value is the depth itself. AU26 lengthens the chin."""
    x, y = np.sin(_TURN), -np.cos(_TURN)
    chin = identity.chin_height + 5.5 * units.jaw_drop
    radius = (np.abs(x) ** identity.jaw_squareness + np.abs(y) ** identity.jaw_squareness) ** (
        -1.0 / identity.jaw_squareness
    )
    radius = np.where(y > 0.0, radius * (1.0 - 0.1 * np.abs(x * y) ** 2), 1.0)
    face_x, face_y = identity.face_width * x * radius, np.where(y > 0.0, chin * radius, identity.skull_height) * y
    neck = 0.62 * identity.face_width
    neck_y = np.array([0.5 * chin, chin, chin + 30.0, chin + 30.0, chin, 0.5 * chin])
    ear = {'ear': _curve(identity.face_width + 1.0 + 3.4 * _RING_X, 1.0 + 9.0 * _RING_Y, -8.0)}
    return _both_sides(ear) | {
        'face': _curve(face_x, face_y),
        'neck': _curve(neck * np.array([1.0, 0.95, 1.1, -1.1, -0.95, -1.0]), neck_y, -6.0),
        'shoulders': _curve(np.array([-60.0, -24.0, 0.0, 24.0, 60.0]), chin + np.array([26.0, 10.0, 15.0, 10.0, 26.0])),
    }


def _hairline(identity: Identity) -> Curves:
    """Where hair ends, temple to temple: combed back, receding or in a fringe; and where a beard begins."""
    x = np.linspace(-1.0, 1.0, 15)
    temple = 0.97 * identity.face_width * x
    fringe = 0.5 * identity.hairline - 10.5
    slant = identity.parting * x * (1.0 - x**2)
    return {
        'hairline': _curve(temple, identity.hairline + slant + (3.0 - identity.hairline) * np.abs(x) ** 5),
        'receding': _curve(temple, identity.hairline - 8.0 + (9.0 - identity.hairline) * np.abs(x) ** 4 + 4.0 * x**2),
        'fringe': _curve(temple, fringe + slant - 3.0 * np.sin(9.0 * x) ** 2 + (4.0 - fringe) * np.abs(x) ** 6),
        'cheek_line': _curve(temple, identity.eye_height + 12.0 + 20.0 * (1.0 - x**2) - 9.0 * (1.0 - x**2) ** 6),
    }


def _hair(identity: Identity) -> Curves:
    """Silhouettes of the hair: over the skull from ear to ear, and long hair down to the shoulders."""
    turn = np.radians(np.linspace(-98.0, 98.0, 25))
    volume = identity.hair_volume * np.sqrt(np.maximum(np.cos(0.9 * turn), 0.0))
    x, y = (identity.face_width + 0.6 * volume) * np.sin(turn), -(identity.skull_height + volume) * np.cos(turn)
    outer = identity.face_width + identity.hair_volume * np.array([0.6, 1.6, 2.2, 1.6])
    inner = identity.face_width * np.array([0.93, 0.95, 0.93, 0.88])
    lock = _curve(np.concatenate([outer, inner]), (6.0, 20.0, 40.0, 70.0, 70.0, 40.0, 14.0, -14.0), -6.0)
    return _both_sides({'lock': lock}) | {'crown': _curve(x, y, -6.0)}


def _project(identity: Identity, pose: Pose, on_face: Curves, around_face: Curves) -> tuple[np.ndarray, Curves]:
    """Turns, projects, tilts, scales and places all curves.

    Returns:
        All points of all curves, [n, 2] in pixels of the image, and the curves by name, views of it.
    """
    lengths = {name: len(curve) for name, curve in (on_face | around_face).items()}
    start = sum(len(curve) for curve in on_face.values())
    x, y, z = np.concatenate([*on_face.values(), *around_face.values()]).T.copy()
    inside = 1.0 - (x[:start] / (1.03 * identity.face_width)) ** 2 - (y[:start] / (1.05 * identity.skull_height)) ** 2
    z[:start] += _DEPTH * np.sqrt(np.maximum(inside, 0.02))
    # A turned ellipsoid shows another outline than the one it shows from the front.
    cosine, sine = np.cos(pose.yaw), np.sin(pose.yaw)
    x[start:] *= np.hypot(cosine, _DEPTH / identity.face_width * sine) / cosine
    turned_x = x * cosine + z * sine
    turned_y = y * np.cos(pose.pitch) - z * np.sin(pose.pitch)
    every = np.empty((len(x), 2))
    every[:, 0] = turned_x * np.cos(pose.roll) - turned_y * np.sin(pose.roll)
    every[:, 1] = turned_x * np.sin(pose.roll) + turned_y * np.cos(pose.roll)
    every *= pose.scale
    every += (_MIDDLE[0] + pose.shift_x, _MIDDLE[1] + pose.shift_y)
    ends = itertools.accumulate(lengths.values())
    return every, {name: every[end - lengths[name] : end] for name, end in zip(lengths, ends, strict=True)}
