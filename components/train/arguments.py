"""What one training is asked to do, in a form that goes from the Trainer's process to its workers: a JSON file."""

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from components.errors import StepError
from components.settings import WorkerSettings, from_json
from components.source import fingerprint

if TYPE_CHECKING:
    # Its import takes longer than a small training.
    from tfx.components.trainer.fn_args_utils import FnArgs

FILE: Final = 'arguments.json'


@dataclass(frozen=True)
class Arguments:
    """One training.

    Attributes:
        task: `expression` or `keypoints`.
        folder: this training's own, where it goes on after it was killed; all workers see it.
        train_files, eval_files: patterns of the splits' files.
        transform_output: folder of Transform's output.
        serving_model_dir, model_run_dir: folders that the chief writes.
        custom_config: from `components.train.component.configuration`.
    """

    task: str
    folder: str
    train_files: list[str]
    eval_files: list[str]
    transform_output: str
    serving_model_dir: str
    model_run_dir: str
    custom_config: dict[str, Any]

    @property
    def workers(self) -> WorkerSettings:
        text = self.custom_config.get('workers')
        return from_json(WorkerSettings, text) if text else WorkerSettings()


def of_trainer(task: str, given: 'FnArgs') -> Arguments:
    """The training that TFX's Trainer asks for.

    Its folder is the same again only for the same data, code, settings, seed and number of workers.
    """
    arguments = Arguments(
        task,
        '',
        given.train_files,
        given.eval_files,
        given.transform_output,
        given.serving_model_dir,
        given.model_run_dir,
        given.custom_config,
    )
    # Who starts the workers changes nothing of what they reckon.
    told = {**arguments.custom_config, 'workers': arguments.workers.count}
    inputs = {
        'files': arguments.train_files + arguments.eval_files,
        'transform': arguments.transform_output,
        'configuration': told,
        'code': fingerprint('transform', 'train'),
    }
    name = hashlib.blake2b(json.dumps(inputs, sort_keys=True).encode(), digest_size=8).hexdigest()
    return dataclasses.replace(arguments, folder=str(Path(told['checkpoints']) / name))


def write(arguments: Arguments, path: Path) -> None:
    """Writes the file whole or not at all: workers may be waiting for it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f'.{path.name}.part')
    part.write_text(json.dumps(dataclasses.asdict(arguments)), encoding='utf-8')
    part.replace(path)


def read(path: Path) -> Arguments:
    """What `write` wrote.

    Raises:
        StepError: there is no such file, or it is another.
    """
    try:
        return Arguments(**json.loads(path.read_text(encoding='utf-8')))
    except (OSError, ValueError, TypeError) as error:
        raise StepError(f'{path} holds no arguments of a training ({error}): give what the Trainer wrote.') from error
