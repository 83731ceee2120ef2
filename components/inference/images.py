"""Encoded images to what the networks see, without TensorFlow: the same figures as Transform's graph gives.

What is encoded comes from outside: its size is known and bounded before a pixel is decoded.
"""

import functools
import io
from typing import Final

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from components.errors import StepError

FORMATS: Final = ('JPEG', 'PNG', 'BMP', 'GIF', 'WEBP')
MODES: Final = ('1', 'L', 'LA', 'P', 'PA', 'RGB', 'RGBA', 'RGBX')
"""Pillow's names of the pixels that are read: 8 bits a channel, grey or colour; transparency is left out."""

MAXIMUM_PIXELS: Final = 50_000_000
"""Of one image, width times height; a telephone's camera has up to 50 megapixels."""

MINIMUM_SIDE: Final = 2
GREY_WEIGHTS: Final = np.array([0.299, 0.587, 0.114], np.float32)
"""ITU-R BT.601 luma, as Transform's graph has it."""


class ImageError(StepError):
    """These bytes are no image that can be read; the message says why."""


def decode(encoded: bytes, maximum_pixels: int = MAXIMUM_PIXELS, upright: bool = False) -> np.ndarray:
    """One encoded image to uint8 `[height, width, 3]`, RGB.

    Args:
        encoded: JPEG, PNG, BMP, WebP, or a GIF of one picture.
        maximum_pixels: a larger image is refused before it is decoded.
        upright: whether a photograph is turned as its EXIF orientation says. TensorFlow does not, and so the models'
            own contract does not either.

    Raises:
        ImageError: it is none of these, broken, animated, CMYK, of 16 bits a channel, too large or too small.
    """
    try:
        with Image.open(io.BytesIO(encoded), formats=FORMATS) as image:
            _demand_readable(image, encoded, maximum_pixels)
            image.load()
            if upright:
                ImageOps.exif_transpose(image, in_place=True)
            return np.asarray(image.convert('RGB'))
    except ImageError:
        raise
    except UnidentifiedImageError as error:
        raise ImageError('This is no image that can be read: send JPEG, PNG, WebP, BMP or GIF.') from error
    except Image.DecompressionBombError as error:
        raise ImageError(_too_large(maximum_pixels)) from error
    except Exception as error:
        # Pillow's decoders meet broken files with errors of many kinds.
        raise ImageError(f'The image is broken or cut short ({type(error).__name__}): send the whole file.') from error


def to_grey(colour: np.ndarray) -> np.ndarray:
    """uint8 `[height, width, 3]` to float32 `[height, width]` in 0..255."""
    return colour.astype(np.float32) @ GREY_WEIGHTS


def resize(grey: np.ndarray, size: int) -> np.ndarray:
    """float32 `[height, width]` to `[size, size]`, as `tf.image.resize(…, antialias=True)` does it: bilinear, with the
    kernel widened by the factor by which the image shrinks."""
    height, width = grey.shape
    return _weights(height, size) @ grey @ _weights(width, size).T


@functools.lru_cache(maxsize=64)
def _weights(length: int, size: int) -> np.ndarray:
    """float32 `[size, length]`: the share of each pixel of a line in each pixel of the resized one."""
    scale = length / size
    centres = (np.arange(size) + 0.5) * scale
    distance = np.abs(np.arange(length) + 0.5 - centres[:, None]) / max(scale, 1.0)
    shares = np.maximum(0.0, 1.0 - distance)
    return (shares / shares.sum(axis=1, keepdims=True)).astype(np.float32)


def _demand_readable(image: Image.Image, encoded: bytes, maximum_pixels: int) -> None:
    if min(image.size) < MINIMUM_SIDE:
        raise ImageError(
            f'The image is {image.width}x{image.height} pixels: send one of {MINIMUM_SIDE}x{MINIMUM_SIDE} or more.'
        )
    if image.width * image.height > maximum_pixels:
        raise ImageError(_too_large(maximum_pixels))
    if getattr(image, 'n_frames', 1) > 1:
        raise ImageError('The image is animated: send one picture of it.')
    if image.format == 'PNG' and encoded[24] > 8 or image.mode not in MODES:
        kind = 'of 16 bits a channel' if image.format == 'PNG' else image.mode
        raise ImageError(f'The image is {kind}: send grey or RGB with 8 bits a channel.')


def _too_large(maximum_pixels: int) -> str:
    return f'The image has more than {maximum_pixels / 1e6:g} megapixels: send a smaller one.'
