"""Where a training runs: in the Trainer's own process, in processes beside it, or in a job on a cluster."""

import dataclasses
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import tensorflow as tf

from components.errors import StepError
from components.storage.files import LocalFiles
from components.train import arguments, job, processes
from components.train.arguments import Arguments
from components.train.fit import Task, train
from components.train.replicas import TF_CONFIG, alone, place

if TYPE_CHECKING:
    from tfx.components.trainer.fn_args_utils import FnArgs


def run(task: Task, given: 'FnArgs') -> None:
    """TFX's `run_fn` for a task.

    Raises:
        StepError: the workers cannot be started, or failed too often.
    """
    wanted = arguments.of_trainer(task.name, given)
    with LocalFiles() as files:
        staged = dataclasses.replace(
            wanted,
            serving_model_dir=str(files.write(wanted.serving_model_dir)),
            model_run_dir=str(files.write(wanted.model_run_dir)),
        )
        _run(task, staged)


def _run(task: Task, wanted: Arguments) -> None:
    if os.environ.get(job.MANIFEST):
        job.train(wanted, os.environ[job.MANIFEST])
    elif wanted.workers.count == 1:
        train(task, wanted, alone())
    elif wanted.workers.start == 'external':
        _train_with(wanted, [_of_the_chief(wanted.workers.count)])
    elif tf.config.list_physical_devices('GPU'):
        raise StepError(
            'workers.start is local, for processors, and this machine has a GPU: with workers.count at 1 one process '
            'trains on all of its GPUs.'
        )
    else:
        _train_with(wanted, None)


def _train_with(wanted: Arguments, environments: list[str] | None) -> None:
    """Trains in processes beside this one, which is clean of all that TensorFlow has done here before."""
    folder = Path(wanted.folder)
    file = folder / arguments.FILE
    arguments.write(wanted, file)
    try:
        processes.supervise(wanted, file, environments)
    finally:
        # Workers elsewhere do not wait for a training that was given up.
        file.unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)


def _of_the_chief(count: int) -> str:
    """TF_CONFIG as it is set around this step."""
    index, found = place()
    if found != count:
        raise StepError(
            f'workers.count is {count} and workers.start external, but {TF_CONFIG} names {found} workers: set it for '
            'the chief around this command.'
        )
    if index:
        raise StepError(
            f'{TF_CONFIG} makes this process the worker {index}: the pipeline runs where the chief is, and elsewhere '
            'python -m components.train.follow.'
        )
    return os.environ[TF_CONFIG]
