"""The detector on a real photograph that ships with Matplotlib, on drawn faces and on pictures without a face."""

import gzip
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest
from matplotlib import cbook

from components.errors import StepError
from components.inference import crops, detect
from components.inference.detect import Detection, FaceDetector
from data.draw import draw_face

DATASETS = Path(__file__).resolve().parents[4] / 'shared' / 'datasets'


@pytest.fixture(scope='module')
def portrait() -> np.ndarray:
    """Grace Hopper, 600 x 512; her eyes are at about (222, 188) and (307, 186), her chin at about y = 330."""
    with cbook.get_sample_data('grace_hopper.jpg') as file:
        encoded = np.frombuffer(file.read(), np.uint8)
    return cv2.cvtColor(cv2.imdecode(encoded, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)


@pytest.fixture(scope='module')
def detector() -> FaceDetector:
    return FaceDetector()


def resized(image: np.ndarray, scale: float) -> np.ndarray:
    return cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)


def centre(face: Detection) -> np.ndarray:
    return np.array([face.left + 0.5 * face.width, face.top + 0.5 * face.height])


def pasted(face: np.ndarray, side: int, left: int, top: int, background: int = 128) -> np.ndarray:
    image = np.full((480, 640, 3), background, np.uint8)
    image[top : top + side, left : left + side] = cv2.resize(face, (side, side))[:, :, None]
    return image


def assert_is_the_portrait(face: Detection, scale: float = 1.0) -> None:
    np.testing.assert_allclose(centre(face) / scale, [267, 225], atol=25)
    assert 150 < face.height / scale < 260
    assert 120 < face.width / scale < 210


def test_finds_the_one_face_of_a_photograph(detector, portrait):
    (face,) = detector.find(portrait)
    assert_is_the_portrait(face)
    assert 0.85 < face.score <= 1.0


@pytest.mark.parametrize('scale', [0.1, 0.5, 2.2, 5.8])
def test_gives_boxes_in_pixels_of_the_image_that_came(detector, portrait, scale):
    (face,) = detector.find(resized(portrait, scale))  # up to 10 megapixels
    assert_is_the_portrait(face, scale)


def test_finds_a_dark_turned_face(detector, portrait):
    turn = cv2.getRotationMatrix2D((267, 225), 20, 1.0)
    turned = cv2.warpAffine(portrait, turn, (512, 600), borderMode=cv2.BORDER_REPLICATE)
    (face,) = detector.find((0.3 * turned).astype(np.uint8))
    np.testing.assert_allclose(centre(face), [267, 225], atol=35)


def test_gives_many_faces_the_largest_first(detector, portrait):
    photograph = np.full((720, 1280, 3), 90, np.uint8)
    scales = [0.15, 0.3, 0.9, 0.2, 0.5]
    for place, scale in enumerate(scales):
        small = resized(portrait, scale)
        left = [20, 130, 300, 800, 950][place]
        photograph[40 : 40 + small.shape[0], left : left + small.shape[1]] = small
    found = detector.find(photograph)
    assert len(found) == len(scales)
    areas = [face.width * face.height for face in found]
    assert areas == sorted(areas, reverse=True)
    assert [face.left // 100 for face in found] == [4, 10, 1, 8, 0]


def test_finds_a_small_face_beside_a_large_one(detector, portrait):
    photograph = np.full((1000, 1000, 3), 128, np.uint8)
    photograph[:990, :845] = resized(portrait, 1.65)
    small = resized(portrait, 0.12)
    photograph[900 : 900 + small.shape[0], 880 : 880 + small.shape[1]] = small
    large, little = detector.find(photograph)
    assert_is_the_portrait(large, 1.65)
    assert little.left > 880 and little.height < 40


@pytest.mark.parametrize('seed', [1, 2, 3, 4])
@pytest.mark.parametrize('background', [0, 128, 255])
def test_finds_a_drawn_face_on_a_plain_background(detector, seed, background):
    (face,) = detector.find(pasted(draw_face(seed, 0).image, 240, 300, 100, background))
    np.testing.assert_allclose(centre(face), [420, 220], atol=36)


@pytest.mark.parametrize('side', [48, 96, 1250])
def test_finds_a_face_that_fills_the_image(detector, side):
    interpolation = cv2.INTER_AREA if side < 96 else cv2.INTER_CUBIC
    filling = cv2.resize(draw_face(3, 0).image, (side, side), interpolation=interpolation)
    (face,) = detector.find(np.repeat(filling[:, :, None], 3, axis=2))
    assert 0.7 * side < face.height < 1.2 * side


def pictures_without_a_face() -> dict[str, np.ndarray]:
    across, down = np.meshgrid(np.arange(640), np.arange(480))
    return {
        'black': np.zeros((480, 640), np.uint8),
        'noise': np.random.default_rng(0).integers(0, 256, (480, 640), np.uint8),
        'stripes': np.where(across // 16 % 2, 255, 0).astype(np.uint8),
        'chessboard': np.where((across // 32 + down // 32) % 2, 255, 0).astype(np.uint8),
        'ramp': (across * 255 // 639).astype(np.uint8),
    }


@pytest.mark.parametrize('name', pictures_without_a_face())
def test_no_face_is_an_ordinary_answer(detector, name):
    picture = pictures_without_a_face()[name]
    assert detector.find(np.repeat(picture[:, :, None], 3, axis=2)) == []


@pytest.mark.parametrize('name', ['china.jpg', 'flower.jpg'])
def test_no_face_in_a_photograph_of_something_else(detector, name):
    datasets = pytest.importorskip('sklearn.datasets')
    assert detector.find(datasets.load_sample_image(name)) == []


def test_bears_any_shape():
    detector, random = FaceDetector(), np.random.default_rng(0)
    shapes = [(1, 1), (1, 4000), (4000, 1), *np.exp(random.uniform(0.0, 6.0, (60, 2))).astype(int)]
    # OpenCV finds thousands of huge faces in low or narrow images, but not in each order of sizes.
    assert [detector.find(np.full((*shape, 3), 200, np.uint8)) for shape in shapes] == [[]] * len(shapes)


def test_takes_a_view_of_an_image(detector, portrait):
    (face,) = detector.find(portrait[:, ::-1])
    assert face == detector.find(np.ascontiguousarray(portrait[:, ::-1]))[0]
    np.testing.assert_allclose(centre(face), [512 - 267, 225], atol=25)


@pytest.mark.parametrize(
    'image',
    [
        np.zeros((10, 10), np.uint8),
        np.zeros((10, 10, 4), np.uint8),
        np.zeros((10, 10, 3), np.float32),
        np.zeros((0, 10, 3), np.uint8),
    ],
)
def test_refuses_what_is_no_image(detector, image):
    with pytest.raises(ValueError, match='is not uint8'):
        detector.find(image)


@pytest.mark.parametrize('arguments', [(-0.1, 0.1), (1.1, 0.1), (0.5, 0.0), (0.5, 1.1), (float('nan'), 0.1)])
def test_refuses_arguments_out_of_range(arguments):
    with pytest.raises(ValueError, match='minimum'):
        FaceDetector(*arguments)


def test_leaves_out_faces_below_the_minimum_size_and_score(portrait):
    photograph = np.full((1000, 1000, 3), 128, np.uint8)
    photograph[:600, :512] = portrait  # its face is 0.21 of the shorter side
    assert len(FaceDetector(minimum_size=0.18).find(photograph)) == 1
    assert FaceDetector(minimum_size=0.3).find(photograph) == []
    assert FaceDetector(minimum_score=0.99).find(photograph) == []


def test_several_threads_share_a_detector(portrait):
    detector = FaceDetector()
    images = [resized(portrait, scale) for scale in (0.3, 0.6, 1.0, 0.45)] * 3
    alone = [FaceDetector().find(image) for image in images[:4]] * 3
    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(detector.find, images)) == alone


def test_says_which_package_is_missing(monkeypatch, portrait):
    monkeypatch.setattr(detect, '_PACKAGE', 'no-such-package')
    with pytest.raises(StepError, match='Install the package no-such-package'):
        FaceDetector().find(portrait)


def test_finds_the_published_faces_and_cuts_them_as_they_are(detector):
    """Real faces put into a grey picture: found, and the square about them is theirs."""
    path = DATASETS / 'data.csv.gz'
    if not path.exists():
        pytest.skip(f'{path} is not here: the square is NOT checked on real faces')
    with gzip.open(path, 'rt') as file:
        rows = [next(file) for _ in range(61)][1:]
    sides, shifts = [], []
    for row in rows:
        face = np.array(row.rsplit(',', 1)[1].split(), np.uint8).reshape(96, 96)
        for detection in detector.find(pasted(face, 200, 220, 140))[:1]:
            square = crops.square(detection)
            sides.append(square.side / 200)
            shifts.append(
                [(square.left - 220) / 200 + sides[-1] / 2 - 0.5, (square.top - 140) / 200 + sides[-1] / 2 - 0.5]
            )
    assert len(sides) >= 57
    assert 0.95 < np.median(sides) < 1.12
    assert np.quantile(np.abs(np.log(sides)), 0.8) < 0.2
    np.testing.assert_allclose(np.median(shifts, axis=0), 0.0, atol=0.03)
