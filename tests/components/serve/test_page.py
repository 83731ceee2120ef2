"""The page in a real Chromium, before the real server: chosen, dropped and pasted photos, the camera, the keyboard."""

import dataclasses
import io
import json
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import cv2
import numpy as np
import onnx
import pytest
from PIL import Image
from playwright.sync_api import (
    Browser,
    BrowserContext,
    FileChooser,
    Locator,
    Page,
    Playwright,
    Route,
    expect,
    sync_playwright,
)

from components import faces
from components.inference.network import onnx_file
from components.serve.limits import Limits
from data.draw import draw_face
from tests.components.serve import running

CHROMIUM = shutil.which('chromium')
PAGE = running.ROOT / 'components' / 'serve' / 'page'
REPORT = running.ROOT / 'components' / 'report' / 'report.css'
pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason='NOT TESTED: no chromium here (apt-get install chromium) shows the page'
)
needs_curl = pytest.mark.skipif(
    shutil.which('curl') is None, reason='NOT TESTED: no curl here (apt-get install curl) runs the command'
)

READ_BACK = 'willReadFrequently'  # the tests read the canvas; the page does not
FAILED_LOAD = 'Failed to load resource'  # Chromium's word for any answer of 400 and above, and for a server away
ORIENTATION, SIDEWAYS = 0x0112, 6  # of EXIF: the camera was turned, so that its right side was down
SIZE = 48  # of the networks' input
NAMES = [
    'photo.jpg',
    'it\'s $(touch gone) `touch gone` "q" & ; | > * ?.jpg',
    'Grüße 😀.jpg',
    '-',
    '--help',
    '@photo',
    '\\n %s !!.jpg',
]
UNSEEN_NAMES = ["two\nlines\tand 'a\\quote'.jpg", 'end\x1b[201~\rtouch gone\n.jpg', 'gpj.\u202ephoto.jpg']


@dataclasses.dataclass
class Site:
    """A page of a server, and what went on in it.

    Attributes:
        page: at the server's root.
        server: that it came from.
        requests: addresses that were asked for.
        complaints: what the console and the security policy said.
        expected: texts of complaints that the test provokes.
    """

    page: Page
    server: running.Server
    requests: list[str] = dataclasses.field(default_factory=list)
    complaints: list[str] = dataclasses.field(default_factory=list)
    expected: list[str] = dataclasses.field(default_factory=list)

    @property
    def result(self) -> Locator:
        return self.page.locator('#result')

    def choose(self, encoded: bytes, name: str = 'photo.jpg') -> None:
        payload = {'name': name, 'mimeType': 'image/jpeg', 'buffer': encoded}
        self.page.get_by_label('Choose a photo').set_input_files(payload)

    def choose_faces(self, name: str) -> None:
        self.page.get_by_role('radio', name=name).check()

    def ask(self, encoded: bytes, which: str = 'largest') -> dict[str, Any]:
        """What the server answers without the page."""
        return self.server.post('/v1/photo', params={'faces': which}, data=encoded).json()

    def bars(self) -> dict[str, str]:
        rows = self.page.get_by_role('table', name='Probabilities of the largest face').get_by_role('row').all()
        return {row.get_by_role('rowheader').inner_text(): row.get_by_role('cell').inner_text() for row in rows}

    def photos_asked(self) -> int:
        return sum('/v1/photo' in address for address in self.requests)

    def timeline_seconds(self) -> int:
        label = self.page.get_by_role('img', name='Timeline').get_attribute('aria-label') or ''
        found = re.search(r'of (\d+) seconds', label)
        return int(found[1]) if found else -1

    def wait_until(self, condition: Callable[[], Any]) -> None:
        """Waits as `running.wait_until` does, and takes note of what the browser tells meanwhile."""

        def look() -> Any:
            self.page.wait_for_timeout(50)
            return condition()

        running.wait_until(look)

    def check(self) -> None:
        """Nothing but the server was asked, and nobody complained."""
        elsewhere = [one for one in self.requests if not one.startswith((self.server.url + '/', 'blob:'))]
        assert elsewhere == []
        unexpected = [one for one in self.complaints if not any(text in one for text in self.expected)]
        assert unexpected == []


@pytest.fixture(scope='module')
def models(tmp_path_factory) -> Path:
    """Version 7 of the joint model: networks made by hand, whose answers depend on the face."""
    folder = tmp_path_factory.mktemp('page-models')
    onnx_file(folder, faces.EXPRESSION_MODEL).parent.mkdir(parents=True)
    weights = np.random.default_rng(4).normal(0, 0.012, (4, len(faces.EXPRESSIONS))).astype(np.float32)
    make = onnx.helper.make_node
    _save_network(
        onnx_file(folder, faces.EXPRESSION_MODEL),
        [
            make('Transpose', ['pixels'], ['planes'], perm=[0, 3, 1, 2]),
            make('AveragePool', ['planes'], ['means'], kernel_shape=[SIZE // 2] * 2, strides=[SIZE // 2] * 2),
            make('Flatten', ['means'], ['flat']),
            make('MatMul', ['flat', 'weights'], ['logits']),
            make('Softmax', ['logits'], ['answer'], axis=1),
        ],
        {'weights': weights},
        ['batch', len(faces.EXPRESSIONS)],
    )
    mean_face = np.mean([draw_face(7, index).points for index in range(20)], axis=0) / faces.KEYPOINT_SIZE
    _save_network(
        onnx_file(folder, faces.KEYPOINT_MODEL),
        [
            make('ReduceMean', ['pixels'], ['mean'], axes=[1, 2, 3], keepdims=0),
            make('Mul', ['mean', 'none'], ['zeros']),
            make('Unsqueeze', ['zeros', 'axes'], ['column']),
            make('Add', ['column', 'points'], ['answer']),
        ],
        {'none': np.float32(0), 'axes': np.array([1, 2]), 'points': mean_face[None].astype(np.float32)},
        ['batch', len(faces.KEYPOINTS), 2],
    )
    return folder


@pytest.fixture(scope='module')
def server(python, models, tmp_path_factory) -> Iterator[running.Server]:
    folder = tmp_path_factory.mktemp('page-serving')
    running.push(models, folder, faces.JOINT_MODEL, 7)
    with running.running(folder, tmp_path_factory.mktemp('page-server') / 'log.txt') as found:
        yield found


@pytest.fixture(scope='module')
def driver() -> Iterator[Playwright]:
    with sync_playwright() as found:
        expect.set_options(timeout=60_000)  # the machine does other things as well
        yield found
        expect.set_options(timeout=None)


@pytest.fixture(scope='module')
def browser(driver, tmp_path_factory) -> Iterator[Browser]:
    """Chromium, whose camera films a drawn face that changes its expression."""
    film = tmp_path_factory.mktemp('film') / 'face.y4m'
    _film(film)
    found = driver.chromium.launch(
        executable_path=CHROMIUM,
        args=[
            '--no-sandbox',
            '--use-fake-device-for-media-stream',
            '--use-fake-ui-for-media-stream',
            f'--use-file-for-fake-video-capture={film}',
        ],
    )
    yield found
    found.close()


@pytest.fixture
def context(browser) -> Iterator[Callable[..., BrowserContext]]:
    made: list[BrowserContext] = []

    def make(**options: Any) -> BrowserContext:
        made.append(browser.new_context(**options))
        made[-1].set_default_timeout(60_000)
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def visit(context) -> Iterator[Callable[..., Site]]:
    """Opens the page, with the options of a browser's context; in the end everything it did is looked at."""
    sites: list[Site] = []

    def open_page(server: running.Server, **options: Any) -> Site:
        site = Site(context(**options).new_page(), server)
        sites.append(site)
        site.page.on('request', lambda request: site.requests.append(request.url))
        site.page.on('pageerror', lambda error: site.complaints.append(str(error)))
        site.page.on('console', lambda message: site.complaints.append(message.text))
        site.page.goto(server.url)
        return site

    yield open_page
    for site in sites:
        site.check()


@pytest.fixture
def site(visit, server) -> Site:
    return visit(server)


@pytest.fixture(scope='module')
def portrait() -> bytes:
    return encode(picture([(2, 300, 170, 90)]))


@pytest.fixture(scope='module')
def group() -> bytes:
    return encode(picture([(0, 200, 20, 60), (3, 170, 240, 30), (6, 150, 440, 240)]))


def picture(placed: list[tuple[int, int, int, int]], width: int = 640, height: int = 480) -> Image.Image:
    """Drawn faces, each with its index, size, left and top, before a plain wall."""
    wall = np.full((height, width), 160, np.uint8)
    for index, size, left, top in placed:
        face = cv2.resize(draw_face(7, index).image, (size, size), interpolation=cv2.INTER_CUBIC)
        wall[top : top + size, left : left + size] = face
    return Image.fromarray(wall).convert('RGB')


def encode(image: Image.Image, form: str = 'JPEG', **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def percents(face: dict[str, Any]) -> dict[str, str]:
    return {name: percent(share) for name, share in face['probabilities'].items()}


def percent(share: float) -> str:
    return f'{int(100 * share + 0.5)}%'  # as JavaScript rounds


def verdict(face: dict[str, Any]) -> str:
    return f'{face["expression"]} {percent(face["probabilities"][face["expression"]])}'


# Photos.


def test_chosen_photo_is_answered_in_words_and_figures(site, portrait):
    (face,) = site.ask(portrait)['faces']
    site.choose(portrait)
    expect(site.result).to_have_text(f'One face: {verdict(face)}')
    expect(site.page.get_by_role('status')).to_have_text(f'One face: {verdict(face)}')
    assert site.bars() == percents(face)
    assert list(site.bars()) == list(faces.EXPRESSIONS)
    expect(site.page.locator('#model')).to_have_text('faces, version 7')
    expect(site.page.locator('#size')).to_have_text('640 × 480')
    for figure in ('#milliseconds', '#round-trip'):
        expect(site.page.locator(figure)).to_have_text(re.compile(r'^\d+(\.\d)? ms$'))


def test_dropped_photo_is_answered(site, portrait):
    dropped = site.page.evaluate_handle(
        """bytes => {
            const transfer = new DataTransfer();
            transfer.items.add(new File([new Uint8Array(bytes)], 'dropped.jpg', { type: 'image/jpeg' }));
            return transfer;
        }""",
        list(portrait),
    )
    site.page.dispatch_event('#stage', 'dragover', {'dataTransfer': dropped})
    site.page.dispatch_event('#stage', 'drop', {'dataTransfer': dropped})
    expect(site.result).to_have_text(re.compile('^One face: '))
    expect(site.page.locator('#curl')).to_contain_text('@dropped.jpg')


def test_pasted_photo_is_answered(visit, server):
    site = visit(server, permissions=['clipboard-read', 'clipboard-write'])
    site.page.evaluate(
        """async bytes => {
            const image = new Blob([new Uint8Array(bytes)], { type: 'image/png' });
            await navigator.clipboard.write([new ClipboardItem({ 'image/png': image })]);
        }""",
        list(encode(picture([(2, 300, 170, 90)]), 'PNG')),
    )
    site.page.keyboard.press('Control+v')
    expect(site.result).to_have_text(re.compile('^One face: '))
    expect(site.page.get_by_role('button', name='Save picture')).to_be_enabled()


def test_all_faces_are_told_when_asked_for(site, group):
    answer = site.ask(group, 'all')
    assert len(answer['faces']) == 3
    every = site.page.get_by_role('table', name='Probabilities of every face')
    site.choose(group)
    expect(site.result).to_have_text(f'One face: {verdict(answer["faces"][0])}')
    expect(every).to_be_hidden()
    site.choose_faces('All')
    expect(site.result).to_have_text(f'3 faces; the largest: {verdict(answer["faces"][0])}')
    rows = [row.locator('td').all_inner_texts() for row in every.get_by_role('row').all()[1:]]
    assert rows == [list(percents(face).values()) for face in answer['faces']]


def test_two_faces_are_both_told(site):
    pair = encode(picture([(0, 200, 60, 140), (3, 180, 360, 150)]))
    largest, other = site.ask(pair, 'all')['faces']
    site.choose_faces('All')
    site.choose(pair)
    expect(site.result).to_have_text(f'Two faces: {verdict(largest)}, {verdict(other)}')


def test_cut_face_is_not_searched(site):
    cut = encode(Image.fromarray(draw_face(7, 0).image))
    (face,) = site.ask(cut, 'whole')['faces']
    site.choose_faces('Already cut')
    site.choose(cut)
    expect(site.result).to_have_text(f'One face: {verdict(face)}')
    expect(site.page.locator('#curl')).to_contain_text('faces=whole')


def test_no_face_is_an_ordinary_answer(site, portrait):
    site.choose(portrait)
    expect(site.result).to_have_text(re.compile('^One face: '))
    site.choose(encode(picture([])))
    expect(site.result).to_have_text('No face found')
    assert set(site.bars().values()) == {'–'}
    expect(site.page.locator('#model')).to_have_text('faces, version 7')


@pytest.mark.parametrize('encoded', [b'no picture at all', b''], ids=['text', 'empty'])
def test_file_without_a_picture_shows_the_servers_sentence(site, portrait, encoded):
    site.expected = [FAILED_LOAD]
    site.choose(encoded, 'notes.txt')
    expect(site.result).to_have_text(site.ask(encoded)['error'])
    expect(site.page.locator('#note')).to_contain_text('cannot show notes.txt')
    site.choose(portrait)
    expect(site.result).to_have_text(re.compile('^One face: '))


def test_photo_that_is_cut_short_shows_the_servers_sentence(site, portrait):
    site.expected = [FAILED_LOAD]
    short = portrait[: len(portrait) // 2]
    site.choose(short)
    expect(site.result).to_have_text(site.ask(short)['error'])
    expect(site.page.get_by_role('status')).to_have_text(site.ask(short)['error'])


def test_newer_photo_takes_the_place_of_one_that_is_waited_for(site, portrait):
    held: list[Route] = []
    site.page.route('**/v1/photo*', lambda route: held.append(route) if not held else route.continue_())
    site.choose(encode(picture([])), 'first.jpg')
    site.wait_until(lambda: held)
    texts = _record(site.page, '#result')
    site.choose(portrait, 'second.jpg')
    expect(site.result).to_have_text(re.compile('^One face: '))
    expect(site.page.locator('#curl')).to_contain_text('@second.jpg')
    assert {text.split(':')[0] for text in texts()} == {'Asking the server…', 'One face'}


@pytest.mark.parametrize('kind', ['bytes', 'pixels'])
def test_photo_beyond_the_servers_limits_is_scaled_down_first(visit, server, tmp_path, kind):
    site = visit(server)
    width, height = (2400, 2400) if kind == 'bytes' else (5200, 5000)
    large = picture([(2, 1400, 500, 400)], width, height)
    path = tmp_path / 'large.bmp'
    exif = Image.Exif()
    exif[ORIENTATION] = SIDEWAYS
    large.save(path) if kind == 'bytes' else large.rotate(90, expand=True).save(path, 'JPEG', exif=exif)
    assert (path.stat().st_size > Limits().photo_bytes) == (kind == 'bytes')
    site.page.get_by_label('Choose a photo').set_input_files(path)
    expect(site.result).to_have_text(re.compile('^One face: '))
    expect(site.page.locator('#note')).to_contain_text('a smaller copy of')
    expect(site.page.locator('#curl')).to_contain_text('@large-small.jpg')
    expect(site.page.locator('#size')).to_have_text('2400 × 2400' if kind == 'bytes' else '4096 × 3938')


def test_page_knows_the_servers_limits():
    script = (PAGE / 'page.js').read_text(encoding='utf-8')
    found = dict(re.findall(r'^const (LARGEST_\w+) = ([\d_*\s]+);', script, re.MULTILINE))
    mebibytes, exponent = map(int, re.findall(r'\d+(?=$)|^\d+', found['LARGEST_BODY'].replace('2 ** ', '')))
    assert mebibytes * 2**exponent == Limits().photo_bytes
    assert int(found['LARGEST_PIXELS']) == Limits().pixels


def test_folder_is_refused_and_leaves_no_older_photo_behind(site, portrait):
    site.choose(portrait)
    expect(site.result).to_have_text(re.compile('^One face: '))
    site.page.evaluate(
        """() => {
            const folder = new File([''], 'holidays');
            folder.arrayBuffer = () => Promise.reject(new DOMException('', 'NotFoundError'));  // as Chromium does
            const files = [folder];
            const drop = new Event('drop', { bubbles: true, cancelable: true });
            stage.dispatchEvent(Object.assign(drop, { dataTransfer: { files } }));
        }"""
    )
    expect(site.result).to_contain_text('holidays cannot be read')
    expect(site.page.locator('#photo')).to_be_hidden()
    assert site.photos_asked() == 1


# What is drawn.


@pytest.mark.parametrize('density', [1, 3])
def test_overlay_has_the_pixels_of_the_screen_and_points_where_the_server_says(visit, server, portrait, density):
    site = visit(server, device_scale_factor=density)
    site.choose(portrait)
    expect(site.result).to_have_text(re.compile('^One face: '))
    width, client = site.page.evaluate('[overlay.width, overlay.clientWidth]')
    assert width == density * client
    answer = site.ask(portrait)
    site.expected = [READ_BACK]
    assert all(_is_marked(site.page, answer['image'], point) for point in answer['faces'][0]['keypoints'].values())
    assert not _is_marked(site.page, answer['image'], (20, 20))


def test_photograph_that_was_taken_sideways_is_drawn_upright(site):
    exif = Image.Exif()
    exif[ORIENTATION] = SIDEWAYS
    encoded = encode(picture([(2, 300, 120, 150)], 480, 640).rotate(90, expand=True), exif=exif)
    answer = site.ask(encoded)
    assert answer['image'] == {'width': 480, 'height': 640}
    site.choose(encoded)
    expect(site.result).to_have_text(re.compile('^One face: '))
    assert site.page.evaluate('[photo.naturalWidth, photo.naturalHeight]') == [480, 640]
    site.expected = [READ_BACK]
    assert all(_is_marked(site.page, answer['image'], point) for point in answer['faces'][0]['keypoints'].values())


@pytest.mark.parametrize('width', [360, 1280])
def test_nothing_is_moved_by_an_answer_an_error_or_the_camera(visit, server, group, width):
    site = visit(server, viewport={'width': width, 'height': 720})
    site.expected = [FAILED_LOAD]
    site.choose_faces('All')
    site.page.wait_for_timeout(300)
    site.page.evaluate(
        """() => {
            window.shifts = [];
            new PerformanceObserver(list => shifts.push(...list.getEntries().map(entry => entry.value)))
                .observe({ type: 'layout-shift' });
        }"""
    )
    site.choose(group)
    expect(site.result).to_have_text(re.compile('^3 faces; '))
    site.choose(b'no picture')
    expect(site.result).to_contain_text('image')
    site.page.get_by_role('button', name='Start the camera').click()
    site.wait_until(lambda: site.timeline_seconds() >= 1)
    site.page.get_by_role('button', name='Stop the camera').click()
    expect(site.page.locator('#note')).to_have_text('The camera is stopped.')
    assert sum(site.page.evaluate('shifts')) == pytest.approx(0, abs=1e-3)


# The camera.


def test_camera_fills_the_timeline_until_it_is_stopped(site):
    under_way = {'now': 0, 'most': 0}

    def count(request, step):
        if '/v1/photo' in request.url:
            under_way['now'] += step
            under_way['most'] = max(under_way.values())

    site.page.on('request', lambda request: count(request, 1))
    site.page.on('requestfinished', lambda request: count(request, -1))
    site.page.on('requestfailed', lambda request: count(request, -1))
    site.page.get_by_role('button', name='Start the camera').click()
    site.wait_until(lambda: site.timeline_seconds() >= 2)
    expect(site.result).to_have_text(re.compile('^One face: '))
    expect(site.page.locator('#size')).to_have_text('640 × 360')  # the camera has 1280 x 720
    assert site.photos_asked() > 3
    assert under_way['most'] == 1
    site.expected = [READ_BACK]
    assert all(_has_colour(site.page, 'timeline', _property(site.page, f'--{name}')) for name in faces.EXPRESSIONS)

    site.page.get_by_role('button', name='Stop the camera').click()
    expect(site.page.locator('#note')).to_have_text('The camera is stopped.')
    asked = site.photos_asked()
    site.page.wait_for_timeout(700)
    assert site.photos_asked() == asked
    assert site.page.evaluate('video.srcObject') is None
    expect(site.page.get_by_role('img', name='Picture frame.jpg')).to_be_visible()


def test_camera_stops_when_the_page_is_hidden(site):
    site.page.get_by_role('button', name='Start the camera').click()
    site.wait_until(lambda: site.timeline_seconds() >= 0)
    # Chromium under test never hides a page by itself.
    site.page.evaluate(
        """() => {
            window.tracks = video.srcObject.getTracks();
            Object.defineProperty(document, 'hidden', { value: true });
            document.dispatchEvent(new Event('visibilitychange'));
        }"""
    )
    expect(site.page.get_by_role('button', name='Start the camera')).to_be_visible()
    expect(site.page.locator('#note')).to_contain_text('hidden')
    assert site.page.evaluate('tracks.map(track => track.readyState)') == ['ended']


def test_camera_that_is_not_allowed_is_told(visit, server):
    site = visit(server)
    site.page.evaluate(
        """() => {
            const refuse = () => Promise.reject(new DOMException('', 'NotAllowedError'));
            navigator.mediaDevices.getUserMedia = refuse;
        }"""
    )
    site.page.get_by_role('button', name='Start the camera').click()
    expect(site.result).to_contain_text('The camera was not allowed')
    expect(site.page.get_by_role('button', name='Start the camera')).to_be_enabled()


def test_camera_waits_for_a_server_that_is_away(visit, python, models, tmp_path):
    running.push(models, tmp_path / 'serving', faces.JOINT_MODEL, 7)
    port = ['--http-port', str(running.free_port())]
    with running.running(tmp_path / 'serving', tmp_path / 'log.txt', *port) as server:
        site = visit(server)
        site.expected = [FAILED_LOAD]
        site.page.get_by_role('button', name='Start the camera').click()
        expect(site.result).to_have_text(re.compile('^One face: '))
    expect(site.result).to_contain_text('The server does not answer')
    assert set(site.bars().values()) == {'–'}
    expect(site.page.get_by_role('button', name='Stop the camera')).to_be_visible()
    with running.running(tmp_path / 'serving', tmp_path / 'log.txt', *port):
        expect(site.result).to_have_text(re.compile('^One face: '))
        site.page.get_by_role('button', name='Stop the camera').click()


def test_photo_waits_for_a_model_that_is_not_pushed_yet(visit, python, models, portrait, tmp_path):
    (tmp_path / 'serving').mkdir()
    with running.running(tmp_path / 'serving', tmp_path / 'log.txt', '--poll', '0.2') as server:
        site = visit(server)
        site.expected = [FAILED_LOAD]
        site.choose(portrait)
        expect(site.result).to_have_text(site.ask(portrait)['error'])
        running.push(models, tmp_path / 'serving', faces.JOINT_MODEL, 8)
        expect(site.page.locator('#model')).to_have_text('faces, version 8')


# The command line.


@needs_curl
@pytest.mark.parametrize('shell, name', [('sh', name) for name in NAMES] + [('bash', name) for name in UNSEEN_NAMES])
def test_copied_command_gives_the_same_faces(visit, server, group, tmp_path, shell, name):
    folder = tmp_path / 'photos'
    folder.mkdir()
    (folder / name).write_bytes(group)
    site = visit(server, permissions=['clipboard-read', 'clipboard-write'])
    site.choose_faces('All')
    site.choose(group, name)
    expect(site.result).to_have_text(re.compile('^3 faces; '))
    site.page.get_by_role('button', name='Copy command').click()
    expect(site.page.get_by_role('status')).to_have_text('The command was copied.')
    command = site.page.evaluate('navigator.clipboard.readText()')
    assert command == site.page.locator('#curl').text_content()
    assert not re.search(r'[\x00-\x1f\x7f\u202e]', command)
    assert _run(shell, command, folder)['faces'] == site.ask(group, 'all')['faces']
    assert [one.name for one in folder.iterdir()] == [name]


@needs_curl
def test_frame_of_the_camera_can_be_saved_and_asked_about(site, tmp_path):
    site.page.get_by_role('button', name='Start the camera').click()
    site.wait_until(lambda: site.timeline_seconds() >= 0)
    site.page.get_by_role('button', name='Stop the camera').click()
    expect(site.page.locator('#note')).to_have_text('The camera is stopped.')
    with site.page.expect_download() as download:
        site.page.get_by_role('button', name='Save picture').click()
    download.value.save_as(tmp_path / download.value.suggested_filename)
    answer = _run('sh', site.page.locator('#curl').text_content(), tmp_path)
    (face,) = answer['faces']
    expect(site.result).to_have_text(f'One face: {verdict(face)}')
    # It is shown as in a mirror, and so are its points.
    site.expected = [READ_BACK]
    width = answer['image']['width']
    assert all(_is_marked(site.page, answer['image'], (width - x, y)) for x, y in face['keypoints'].values())
    assert not all(_is_marked(site.page, answer['image'], point) for point in face['keypoints'].values())


# Everybody can use it.


def test_everything_is_done_by_keyboard_and_the_focus_is_seen(visit, server, group):
    site = visit(server, permissions=['clipboard-read', 'clipboard-write'])
    keyboard = site.page.keyboard
    keyboard.press('Tab')
    expect(site.page.get_by_label('Choose a photo')).to_be_focused()
    assert _outline(site.page) >= 2
    choosers: list[FileChooser] = []
    site.page.on('filechooser', lambda chooser: choosers.append(chooser))
    # On a loaded machine Chromium was once seen to open none for the first stroke.
    for _ in range(10):
        keyboard.press('Space')
        site.page.wait_for_timeout(1000)
        if choosers:
            break
    choosers[-1].set_files({'name': 'group.jpg', 'mimeType': 'image/jpeg', 'buffer': group})
    expect(site.result).to_have_text(re.compile('^One face: '))
    keyboard.press('Tab')
    expect(site.page.get_by_role('button', name='Start the camera')).to_be_focused()
    assert _outline(site.page) >= 2
    keyboard.press('Tab')
    keyboard.press('ArrowRight')
    expect(site.page.get_by_role('radio', name='All')).to_be_checked()
    assert _outline(site.page) >= 2
    expect(site.result).to_have_text(re.compile('^3 faces; '))
    for expected in ('every', 'command', 'copy'):
        keyboard.press('Tab')
        assert site.page.evaluate('document.activeElement.closest("[id]").id') == expected
        assert _outline(site.page) >= 2
    keyboard.press('Enter')
    expect(site.page.get_by_role('status')).to_have_text('The command was copied.')


def test_names_and_roles(site, group):
    site.choose_faces('All')
    site.choose(group, 'group.jpg')
    expect(site.result).to_have_text(re.compile('^3 faces; '))
    expect(site.page.locator('body')).to_match_aria_snapshot(
        """
        - banner:
          - heading "Expressions and points of faces" [level=1]
        - main:
          - region "Picture":
            - img "Picture group.jpg"
            - button "Choose a photo"
            - button "Start the camera"
            - group "Faces":
              - radio "Largest"
              - radio "All" [checked]
              - radio "Already cut"
          - region /The last minute/:
            - 'img /Timeline: empty/'
          - region "Answer":
            - status: /3 faces/
            - table "Probabilities of the largest face":
              - rowgroup:
                - row /anger \\d+%/
                - row /disgust \\d+%/
                - row /sad \\d+%/
                - row /happiness \\d+%/
                - row /surprise \\d+%/
          - region "Every face":
            - group "Every face":
              - table /Probabilities of every face/
          - region "The same from a shell":
            - button "Copy command"
            - button "Save picture" [disabled]
        - contentinfo:
          - paragraph:
            - strong: An expression is not an emotion.
          - paragraph: /In the European Union/
        """
    )


def test_camera_speaks_seldom(site):
    spoken = _record(site.page, '[role=status]')
    site.page.get_by_role('button', name='Start the camera').click()
    site.wait_until(lambda: site.timeline_seconds() >= 3)
    assert len(spoken()) <= 3 < site.photos_asked()


@pytest.mark.parametrize('scheme', ['light', 'dark'])
def test_contrast_is_that_of_wcag_aa(visit, server, group, scheme):
    site = visit(server, color_scheme=scheme)
    site.expected = [FAILED_LOAD]
    found = _contrasts(site.page)
    site.choose_faces('All')
    site.choose(group)
    expect(site.result).to_have_text(re.compile('^3 faces; '))
    found += _contrasts(site.page)
    site.choose(b'no picture')
    expect(site.result).to_contain_text('image')
    found += _contrasts(site.page)
    assert len(found) > 60
    assert [one for one in found if one['ratio'] < 4.5] == []
    parts = [*(f'--{name}' for name in faces.EXPRESSIONS), '--edge', '--accent']
    assert {part: ratio for part in parts if (ratio := _ratio(site.page, part, '--surface')) < 3} == {}
    assert _ratio(site.page, '--text', '--surface') > 7  # the scheme's colours are there


@pytest.mark.parametrize('scheme', ['light', 'dark'])
def test_colours_are_the_reports(visit, server, scheme):
    site = visit(server, color_scheme=scheme)
    light, dark = re.findall(r':root \{(.*?)\}', REPORT.read_text(encoding='utf-8'), re.DOTALL)[:2]
    report = dict(re.findall(r'(--\w+): (#\w+)', dark if scheme == 'dark' else light))
    for name in ('--page', '--surface', '--text', '--muted', '--line', '--accent', '--bad'):
        assert _property(site.page, name) == report[name], name


def test_telephone_shows_it_without_scrolling_sideways(visit, server, group):
    site = visit(server, viewport={'width': 360, 'height': 740}, device_scale_factor=3, is_mobile=True, has_touch=True)
    site.expected = [FAILED_LOAD]
    site.choose_faces('All')
    site.choose(group, f'{"long" * 40}.jpg')
    expect(site.result).to_have_text(re.compile('^3 faces; '))
    assert _overflow(site.page) <= 0
    assert site.page.evaluate('(e => e.scrollWidth - e.clientWidth)(document.querySelector(".scroll"))') <= 0
    for button in site.page.get_by_role('button').all():
        box = button.locator('xpath=ancestor-or-self::*[contains(@class, "button")]').bounding_box()
        assert box is not None and box['height'] >= 24  # WCAG 2.5.8
    site.choose(b'no picture', f'{"long" * 40}.txt')
    expect(site.page.locator('#note')).to_contain_text('cannot show')
    assert _overflow(site.page) <= 0


def test_unwelcome_motion_is_left_out(visit, server, portrait):
    site = visit(server, reduced_motion='reduce')
    durations = 'getComputedStyle(document.querySelector(".bar"), "::before").transitionDuration'
    assert site.page.evaluate(durations) == '0s'
    drawn = """() => {
        window.drawn = 0;
        const draw = CanvasRenderingContext2D.prototype.moveTo;
        CanvasRenderingContext2D.prototype.moveTo = function (...place) {
            if (this.canvas.id === 'timeline') window.drawn++;
            return draw.apply(this, place);
        };
    }"""
    site.page.evaluate(drawn)
    site.page.get_by_role('button', name='Start the camera').click()
    site.wait_until(lambda: site.photos_asked() >= 12)
    axes_and_curves = 3 + 2 * len(faces.EXPRESSIONS)
    seconds = site.timeline_seconds() + 3
    assert site.page.evaluate('drawn') <= axes_and_curves * seconds


# Nothing leaves the machine.


def test_privacy_the_law_and_the_limits_of_the_model_are_told(site):
    expect(site.page.locator('#privacy')).to_contain_text('stay on this machine: they go to this server alone')
    text = site.page.locator('footer').inner_text()
    assert 'An expression is not an emotion' in text
    assert 'Art. 5(1)(f)' in text
    assert 'at work and in education' in text


def test_page_runs_no_script_but_its_own_and_asks_no_other_server(site):
    site.expected = ['Content Security Policy']
    site.page.evaluate(
        """() => {
            const script = document.createElement('script');
            script.textContent = 'window.ran = true';
            document.body.append(script);
        }"""
    )
    assert site.page.evaluate('window.ran') is None
    port = urlsplit(site.server.url).port
    refused = f'fetch("http://localhost:{port}/v2/health/live", {{ mode: "no-cors" }}).then(() => false, () => true)'
    assert site.page.evaluate(refused)
    assert site.page.evaluate('fetch("/v2/health/live").then((response) => response.ok)')


def test_page_is_three_files_without_inline_parts():
    page = (PAGE / 'index.html').read_text(encoding='utf-8')
    assert re.findall(r'(?:src|href)="([^"]*)"', page) == ['page.css', 'page.js']
    assert not re.search(r'\sstyle=|\son\w+=|<style|<script(?! type="module" src=)', page)
    assert not re.search(r'https?://', page + (PAGE / 'page.css').read_text(encoding='utf-8'))


# Helpers.


def _save_network(path: Path, nodes: list, values: dict[str, Any], shape: list) -> None:
    pixels = onnx.helper.make_tensor_value_info('pixels', onnx.TensorProto.FLOAT, ['batch', SIZE, SIZE, 1])
    answer = onnx.helper.make_tensor_value_info('answer', onnx.TensorProto.FLOAT, shape)
    weights = [onnx.numpy_helper.from_array(np.asarray(value), name) for name, value in values.items()]
    graph = onnx.helper.make_graph(nodes, path.stem, [pixels], [answer], weights)
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid('', 13)])
    model.ir_version = 8
    onnx.checker.check_model(model)
    onnx.save(model, path)


def _film(path: Path) -> None:
    """A face that changes its expression, uncompressed, in a loop."""
    with path.open('wb') as film:
        film.write(b'YUV4MPEG2 W1280 H720 F10:1 Ip A1:1 C420jpeg\n')
        for frame in range(10):
            drawn = cv2.resize(draw_face(7, 2, faces.EXPRESSIONS[frame // 2]).image, (480, 480))
            wall = np.full((720, 1280, 3), 150, np.uint8)
            wall[120:600, 200:680] = drawn[..., None]
            film.write(b'FRAME\n' + cv2.cvtColor(wall, cv2.COLOR_RGB2YUV_I420).tobytes())


def _run(shell: str, command: str, folder: Path) -> dict[str, Any]:
    """What the command prints, in a folder of its own."""
    done = subprocess.run([shell, '-c', command], cwd=folder, capture_output=True, check=True, timeout=60)
    return json.loads(done.stdout)


def _is_marked(page: Page, image: dict[str, int], point: tuple[float, float]) -> bool:
    """Whether the overlay has one of the points' amber pixels about a point of the picture."""
    return page.evaluate(
        """([image, [x, y]]) => {
            const scale = Math.min(overlay.width / image.width, overlay.height / image.height);
            const left = (overlay.width - scale * image.width) / 2 + scale * x;
            const top = (overlay.height - scale * image.height) / 2 + scale * y;
            const reach = Math.round(6 * devicePixelRatio);
            const { data } = overlay.getContext('2d')
                .getImageData(left - reach, top - reach, 2 * reach, 2 * reach);
            for (let i = 0; i < data.length; i += 4) {
                const [red, green, blue, opaque] = data.slice(i, i + 4);
                if (opaque > 200 && Math.abs(red - 255) + Math.abs(green - 176) + Math.abs(blue - 59) < 40) return true;
            }
            return false;
        }""",
        [image, list(point)],
    )


def _record(page: Page, selector: str) -> Callable[[], list[str]]:
    """Takes note of an element's texts from now on; what is given back tells them."""
    page.evaluate(
        """selector => {
            window.texts = [];
            const watched = document.querySelector(selector);
            new MutationObserver(() => texts.push(watched.textContent)).observe(watched, { childList: true });
        }""",
        selector,
    )
    return lambda: page.evaluate('texts')


def _has_colour(page: Page, canvas: str, colour: str) -> bool:
    """Whether some pixels of a canvas have this colour, `#rrggbb`."""
    return page.evaluate(
        """([id, wanted]) => {
            const canvas = document.getElementById(id);
            const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
            const parts = [1, 3, 5].map(place => parseInt(wanted.slice(place, place + 2), 16));
            for (let i = 0; i < data.length; i += 4) {
                const isNear = parts.every((part, index) => Math.abs(part - data[i + index]) < 4);
                if (isNear && data[i + 3] > 250) return true;
            }
            return false;
        }""",
        [canvas, colour],
    )


def _outline(page: Page) -> float:
    """Width of the outline that is seen about what has the focus."""
    return page.evaluate(
        """() => {
            const focused = document.activeElement;
            const isSeen = (element) => element.offsetWidth > 4 && getComputedStyle(element).opacity > 0;
            const widths = [focused, focused.parentElement, focused.nextElementSibling]
                .filter(element => element && isSeen(element))
                .filter(element => getComputedStyle(element).outlineStyle === 'solid')
                .map(element => parseFloat(getComputedStyle(element).outlineWidth));
            return Math.max(0, ...widths);
        }"""
    )


def _overflow(page: Page) -> int:
    return page.evaluate('document.documentElement.scrollWidth - document.documentElement.clientWidth')


def _property(page: Page, name: str) -> str:
    return page.evaluate('name => getComputedStyle(document.documentElement).getPropertyValue(name).trim()', name)


def _ratio(page: Page, one: str, other: str) -> float:
    """WCAG's contrast ratio of two of the page's colours."""
    light, dark = sorted((_luminance(_property(page, name)) for name in (one, other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def _luminance(colour: str) -> float:
    """WCAG's relative luminance of `#rrggbb`."""
    parts = np.array([int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)])
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def _contrasts(page: Page) -> list[dict[str, Any]]:
    """The contrast of every visible text with what lies behind it."""
    return page.evaluate(
        """() => {
            const pen = new OffscreenCanvas(1, 1).getContext('2d', { willReadFrequently: true });
            const mix = (...colours) => {
                for (const colour of colours) {
                    pen.fillStyle = colour;
                    pen.fillRect(0, 0, 1, 1);
                }
                return [...pen.getImageData(0, 0, 1, 1).data].slice(0, 3);
            };
            const luminance = (parts) => parts
                .map(part => part / 255)
                .map(part => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4)
                .reduce((sum, part, index) => sum + part * [0.2126, 0.7152, 0.0722][index], 0);
            const backgrounds = (element) => element
                ? [...backgrounds(element.parentElement), getComputedStyle(element).backgroundColor]
                : ['white'];
            const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
            const found = [];
            while (texts.nextNode()) {
                const text = texts.currentNode.textContent.trim();
                const element = texts.currentNode.parentElement;
                if (!text || !element.checkVisibility() || element.closest('.visually-hidden, :disabled')) continue;
                const ground = backgrounds(element);
                const pair = [mix(...ground), mix(...ground, getComputedStyle(element).color)].map(luminance);
                const [dark, light] = pair.sort((one, other) => one - other);
                found.push({ text, ratio: (light + 0.05) / (dark + 0.05) });
            }
            return found;
        }"""
    )
