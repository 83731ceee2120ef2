"""Changes to a grey image that a model should bear, and those by which it may fail, as operations on pixels.

Images are uint8 `[height, width]`; points float `[n, 15, 2]`, x and y in pixels of their own image with the origin at
the top left corner of its first pixel; sizes float `[n, 2]`, the images' width and height. Whatever depends on the
resolution is given in pixels of an image 48 wide, and grows with the image.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np

from components import faces
from components.ingest.images import to_png

SHIFT: Final = 0.04  # of the width: 2 px of 48
BRIGHTNESS: Final = 0.1
JPEG_QUALITY: Final = 60
BLUR: Final = 0.5  # standard deviation in px of 48

_GREY: Final = 128


def mirror(image: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(image[:, ::-1])


def mirror_points(points: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """The points of a mirrored face: left ones become right ones. Its own inverse."""
    mirrored = points[:, faces.FLIP_ORDER]
    return np.stack([sizes[:, None, 0] - mirrored[..., 0], mirrored[..., 1]], axis=-1)


def shift(image: np.ndarray, right: int, down: int) -> np.ndarray:
    """The image moved by whole pixels; what comes from outside repeats its edge."""
    height, width = image.shape
    rows = np.clip(np.arange(height) - down, 0, height - 1)
    columns = np.clip(np.arange(width) - right, 0, width - 1)
    return image[np.ix_(rows, columns)]


def brighten(image: np.ndarray, factor: float) -> np.ndarray:
    """All pixels times the factor, cut off at white."""
    return np.clip(np.rint(image * factor), 0, 255).astype(np.uint8)


def blur(image: np.ndarray, deviation: float) -> np.ndarray:
    """A Gaussian blur whose standard deviation is given in pixels of 48; the edge is repeated."""
    if not deviation:
        return image
    pixels = deviation * image.shape[1] / faces.EXPRESSION_SIZE
    return cv2.GaussianBlur(image, (0, 0), pixels, borderType=cv2.BORDER_REPLICATE)


def add_noise(image: np.ndarray, deviation: float, random: np.random.Generator) -> np.ndarray:
    """Gaussian noise of this standard deviation, in grey levels, independent in every pixel."""
    return np.clip(np.rint(image + deviation * random.standard_normal(image.shape)), 0, 255).astype(np.uint8)


def rotate(image: np.ndarray, degrees: float) -> np.ndarray:
    """The image turned clockwise about its centre, bilinear; what comes from outside repeats its edge."""
    height, width = image.shape
    # OpenCV's origin is the middle of the first pixel, and its angles turn the other way.
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), -degrees, 1.0)
    return cv2.warpAffine(image, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def rotate_points(points: np.ndarray, sizes: np.ndarray, degrees: float) -> np.ndarray:
    """The points turned clockwise about their images' centres."""
    cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    centres = sizes[:, None] / 2
    return (points - centres) @ np.array([[cosine, sine], [-sine, cosine]]) + centres


def occlude(image: np.ndarray, side: float, random: np.random.Generator) -> np.ndarray:
    """A grey square over a part of the image that is drawn anew for each `random`.

    Args:
        image: the face.
        side: of the square, as a share of the image's width; it lies within the image, whatever the image has room for.
        random: of which the square's place is drawn.
    """
    height, width = image.shape
    across = round(side * width)
    down = min(across, height)
    left, top = (random.random(2) * (width - across + 1, height - down + 1)).astype(int)
    covered = image.copy()
    covered[top : top + down, left : left + across] = _GREY
    return covered


def to_jpeg(image: np.ndarray, quality: int) -> bytes:
    return cv2.imencode('.jpg', image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()


def _unmoved(points: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    return points


@dataclass(frozen=True)
class Perturbation:
    """A change after which a face shows the same expression.

    Attributes:
        apply: to an image; gives an encoded one.
        undo: takes the points found in the changed images, and their sizes, to where they lie in the images before.
    """

    apply: Callable[[np.ndarray], bytes]
    undo: Callable[[np.ndarray, np.ndarray], np.ndarray] = _unmoved


def _shifted(right: int, down: int) -> Perturbation:
    def pixels(width: float) -> int:
        return round(SHIFT * width)

    def apply(image: np.ndarray) -> bytes:
        step = pixels(image.shape[1])
        return to_png(shift(image, right * step, down * step))

    def undo(points: np.ndarray, sizes: np.ndarray) -> np.ndarray:
        steps = np.array([pixels(width) for width in sizes[:, 0]])
        return points - steps[:, None, None] * np.array([right, down])

    return Perturbation(apply, undo)


def _brightened(factor: float) -> Perturbation:
    return Perturbation(lambda image: to_png(brighten(image, factor)))


PERTURBATIONS: Final[dict[str, tuple[Perturbation, ...]]] = {
    'mirror': (Perturbation(lambda image: to_png(mirror(image)), mirror_points),),
    'shift': (_shifted(1, 0), _shifted(-1, 0), _shifted(0, 1), _shifted(0, -1)),
    'brightness': (_brightened(1 - BRIGHTNESS), _brightened(1 + BRIGHTNESS)),
    'jpeg': (Perturbation(functools.partial(to_jpeg, quality=JPEG_QUALITY)),),
    'blur': (Perturbation(lambda image: to_png(blur(image, BLUR))),),
}
"""The variants of each test, by its name in the settings' limits."""

EQUIVARIANCES: Final = ('mirror', 'shift')
"""The tests that move the points."""


@dataclass(frozen=True)
class Degradation:
    """A change that grows until no model can bear it.

    Attributes:
        name: what it is.
        unit: of its strengths.
        strengths: rising from 0, the image as it came.
        apply: to an image, at a strength; the same `random` covers the same place and makes the same noise.
        undo: as of a Perturbation, at a strength.
    """

    name: str
    unit: str
    strengths: tuple[float, ...]
    apply: Callable[[np.ndarray, float, np.random.Generator], np.ndarray]
    undo: Callable[[np.ndarray, np.ndarray, float], np.ndarray] = lambda points, sizes, strength: points


DEGRADATIONS: Final = (
    Degradation('blur', 'px of 48', (0, 0.5, 1, 2, 3), lambda image, strength, random: blur(image, strength)),
    Degradation('noise', 'grey levels of 255', (0, 10, 20, 40, 60), add_noise),
    Degradation(
        'darkness',
        '% of the light',
        (0, 20, 40, 60, 80),
        lambda image, strength, random: brighten(image, 1 - strength / 100),
    ),
    Degradation(
        'rotation',
        'degrees',
        (0, 10, 20, 30, 45),
        lambda image, strength, random: rotate(image, strength),
        lambda points, sizes, strength: rotate_points(points, sizes, -strength),
    ),
    Degradation(
        'occlusion',
        '% of the width',
        (0, 10, 20, 35, 50),
        lambda image, strength, random: occlude(image, strength / 100, random),
    ),
)
"""What the curves are drawn of."""
