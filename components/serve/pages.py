"""The page at the root. Its files are a fixed list: no path of a client's is looked up."""

from pathlib import Path
from typing import Final

from fastapi import APIRouter, Response
from fastapi.responses import FileResponse

from components.serve.errors import RequestError

_FOLDER: Final = Path(__file__).with_name('page')
_FILES: Final = {
    '/': ('index.html', 'text/html'),
    '/page.css': ('page.css', 'text/css'),
    '/page.js': ('page.js', 'text/javascript'),
}
_HEADERS: Final = {
    'Content-Security-Policy': (
        "default-src 'self'; img-src 'self' blob: data:; media-src 'self' blob:; object-src 'none'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    'Permissions-Policy': 'camera=(self), microphone=(), geolocation=()',
    'Referrer-Policy': 'no-referrer',
    'X-Content-Type-Options': 'nosniff',
    'Cross-Origin-Opener-Policy': 'same-origin',
    'Cross-Origin-Resource-Policy': 'same-origin',
    'Cache-Control': 'no-cache',
}


def pages_router() -> APIRouter:
    """The routes of the page."""
    router = APIRouter(include_in_schema=False)
    for path, (name, kind) in _FILES.items():
        router.add_api_route(path, _sender(_FOLDER / name, kind), methods=['GET', 'HEAD'], name=name)
    return router


def _sender(path: Path, kind: str):
    async def send() -> Response:
        if not path.is_file():
            raise RequestError(404, f'This server was installed without {path.name}.')
        return FileResponse(path, media_type=kind, headers=_HEADERS)

    return send
