"""JointModel: one model of the two that were blessed, or of a blessed and the served one."""

import json
from pathlib import Path
from typing import Any, Final

from tfx import types
from tfx.dsl.components.base import base_component, base_executor, executor_spec
from tfx.types import artifact_utils, component_spec, standard_artifacts
from tfx.utils import path_utils

from components import faces
from components.evaluate.results import is_blessed
from components.joint.module import join
from components.push.served_model import SERVED_VERSION
from components.source import fingerprint
from components.storage.files import LocalFiles

PARTS: Final = 'parts.json'
MADE_OF: Final = 'made_of'  # property: the models that were joined, and the code that joined them
CANDIDATE, SERVED, MISSING = 'candidate', 'served', 'missing'

_MODEL, _BLESSING = standard_artifacts.Model, standard_artifacts.ModelBlessing


class JointModelSpec(component_spec.ComponentSpec):
    PARAMETERS = {'code': component_spec.ExecutionParameter(type=str)}
    INPUTS = {
        'expression_model': component_spec.ChannelParameter(type=_MODEL),
        'expression_blessing': component_spec.ChannelParameter(type=_BLESSING),
        'expression_served': component_spec.ChannelParameter(type=_MODEL),
        'keypoints_model': component_spec.ChannelParameter(type=_MODEL),
        'keypoints_blessing': component_spec.ChannelParameter(type=_BLESSING),
        'keypoints_served': component_spec.ChannelParameter(type=_MODEL),
    }
    OUTPUTS = {'model': component_spec.ChannelParameter(type=_MODEL)}


class Executor(base_executor.BaseExecutor):
    """Chooses the parts, joins them, and writes `parts.json` that says which they are."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        model = artifact_utils.get_single_instance(output_dict['model'])
        with LocalFiles() as files:
            output = files.write(model.uri)
            parts = {task: _choose(task, input_dict, files) for task in (faces.EXPRESSION_MODEL, faces.KEYPOINT_MODEL)}
            origins = {task: origin for task, (origin, _) in parts.items()}
            (output / PARTS).write_text(json.dumps(origins), encoding='utf-8')
            model.set_string_custom_property(
                MADE_OF, ' '.join([*(uri for _, uri in parts.values()), exec_properties['code']])
            )
            # With nothing new the served joint model stays; with a part missing there is none.
            if CANDIDATE in origins.values() and MISSING not in origins.values():
                folders = {
                    task: Path(path_utils.serving_model_path(str(files.read(uri)))) for task, (_, uri) in parts.items()
                }
                join(
                    folders[faces.EXPRESSION_MODEL],
                    folders[faces.KEYPOINT_MODEL],
                    Path(path_utils.serving_model_dir(str(output))),
                )


class JointModel(base_component.BaseComponent):
    """Joins the two networks.

    Args:
        candidates, blessings, served: channels by task (`expression`, `keypoints`) of this run's models, of the
            Evaluators' blessings, and of ServedModel.
    """

    SPEC_CLASS = JointModelSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)

    def __init__(
        self,
        candidates: dict[str, types.BaseChannel],
        blessings: dict[str, types.BaseChannel],
        served: dict[str, types.BaseChannel],
    ):
        channels = {'model': candidates, 'blessing': blessings, 'served': served}
        super().__init__(
            JointModelSpec(
                code=fingerprint('joint'),
                model=types.Channel(type=_MODEL),
                **{f'{task}_{name}': by_task[task] for name, by_task in channels.items() for task in by_task},
            )
        )


def read_parts(model: Path) -> dict[str, str]:
    """From each task to `candidate`, `served` or `missing`: what the joint model is made of."""
    return json.loads((model / PARTS).read_text(encoding='utf-8'))


def _choose(task: str, inputs: dict[str, list[types.Artifact]], files: LocalFiles) -> tuple[str, str]:
    """Where this part comes from, and the URI of its artifact."""
    if is_blessed(files.read(artifact_utils.get_single_uri(inputs[f'{task}_blessing']))):
        return CANDIDATE, artifact_utils.get_single_uri(inputs[f'{task}_model'])
    served = artifact_utils.get_single_instance(inputs[f'{task}_served'])
    return (SERVED if served.get_custom_property(SERVED_VERSION) else MISSING), served.uri
