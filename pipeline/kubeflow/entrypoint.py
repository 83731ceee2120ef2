"""What runs in a container of Kubeflow Pipelines: it stands between Kubeflow's launcher and a TFX executor.

The launcher starts it as `python -m pipeline.kubeflow.entrypoint`, with the executor's class, with the task's inputs
and outputs (an ExecutorInput) and with what the component declares (a ComponentInputsSpec), both as JSON. TFX's own
entrypoint, `kubeflow_v2_run_executor`, does not understand what the open-source launcher passes on.
"""

import argparse
import contextlib
import json
import logging
import os
import signal
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from types import FrameType
from typing import TYPE_CHECKING, Any, Final, NoReturn

from components.errors import StepError

if TYPE_CHECKING:
    from kfp.pipeline_spec import pipeline_spec_pb2
    from tfx import types

FAILED, UNREADABLE, TERMINATED = 1, 2, 128 + signal.SIGTERM
LOCAL_OUTPUT: Final = 'executor_output.json'
"""How kfp.local calls the file that the launcher calls `output_metadata.json`."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Invocation:
    """What the command line says.

    Attributes:
        executor: import path of the executor's class.
        given: inputs and outputs of this task.
        spec: what the component declares.
        flags: the remaining arguments, Beam's.
    """

    executor: str
    given: 'pipeline_spec_pb2.ExecutorInput'
    spec: 'pipeline_spec_pb2.ComponentInputsSpec'
    flags: list[str]


@dataclass(frozen=True)
class Place:
    """Where a task stands.

    Attributes:
        run: id of the run, or an empty text.
        task: name of the task, or an empty text.
        execution: id of this execution of the task.
    """

    run: str
    task: str
    execution: str


class ArgumentsError(Exception):
    """The command line cannot be understood."""


def main(
    arguments: Sequence[str] | None = None,
    root: Path = Path('/'),
    kinds: 'Callable[[], Iterable[type[types.Artifact]]] | None' = None,
) -> int:
    """Runs an executor.

    Args:
        arguments: the command line without the program's name.
        root: the folder that holds the launcher's copies, `s3`, `minio`, `gcs` and `oci`.
        kinds: gives the artifact types that TFX does not know; those of this repository where it is left out.

    Returns:
        The exit status: 0, 1 after an error (on standard error, whose last line says what is wrong), 2 for arguments
        that cannot be understood. SIGTERM ends the process with status 143.
    """
    os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '2')
    try:
        invocation = parse(arguments)
    except ArgumentsError as error:
        print(f'entrypoint: {error}', file=sys.stderr)
        return UNREADABLE
    place = locate(invocation.given.outputs)
    task = place.task or invocation.executor
    # In force before TensorFlow's import, which takes long.
    signal.signal(signal.SIGTERM, partial(_terminate, task))
    _log_to_stderr(task)
    try:
        _run(invocation, place, root, kinds)
    except StepError as error:
        print(f'{task}: {error}', file=sys.stderr)
        return FAILED
    except (Exception, SystemExit) as error:  # whatever an executor raises ends in one line
        logger.exception('The executor failed.')
        first_line = next(iter(str(error).splitlines()), '')
        print(f'{task}: {type(error).__name__}: {first_line}', file=sys.stderr)
        return FAILED
    return 0


def parse(arguments: Sequence[str] | None = None) -> Invocation:
    """Reads the command line.

    Raises:
        ArgumentsError: it cannot be understood.
    """
    from google.protobuf import json_format
    from kfp.pipeline_spec import pipeline_spec_pb2

    # No abbreviations: Beam's arguments are nobody's business here.
    parser = _Parser(prog='python -m pipeline.kubeflow.entrypoint', allow_abbrev=False)
    parser.add_argument('--executor_class_path', required=True, metavar='MODULE.CLASS')
    parser.add_argument('--json_serialized_invocation_args', required=True, metavar='JSON', help='An ExecutorInput.')
    parser.add_argument(
        '--json_serialized_inputs_spec_args', required=True, metavar='JSON', help='ComponentInputsSpec.'
    )
    known, flags = parser.parse_known_args(arguments)
    messages = {
        'json_serialized_invocation_args': pipeline_spec_pb2.ExecutorInput(),
        'json_serialized_inputs_spec_args': pipeline_spec_pb2.ComponentInputsSpec(),
    }
    for name, message in messages.items():
        try:
            # A newer Kubeflow may say more than is known here.
            json_format.Parse(getattr(known, name), message, ignore_unknown_fields=True)
        except (json_format.ParseError, RecursionError) as error:
            raise ArgumentsError(f'--{name} cannot be read: {" ".join(str(error).split())}') from error
    given, spec = messages.values()
    if not given.outputs.output_file:
        raise ArgumentsError('--json_serialized_invocation_args names no outputs.outputFile.')
    return Invocation(known.executor_class_path, given, spec, flags)


def locate(outputs: 'pipeline_spec_pb2.ExecutorInput.Outputs') -> Place:
    """Reads run and task out of where the outputs go.

    The launcher uses `…/<pipeline>/<run id>/<task>/<uuid>/…`, kfp.local `…/<pipeline>-<time>/<task>/…`, which is the
    run's id too. Before Kubeflow Pipelines 2.15 only the artifacts lie there, not the output file.
    """
    uris = [artifact.uri for listed in outputs.artifacts.values() for artifact in listed.artifacts]
    for path in map(PurePosixPath, (outputs.output_file, *uris)):
        if len(path.parts) > 3 and _is_uuid(path.parent.name):
            return Place(path.parts[-4], path.parts[-3], path.parent.name)
    path = PurePosixPath(outputs.output_file)
    if path.name == LOCAL_OUTPUT and len(path.parts) > 2:
        return Place(path.parts[-3], path.parts[-2], path.parts[-2])
    return Place('', '', path.parent.name)


def execution_properties(
    given: 'pipeline_spec_pb2.ExecutorInput.Inputs', spec: 'pipeline_spec_pb2.ComponentInputsSpec'
) -> dict[str, Any]:
    """Execution properties in the types that TFX's executors expect; what is null is left out."""
    from kfp.pipeline_spec import pipeline_spec_pb2
    from tfx.orchestration.kubeflow.v2.container import kubeflow_v2_entrypoint_utils

    values = {
        name: value
        for name, value in given.parameter_values.items()
        if value.WhichOneof('kind') not in (None, 'null_value')
    }
    properties = kubeflow_v2_entrypoint_utils.parse_execution_properties(values, given.parameters, spec)
    return {
        # Kubeflow passes a bool on as 1 or 0.
        name: bool(value)
        if isinstance(value, float)
        and name in spec.parameters
        and spec.parameters[name].parameter_type == pipeline_spec_pb2.ParameterType.BOOLEAN
        else value
        for name, value in properties.items()
    }


def _run(
    invocation: Invocation,
    place: Place,
    root: Path,
    kinds: 'Callable[[], Iterable[type[types.Artifact]]] | None',
) -> None:
    retry = os.environ.get('KFP_RETRY_INDEX', '')
    again = f', retry {retry} (KFP_RETRY_INDEX)' if retry not in ('', '0') else ''
    logger.info('Executor %s of the run %s%s', invocation.executor, place.run or 'of unknown id', again)

    from tfx.components.evaluator import executor as evaluator_executor
    from tfx.orchestration.kubeflow.v2.container import kubeflow_v2_entrypoint_utils
    from tfx.types import artifact_utils, standard_component_specs
    from tfx.utils import import_utils

    from pipeline.kubeflow import artifacts

    artifacts.register((kinds or artifacts.artifact_types)())
    given, names = invocation.given, dict[int, str]()
    answer = Path(given.outputs.output_file)
    answer.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory(prefix='task-') as temporary:
        inputs = artifacts.read_inputs(given.inputs, invocation.spec, names, root)
        outputs = artifacts.read_outputs(given.outputs, names, Path(temporary) / 'parameters', root)
        executor_class = import_utils.import_class_by_path(invocation.executor)
        executor = executor_class(_context(executor_class, invocation.flags, place, temporary))
        artifacts.make_outputs(outputs)
        executor.Do(inputs, outputs, execution_properties(given.inputs, invocation.spec))
        if issubclass(executor_class, evaluator_executor.Executor) and standard_component_specs.BLESSING_KEY in outputs:
            # Models are named in it by TFX's ids, which nobody knows after this.
            kubeflow_v2_entrypoint_utils.refactor_model_blessing(
                artifact_utils.get_single_instance(outputs[standard_component_specs.BLESSING_KEY]), names
            )
        artifacts.finish_outputs(outputs, given.outputs)
        _write(answer, artifacts.executor_output(outputs, given.outputs, names))


def _context(executor_class: type, flags: list[str], place: Place, temporary: str) -> Any:
    from tfx.dsl.components.base import base_beam_executor, base_executor

    common = {'tmp_dir': temporary, 'unique_id': place.execution, 'pipeline_run_id': place.run}
    if issubclass(executor_class, base_beam_executor.BaseBeamExecutor):
        return base_beam_executor.BaseBeamExecutor.Context(beam_pipeline_args=flags, **common)
    return base_executor.BaseExecutor.Context(extra_flags=flags, **common)


def _write(file: Path, answer: dict[str, Any]) -> None:
    """Writes the file whole or not at all."""
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(f'.{file.name}.part')
    part.write_text(json.dumps(answer, allow_nan=False), encoding='utf-8')
    part.replace(file)


def _is_uuid(text: str) -> bool:
    try:
        return str(uuid.UUID(text)) == text
    except ValueError:
        return False


def _log_to_stderr(task: str) -> None:
    """Sends the log of everything that runs here, absl's and TFX's too, to standard error."""
    from absl import logging as absl_logging

    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_TaskFormatter(task))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    absl_logging.set_verbosity(absl_logging.INFO)
    # Beam tells of each type hint that it does not know, dozens of times at every start.
    logging.getLogger('apache_beam.typehints').setLevel(logging.WARNING)


def _terminate(task: str, number: int, frame: FrameType | None) -> NoReturn:
    """Ends at once: an exception could be caught by the executor, and threads of Beam could keep the process alive."""
    with contextlib.suppress(RuntimeError):  # the signal came in the middle of a print
        sys.stdout.flush()
    os.write(2, f'{task}: ended by {signal.Signals(number).name}\n'.encode())
    os._exit(TERMINATED)


class _TaskFormatter(logging.Formatter):
    """Begins each line, those of a stack trace too, with time, level and task."""

    def __init__(self, task: str):
        super().__init__()
        self._task = task

    def format(self, record: logging.LogRecord) -> str:
        moment = time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime(record.created))
        start = f'{moment} {record.levelname} {self._task}: '
        return '\n'.join(start + line for line in super().format(record).splitlines() or [''])


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ArgumentsError(message)


if __name__ == '__main__':
    sys.exit(main())
