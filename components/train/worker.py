"""One worker of a training: `python -m components.train.worker --arguments FILE`.

TF_CONFIG says which worker it is and where the others are; without it this process is the only one. Progress goes to
standard output, everything else to standard error.
"""

import argparse
import logging
import os
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from components.errors import StepError, one_line

ATTENDED: Final = '--attended'
FAILED, REFUSED = 1, 2
"""Exit statuses: after the second one another attempt would end alike."""


def main(given: Sequence[str] | None = None) -> int:
    """Trains; returns the exit status."""
    parser = argparse.ArgumentParser(prog='python -m components.train.worker', description=__doc__)
    parser.add_argument('--arguments', type=Path, required=True, help='the file that the Trainer wrote')
    parser.add_argument(ATTENDED, action='store_true', help='end when standard input ends')
    options = parser.parse_args(given)
    if options.attended:
        threading.Thread(target=_end_with_input, daemon=True).start()
    os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '2')
    _log()
    index = 0
    try:
        from components.train import arguments, replicas

        index, _ = replicas.place()
        wanted = arguments.read(options.arguments)
        _failure_file(options.arguments.parent, index).unlink(missing_ok=True)
        _train(wanted)
    except StepError as error:
        return _fail(options.arguments.parent, index, str(error), REFUSED)
    except Exception as error:  # whatever it is ends in one line, and in another attempt
        logging.getLogger(__name__).exception('The worker failed.')
        first_line = next(iter(str(error).splitlines()), '')
        return _fail(options.arguments.parent, index, f'{type(error).__name__}: {first_line}', FAILED)
    return 0


def failure(folder: Path, index: int) -> str:
    """What a worker said when it failed; empty where it could not.

    Args:
        folder: that of its arguments.
        index: of the worker.
    """
    file = _failure_file(folder, index)
    return file.read_text(encoding='utf-8') if file.exists() else ''


def failures(folder: Path) -> list[str]:
    """What all workers that failed have said, each with its index."""
    files = sorted(folder.glob('failure-*.txt'))
    return [f'worker {file.stem.partition("-")[2]}: {file.read_text(encoding="utf-8")}' for file in files]


def _train(wanted) -> None:
    from components.train.replicas import join

    # First of all: TensorFlow refuses it once anything has been reckoned.
    worker = join()
    if worker.count != wanted.workers.count:
        raise StepError(
            f'TF_CONFIG names {worker.count} workers, and workers.count is {wanted.workers.count}: set both alike.'
        )
    from components.train.fit import train
    from components.train.tasks import task

    train(task(wanted.task), wanted, worker)


def _fail(folder: Path, index: int, message: str, status: int) -> int:
    print(f'worker {index}: {one_line(message)}', file=sys.stderr, flush=True)
    if folder.is_dir():
        _failure_file(folder, index).write_text(one_line(message), encoding='utf-8')
    # At once: TensorFlow's own ending waits for the other workers.
    sys.stdout.flush()
    os._exit(status)


def _failure_file(folder: Path, index: int) -> Path:
    return folder / f'failure-{index}.txt'


def _log() -> None:
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format='%(asctime)s %(levelname)s %(name)s: %(message)s')
    progress = logging.getLogger('emotion_pipeline.progress')
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(logging.Formatter('%(message)s'))
    progress.addHandler(handler)
    progress.propagate = False


def _end_with_input() -> None:
    while os.read(0, 1024):
        pass
    os._exit(FAILED)


if __name__ == '__main__':
    sys.exit(main())
