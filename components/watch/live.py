"""The live view: a page on this machine's own address, 127.0.0.1, which shows what is drawn as it is drawn.

A page, because OpenCV's headless build has no windows and Tk is not everywhere; it can be seen through `ssh -L` too.
The address holds a secret, so that nobody else on this machine sees it; nothing is stored.
"""

import hmac
import secrets
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final

import cv2
import numpy as np

_WIDEST: Final = 1280  # pixels
_QUALITY: Final = 80
_PAUSE: Final = 1 / 15  # seconds between two pictures, at least
_TIMEOUT: Final = 10.0  # seconds that a browser may take for its request, or to take a picture
_MOST_VIEWERS: Final = 4
_BOUNDARY: Final = 'frame'
_PAGE: Final = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>emotion-pipeline watch</title>
<style>html {{ color-scheme: dark; height: 100%; }} body {{ margin: 0; height: 100%; background: #0e1218; }}
img {{ display: block; width: 100%; height: 100%; object-fit: contain; }}</style></head>
<body><img src="{stream}" alt="The video that is watched, with faces, points and probabilities drawn on it"></body>
</html>
"""


class LiveView:
    """Serves the page until it is closed.

    Attributes:
        host: the only name under which it is asked; a strange page would use another one.
        url: of the page.
    """

    def __init__(self) -> None:
        self._fresh = threading.Condition()
        self._picture: bytes | None = None
        self._wanted = 0
        self._closed = False
        secret = secrets.token_urlsafe(16)
        self._server = ThreadingHTTPServer(('127.0.0.1', 0), _handler(self, secret))
        self._server.daemon_threads = True
        self.host = f'127.0.0.1:{self._server.server_port}'
        self.url = f'http://{self.host}/{secret}/'
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={'poll_interval': 0.1}, daemon=True)
        self._thread.start()

    def show(self, image: np.ndarray) -> None:
        """Shows a frame, uint8 `[height, width, 3]`, BGR, to those who look."""
        if not self._wanted:
            return
        scale = _WIDEST / image.shape[1]
        if scale < 1.0:
            image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        encoded = cv2.imencode('.jpg', image, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1].tobytes()
        with self._fresh:
            self._picture = encoded
            self._wanted = 0
            self._fresh.notify_all()

    def close(self) -> None:
        with self._fresh:
            self._closed = True
            self._fresh.notify_all()
        self._server.shutdown()
        self._server.server_close()

    def next_picture(self, before: bytes | None) -> bytes | None:
        """Waits for another picture than `before`, a JPEG; None when the view is closed."""
        with self._fresh:
            while not self._closed and (self._picture is None or self._picture is before):
                self._wanted = 1
                self._fresh.wait(0.5)
            return None if self._closed else self._picture


def _handler(view: LiveView, secret: str) -> type[BaseHTTPRequestHandler]:
    viewers = threading.BoundedSemaphore(_MOST_VIEWERS)

    class Handler(BaseHTTPRequestHandler):
        timeout = _TIMEOUT

        def do_GET(self) -> None:
            known = {f'/{secret}/': self._send_page, f'/{secret}/stream': self._send_stream}
            answer = next((send for path, send in known.items() if hmac.compare_digest(path, self.path)), None)
            if answer is None or self.headers.get('Host') != view.host:
                self.send_error(404)
                return
            try:
                answer()
            except OSError:
                # The browser has gone.
                self.close_connection = True

        def _send_page(self) -> None:
            page = _PAGE.format(stream=f'/{secret}/stream').encode()
            self._send_head('text/html; charset=utf-8', len(page))
            self.wfile.write(page)

        def _send_stream(self) -> None:
            if not viewers.acquire(blocking=False):
                self.send_error(503)
                return
            try:
                self._send_head(f'multipart/x-mixed-replace; boundary={_BOUNDARY}')
                picture = None
                while (picture := view.next_picture(picture)) is not None:
                    head = f'--{_BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: {len(picture)}\r\n\r\n'
                    self.wfile.write(head.encode() + picture + b'\r\n')
                    threading.Event().wait(_PAUSE)
            finally:
                viewers.release()
            self.close_connection = True

        def _send_head(self, kind: str, length: int | None = None) -> None:
            self.send_response(200)
            self.send_header('Content-Type', kind)
            if length is not None:
                self.send_header('Content-Length', str(length))
            self.send_header('Cache-Control', 'no-store')
            self.send_header('Referrer-Policy', 'no-referrer')
            self.send_header('X-Frame-Options', 'DENY')
            self.send_header('Cross-Origin-Resource-Policy', 'same-origin')
            self.end_headers()

        def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - the name it has above
            pass

    return Handler
