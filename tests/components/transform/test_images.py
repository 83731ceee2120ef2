"""Decoding and resizing against Pillow."""

import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from components.transform.images import decode, decode_and_resize


def picture(seed: int, width: int, height: int, mode: str = 'RGB') -> Image.Image:
    """Soft colours: noise would show what JPEG does to noise."""
    noise = np.random.default_rng(seed).integers(0, 256, (5, 5, 3), np.uint8)
    return Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC).convert(mode)


def encode(image: Image.Image, form: str = 'PNG') -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ('mode', 'form', 'tolerance'),
    [
        ('L', 'PNG', 0.01),
        ('RGB', 'PNG', 1.0),
        ('RGBA', 'PNG', 1.0),
        ('P', 'PNG', 1.0),
        ('L', 'BMP', 0.01),
        ('RGB', 'BMP', 1.0),
        ('L', 'GIF', 0.01),
        ('L', 'JPEG', 2.0),
        ('RGB', 'JPEG', 4.0),
    ],
)
def test_decodes_to_the_grey_that_pillow_sees(run, mode, form, tolerance):
    encoded = encode(picture(1, 60, 40, mode), form)
    expected = np.asarray(Image.open(io.BytesIO(encoded)).convert('L'), np.float32)
    found = run(decode, encoded)
    assert found.shape == (40, 60, 1)
    assert found.dtype == tf.float32
    np.testing.assert_allclose(found[..., 0], expected, atol=tolerance)
    assert expected.std() > 10


def test_sizes_are_width_and_height_of_each_image_as_it_came(run):
    encoded = [encode(picture(1, 60, 40)), encode(picture(2, 48, 48), 'JPEG'), encode(picture(3, 20, 100, 'L'))]
    images, sizes = run(lambda batch: decode_and_resize(batch, 48), np.array(encoded, object))
    assert images.shape == (3, 48, 48, 1)
    assert images.dtype == sizes.dtype == tf.float32
    np.testing.assert_array_equal(sizes, [[60, 40], [48, 48], [20, 100]])


def test_an_image_of_the_right_size_is_not_changed(run):
    encoded = encode(picture(4, 48, 48, 'L'))
    images, _ = run(lambda batch: decode_and_resize(batch, 48), np.array([encoded], object))
    np.testing.assert_allclose(images[0, ..., 0], np.asarray(picture(4, 48, 48, 'L')), atol=1e-3)


def test_a_smaller_image_is_averaged_not_sampled(run):
    """Without antialiasing the middle one of each five columns would be taken, and all be black."""
    stripes = np.tile(np.uint8([255, 0, 0, 0, 0]), (240, 48))
    images, _ = run(lambda batch: decode_and_resize(batch, 48), np.array([encode(Image.fromarray(stripes))], object))
    np.testing.assert_allclose(images[0, 4:-4, 4:-4], 51.0, atol=12.0)


@pytest.mark.parametrize(
    'spoil',
    [
        lambda encoded: b'',
        lambda encoded: b'no image at all',
        lambda encoded: encoded[: len(encoded) // 2],
        lambda encoded: encoded[:20] + bytes(len(encoded) - 20),
    ],
    ids=['empty', 'text', 'cut', 'zeros'],
)
def test_what_is_no_image_is_refused(run, spoil):
    with pytest.raises(tf.errors.InvalidArgumentError):
        run(decode, spoil(encode(picture(5, 48, 48))))
    batch = np.array([encode(picture(5, 48, 48)), spoil(encode(picture(5, 48, 48)))], object)
    with pytest.raises(tf.errors.InvalidArgumentError):
        run(lambda encoded: decode_and_resize(encoded, 48), batch)
