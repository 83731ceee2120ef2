"""A tiny job on the configured engine: its worker says what it runs with, in a file where the artifacts will be.

It is a process of its own (`run_probe`), which can be ended when the engine does not answer.
"""

import contextlib
import importlib.metadata
import json
import os
import platform
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

PACKAGES: Final = (
    'emotion-pipeline',
    'apache-beam',
    'tfx',
    'tensorflow-data-validation',
    'tensorflow-transform',
    'tensorflow-model-analysis',
)
"""What the steps are made of, and compute with."""

_START: Final = 'import sys; from pipeline.beam.probe import main; main(sys.argv[1])'
_MARGIN: Final = 30


@dataclass(frozen=True)
class Answer:
    """What came of the job.

    Attributes:
        ended: whether it ended well.
        error: what it raised, where it did not.
    """

    ended: bool
    error: str = ''


def run_probe(flags: Sequence[str], file: str, inputs: Sequence[str], seconds: int) -> Answer:
    """Runs the job in another process, and waits for it.

    Args:
        flags: Beam's.
        file: path or URI that the worker writes.
        inputs: paths or URIs that it looks for.
        seconds: after these the job is cancelled.
    """
    order = json.dumps({'flags': list(flags), 'file': file, 'inputs': list(inputs), 'seconds': seconds})
    # A group of its own, with the job server that Beam may start.
    process = subprocess.Popen(  # noqa: S603 - this interpreter, and text that it takes as data
        [sys.executable, '-W', 'ignore', '-c', _START, order],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        output, errors = process.communicate(timeout=seconds + _MARGIN)
    except subprocess.TimeoutExpired:
        return Answer(False, f'no answer within {seconds} s')
    finally:
        _end(process)
    answers = [line for line in output.splitlines() if line.startswith('{')]
    return Answer(**json.loads(answers[-1])) if answers else Answer(False, errors)


def versions() -> dict[str, str]:
    """Of Python, of `PACKAGES`, and a fingerprint of the code, here."""
    from components.source import distribution_fingerprint

    python = '.'.join(platform.python_version_tuple()[:2])
    return {'Python': python, **{name: _version(name) for name in PACKAGES}, 'code': distribution_fingerprint()}


def look(file: str, inputs: list[str]) -> None:
    """What a worker does: writes its versions, and which of the inputs it does not see."""
    from apache_beam.io.filesystems import FileSystems

    seen: dict[str, Any] = {
        'versions': versions(),
        'missing': [path for path in inputs if not FileSystems.exists(path)],
    }
    with FileSystems.create(file) as stream:
        stream.write(json.dumps(seen).encode())


def main(order: str) -> None:
    """Runs the job of `run_probe` in this process, and prints an `Answer` as JSON."""
    import apache_beam as beam
    from apache_beam.runners.runner import PipelineState

    wanted = json.loads(order)
    answer: dict[str, Any] = {'ended': False}
    try:
        pipeline = beam.Pipeline(argv=wanted['flags'])
        _ = pipeline | beam.Create([wanted['file']]) | beam.Reshuffle() | beam.Map(look, wanted['inputs'])
        result = pipeline.run()
        if result.wait_until_finish(duration=wanted['seconds'] * 1000) == PipelineState.DONE:
            answer = {'ended': True}
        else:
            answer['error'] = f'no answer within {wanted["seconds"]} s'
            result.cancel()
    except Exception as error:  # whatever an engine raises is the answer
        answer['error'] = answer.get('error') or f'{type(error).__name__}: {error}'
    print(json.dumps(answer), flush=True)


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return 'none'


def _end(process: subprocess.Popen) -> None:
    """Ends the process with all that it started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
