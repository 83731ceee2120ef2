"""What a run decided, told to a command and to a webhook as JSON."""

import dataclasses
import http.client
import json
import os
import queue
import signal
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

from components.errors import StepError
from pipeline.history import KILLED, RUNNING, Entry

PUSHED, TRAINED, REFUSED, STOPPED = 'pushed', 'trained', 'refused', 'stopped'
NOTHING_NEW, SKIPPED = 'nothing new', 'skipped'
FAILED, INTERRUPTED, TIMED_OUT = 'failed', 'interrupted', 'timed out'

EXIT: Final = {PUSHED: 0, TRAINED: 0, NOTHING_NEW: 0, SKIPPED: 0, REFUSED: 3, STOPPED: 4, INTERRUPTED: 130}
"""Exit status by decision; every other one ends with 1."""

VARIABLE: Final = 'EMOTION_PIPELINE_DECISION'
SCHEDULED: Final = 'EMOTION_PIPELINE_SCHEDULED'
"""Set in a run that a scheduler started: the scheduler tells what became of it, so that it is told once."""

_FROM_ENVIRONMENT: Final = 'env:'
_PAUSES: Final = (1.0, 4.0)


@dataclass(frozen=True)
class HookSettings:
    """Who is told what a run decided.

    Attributes:
        command: a program and its arguments; it is started without a shell and reads the decision on standard input.
        webhook: an http or https address to which the decision is posted, or `env:NAME` for one that the environment
            variable NAME holds: an address often is a secret, and the configuration is printed in every report.
        timeout: seconds that the command, and each attempt at the webhook, may take.
    """

    command: tuple[str, ...] = ()
    webhook: str = ''
    timeout: float = 30.0

    def __post_init__(self):
        if self.timeout <= 0:
            raise StepError('hooks.timeout is a number of seconds, more than 0.')
        if self.webhook and not self.webhook.startswith(_FROM_ENVIRONMENT):
            _checked(self.webhook, 'hooks.webhook')


@dataclass(frozen=True)
class Decision:
    """What became of a run, or of a time at which none was begun.

    Attributes:
        pipeline: its name.
        run: its id; an empty text where no run was begun.
        decision: `pushed`; `trained` (it passed, but no version was pushed); `refused` (a model, by a gate; the other
            one may have been pushed); `stopped` (by its data); `nothing new`; `skipped`; `failed`; `interrupted`;
            `timed out`.
        message: the line in which it ended.
        started: ISO 8601.
        seconds: how long it took.
        kpis: headline figures by task.
        pushed: version by model.
        report: path of its report, or an empty text.
        exit_status: of `emotion-pipeline run`.
        planned: the time for which a schedule planned it, ISO 8601; an empty text for a run that was started by hand.
    """

    pipeline: str
    run: str
    decision: str
    message: str
    started: str
    seconds: float = 0.0
    kpis: dict[str, dict[str, float]] = field(default_factory=dict)
    pushed: dict[str, int] = field(default_factory=dict)
    report: str = ''
    exit_status: int = 0
    planned: str = ''


def from_entry(pipeline: str, entry: Entry) -> Decision:
    """What the run of this entry decided."""
    decision = _decided(entry)
    killed = entry.state in (RUNNING, KILLED)
    return Decision(
        pipeline=pipeline,
        run=entry.run,
        decision=decision,
        message='The run was killed; run it again to go on from where it was.' if killed else entry.message,
        started=entry.started,
        seconds=entry.seconds,
        kpis=entry.kpis,
        # The versions of a run that came from the cache were pushed by an earlier one.
        pushed={} if decision == NOTHING_NEW else entry.pushed,
        report=entry.report,
        exit_status=EXIT.get(decision, 1),
    )


def conclude(settings: HookSettings, decision: Decision) -> list[str]:
    """Tells what a run of `emotion-pipeline run` decided, unless a scheduler that started it does.

    Returns:
        A warning, one line, for each hook that did not take it.
    """
    return [] if os.environ.get(SCHEDULED) else notify(settings, decision)


def notify(settings: HookSettings, decision: Decision, pauses: Sequence[float] = _PAUSES) -> list[str]:
    """Tells the command and the webhook; what becomes of them changes nothing for the run.

    Args:
        settings: whom to tell.
        decision: what to tell.
        pauses: seconds before each further attempt at a webhook that answers 5xx or cannot be reached.

    Returns:
        A warning, one line, for each hook that did not take it.
    """
    body = json.dumps(dataclasses.asdict(decision)).encode()
    warnings = []
    for tell in (
        lambda: _start(settings.command, body, decision.decision, settings.timeout),
        lambda: _post(settings.webhook, body, settings.timeout, pauses),
    ):
        try:
            tell()
        except StepError as error:
            warnings.append(str(error))
    return warnings


def _decided(entry: Entry) -> str:
    if entry.state == 'pushed':
        return PUSHED if entry.pushed else TRAINED
    return {
        'unchanged': NOTHING_NEW,
        'refused': REFUSED,
        'stopped': STOPPED,
        'interrupted': INTERRUPTED,
    }.get(entry.state, FAILED)


def _start(command: Sequence[str], body: bytes, decision: str, timeout: float) -> None:
    """Runs the hook command in a group of its own, so that all of it can be ended."""
    if not command:
        return
    try:
        process = subprocess.Popen(  # noqa: S603 -- the user's own command, as a list: no shell takes it apart
            command, stdin=subprocess.PIPE, env={**os.environ, VARIABLE: decision}, start_new_session=True
        )
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise StepError(f'Hook command {command[0]} cannot be started: {reason}.') from error
    try:
        process.communicate(body, timeout=timeout)
    except subprocess.TimeoutExpired as error:
        os.killpg(process.pid, signal.SIGKILL)
        raise StepError(f'Hook command {command[0]} was ended: it took longer than {timeout:g} s.') from error
    finally:
        # Also when the wait is interrupted: no hook outlives its run unseen.
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    if process.returncode:
        raise StepError(f'Hook command {command[0]} ended with status {process.returncode}.')


def _post(webhook: str, body: bytes, timeout: float, pauses: Sequence[float]) -> None:
    """Posts the body; tries again where the other side was not reached or had a fault of its own."""
    if not webhook:
        return
    url, shown = _address(webhook)
    complaint = ''
    for pause in (0.0, *pauses):
        time.sleep(pause)
        complaint, again = _attempt(url, body, timeout)
        if not again:
            break
    if complaint:
        raise StepError(f'Webhook {shown} {complaint}.')


def _address(webhook: str) -> tuple[str, str]:
    """The address, and what may be shown of it: path and query often hold a secret."""
    source = 'hooks.webhook'
    if webhook.startswith(_FROM_ENVIRONMENT):
        source = webhook.removeprefix(_FROM_ENVIRONMENT)
        webhook = os.environ.get(source, '')
    return webhook, _checked(webhook, source)


def _checked(url: str, source: str) -> str:
    """Scheme and host of an address to which a webhook may go."""
    try:
        parts = urlsplit(url)
        port = f':{parts.port}' if parts.port else ''
    except ValueError:
        parts, port = urlsplit(''), ''
    if parts.scheme not in ('http', 'https') or not parts.hostname or '@' in parts.netloc:
        raise StepError(f'{source} is no address of a webhook: write http(s)://host/path, without a user name.')
    return f'{parts.scheme}://{parts.hostname}{port}'


def _attempt(url: str, body: bytes, timeout: float) -> tuple[str, bool]:
    """One attempt: what went wrong, if anything, and whether another attempt may help."""
    outcome: queue.SimpleQueue[int | Exception] = queue.SimpleQueue()
    # A socket's own time-out counts silence only: an answer that drips, or a slow name server, would pass it.
    threading.Thread(target=_send, args=(url, body, timeout, outcome), daemon=True).start()
    try:
        answer = outcome.get(timeout=timeout)
    except queue.Empty:
        answer = TimeoutError()
    reason = answer.reason if isinstance(answer, urllib.error.URLError) else answer
    if isinstance(reason, TimeoutError):
        # Not tried again: whoever is slow to answer may well have taken it.
        return f'did not answer within {timeout:g} s', False
    if isinstance(reason, int):
        return ('' if 200 <= reason < 300 else f'answered with status {reason}'), reason >= 500
    # The words of other errors may quote the address.
    said = reason.strerror if isinstance(reason, OSError) and reason.strerror else type(reason).__name__
    return f'cannot be reached: {said}', isinstance(reason, OSError | http.client.HTTPException)


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect is an answer like any other: the decision goes to the address that was configured, or nowhere."""

    def redirect_request(self, *_arguments: Any, **_options: Any) -> None:
        return None


def _send(url: str, body: bytes, timeout: float, outcome: 'queue.SimpleQueue[int | Exception]') -> None:
    headers = {'Content-Type': 'application/json', 'User-Agent': 'emotion-pipeline'}
    request = urllib.request.Request(url, body, headers, method='POST')  # noqa: S310 -- http or https: see _checked
    try:
        with urllib.request.build_opener(_NoRedirect).open(request, timeout=timeout) as answer:
            outcome.put(answer.status)
    except urllib.error.HTTPError as error:
        error.close()
        outcome.put(error.code)
    except Exception as error:
        outcome.put(error)
