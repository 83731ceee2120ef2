"""ImportSchemaGen for the schemas that are part of this distribution."""

import hashlib
from pathlib import Path
from typing import Any

from tfx import types
from tfx.components.schema_gen.import_schema_gen import executor as import_schema_gen
from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import component_spec, standard_artifacts
from tfx.types import standard_component_specs as keys

import schemas

FOLDER = Path(next(iter(schemas.__path__)))


class PackagedSchemaSpec(component_spec.ComponentSpec):
    PARAMETERS = {
        'task': component_spec.ExecutionParameter(type=str),
        'content': component_spec.ExecutionParameter(type=str),
    }
    INPUTS: dict = {}
    OUTPUTS = {keys.SCHEMA_KEY: component_spec.ChannelParameter(type=standard_artifacts.Schema)}


class Executor(import_schema_gen.Executor):
    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        super().Do(input_dict, output_dict, {keys.SCHEMA_FILE_KEY: str(_path(exec_properties['task']))})


class PackagedSchema(base_component.BaseComponent):
    """Gives `schemas/<task>.pbtxt` as a Schema artifact.

    TFX's ImportSchemaGen takes a path, which is another one in a container, and does not see that the file has changed.

    Args:
        task: `expression` or `keypoints`.
    """

    SPEC_CLASS = PackagedSchemaSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)

    def __init__(self, task: str):
        super().__init__(
            PackagedSchemaSpec(
                task=task,
                content=hashlib.blake2b(_path(task).read_bytes(), digest_size=16).hexdigest(),
                schema=types.Channel(type=standard_artifacts.Schema),
            )
        )


def _path(task: str) -> Path:
    return FOLDER / f'{task}.pbtxt'
