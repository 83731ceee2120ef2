"""Photographs named on a command line: which files are found, in which order, and what cannot be read."""

import io
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from components.errors import StepError
from components.inference import inputs
from components.inference.images import ImageError
from components.inference.inputs import PhotoError, Photograph, find_sources, printable, to_unicode


def write(*paths: str) -> None:
    for path in paths:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_bytes(path.encode())


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def names(*arguments: str, left_out: Path | None = None) -> list[str]:
    return [source.name for source in find_sources(arguments, left_out)]


def test_a_folder_is_searched_for_images_in_the_order_of_their_paths():
    write('faces/b.JPG', 'faces/a.png', 'faces/c/d.webp', 'faces/notes.txt', 'faces/.hidden.jpg', 'faces/.old/e.jpg')
    Path('faces/f.jpg').mkdir()
    assert names('faces') == ['faces/a.png', 'faces/b.JPG', 'faces/c/d.webp']
    assert [source.inside for source in find_sources(['faces/'])][-1] == Path('c/d.webp')


def test_arguments_keep_their_order_and_files_are_taken_whatever_they_are_called():
    write('faces/a.png', 'photo', '.hidden.jpg')
    assert names('photo', '-', 'faces', '.hidden.jpg', 'missing') == [
        'photo',
        '-',
        'faces/a.png',
        '.hidden.jpg',
        'missing',
    ]


def test_links_that_go_in_circles_are_not_followed_and_linked_files_are():
    write('faces/a.png', 'elsewhere/b.png')
    Path('faces/circle').symlink_to('../faces')
    Path('faces/linked.png').symlink_to('../elsewhere/b.png')
    Path('faces/dangling.png').symlink_to('nowhere')
    assert names('faces') == ['faces/a.png', 'faces/linked.png']


def test_a_folder_can_be_left_out():
    write('faces/a.png', 'faces/overlays/a.png')
    assert names('faces', left_out=Path('faces/overlays')) == ['faces/a.png']


@pytest.mark.parametrize('arguments', [['faces'], ['faces/deep']])
def test_a_folder_without_a_photograph_is_an_error(arguments):
    write('faces/deep/notes.txt')
    with pytest.raises(StepError, match=f'^{arguments[0]} has no photograph in it: .*jpg'):
        find_sources(arguments)


def test_standard_input_is_read_once(monkeypatch):
    monkeypatch.setattr(sys, 'stdin', io.TextIOWrapper(io.BytesIO(b'a photograph')))
    (source,) = find_sources(['-'])
    assert source.read() == b'a photograph'
    with pytest.raises(StepError, match='once'):
        find_sources(['-', '-'])


def test_what_cannot_be_read_says_why(monkeypatch):
    write('a.jpg')
    (a, missing, zero, folder) = find_sources(['a.jpg', 'missing.jpg', 'zero\0.jpg', '.'])
    assert a.read() == b'a.jpg' == folder.read()
    with pytest.raises(PhotoError, match='No such file'):
        missing.read()
    with pytest.raises(PhotoError, match='null'):
        zero.read()
    monkeypatch.setattr(inputs, 'MAXIMUM_BYTES', 4)
    with pytest.raises(PhotoError, match='more than'):
        a.read()
    Path('a.jpg').unlink()
    Path('a.jpg').mkdir()
    with pytest.raises(PhotoError, match='directory'):
        a.read()


def test_a_photograph_is_turned_upright():
    encoded = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.zeros((20, 30, 3), np.uint8)).save(encoded, 'JPEG', exif=exif)
    assert Photograph(encoded.getvalue()).pixels.shape == (30, 20, 3)
    with pytest.raises(ImageError):
        Photograph(b'no image').pixels  # noqa: B018


@pytest.mark.parametrize(
    ('name', 'shown'),
    [
        ('a photo.jpg', 'a photo.jpg'),
        ('größe 顔.jpg', 'größe 顔.jpg'),
        ('two\nlines\x1b[2J.jpg', r'two\nlines\x1b[2J.jpg'),
        ('\u202egpj.exe', r'\u202egpj.exe'),
        ('latin\udcff.jpg', r'latin\xff.jpg'),
    ],
)
def test_a_name_can_be_printed_in_one_line(name, shown):
    assert printable(name) == shown
    assert to_unicode(name).encode()
