"""Encoded images without TensorFlow: as Transform's graph decodes and resizes them, and what is refused."""

import io
import struct
import zlib

import cv2
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from components.inference.images import ImageError, decode, resize, to_grey
from components.transform.images import decode_and_resize
from data.draw import draw_face


def photograph(width: int, height: int) -> Image.Image:
    """A drawn face in noisy colours."""
    face = cv2.resize(draw_face(1, 3).image, (width, height))[..., None]
    noise = np.random.default_rng(0).normal(0, 15, (height, width, 3))
    return Image.fromarray((face + noise).clip(0, 255).astype(np.uint8))


def encode(image: Image.Image, form: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


@pytest.mark.parametrize('size', [48, 96])
@pytest.mark.parametrize('shape', [(96, 96), (48, 48), (300, 211), (400, 37), (10, 20), (2, 9)])
@pytest.mark.parametrize(
    ('mode', 'form', 'options'),
    [
        ('RGB', 'PNG', {}),
        ('RGBA', 'PNG', {}),
        ('LA', 'PNG', {}),
        ('P', 'PNG', {}),
        ('1', 'PNG', {}),
        ('L', 'BMP', {}),
        ('P', 'GIF', {}),
        ('L', 'JPEG', {}),
        ('RGB', 'JPEG', {}),
        ('RGB', 'JPEG', {'quality': 30, 'progressive': True, 'subsampling': 2}),
    ],
)
def test_pixels_are_those_of_transforms_graph(mode, form, options, shape, size):
    encoded = encode(photograph(*shape).convert(mode), form, **options)
    expected, sizes = decode_and_resize(tf.constant([encoded]), size)
    image = decode(encoded)
    assert image.shape[1::-1] == tuple(sizes.numpy()[0])
    np.testing.assert_allclose(resize(to_grey(image), size), expected.numpy()[0, :, :, 0], atol=2e-3)


def test_a_photograph_is_turned_as_its_exif_says_where_that_is_asked_for():
    image = photograph(40, 30)
    exif = Image.Exif()
    exif[0x0112] = 6
    encoded = encode(image, 'JPEG', exif=exif, quality=95)
    assert decode(encoded).shape == (30, 40, 3)
    turned = decode(encoded, upright=True)
    assert turned.shape == (40, 30, 3)
    np.testing.assert_array_equal(turned, np.rot90(decode(encoded), -1))


def header_of(width: int, height: int) -> bytes:
    """A PNG that claims this size and ends where its pixels begin."""
    body = b'IHDR' + struct.pack('>IIBBBBB', width, height, 8, 0, 0, 0, 0)
    header = b'\x89PNG\r\n\x1a\n' + struct.pack('>I', 13) + body + struct.pack('>I', zlib.crc32(body))
    return header + struct.pack('>I4s', 99, b'IDAT')


ANIMATED = {'save_all': True, 'append_images': [photograph(9, 8).transpose(Image.Transpose.ROTATE_90)]}
WHOLE = encode(photograph(30, 30), 'PNG')


@pytest.mark.parametrize(
    ('encoded', 'reason'),
    [
        (b'', 'no image'),
        (b'hello', 'no image'),
        (b'\x80\x04\x95' + bytes(40), 'no image'),
        (b'<svg xmlns="http://www.w3.org/2000/svg"/>', 'no image'),
        (encode(photograph(9, 9), 'TIFF'), 'no image'),
        (WHOLE[:200], 'cut short'),
        (encode(photograph(30, 30), 'JPEG')[:400], 'cut short'),
        (WHOLE[:60] + b'\xff' * 30 + WHOLE[90:], 'broken'),
        (encode(photograph(9, 9).convert('CMYK'), 'JPEG'), 'CMYK'),
        (encode(photograph(9, 9).convert('L').convert('I;16'), 'PNG'), '16 bits'),
        (cv2.imencode('.png', np.zeros((9, 9, 3), np.uint16))[1].tobytes(), '16 bits'),
        (encode(photograph(8, 9), 'GIF', **ANIMATED), 'animated'),
        (encode(photograph(8, 9), 'PNG', **ANIMATED), 'animated'),
        (encode(photograph(8, 9), 'WEBP', **ANIMATED), 'animated'),
        (header_of(0, 5), 'no image|broken'),
        (header_of(1, 5), '1x5 pixels'),
        (header_of(20_000, 20_000), 'megapixels'),
        (header_of(8_000, 7_000), 'megapixels'),
        (header_of(30, 30), 'cut short'),
    ],
)
def test_what_is_no_image_is_refused_in_one_line(encoded, reason):
    with pytest.raises(ImageError, match=reason) as caught:
        decode(encoded)
    assert '\n' not in str(caught.value)


def test_the_bound_is_on_pixels_and_its_own():
    encoded = encode(photograph(40, 25), 'PNG')
    assert decode(encoded, maximum_pixels=1000).shape == (25, 40, 3)
    with pytest.raises(ImageError, match='0.000999 megapixels'):
        decode(encoded, maximum_pixels=999)


MUTABLE = [encode(photograph(24, 24), form) for form in ('PNG', 'JPEG', 'GIF', 'BMP', 'WEBP')]


@settings(max_examples=300, deadline=None)
@given(
    encoded=st.sampled_from(MUTABLE),
    changes=st.lists(st.tuples(st.integers(0, 3000), st.integers(0, 255)), max_size=8),
    end=st.integers(0, 3000),
)
def test_a_changed_file_is_an_image_or_is_refused(encoded, changes, end):
    bent = bytearray(encoded)
    for position, value in changes:
        bent[position % len(bent)] = value
    try:
        image = decode(bytes(bent[: max(1, len(bent) - end)]), maximum_pixels=1_000_000)
    except ImageError:
        return
    assert image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3
