"""`emotion-pipeline predict`: what it prints, where it writes, and how it ends."""

import contextlib
import csv
import dataclasses
import hashlib
import http.server
import io
import json
import os
import pty
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import cv2
import httpx
import numpy as np
import onnx
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from components import faces
from components.inference.detect import FaceDetector
from components.inference.network import load_version, onnx_file
from components.inference.photo import face_from_json, read_photo
from data.draw import draw_face
from pipeline.options import Group
from pipeline.predict_commands import CSV_COLUMNS, predict_command

ROOT = Path(__file__).parents[2]
SERVER_PYTHON = ROOT / '.venv-serve' / 'bin' / 'python'
PROGRAM = """
import sys
import click
from pipeline.options import Group
from pipeline.predict_commands import predict_command
main = Group('emotion-pipeline')
main.add_command(predict_command, 'predict')
main(['predict', *sys.argv[1:]], prog_name='emotion-pipeline')
"""
SIZE = 24


def write_network(path: Path, task: str, seed: int) -> None:
    """A network of one layer, untrained, whose answers depend on what it sees."""
    outputs, shape = (5, [-1, 5]) if task == faces.EXPRESSION_MODEL else (30, [-1, 15, 2])
    weights = np.random.default_rng(seed).normal(0, 0.002, (SIZE * SIZE, outputs)).astype(np.float32)
    last = 'Softmax' if task == faces.EXPRESSION_MODEL else 'Sigmoid'
    node, value = onnx.helper.make_node, onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [
            node('Flatten', ['pixels'], ['flat']),
            node('MatMul', ['flat', 'weights'], ['product']),
            node('Reshape', ['product', 'shape'], ['shaped']),
            node(last, ['shaped'], ['answer']),
        ],
        task,
        [value('pixels', onnx.TensorProto.FLOAT, ['batch', SIZE, SIZE, 1])],
        [value('answer', onnx.TensorProto.FLOAT, ['batch', *shape[1:]])],
        [onnx.numpy_helper.from_array(weights, 'weights'), onnx.numpy_helper.from_array(np.array(shape), 'shape')],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid('', 13)], ir_version=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(model.SerializeToString())


def scene(width: int, height: int, *places: tuple[int, int, int], seed: int = 7) -> np.ndarray:
    """Drawn faces, each at (left, top) with a side, on a background of many shades."""
    y, x = np.mgrid[:height, :width]
    shades = [120 + 60 * np.sin(3 * x / width + channel) + 40 * np.cos(4 * y / height) for channel in range(3)]
    photo = np.stack(shades, axis=-1).clip(0, 255).astype(np.uint8)
    for index, (left, top, side) in enumerate(places):
        face = cv2.resize(draw_face(seed, index).image, (side, side), interpolation=cv2.INTER_CUBIC)
        photo[top : top + side, left : left + side] = face[..., None]
    return photo


@pytest.fixture(scope='session')
def serving(tmp_path_factory) -> Path:
    """A serving folder with two versions of `faces`."""
    folder = tmp_path_factory.mktemp('pushed') / 'serving'
    for version in (1, 2):
        for seed, task in enumerate(faces.TASKS):
            write_network(onnx_file(folder / faces.JOINT_MODEL / str(version), task), task, 10 * version + seed)
    return folder


@pytest.fixture(scope='session')
def album(tmp_path_factory) -> Path:
    """Photographs: one face, two, none, and a face that is cut already."""
    folder = tmp_path_factory.mktemp('album')
    Image.fromarray(scene(320, 240, (100, 40, 160))).save(folder / '1 one.jpg')
    Image.fromarray(scene(420, 240, (20, 30, 150), (220, 40, 170))).save(folder / '2 two.png')
    Image.fromarray(scene(200, 150)).save(folder / '3 none.webp')
    Image.fromarray(draw_face(7, 0).image).save(folder / '4 cut.png')
    return folder


@pytest.fixture
def call(serving, tmp_path, monkeypatch) -> Callable[..., Result]:
    """Runs the command in this process, in a folder of the test's own, on the pushed models of these tests."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('COLUMNS', '300')
    main = Group('emotion-pipeline')
    main.add_command(predict_command, 'predict')

    def invoke(*arguments, where: tuple = ('--serving', serving), **more) -> Result:
        result = CliRunner().invoke(main, ['predict', *map(str, where), *map(str, arguments)], **more)
        # Whatever is no exit of click's own would be a stack trace outside a test.
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result

    return invoke


def complaint(result: Result) -> str:
    """The one line in which the command ended."""
    assert result.exit_code == 1
    (line,) = result.output.strip().splitlines()
    assert line.startswith('Error: ')
    return line


def answers(result: Result) -> list[dict]:
    return [json.loads(line) for line in result.stdout.splitlines()]


def environment(python: Path) -> dict[str, str]:
    fixed = {'COLUMNS': '200', 'NO_COLOR': '1', 'TERM': 'xterm', 'PYTHONDONTWRITEBYTECODE': '1'}
    return {**os.environ, 'PYTHONPATH': str(ROOT), **fixed}


@contextlib.contextmanager
def started(*arguments, python: Path = Path(sys.executable), **more) -> Iterator[subprocess.Popen]:
    """The command as a process of its own, which does not outlive the test."""
    command = [str(python), '-c', PROGRAM, *map(str, arguments)]
    process = subprocess.Popen(command, env=environment(python), **more)
    try:
        yield process
    finally:
        process.kill()
        process.wait(10)
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream is not None:
                stream.close()


def test_people_get_a_table(call, album):
    result = call(album, '--faces', 'all')
    assert result.exit_code == 0 and not result.stderr
    lines = [line.split() for line in result.stdout.splitlines() if '.png' in line or '.jpg' in line or '.webp' in line]
    assert [line[1] for line in lines] == ['one.jpg', 'two.png', 'two.png', 'none.webp', 'cut.png']
    assert [line[2] for line in lines] == ['1', '1', '2', 'no', '1']
    for line in (lines[0], lines[1], lines[2], lines[4]):
        assert line[3] in faces.EXPRESSIONS
        assert re.fullmatch(r'\d+%', line[4])
        assert re.fullmatch(r'\d+x\d+', line[-3])
    assert result.stdout.splitlines()[-1] == '4 photographs, 4 faces, 1 without a face. Answered by version 2 of faces.'


@pytest.mark.parametrize('which', ['largest', 'all', 'whole'])
def test_programs_get_what_the_engine_answers_one_object_a_photograph(call, album, serving, which):
    result = call(album, '--json', '--faces', which)
    assert result.exit_code == 0 and not result.stderr
    model, finder = load_version(serving / faces.JOINT_MODEL / '2', faces.JOINT_MODEL, 2), FaceDetector()
    photos = sorted(album.iterdir())
    for path, answer in zip(photos, answers(result), strict=True):
        pixels = np.asarray(Image.open(path).convert('RGB'))
        assert answer['file'] == str(path)
        assert answer['image'] == {'width': pixels.shape[1], 'height': pixels.shape[0]}
        assert answer['model'] == {'name': 'faces', 'version': 2}
        expected = read_photo(pixels, model, finder, which)
        found = [face_from_json(face) for face in answer['faces']]
        assert [face.box for face in found] == [face.box for face in expected]
        for face, other in zip(found, expected, strict=True):
            np.testing.assert_allclose(face.keypoints, other.keypoints, atol=1e-3)
            np.testing.assert_allclose(face.probabilities, other.probabilities, atol=1e-5)
    counts = {'largest': [1, 1, 0, 1], 'all': [1, 2, 0, 1], 'whole': [1, 1, 1, 1]}
    assert [len(answer['faces']) for answer in answers(result)] == counts[which]


def test_csv_has_a_row_a_face_with_the_same_figures_as_json(call, album):
    result = call(album, '--csv', '--faces', 'all')
    assert result.exit_code == 0 and not result.stderr
    rows = list(csv.DictReader(io.StringIO(result.stdout)))
    assert tuple(rows[0]) == CSV_COLUMNS and len(result.stdout.splitlines()) == len(rows) + 1
    expected = [
        (answer['file'], number, face)
        for answer in answers(call(album, '--json', '--faces', 'all'))
        for number, face in enumerate(answer['faces'], 1)
    ]
    for row, (file, number, face) in zip(rows, expected, strict=True):
        assert (row['file'], row['face'], row['expression']) == (file, str(number), face['expression'])
        assert row['model_version'] == '2'
        for name, value in {**face['box'], **face['probabilities'], 'score': face['score']}.items():
            assert float(row[name]) == pytest.approx(value, abs=1e-3)
        for name, (x, y) in face['keypoints'].items():
            assert (float(row[f'{name}_x']), float(row[f'{name}_y'])) == pytest.approx((x, y), abs=1e-3)
    assert {row['score'] for row in csv.DictReader(io.StringIO(call(album, '--csv', '--faces', 'whole').stdout))} == {
        ''
    }


def test_a_version_can_be_chosen(call, album):
    photo = album / '4 cut.png'
    one, two = (answers(call(photo, '--json', '--version', version))[0] for version in (1, 2))
    assert (one['model']['version'], two['model']['version']) == (1, 2)
    assert one['faces'][0]['probabilities'] != two['faces'][0]['probabilities']
    assert 'no version 3: choose one of 1, 2.' in complaint(call(photo, '--version', 3))


@pytest.mark.parametrize('option', ['--json', '--csv', None])
def test_bad_files_are_told_at_the_end_and_the_good_ones_answered(call, album, tmp_path, option):
    good = (album / '1 one.jpg').read_bytes()
    (tmp_path / 'broken.jpg').write_bytes(good[: len(good) // 2])
    (tmp_path / 'words.jpg').write_text('no image')
    (tmp_path / 'empty.png').touch()
    (tmp_path / 'folder.jpg').mkdir()
    (tmp_path / 'folder.jpg' / 'good.jpg').write_bytes(good)
    Image.new('L', (9000, 9000)).save(tmp_path / 'enormous.png')
    bad = ['broken.jpg', 'words.jpg', 'empty.png', 'enormous.png', 'missing.jpg']
    result = call('broken.jpg', 'folder.jpg', *bad[1:], album, *([option] if option else []))
    assert result.exit_code == 1
    assert [line.partition(':')[0] for line in result.stderr.splitlines()] == bad
    assert 'cut short' in result.stderr and 'megapixels' in result.stderr and 'No such file' in result.stderr
    if option == '--json':
        found = answers(result)
        assert [answer['file'] for answer in found if 'error' in answer] == bad
        assert len([answer for answer in found if 'faces' in answer]) == 5
    elif option is None:
        assert 'folder.jpg/good.jpg' in result.stdout and '5 photographs' in result.stdout
    else:
        assert len(result.stdout.splitlines()) == 1 + 4


def test_hundreds_of_photographs_come_in_their_order(call, tmp_path):
    random = np.random.default_rng(1)
    (tmp_path / 'many').mkdir()
    for index in range(300):
        # Those in front take longest.
        side = 400 if index % 50 == 0 else 20
        Image.fromarray(random.integers(0, 256, (side, side), np.uint8)).save(tmp_path / 'many' / f'{index:03}.png')
    result = call('many', '--json', '--faces', 'whole', '--workers', 4)
    assert [answer['file'] for answer in answers(result)] == [f'many/{index:03}.png' for index in range(300)]
    single = call('many', '--json', '--faces', 'whole', '--workers', 1)
    assert single.stdout == result.stdout
    assert '300 photographs, 300 faces.' in call('many', '--faces', 'whole').stdout


ODD = [
    '=1+1.png',
    '@SUM(A1).png',
    '-rf.png',
    '+49.png',
    '\uff1d1+1.png',
    'a,"b";=c.png',
    'two\nlines.png',
    '\x1b[31mred.png',
    '[bold]no markup.png',
    'größe 顔 😀.png',
    'latin\udcff.png',
    '\u202egnp.exe.png',
]


@pytest.fixture
def odd(tmp_path, album) -> list[str]:
    for name in ODD:
        (tmp_path / name).write_bytes((album / '4 cut.png').read_bytes())
    return ODD


def test_odd_names_are_safe_in_json(call, odd):
    result = call('--json', '--faces', 'whole', '--', *odd)
    assert [answer['file'] for answer in answers(result)] == [name.replace('\udcff', r'\xff') for name in odd]
    assert len(result.stdout_bytes.decode('utf-8').splitlines()) == len(odd)


def test_odd_names_are_safe_in_csv(call, odd):
    result = call('--csv', '--faces', 'whole', '--', *odd)
    assert len(result.stdout.splitlines()) == len(odd) + 1
    cells = [row['file'] for row in csv.DictReader(io.StringIO(result.stdout))]
    for name, cell in zip(odd, cells, strict=True):
        assert cell[0] in './' or cell[0].isalnum()
        assert cell.isprintable()
        if name.isprintable():
            assert Path(cell).samefile(name)
    # Split at semicolons, as a spreadsheet of a country with a decimal comma does it, a path stays whole.
    rows = list(csv.reader(io.StringIO(result.stdout), delimiter=';'))
    assert [row[0].partition('.png')[0] for row in rows[1:]] == [cell.partition('.png')[0] for cell in cells]


def test_odd_names_are_safe_in_the_table(call, odd):
    result = call('--faces', 'whole', '--', *odd)
    for shown in ('=1+1.png', '[bold]no markup.png', r'two\nlines.png', r'\x1b[31mred.png', r'latin\xff.png'):
        assert shown in result.stdout
    assert '\x1b' not in result.stdout and f'{len(odd)} photographs' in result.stdout


def test_standard_input_is_a_photograph_too(call, album):
    encoded = (album / '1 one.jpg').read_bytes()
    (answer,) = answers(call('-', '--json', input=encoded))
    assert answer['file'] == '-'
    (other,) = answers(call(album / '1 one.jpg', '--json'))
    assert answer['faces'] == other['faces']
    result = call('-', '--json', input=b'')
    assert result.exit_code == 1 and result.stderr.startswith('-: ')


def test_a_telephones_photograph_is_turned_upright(call, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn clockwise is needed
    turned = np.rot90(scene(320, 240, (100, 40, 160)))
    Image.fromarray(turned).save(tmp_path / 'turned.jpg', exif=exif, quality=95)
    (answer,) = answers(call('turned.jpg', '--json'))
    assert answer['image'] == {'width': 320, 'height': 240}
    (face,) = answer['faces']
    assert face['box']['left'] + face['box']['width'] / 2 == pytest.approx(180, abs=20)


def test_overlays_are_pictures_of_their_own(call, album):
    digests = {path: hashlib.sha256(path.read_bytes()).digest() for path in album.iterdir()}
    result = call(album, album, '--overlay', 'drawn/here', '--json', '--faces', 'all')
    assert result.exit_code == 0
    written = [Path(answer['overlay']) for answer in answers(result)]
    assert len(set(written)) == 8 and all(path.parent == Path('drawn/here') for path in written)
    for path, answer in zip(written, answers(result), strict=True):
        with Image.open(path) as picture:
            assert picture.format == 'JPEG' and min(picture.size) >= 420
        assert answer['file'] != str(path)
    assert {path: hashlib.sha256(path.read_bytes()).digest() for path in album.iterdir()} == digests
    # A second time the pictures are made anew, and none is taken for a photograph.
    assert answers(call(album, '--overlay', 'drawn/here', '--json')) != []
    assert len(list(Path('drawn/here').iterdir())) == 8


def test_overlays_below_the_searched_folder_are_no_photographs(call, album, tmp_path):
    (tmp_path / 'faces').mkdir()
    (tmp_path / 'faces' / 'a.jpg').write_bytes((album / '1 one.jpg').read_bytes())
    for _ in range(2):
        found = answers(call('faces', '--overlay', 'faces/drawn', '--json'))
        assert [answer['file'] for answer in found] == ['faces/a.jpg']
    assert 'name another folder for --overlay' in complaint(call('faces', '--overlay', 'faces/../faces'))


def test_overlays_that_cannot_be_written_end_the_work_in_one_line(call, album, tmp_path):
    (tmp_path / 'drawn').mkdir()
    (tmp_path / 'drawn' / '1 one.overlay.jpg').mkdir()
    result = call(album / '1 one.jpg', '--overlay', 'drawn')
    assert 'drawn' in complaint(result)


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['--json', '--csv'], 'Choose one of --json and --csv'),
        (['--url', 'http://localhost:1', '--version', '1'], 'leave out --serving and --version'),
        (['--url', 'http://localhost:1', '--serving', '.'], 'leave out --serving and --version'),
    ],
)
def test_options_that_exclude_each_other_are_refused(call, arguments, message):
    result = call('a.jpg', *arguments, where=())
    assert result.exit_code == 2 and message in result.stderr


def test_what_hinders_the_work_is_said_in_one_line(call, album, tmp_path):
    (tmp_path / 'empty').mkdir()
    assert 'empty has no photograph in it' in complaint(call('empty'))
    nothing = complaint(call(album, where=('--serving', 'nowhere')))
    assert 'Nothing is served in nowhere/faces: run `make run` first' in nothing
    nothing = complaint(call(album, where=('--set', 'serving=elsewhere')))
    assert f'Nothing is served in {tmp_path}/elsewhere/faces: run `make run` first' in nothing
    assert 'There is no configuration' in complaint(call(album, where=('--config', 'none')))
    (tmp_path / 'damaged' / 'faces' / '1').mkdir(parents=True)
    assert 'cannot be read' in complaint(call(album, where=('--serving', 'damaged')))


def test_the_configuration_says_where_the_models_are(call, album, serving):
    (answer,) = answers(call(album / '4 cut.png', '--json', where=('--set', f'serving={serving}')))
    assert answer['model']['version'] == 2


# A server


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(('127.0.0.1', 0))
        return sock.getsockname()[1]


@pytest.fixture(scope='module')
def running_server(serving, tmp_path_factory) -> Iterator[str]:
    """The real one, in its own environment."""
    if not SERVER_PYTHON.exists() or not (ROOT / 'components' / 'serve' / '__main__.py').exists():
        pytest.skip('the environment of the server is not installed: make serve')
    port = free_port()
    command = [SERVER_PYTHON, '-m', 'components.serve', '--folder', serving, '--http-port', str(port)]
    log = tmp_path_factory.mktemp('server') / 'log.txt'
    with log.open('wb') as file:
        process = subprocess.Popen([*map(str, command), '--grpc-port', '0'], cwd=ROOT, stdout=file, stderr=file)
    try:
        end = time.monotonic() + 60
        while True:
            with contextlib.suppress(httpx.TransportError):
                if httpx.get(f'http://127.0.0.1:{port}/v2/health/ready').status_code == 200:
                    break
            assert process.poll() is None and time.monotonic() < end, log.read_text()
            time.sleep(0.2)
        yield f'http://127.0.0.1:{port}'
    finally:
        process.terminate()
        process.wait(20)


@pytest.mark.parametrize('which', ['largest', 'all', 'whole'])
def test_a_server_gives_the_same_answers(call, album, running_server, which):
    arguments = (album, '--json', '--faces', which, '--overlay', 'drawn')
    asked = call(*arguments, where=('--url', running_server + '/'))
    assert asked.exit_code == 0, asked.stderr
    for one, other in zip(answers(asked), answers(call(*arguments)), strict=True):
        for face, same in zip(one.pop('faces'), other.pop('faces'), strict=True):
            found, expected = face_from_json(face), face_from_json(same)
            np.testing.assert_allclose(found.box, expected.box, atol=1e-2)
            np.testing.assert_allclose(found.keypoints, expected.keypoints, atol=1e-2)
            np.testing.assert_allclose(found.probabilities, expected.probabilities, atol=1e-4)
        assert one == other
        assert Path(one['overlay']).exists()


def test_a_server_refuses_bad_files_one_by_one(call, album, running_server, tmp_path):
    (tmp_path / 'words.jpg').write_text('no image')
    (tmp_path / 'large.jpg').write_bytes(bytes(40 * 2**20))
    result = call('words.jpg', 'large.jpg', album, '--json', where=('--url', running_server))
    assert result.exit_code == 1
    assert [line.partition(':')[0] for line in result.stderr.splitlines()] == ['words.jpg', 'large.jpg']
    assert 'larger than' in result.stderr
    assert len([answer for answer in answers(result) if 'faces' in answer]) == 4


@dataclasses.dataclass
class Script:
    """What a server answers, and what it was asked."""

    answer: Callable[[http.server.BaseHTTPRequestHandler], None] = lambda handler: None
    asked: list[str] = dataclasses.field(default_factory=list)
    url: str = ''


@pytest.fixture
def script() -> Iterator[Script]:
    plan = Script()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            plan.asked.append(self.path)
            self.rfile.read(int(self.headers['Content-Length']))
            plan.answer(self)

        def log_message(self, *arguments) -> None:
            pass

    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    plan.url = f'http://127.0.0.1:{server.server_port}'
    yield plan
    server.shutdown()
    server.server_close()


def saying(status: int, body: bytes, **headers: str) -> Callable[[http.server.BaseHTTPRequestHandler], None]:
    def answer(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        handler.send_header('Content-Length', str(len(body)))
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(body)

    return answer


NO_FACE = b'{"image": {"width": 4, "height": 3}, "faces": [], "model": {"name": "faces", "version": 9}}'


def test_a_server_is_asked_for_the_faces_that_are_wanted(call, album, script):
    script.answer = saying(200, NO_FACE)
    (answer,) = answers(call(album / '1 one.jpg', '--json', '--faces', 'all', where=('--url', f'{script.url}/base/')))
    assert script.asked == ['/base/v1/photo?faces=all']
    assert answer['model'] == {'name': 'faces', 'version': 9}


@pytest.mark.parametrize(
    ('status', 'body', 'message'),
    [
        (200, b'no JSON', 'give the address of a server'),
        (200, b'[]', 'give the address of a server'),
        (200, NO_FACE.replace(b'[]', b'[{"box": 1}]'), 'give the address of a server'),
        (200, NO_FACE.replace(b'[]', b'7'), 'give the address of a server'),
        (200, b'[' * 100_000, 'give the address of a server'),
        (200, b' ' * 5 * 2**20, 'more than 4 MiB'),
        (302, b'', 'status 302'),
        (404, b'<html>', 'status 404'),
        (404, b'{"error": "no such\\nmodel"}', r'status 404: no such\nmodel'),
        (502, b'<html>', 'status 502'),
    ],
    ids=['words', 'a list', 'a box', 'faces', 'deep', 'long', 'moved', 'missing', 'missing, said', 'a gateway'],
)
def test_what_is_no_server_of_ours_ends_the_work_in_one_line(call, album, script, status, body, message):
    script.answer = saying(status, body, Location='/elsewhere')
    result = call(album / '1 one.jpg', '--json', where=('--url', script.url))
    assert message in complaint(result)


@pytest.mark.parametrize('figure', [b'NaN', b'Infinity', b'1e999', b'"wide"', b'null', b'[1]'])
def test_figures_that_are_none_are_no_answer(call, album, script, figure):
    result = call(album / '1 one.jpg', '--json', '--faces', 'whole')
    face = answers(result)[0]
    face['faces'][0]['box']['width'] = 'FIGURE'
    script.answer = saying(200, json.dumps(face).encode().replace(b'"FIGURE"', figure))
    assert 'give the address of a server' in complaint(call(album / '1 one.jpg', where=('--url', script.url)))


def test_an_error_about_one_photograph_is_told_of_that_one(call, album, script):
    replies = iter([saying(500, b'{"error": "it broke"}'), *[saying(200, NO_FACE)] * 3])
    script.answer = lambda handler: next(replies)(handler)
    result = call(album, '--json', '--workers', 1, where=('--url', script.url))
    assert result.exit_code == 1
    assert result.stderr == f'{album}/1 one.jpg: it broke\n'
    assert ['error' in answer for answer in answers(result)] == [True, False, False, False]


def test_a_busy_server_is_asked_again(call, album, script):
    replies = iter([saying(503, b'{"error": "busy"}'), saying(200, NO_FACE)])
    script.answer = lambda handler: next(replies)(handler)
    assert call(album / '1 one.jpg', where=('--url', script.url)).exit_code == 0
    assert len(script.asked) == 2


def test_a_server_without_a_model_says_so_in_one_line(call, album, script, monkeypatch):
    monkeypatch.setattr('components.inference.client._PAUSES', (0.0, 0.0))
    script.answer = saying(503, b'{"error": "no model is loaded"}')
    assert 'status 503: no model is loaded' in complaint(call(album / '1 one.jpg', where=('--url', script.url)))
    assert len(script.asked) == 3


def test_a_server_that_breaks_off_does_not_end_the_work(call, album, script, monkeypatch):
    monkeypatch.setattr('components.inference.client._PAUSES', (0.0,))
    replies = iter([lambda handler: None] * 2 + [saying(200, NO_FACE)] * 3)
    script.answer = lambda handler: next(replies)(handler)
    result = call(album, '--json', '--workers', 1, where=('--url', script.url))
    assert result.exit_code == 1 and 'broke off' in result.stderr
    assert ['error' in answer for answer in answers(result)] == [True, False, False, False]


def test_a_server_that_never_answers_is_left(call, album, script, monkeypatch):
    monkeypatch.setattr('components.inference.client.Server.__init__.__defaults__', (0.5,))
    released = threading.Event()
    script.answer = lambda handler: released.wait(20)
    try:
        assert 'does not answer within 0.5 s' in complaint(call(album / '1 one.jpg', where=('--url', script.url)))
    finally:
        released.set()


@pytest.mark.parametrize(
    'url', ['localhost:8501', 'ftp://localhost', 'http://', 'http://a:b:c', 'file:///etc/passwd', '']
)
def test_an_address_that_is_none_is_refused(call, album, url):
    assert 'no address of a server' in complaint(call(album / '1 one.jpg', where=('--url', url)))


def test_no_server_is_said_without_the_password_of_the_address(call, album):
    line = complaint(call(album / '1 one.jpg', where=('--url', f'http://someone:secret@127.0.0.1:{free_port()}')))
    assert 'No server answers at http://127.0.0.1' in line and 'secret' not in line


# A process of its own


@pytest.mark.parametrize('option', ['--json', None])
def test_an_interruption_ends_it_with_what_was_done(serving, album, tmp_path, option):
    os.mkfifo(tmp_path / 'never.jpg')
    photo = album / '4 cut.png'
    arguments = [photo, tmp_path / 'never.jpg', photo, '--serving', serving, '--workers', 1]
    with started(
        *arguments, *([option] if option else []), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        # Who opens it for writing waits until the command reads it.
        assert process.stdout is not None
        with (tmp_path / 'never.jpg').open('wb'):
            first = process.stdout.readline() if option else ''
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=60)
        assert process.returncode == 130
        assert not err
        assert (first + out).count('4 cut.png') == 1
        if option:
            assert json.loads(first)['file'] == str(photo) and not out
        else:
            assert '1 photograph, 1 face.' in out


@pytest.mark.parametrize('option', ['--json', '--csv', None])
def test_a_reader_that_has_read_enough_is_no_error(serving, album, option):
    arguments = [*[album / '4 cut.png'] * 60, '--serving', serving, *([option] if option else [])]
    with started(*arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stderr is not None
        if option:
            assert process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b''
        assert process.wait(60) == 0


@pytest.mark.parametrize(('count', 'is_shown'), [(2, False), (30, True)])
def test_a_bar_is_shown_for_more_than_a_few_and_apart_from_the_answers(serving, album, count, is_shown):
    ours, theirs = pty.openpty()
    try:
        arguments = [*[album / '4 cut.png'] * count, '--serving', serving, '--csv']
        with started(*arguments, stdout=subprocess.PIPE, stderr=theirs) as process:
            os.close(theirs)
            shown = bytearray()
            reader = threading.Thread(target=lambda: shown.extend(read_all(ours)))
            reader.start()
            out, _ = process.communicate(timeout=60)
            reader.join(10)
        assert process.returncode == 0
        assert len(out.splitlines()) == count + 1
        assert (f'{count}/{count}'.encode() in shown) == is_shown
        assert is_shown or not shown
    finally:
        os.close(ours)


def read_all(descriptor: int) -> Iterator[int]:
    while True:
        try:
            part = os.read(descriptor, 4096)
        except OSError:
            return  # the other end of a terminal was closed
        if not part:
            return
        yield from part


@pytest.mark.parametrize('python', [Path(sys.executable), SERVER_PYTHON], ids=['pipeline', 'server'])
def test_it_runs_in_both_environments_without_tensorflow(serving, album, python):
    if not python.exists():
        pytest.skip('the environment of the server is not installed: make serve')
    code = f"""
import atexit, sys
heavy = {{'tensorflow', 'tfx', 'keras', 'apache_beam', 'matplotlib', 'sklearn', 'kserve'}}
atexit.register(lambda: print('IMPORTED', sorted(heavy & set(sys.modules)), file=sys.stderr))
{PROGRAM}"""
    command = [str(python), '-c', code, str(album), '--json', '--serving', str(serving), '--overlay', '/dev/null/x']
    answer = subprocess.run(command[:-2], env=environment(python), capture_output=True, text=True, timeout=60)
    assert answer.returncode == 0, answer.stderr
    assert answer.stderr == 'IMPORTED []\n'
    assert len(answer.stdout.splitlines()) == 4


def test_nothing_heavy_is_imported_to_explain_it():
    code = f"""
import atexit, sys
heavy = {{'numpy', 'cv2', 'onnxruntime', 'PIL', 'httpx'}}
atexit.register(lambda: print('IMPORTED', sorted(heavy & set(sys.modules))))
{PROGRAM}"""
    command = [sys.executable, '-c', code, '--help']
    answer = subprocess.run(command, env=environment(Path()), capture_output=True, text=True, timeout=60)
    assert answer.stdout.splitlines()[-1] == 'IMPORTED []'


def test_it_explains_itself():
    main = Group('emotion-pipeline')
    main.add_command(predict_command, 'predict')
    result = CliRunner().invoke(main, ['predict', '--help'])
    assert result.exit_code == 0 and 'FILES_OR_FOLDERS' in result.output and '\b' not in result.output
    assert isinstance(predict_command, click.Command)
