"""Encoded pictures: good ones of many kinds, and hostile ones."""

import io
import struct
import zlib

import cv2
import numpy as np
from PIL import Image

from data.draw import draw_face


def photograph(width: int = 96, height: int = 96, seed: int = 0) -> Image.Image:
    """A drawn face in noisy colours."""
    face = cv2.resize(draw_face(1, 3).image, (width, height))[..., None]
    noise = np.random.default_rng(seed).normal(0, 15, (height, width, 3))
    return Image.fromarray((face + noise).clip(0, 255).astype(np.uint8))


def encode(image: Image.Image, form: str = 'PNG', **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def png_header(width: int, height: int, depth: int = 8) -> bytes:
    """A PNG that claims this size and ends where its pixels begin."""
    body = b'IHDR' + struct.pack('>IIBBBBB', width, height, depth, 0, 0, 0, 0)
    header = b'\x89PNG\r\n\x1a\n' + struct.pack('>I', 13) + body + struct.pack('>I', zlib.crc32(body))
    return header + struct.pack('>I4s', 99, b'IDAT')


def short(value) -> str:
    """A value as the name of a test."""
    return repr(value)[:40]


GOOD = {
    'grey PNG': encode(photograph().convert('L')),
    'colour PNG': encode(photograph()),
    'PNG with transparency': encode(photograph(60, 80).convert('RGBA')),
    'grey JPEG': encode(photograph(48, 48).convert('L'), 'JPEG'),
    'colour JPEG': encode(photograph(211, 300), 'JPEG'),
    'small JPEG': encode(photograph(10, 20), 'JPEG', quality=95),
}

_ANIMATED = {'save_all': True, 'append_images': [photograph(8, 8, seed=1)]}
_PNG = GOOD['colour PNG']
_JPEG = GOOD['colour JPEG']
HOSTILE = {
    'nothing': b'',
    'no image': b'\x00\x01' * 500,
    'text': 'Grüße, <script>alert(1)</script>\r\n'.encode(),
    'an archive': b'PK\x03\x04' + bytes(100),
    'a vector image': b'<svg xmlns="http://www.w3.org/2000/svg"/>',
    'a program for PostScript': b'%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n',
    'half a PNG': _PNG[: len(_PNG) // 2],
    'half a JPEG': _JPEG[: len(_JPEG) // 2],
    'the head of a PNG': _PNG[:20],
    'a broken PNG': _PNG[:60] + bytes(40) + _PNG[100:],
    'a broken JPEG': _JPEG[:2] + bytes(300) + _JPEG[302:],
    'an animated GIF': encode(photograph(8, 8), 'GIF', **_ANIMATED),
    'an animated PNG': encode(photograph(8, 8), 'PNG', **_ANIMATED),
    'an animated WebP': encode(photograph(8, 8), 'WEBP', **_ANIMATED),
    'a CMYK JPEG': encode(photograph(30, 30).convert('CMYK'), 'JPEG'),
    'a TIFF': encode(photograph(30, 30), 'TIFF'),
    'a PNG of 16 bits': encode(Image.fromarray(np.zeros((30, 30), np.uint16))),
    'one pixel': encode(Image.new('L', (1, 1))),
    'an image without pixels': png_header(0, 10),
    'an enormous PNG': png_header(50_000, 50_000),
    'one that is as large as can be': png_header(2**31 - 1, 2**31 - 1),
    'more pixels than are let in': encode(Image.new('1', (6000, 5000))),
}
