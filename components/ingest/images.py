"""Pixels from text and from image files, and back to PNG."""

import base64
import hashlib
import io

import cv2
import numpy as np
from PIL import Image

MINIMUM_SIDE = 16
MAXIMUM_FILE_BYTES = 64 << 20
_PICTURE_SIDE = 96


class UnreadableError(Exception):
    """A row that cannot be used.

    Attributes:
        reason: fixed, short and countable.
        detail: what this row has.
        image: the row's pixels, where they could be decoded.
    """

    def __init__(self, reason: str, detail: str = '', image: np.ndarray | None = None):
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail
        self.image = image


def from_text(text: str, size: int) -> np.ndarray:
    """uint8 [size, size] from blank-separated whole numbers, row by row.

    Raises:
        UnreadableError: anything else than `size * size` whole numbers of 0..255.
    """
    foreign = text.encode('utf-8', 'replace').translate(None, b'0123456789 ')
    if foreign:
        raise UnreadableError('a pixel is no whole number', foreign[:20].decode('utf-8', 'replace'))
    # Digits and blanks alone: nothing is left that fromstring would pass over. It clips to 64 bits.
    values = np.fromstring(text, dtype=np.int64, sep=' ')
    if not text.strip() or values.size != size * size:
        raise UnreadableError('wrong number of pixels', f'{len(text.split())} instead of {size * size}')
    if values.max() > 255:
        raise UnreadableError('a pixel outside 0..255', str(values.max()))
    return values.astype(np.uint8).reshape(size, size)


def from_file(encoded: bytes, maximum_pixels: int) -> np.ndarray:
    """uint8 [height, width], grey, from a PNG or JPEG file; its header is looked at before anything is decoded.

    Raises:
        UnreadableError: no such file, damaged, too large, smaller than `MINIMUM_SIDE`, or of several frames.
    """
    if len(encoded) > MAXIMUM_FILE_BYTES:
        raise UnreadableError('image file too large', f'more than {MAXIMUM_FILE_BYTES >> 20} MiB')
    try:
        with Image.open(io.BytesIO(encoded), formats=('PNG', 'JPEG')) as image:
            _check_header(image, maximum_pixels)
            return _grey(image)
    except UnreadableError:
        raise
    except Image.DecompressionBombError as error:
        raise UnreadableError('image too large', str(error)[:80]) from error
    except Exception as error:  # Pillow raises whatever a damaged file leads it to
        raise UnreadableError('undecodable image', str(error)[:80]) from error


def _check_header(image: Image.Image, maximum_pixels: int) -> None:
    width, height = image.size
    if width * height > maximum_pixels:
        raise UnreadableError('image too large', f'{width}x{height}')
    if min(width, height) < MINIMUM_SIDE:
        raise UnreadableError('image too small', f'{width}x{height}')
    if getattr(image, 'n_frames', 1) > 1:
        raise UnreadableError('image of several frames', f'{image.n_frames} frames')  # type: ignore[attr-defined]


def _grey(image: Image.Image) -> np.ndarray:
    if image.mode.startswith('I'):
        # Pillow clips 16 bits to 8, which whitens a face; TensorFlow's decoder keeps the upper 8, as is done here.
        return (np.asarray(image).astype(np.int64) >> 8).clip(0, 255).astype(np.uint8)
    return np.asarray(image.convert('L'))


def check_contrast(image: np.ndarray) -> None:
    """Raises UnreadableError for an image of one flat colour, which shows no face."""
    if image.min() == image.max():
        raise UnreadableError('flat image', f'every pixel is {image[0, 0]}', image)


def content_hash(image: np.ndarray) -> bytes:
    """16 bytes of BLAKE2 over shape and pixels: equal for pixel-for-pixel equal images alone."""
    height, width = image.shape
    return hashlib.blake2b(f'{height}x{width}:'.encode() + image.tobytes(), digest_size=16).digest()


def to_png(image: np.ndarray) -> bytes:
    """8-bit grey PNG of a uint8 [height, width] image."""
    # OpenCV's defaults: half again as fast as its best compression, and 7% larger, on faces this small.
    return cv2.imencode('.png', image)[1].tobytes()


def to_thumbnail(image: np.ndarray) -> str:
    """Base64 of a PNG of at most 96 pixels a side."""
    scale = _PICTURE_SIDE / max(image.shape)
    if scale < 1:
        image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return base64.b64encode(to_png(image)).decode()
