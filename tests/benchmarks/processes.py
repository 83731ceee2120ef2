"""Parts of a benchmark in processes of their own, so that none runs in what another one left behind."""

import contextlib
import os
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path


class PartFailedError(Exception):
    """A part of the benchmark ended with an error; the message says where its log is."""


def lines(command: Sequence[str], log: Path, cwd: Path | None = None, accepted: Sequence[int] = (0,)) -> Iterator[str]:
    """Starts the command and gives each line that it prints; it is ended where the caller goes no further.

    Args:
        command: program and arguments.
        log: file to which all goes that the command prints, errors and warnings too.
        cwd: folder to start it in.
        accepted: exit statuses that are no failure.

    Raises:
        PartFailedError: it ended with another status.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    environment = {'TF_CPP_MIN_LOG_LEVEL': '3', 'TF_USE_LEGACY_KERAS': '0', **os.environ}
    with log.open('w', encoding='utf-8') as written, contextlib.ExitStack() as stack:
        process = stack.enter_context(
            subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=written, text=True, cwd=cwd, env=environment, errors='replace'
            )
        )
        stack.callback(process.terminate)
        assert process.stdout is not None
        for line in process.stdout:
            written.write(line)
            written.flush()
            yield line.rstrip('\n')
        if process.wait() not in accepted:
            raise PartFailedError(f'{" ".join(command)} ended with status {process.returncode}: see {log}.')
