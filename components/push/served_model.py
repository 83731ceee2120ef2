"""ServedModel: the model that is served now, as the baseline that a candidate has to beat."""

from pathlib import Path
from typing import Any

from tfx import types
from tfx.dsl.components.base import base_component, base_executor, executor_spec
from tfx.types import artifact_utils, component_spec, standard_artifacts
from tfx.utils import path_utils

from components import faces
from components.properties import Text
from components.push import versions
from components.source import fingerprint
from components.storage.files import LocalFiles

SERVED_VERSION = faces.SERVED_VERSION


class ServedModelSpec(component_spec.ComponentSpec):
    PARAMETERS = {
        'folder': component_spec.ExecutionParameter(type=str),
        'candidate': component_spec.ExecutionParameter(type=str),
        'baseline': component_spec.ExecutionParameter(type=str),
        'code': component_spec.ExecutionParameter(type=str),
    }
    INPUTS = {'candidate_model': component_spec.ChannelParameter(type=standard_artifacts.Model)}
    OUTPUTS = {'model': component_spec.ChannelParameter(type=standard_artifacts.Model)}


class Executor(base_executor.BaseExecutor):
    """Copies the served version, since a later push may remove it."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        model = artifact_utils.get_single_instance(output_dict['model'])
        folder = exec_properties['folder']
        artifact = artifact_utils.get_single_uri(input_dict['candidate_model'])
        version = versions.baseline(folder, exec_properties['candidate'], artifact)
        model.set_int_custom_property(SERVED_VERSION, version or 0)
        with LocalFiles() as files:
            output = files.write(model.uri)
            if version is None:
                # Object stores keep no empty folders.
                (output / 'none').write_text('Nothing is served yet.\n', encoding='utf-8')
            else:
                versions.copy(folder, version, Path(path_utils.serving_model_dir(str(output))))


class ServedModel(base_component.BaseComponent):
    """Gives the served model as a Model artifact with the property `served_version`, 0 where nothing is served.

    A component rather than one of TFX's resolvers, which Kubeflow Pipelines does not run.

    Args:
        folder: the model's serving folder.
        model: channel of the model that this run trains; it is not its own baseline.
        candidate: the fingerprint of that model.
        baseline: a text that changes with the served model; part of the cache key alone.
    """

    SPEC_CLASS = ServedModelSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)

    def __init__(self, folder: str, model: types.BaseChannel, candidate: Text, baseline: Text = ''):
        super().__init__(
            ServedModelSpec(
                folder=folder,
                candidate=candidate,
                baseline=baseline,
                code=fingerprint('push'),
                candidate_model=model,
                model=types.Channel(type=standard_artifacts.Model),
            )
        )
