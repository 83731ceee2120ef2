import base64
import io

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from components.ingest import images
from components.ingest.images import UnreadableError


def encode(image: Image.Image, kind: str = 'PNG', **options) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def reason(encoded: bytes, maximum_pixels: int = 10_000) -> str:
    with pytest.raises(UnreadableError) as caught:
        images.from_file(encoded, maximum_pixels)
    return caught.value.reason


def test_text_round_trips_through_png(face, text):
    image = face(1)
    np.testing.assert_array_equal(images.from_text(text(image), 48), image)
    png = images.to_png(image)
    np.testing.assert_array_equal(cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_UNCHANGED), image)
    np.testing.assert_array_equal(images.from_file(png, 48 * 48), image)


@pytest.mark.parametrize(
    ('change', 'expected'),
    [
        (lambda pixels: pixels[:-1], 'wrong number of pixels'),
        (lambda pixels: [*pixels, '0'], 'wrong number of pixels'),
        (lambda pixels: [], 'wrong number of pixels'),
        (lambda pixels: ['256', *pixels[1:]], 'a pixel outside 0..255'),
        (lambda pixels: [str(2**32), *pixels[1:]], 'a pixel outside 0..255'),
        (lambda pixels: ['9' * 50, *pixels[1:]], 'a pixel outside 0..255'),
        *(
            (lambda pixels, odd=odd: [*pixels[:-1], odd], 'a pixel is no whole number')
            for odd in ('1.5', '1e2', '-1', '+1', 'x', '0x10', '１', 'nan', '1\0', '1\t2', '"1', '12;')
        ),
    ],
)
def test_malformed_pixels_have_a_reason(face, text, change, expected):
    with pytest.raises(UnreadableError) as caught:
        images.from_text(' '.join(change(text(face(1)).split())), 48)
    assert caught.value.reason == expected


@given(st.lists(st.integers(0, 255), min_size=4, max_size=4), st.sampled_from([' ', '  ']))
def test_any_sound_pixels_are_read_exactly(values, blank):
    np.testing.assert_array_equal(images.from_text(blank.join(map(str, values)) + ' ', 2).ravel(), values)


@given(st.text())
def test_any_text_is_read_like_python_reads_it_or_refused(content):
    tokens = content.split(' ')
    sound = [int(token) for token in tokens if token.isascii() and token.isdigit()]
    try:
        assert images.from_text(content, 1).ravel().tolist() == sound
    except UnreadableError:
        assert len(sound) != 1 or sound[0] > 255 or any(token and not token.isdigit() for token in tokens)


@pytest.mark.parametrize('mode', ['L', 'RGB', 'RGBA', 'P', '1', 'LA', 'I;16', 'CMYK'])
def test_all_modes_become_8_bit_grey(mode):
    ramp = np.linspace(0, 255, 32 * 24).astype(np.uint8).reshape(32, 24)
    image = Image.fromarray(ramp.astype(np.uint16) * 257) if mode == 'I;16' else Image.fromarray(ramp).convert(mode)
    decoded = images.from_file(encode(image, 'JPEG' if mode == 'CMYK' else 'PNG'), 10_000)
    assert decoded.shape == (32, 24)
    assert decoded.dtype == np.uint8
    expected = np.asarray(image.convert('L')) if mode != 'I;16' else ramp
    np.testing.assert_allclose(decoded.astype(int), expected, atol=8 if mode == 'CMYK' else 0)


def test_bounds_are_checked_before_anything_is_decoded():
    bomb = encode(Image.new('L', (101, 100)))
    # Without its pixels the file still says its size, which is all that may be looked at.
    assert reason(bomb[:60]) == 'image too large'
    assert reason(encode(Image.new('1', (20_000, 20_000))), 10**9) == 'image too large'
    assert reason(encode(Image.new('L', (15, 100)))) == 'image too small'
    assert reason(bytes(images.MAXIMUM_FILE_BYTES + 1)) == 'image file too large'


def test_damaged_foreign_and_animated_images_are_refused(face):
    png = encode(Image.fromarray(face(1)))
    jpeg = encode(Image.fromarray(face(1)), 'JPEG')
    frames = [Image.fromarray(face(n)) for n in range(3)]
    assert reason(png[: len(png) // 2]) == 'undecodable image'
    assert reason(jpeg[: len(jpeg) // 2]) == 'undecodable image'
    assert reason(b'') == 'undecodable image'
    assert reason(b'GIF89a' + bytes(100)) == 'undecodable image'
    assert reason(encode(frames[0], 'BMP')) == 'undecodable image'
    assert reason(encode(frames[0], save_all=True, append_images=frames[1:])) == 'image of several frames'


@settings(max_examples=60)
@given(st.integers(0, 2**16), st.integers(0, 255), st.booleans())
def test_a_flipped_byte_never_escapes(position, value, as_jpeg):
    image = np.random.default_rng(0).integers(0, 256, (24, 24), np.uint8)
    encoded = bytearray(encode(Image.fromarray(image), 'JPEG' if as_jpeg else 'PNG'))
    encoded[position % len(encoded)] = value
    try:
        assert images.from_file(bytes(encoded), 10_000).dtype == np.uint8
    except UnreadableError as error:
        assert error.reason


def test_flat_images_show_no_face():
    with pytest.raises(UnreadableError, match='flat image'):
        images.check_contrast(np.full((48, 48), 7, np.uint8))
    nearly = np.full((48, 48), 7, np.uint8)
    nearly[-1, -1] = 8
    images.check_contrast(nearly)


def test_the_hash_tells_pixels_and_shapes_apart(face):
    image = face(1)
    assert images.content_hash(image) == images.content_hash(image.copy())
    assert images.content_hash(image) != images.content_hash(image.T)
    assert images.content_hash(image) != images.content_hash(image.reshape(24, 96))


def test_thumbnails_are_bounded(face):
    encoded = images.to_thumbnail(face(1, 400, 200))
    assert Image.open(io.BytesIO(base64.b64decode(encoded))).size == (48, 96)
