"""Films of drawn faces on a moving ground, for tests and figures."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import cv2
import numpy as np

from data.draw import draw_face

Place = Callable[[float], tuple[float, float] | None]
"""By the second, the middle of a face in shares of the frame's width and height; None where it is not there."""


@dataclass
class Actor:
    """A drawn person in a film.

    Attributes:
        index: of the drawn person.
        place: where it is.
        expression: by the second, which one it shows.
        size: side of its picture in shares of the frame's height.
        seed: of the drawn people.
    """

    index: int
    place: Place
    expression: Callable[[float], str] = lambda seconds: 'happiness'
    size: float = 0.5
    seed: int = 3


class Scene:
    """A ground that moves, and actors; those named later are in front.

    Args:
        width, height: of the frames, in pixels.
        actors: who is there.
        ground: another one looks different.
        light: its blue, green and red, 0..1.
    """

    def __init__(
        self,
        width: int,
        height: int,
        actors: list[Actor],
        ground: int = 0,
        light: tuple[float, float, float] = (1.0, 1.0, 1.0),
    ):
        self.width, self.height = width, height
        self._light = np.array(light)
        self._actors = actors
        random = np.random.default_rng(ground)
        tone = random.integers(0, 120, 3)
        coarse = (random.integers(0, 120, (9, 32, 3)) + tone).astype(np.uint8)
        self._ground = cv2.resize(coarse, (2 * width, height), interpolation=cv2.INTER_CUBIC)
        self._pictures: dict[tuple[int, str], np.ndarray] = {}

    def frame(self, seconds: float) -> np.ndarray:
        """uint8 `[height, width, 3]`, BGR."""
        shift = round(abs((20.0 * seconds) % (2 * self.width) - self.width))
        image = self._ground[:, shift : shift + self.width].copy()
        for actor in self._actors:
            place = actor.place(seconds)
            if place is not None:
                self._paste(image, self._picture(actor, actor.expression(seconds)), place)
        return image if self._light.min() == 1.0 else (image * self._light).astype(np.uint8)

    def _picture(self, actor: Actor, expression: str) -> np.ndarray:
        key = (id(actor), expression)
        if key not in self._pictures:
            side = round(actor.size * self.height)
            face = draw_face(actor.seed, actor.index, expression).image
            face = cv2.resize(face, (side, side), interpolation=cv2.INTER_CUBIC)
            self._pictures[key] = cv2.cvtColor(face, cv2.COLOR_GRAY2BGR)
        return self._pictures[key]

    def _paste(self, image: np.ndarray, picture: np.ndarray, place: tuple[float, float]) -> None:
        side = len(picture)
        left, top = round(place[0] * self.width - side / 2), round(place[1] * self.height - side / 2)
        x, y = max(left, 0), max(top, 0)
        right, bottom = min(left + side, self.width), min(top + side, self.height)
        if x < right and y < bottom:
            image[y:bottom, x:right] = picture[y - top : bottom - top, x - left : right - left]


def at(x: float, y: float = 0.5) -> Place:
    """Somebody who stands still."""
    return lambda seconds: (x, y)


def frames(shots: list[tuple[Scene, float]], rate: float) -> Iterator[tuple[float, np.ndarray]]:
    """Scenes one after the other, each so many seconds long: seconds and frame."""
    begun = 0.0
    for scene, seconds in shots:
        for index in range(round(seconds * rate)):
            yield begun + index / rate, scene.frame(index / rate)
        begun += seconds


def write_film(path: Path, shots: list[tuple[Scene, float]], rate: float = 30.0, code: str = 'mp4v') -> Path:
    """Scenes as a video file."""
    scene = shots[0][0]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*code), rate, (scene.width, scene.height))
    assert writer.isOpened()
    for _, image in frames(shots, rate):
        writer.write(image)
    writer.release()
    return path


def write_matroska(path: Path, timed: Iterable[tuple[float, np.ndarray]]) -> Path:
    """Frames with times of their own, in seconds, which OpenCV's writer does not know.

    Matroska of Motion JPEG: https://www.matroska.org/technical/elements.html.
    """
    blocks = []
    size = (0, 0)
    for seconds, image in timed:
        size = image.shape[1::-1]
        picture = cv2.imencode('.jpg', image)[1].tobytes()
        block = _element(0xA3, b'\x81\x00\x00\x80' + picture)
        blocks.append(_element(0x1F43B675, _number(0xE7, round(1000 * seconds)) + block))
    head = _element(0x1A45DFA3, _element(0x4282, b'matroska') + _number(0x4287, 2) + _number(0x4285, 2))
    info = _element(0x1549A966, _number(0x2AD7B1, 1_000_000))
    video = _element(0xE0, _number(0xB0, size[0]) + _number(0xBA, size[1]))
    kind = _number(0xD7, 1) + _number(0x73C5, 1) + _number(0x83, 1) + _element(0x86, b'V_MJPEG') + video
    tracks = _element(0x1654AE6B, _element(0xAE, kind))
    path.write_bytes(head + _element(0x18538067, info + tracks + b''.join(blocks)))
    return path


def _number(name: int, value: int) -> bytes:
    return _element(name, value.to_bytes(8, 'big'))


def _element(name: int, body: bytes) -> bytes:
    return name.to_bytes((name.bit_length() + 7) // 8, 'big') + (len(body) | 1 << 56).to_bytes(8, 'big') + body


@contextlib.contextmanager
def serve_motion_jpeg(images: Iterable[np.ndarray], pause: float, silence: float = 0.0) -> Iterator[str]:
    """A camera on this machine that sends Motion JPEG over HTTP, as many network cameras do; gives its URL.

    Args:
        images: that are sent.
        pause: seconds between two.
        silence: seconds after the last one until the connection is closed.
    """
    over = threading.Event()
    encoded = [cv2.imencode('.jpg', image)[1].tobytes() for image in images]

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path != '/stream' or not encoded:
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header('Content-Type', 'multipart/x-mixed-replace; boundary=frame')
            self.end_headers()
            with contextlib.suppress(OSError):
                for picture in encoded:
                    head = f'--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(picture)}\r\n\r\n'
                    self.wfile.write(head.encode() + picture + b'\r\n')
                    time.sleep(pause)
                over.wait(silence)

        def log_message(self, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(('127.0.0.1', 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, kwargs={'poll_interval': 0.05}, daemon=True).start()
    try:
        yield f'http://127.0.0.1:{server.server_port}/stream'
    finally:
        over.set()
        server.shutdown()
        server.server_close()
