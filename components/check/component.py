"""ServingCheck: loads what will be pushed in another process and asks it real questions."""

import dataclasses
import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tfx import types
from tfx.dsl.components.base import base_component, base_executor, executor_spec
from tfx.types import artifact_utils, component_spec, standard_artifacts
from tfx.utils import path_utils

from components import faces
from components.check import compare, portable
from components.check.questions import Questions, read_questions
from components.check.warmup import write_warmup
from components.joint.component import CANDIDATE, PARTS, read_parts
from components.properties import Text
from components.settings import CheckSettings, from_json
from components.source import fingerprint
from components.storage.files import LocalFiles
from components.train.fit import PREDICTIONS

FILE_NAME: Final = 'check.json'
WARMUP: Final = 'warmup.tfrecord'
TASKS = faces.TASKS


@dataclass(frozen=True)
class CheckResult:
    """What ServingCheck found.

    Attributes:
        model: `expression`, `keypoints` or `faces`.
        passed: whether the model may be pushed.
        findings: what is wrong, one line each.
        latency: seconds that the median answer to one image took; None where nothing was asked.
    """

    model: str
    passed: bool
    findings: tuple[str, ...]
    latency: float | None


class ServingCheckSpec(component_spec.ComponentSpec):
    PARAMETERS = {
        'name': component_spec.ExecutionParameter(type=str),
        'settings': component_spec.ExecutionParameter(type=str),
        'code': component_spec.ExecutionParameter(type=str),
    }
    INPUTS = {
        'model': component_spec.ChannelParameter(type=standard_artifacts.Model),
        'expression_examples': component_spec.ChannelParameter(type=standard_artifacts.Examples, optional=True),
        'expression_run': component_spec.ChannelParameter(type=standard_artifacts.ModelRun, optional=True),
        'keypoints_examples': component_spec.ChannelParameter(type=standard_artifacts.Examples, optional=True),
        'keypoints_run': component_spec.ChannelParameter(type=standard_artifacts.ModelRun, optional=True),
    }
    OUTPUTS = {'check': component_spec.ChannelParameter(type=standard_artifacts.InfraBlessing)}


class Executor(base_executor.BaseExecutor):
    """Asks, compares, and writes the result and the warm-up requests."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        check = artifact_utils.get_single_instance(output_dict['check'])
        settings = from_json(CheckSettings, exec_properties['settings'])
        name = exec_properties['name']
        with LocalFiles() as files:
            model = files.read(artifact_utils.get_single_uri(input_dict['model']))
            output = files.write(check.uri)
            reason = _why_not_made(model)
            if reason:
                result = CheckResult(name, False, (reason,), None)
            else:
                questions = _questions(input_dict, model, settings, files)
                result = check_model(name, Path(path_utils.serving_model_path(str(model))), questions, settings)
                write_warmup(output / WARMUP, name, next(iter(questions.values())).images[0])
            (output / FILE_NAME).write_text(json.dumps(dataclasses.asdict(result)), encoding='utf-8')
        check.set_int_custom_property('blessed', int(result.passed))
        check.set_string_custom_property('model', name)
        if result.latency is not None:
            check.set_float_custom_property('latency_seconds', result.latency)


class ServingCheck(base_component.BaseComponent):
    """Says whether a candidate answers as it should.

    Args:
        name: `expression`, `keypoints` or `faces`.
        model: channel of the candidate.
        examples, runs: channels by task of the Examples and of the trainers' runs, from which the questions and the
            expected answers come.
        settings: tolerance, latency and time-out, a CheckSettings as JSON.
    """

    SPEC_CLASS = ServingCheckSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)

    def __init__(
        self,
        name: str,
        model: types.BaseChannel,
        examples: dict[str, types.BaseChannel],
        runs: dict[str, types.BaseChannel],
        settings: Text,
    ):
        super().__init__(
            ServingCheckSpec(
                name=name,
                settings=settings,
                code=fingerprint('check', 'inference'),
                model=model,
                check=types.Channel(type=standard_artifacts.InfraBlessing),
                **{f'{task}_examples': channel for task, channel in examples.items()},
                **{f'{task}_run': channel for task, channel in runs.items()},
            )
        )


def check_model(name: str, model: Path, questions: dict[str, Questions], settings: CheckSettings) -> CheckResult:
    """Asks the SavedModel in another process.

    Args:
        name: of the model.
        model: the SavedModel.
        questions: by task.
        settings: tolerance, latency and time-out.
    """
    joint = name == faces.JOINT_MODEL
    signatures = (faces.SERVING_SIGNATURE,) if joint else (faces.SERVING_SIGNATURE, faces.EXAMPLES_SIGNATURE)
    asked = compare.batches(questions, signatures)
    with tempfile.TemporaryDirectory() as folder:
        try:
            answers, latency = compare.ask(model, asked, Path(folder), settings.timeout)
        except RuntimeError as error:
            return CheckResult(name, False, (str(error),), None)
    findings = list(compare.judge(asked, answers, settings.tolerance))
    findings += portable.judge(name, model, asked, answers, settings.onnx_tolerance)
    if latency > settings.maximum_latency:
        findings.append(f'an answer takes {latency:.2f} s (limit {settings.maximum_latency:g} s)')
    return CheckResult(name, not findings, tuple(findings), latency)


def read_check(folder: Path) -> CheckResult:
    """What ServingCheck wrote."""
    row = json.loads((folder / FILE_NAME).read_text(encoding='utf-8'))
    return CheckResult(**{**row, 'findings': tuple(row['findings'])})


def _why_not_made(model: Path) -> str:
    if not (model / PARTS).exists() or Path(path_utils.serving_model_dir(str(model))).exists():
        return ''
    parts = ', '.join(f'{task}: {origin}' for task, origin in read_parts(model).items())
    return f'no joint model was made ({parts})'


def _questions(
    inputs: dict[str, list[types.Artifact]], model: Path, settings: CheckSettings, files: LocalFiles
) -> dict[str, Questions]:
    """Questions by task, of the parts whose trainer ran in this run."""
    is_joint = (model / PARTS).exists()
    origins = read_parts(model) if is_joint else dict.fromkeys(TASKS, CANDIDATE)
    return {
        task: read_questions(
            files.read(artifact_utils.get_single_uri(inputs[f'{task}_examples']), f'Split-{faces.EVAL_SPLIT}/'),
            files.read(artifact_utils.get_single_uri(inputs[f'{task}_run']), PREDICTIONS) / PREDICTIONS,
            settings.questions,
        )
        for task in TASKS
        if inputs.get(f'{task}_run') and origins[task] == CANDIDATE
    }
