"""A worker on another machine than the pipeline: `python -m components.train.follow FOLDER`.

FOLDER is the pipeline's `<runs>/<name>/checkpoints`, on a file system that all machines see at the same path. TF_CONFIG
is that of this worker. It takes part in every training that begins there, and is started again when it fails, until it
is interrupted.
"""

import argparse
import logging
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from components.errors import StepError
from components.train import arguments, replicas
from components.train.worker import ATTENDED, REFUSED

_POLL_SECONDS: Final = 1.0

logger = logging.getLogger(__name__)


def main(given: Sequence[str] | None = None) -> int:
    """Follows until it is interrupted; returns the exit status."""
    parser = argparse.ArgumentParser(prog='python -m components.train.follow', description=__doc__)
    parser.add_argument('folder', type=Path, metavar='FOLDER')
    options = parser.parse_args(given)
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format='%(asctime)s %(message)s')
    try:
        index, count = replicas.place()
        if not index:
            raise StepError(f'TF_CONFIG makes this the chief of {count} workers: it is the pipeline that runs there.')
        follow(options.folder)
    except StepError as error:
        print(f'follow: {error}', file=sys.stderr)
        return REFUSED
    except KeyboardInterrupt:
        return 130
    return 0


def follow(folder: Path, goes_on: Callable[[], bool] = lambda: True) -> None:
    """Takes part in the trainings whose arguments appear below the folder.

    Args:
        folder: of the trainings' own folders.
        goes_on: asked before each look; never ends where it is left out.
    """
    done: set[tuple[Path, int]] = set()
    while goes_on():
        for file in sorted(folder.glob(f'*/{arguments.FILE}')):
            _take_part(file, done)
        time.sleep(_POLL_SECONDS)


def _take_part(file: Path, done: set[tuple[Path, int]]) -> None:
    """Trains along until the training is over: its file is gone, or written anew."""
    try:
        key = (file, file.stat().st_mtime_ns)
    except FileNotFoundError:
        return
    if key in done:
        return
    logger.info('takes part in %s', file.parent)
    command = [sys.executable, '-m', 'components.train.worker', '--arguments', str(file), ATTENDED]
    # Its end of the pipe goes when this process does, however that ends.
    with subprocess.Popen(command, stdin=subprocess.PIPE) as process:  # noqa: S603 - our own module
        status = process.wait()
    if status in (0, REFUSED):
        done.add(key)
    logger.info('ended with status %d%s', status, '' if status in (0, REFUSED) else '; starts again')


if __name__ == '__main__':
    sys.exit(main())
