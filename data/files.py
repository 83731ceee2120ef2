"""Many drawn faces as several files, which are drawn side by side and read side by side."""

import multiprocessing
import os
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from functools import partial
from pathlib import Path
from typing import Final

import cv2

from components.errors import StepError
from data.publish import FILES

ROWS_PER_FILE: Final = 10_000


def draw_files(
    form: str,
    folder: Path,
    count: int,
    seed: int,
    rows_per_file: int = ROWS_PER_FILE,
    processes: int = 0,
    progress: Callable[[int], None] | None = None,
) -> list[Path]:
    """Draws `count` faces into files of `rows_per_file` rows, the last one perhaps of fewer.

    Together they hold, in the order of their names, the rows of the one file that `data.publish` would write: a face
    depends on the seed and its number alone. A name says which rows a file holds, and a file appears whole or not at
    all: what is there already is not drawn again, so that a drawing that was stopped goes on.

    Args:
        form: `expressions` or `keypoints`.
        folder: is made if need be; one for each seed.
        count: number of faces.
        seed: other seeds draw other people.
        rows_per_file: rows of a file.
        processes: how many draw at once; 0 for as many as this process may use cores.
        progress: called with the number of rows that are there, first and after each file.

    Returns:
        the files' paths.

    Raises:
        StepError: count, seed or rows_per_file is out of range.
    """
    if count < 1 or seed < 0 or rows_per_file < 1:
        raise StepError(
            f'{count} faces of seed {seed} cannot be drawn in files of {rows_per_file}: '
            'ask for 1 face or more, a seed of 0 or more and files of 1 row or more.'
        )
    starts = {
        folder / f'{form}-{start:08}-{min(start + rows_per_file, count):08}.csv.gz': start
        for start in range(0, count, rows_per_file)
    }
    rows = {path: min(rows_per_file, count - start) for path, start in starts.items()}
    missing = [path for path in starts if not path.exists()]
    done = count - sum(rows[path] for path in missing)
    tell = progress or (lambda rows: None)
    tell(done)
    if not missing:
        return list(starts)
    workers = min(processes or len(os.sched_getaffinity(0)), len(missing))
    # Forked processes would inherit threads of OpenCV's that do not run in them.
    context = multiprocessing.get_context('spawn')
    with ProcessPoolExecutor(workers, context, initializer=partial(cv2.setNumThreads, 1)) as pool:
        running = {pool.submit(FILES[form], path, rows[path], seed, first=starts[path]): path for path in missing}
        try:
            while running:
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    future.result()
                    done += rows[running.pop(future)]
                    tell(done)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return list(starts)
