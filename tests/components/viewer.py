"""Kubeflow's dashboard as far as it draws artifacts: its rules, restated, and its frame, in a real Chromium.

Restated from `frontend/src` of github.com/kubeflow/pipelines: `lib/v2/RuntimeArtifactUtils.ts` and `RuntimeMetrics-
Visualizations.tsx`, `ROCCurveHelper.tsx`, `ROCCurve.tsx`, `HTMLViewer.tsx` and `MarkdownViewer.tsx` in
`components/viewers`.
"""

import base64
import contextlib
import http.server
import itertools
import json
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import markdown_it
import websocket

SHOWN = 'about:srcdoc'  # address of the page in the frame
MARKDOWN_SIGNS = 50 * 1000 * 8  # what is beyond them is not shown
FRAME = """<!doctype html><meta charset="utf-8"><link rel="icon" href="data:,"><body style="margin: 0"><script>
const frame = document.createElement('iframe')
frame.src = 'about:blank'
frame.setAttribute('sandbox', 'allow-scripts')
frame.style = 'border: 1px solid #ddd; box-sizing: border-box; display: block; width: 100%; min-height: HEIGHTpx'
document.body.append(frame)
frame.srcdoc = CONTENT
</script>"""
RENDER = """
const React = require('react')
const { renderToStaticMarkup } = require('react-dom/server')
const { Markdown } = require('markdown-to-jsx/react')
const text = require('fs').readFileSync(0, 'utf8')
const link = (props) => React.createElement('a', { ...props, target: '_blank' })
const options = { overrides: { a: { component: link } }, disableParsingRawHTML: true }
process.stdout.write(renderToStaticMarkup(React.createElement(Markdown, { options }, text)))
"""


def metadata(artifact: Any) -> dict[str, Any]:
    """An artifact's custom properties, after the way through JSON that Kubeflow's launcher gives them."""
    values = {name: artifact.get_custom_property(name) for name in artifact.mlmd_artifact.custom_properties}
    return json.loads(json.dumps(values, allow_nan=False))


def metric_rows(properties: dict[str, Any]) -> dict[str, float]:
    """The table of a `system.Metrics`: its numbers, by name."""
    return {name: value for name, value in sorted(properties.items()) if _is_number(value)}


def roc_points(properties: dict[str, Any]) -> list[tuple[float, float]]:
    """The line that the dashboard draws of a `system.ClassificationMetrics`.

    Raises:
        ValueError: it would show an error instead.
    """
    metrics = properties['confidenceMetrics']
    if not isinstance(metrics, list):
        raise ValueError('confidenceMetrics is not a list')
    for metric in metrics:
        for name in ('confidenceThreshold', 'falsePositiveRate', 'recall'):
            if not _is_number(metric.get(name)):
                raise ValueError(f'{name}: expected number')
    highest = {metric['falsePositiveRate']: metric['recall'] for metric in metrics}  # the last one of each
    return sorted(highest.items())


def confusion_table(properties: dict[str, Any]) -> tuple[list[str], list[list[float]]]:
    """Labels and rows of the dashboard's confusion matrix.

    `ConfusionMatrix.tsx` draws row i upwards over the label i of the horizontal axis, which it calls `True label`.

    Raises:
        ValueError: it would show an error instead.
    """
    matrix = properties['confusionMatrix']
    labels = [annotation['displayName'] for annotation in matrix['annotationSpecs']]
    rows = [row['row'] for row in matrix['rows']]
    if not all(isinstance(label, str) for label in labels):
        raise ValueError('every annotationSpec must have a string displayName')
    if len(labels) != len(rows):
        raise ValueError(f'annotationSpecs has length {len(labels)}, but rows has length {len(rows)}')
    if any(len(row) != len(rows) for row in rows):
        raise ValueError('the matrix is not square')
    if not all(_is_number(cell) for row in rows for cell in row):
        raise ValueError('confusion matrix cells must be finite numbers')
    return labels, rows


def render_markdown(text: str) -> str:
    """HTML of a Markdown text by CommonMark's rules, with tables and without raw HTML."""
    return markdown_it.MarkdownIt('commonmark', {'html': False}).enable('table').render(text[:MARKDOWN_SIGNS])


def render_markdown_as_dashboard(text: str) -> str:
    """HTML of a Markdown text by the dashboard's own library and options; needs Node and that library."""
    return subprocess.run(
        ['node', '-e', RENDER], input=text[:MARKDOWN_SIGNS], capture_output=True, check=True, text=True
    ).stdout


def has_dashboard_library() -> bool:
    """Whether Node finds `markdown-to-jsx` 9, `react` and `react-dom`, for example by `NODE_PATH`."""
    if shutil.which('node') is None:
        return False
    found = subprocess.run(['node', '-e', RENDER], input='', capture_output=True, check=False, text=True)
    return found.returncode == 0


@dataclass
class Seen:
    """What a person at the dashboard sees of an HTML artifact, and what it did.

    Attributes:
        headings: of the page in the frame.
        text: likewise, all of it.
        overflow: pixels by which the page is wider than its frame.
        pictures: how many there are, and how many of them show nothing.
        links: addresses in the frame after a click on each of its links, up to the first that leads away.
        requests: addresses that were asked for, but for the page itself.
        errors: what the console says.
        screenshot: PNG.
    """

    headings: list[str] = field(default_factory=list)
    text: str = ''
    overflow: int = 0
    pictures: tuple[int, int] = (0, 0)
    links: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    screenshot: bytes = b''


def open_in_dashboard(html: str, width: int = 1280, height: int = 900) -> Seen:
    """Shows a page as the dashboard does: assigned to `srcdoc` of a sandboxed frame, in a browser without a network."""
    content = json.dumps(html).replace('</', '<\\/')
    dashboard = FRAME.replace('HEIGHT', str(height)).replace('CONTENT', content)
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder,
        _served(dashboard) as address,
        _chromium(Path(folder)) as browser,
    ):
        return _look(browser, address, width, height)


def has_chromium() -> bool:
    return shutil.which('chromium') is not None


class _Browser:
    """Chromium's DevTools protocol: commands, and the events that arrived meanwhile."""

    def __init__(self, connection: websocket.WebSocket):
        self.events: list[dict[str, Any]] = []
        self._connection = connection
        self._numbers = itertools.count(1)
        self._session = ''

    def attach(self) -> None:
        page = next(target for target in self.send('Target.getTargets')['targetInfos'] if target['type'] == 'page')
        attached = self.send('Target.attachToTarget', targetId=page['targetId'], flatten=True)
        self._session = attached['sessionId']

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        number = next(self._numbers)
        session = {'sessionId': self._session} if self._session else {}
        self._connection.send(json.dumps({'id': number, 'method': method, 'params': parameters, **session}))
        while True:
            message = json.loads(self._connection.recv())
            if message.get('id') == number:
                assert 'error' not in message, f'{method}: {message["error"]}'
                return message['result']
            self.events.append(message)

    def evaluate(self, expression: str, context: int) -> Any:
        result = self.send('Runtime.evaluate', expression=expression, contextId=context, returnByValue=True)
        assert 'exceptionDetails' not in result, result
        return result['result'].get('value')

    def of_kind(self, *methods: str) -> list[dict[str, Any]]:
        return [event['params'] for event in self.events if event['method'] in methods]


def _look(browser: _Browser, address: str, width: int, height: int) -> Seen:
    browser.attach()
    for domain in ('Page', 'Network', 'Log', 'Runtime'):
        browser.send(f'{domain}.enable')
    browser.send('Emulation.setDeviceMetricsOverride', width=width, height=height, deviceScaleFactor=1, mobile=False)
    browser.send('Page.navigate', url=address)
    context = _frame_context(browser, address)
    seen = Seen(
        headings=browser.evaluate("[...document.querySelectorAll('h1, h2')].map(h => h.textContent.trim())", context),
        text=browser.evaluate('document.body.innerText', context),
        overflow=browser.evaluate('document.documentElement.scrollWidth - innerWidth', context),
        pictures=tuple(
            browser.evaluate(f'[...document.images].filter(i => {which}).length', context)
            for which in ('true', '!i.naturalWidth')
        ),
        screenshot=base64.b64decode(browser.send('Page.captureScreenshot')['data']),
    )
    for index in range(browser.evaluate('document.links.length', context)):
        browser.evaluate(f'document.links[{index}].click()', context)
        time.sleep(0.2)
        frame = browser.send('Page.getFrameTree')['frameTree']['childFrames'][0]['frame']
        seen.links.append(frame['url'] + frame.get('urlFragment', ''))
        if frame['url'] != SHOWN:
            break  # the page has gone
    seen.requests = [
        request['request']['url']
        for request in browser.of_kind('Network.requestWillBeSent')
        if request['request']['url'] != address and not request['request']['url'].startswith('data:')
    ]
    seen.errors = [
        *(entry['entry']['text'] for entry in browser.of_kind('Log.entryAdded')),
        *(thrown['exceptionDetails']['text'] for thrown in browser.of_kind('Runtime.exceptionThrown')),
        *(str(call['args']) for call in browser.of_kind('Runtime.consoleAPICalled')),
    ]
    return seen


def _frame_context(browser: _Browser, address: str) -> int:
    """The script context of the frame, once it shows its page."""
    for _ in range(100):
        time.sleep(0.1)
        browser.send('Page.getFrameTree')
        created = [event['context'] for event in browser.of_kind('Runtime.executionContextCreated')]
        for found in reversed(created):
            with contextlib.suppress(AssertionError):  # of a document that has gone
                shown = browser.evaluate('[location.href, document.readyState]', found['id'])
                if shown == [SHOWN, 'complete']:
                    return found['id']
    raise AssertionError(f'the frame of {address} shows nothing: {browser.events}')


@contextlib.contextmanager
def _served(page: str) -> Iterator[str]:
    """The address of a server that gives one page for every path, as that of a single-page application does."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):  # noqa: N802
            self.send_response(200)
            self.send_header('Content-Type', 'text/html')
            self.end_headers()
            self.wfile.write(page.encode())

        def log_message(self, *arguments):
            pass

    with http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f'http://127.0.0.1:{server.server_port}/'
        server.shutdown()


@contextlib.contextmanager
def _chromium(profile: Path) -> Iterator[_Browser]:
    flags = [
        '--headless=new',
        '--no-sandbox',  # which needs rights that containers do not have; the frame's sandbox is another thing
        '--disable-gpu',
        '--disable-dev-shm-usage',
        '--disable-background-networking',
        '--disable-component-update',
        '--no-first-run',
        '--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1',
        '--disable-features=IsolateSandboxedIframes',  # so that one session sees the page and its frame
        '--remote-debugging-port=0',
        f'--user-data-dir={profile}',
    ]
    process = subprocess.Popen(['chromium', *flags, 'about:blank'], stderr=subprocess.DEVNULL)
    try:
        connection = websocket.create_connection(_endpoint(profile, process), timeout=60, suppress_origin=True)
        with contextlib.closing(connection):
            yield _Browser(connection)
    finally:
        process.terminate()
        process.wait(30)


def _endpoint(profile: Path, process: subprocess.Popen) -> str:
    for _ in range(300):
        assert process.poll() is None, 'Chromium ended before it began'
        with contextlib.suppress(FileNotFoundError, ValueError):
            port, path = (profile / 'DevToolsActivePort').read_text().split()
            return f'ws://127.0.0.1:{port}{path}'
        time.sleep(0.1)
    raise AssertionError('Chromium does not answer')


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
