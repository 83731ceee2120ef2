"""Survey: the first task of a run on Kubeflow, which tells the others what is outside the graph.

It is never cached. What it finds, spans and files, the served models, the accepted statistics, goes to the other tasks
as parameters, which are part of Kubeflow's cache key: they are taken from the cache for as long as it stays the same.
"""

import dataclasses
import datetime
import uuid
from pathlib import Path
from typing import Any, Final

import yaml
from tfx import types
from tfx.dsl.components.base import base_component, base_executor, executor_spec
from tfx.types import artifact_utils, component_spec, standard_artifacts

from components.errors import StepError
from components.source import distribution_fingerprint
from data.publish import FILES
from pipeline.config import Config, build, to_yaml
from pipeline.kubeflow import parameters
from pipeline.kubeflow.training_job import refuse_workers_in_one_pod
from pipeline.kubeflow.volumes import on_volumes
from pipeline.world import World, from_texts, survey, text_names, to_texts

CONFIGURATION: Final = 'configuration_yaml'
CODE: Final = 'code'


class SurveySpec(component_spec.ComponentSpec):
    """What Survey takes and gives; the compiler adds the parameters of a run to what it takes."""

    PARAMETERS = {
        CONFIGURATION: component_spec.ExecutionParameter(type=str),
        CODE: component_spec.ExecutionParameter(type=str),
    }
    INPUTS: dict = {}
    OUTPUTS = {name: component_spec.ChannelParameter(type=standard_artifacts.String) for name in text_names()}


class Executor(base_executor.BaseExecutor):
    """Draws the built-in faces where they are configured, looks, and tells.

    Raises:
        StepError: the image holds other code than the pipeline was compiled from; a parameter cannot be meant; see also
            `pipeline.world.survey`.
    """

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        began = datetime.datetime.now(datetime.UTC).isoformat(timespec='seconds')
        values = dict(exec_properties)
        compiled = yaml.safe_load(values.pop(CONFIGURATION))
        if values.pop(CODE) != distribution_fingerprint():
            raise StepError(
                'This image holds other code than the pipeline was compiled from: compile it anew, or build the image '
                'of the commit from which it was compiled.'
            )
        request = parameters.read(build(compiled, (), 'as compiled'), values)
        config = on_volumes(build(compiled, request.settings, 'of this run'))
        refuse_workers_in_one_pod(config)
        _draw(config)
        world = survey(config, request.overrides, uuid.uuid4().hex if request.retrain else '')
        for name, text in to_texts(dataclasses.replace(world, started=began)).items():
            artifact_utils.get_single_instance(output_dict[name]).value = text


class Survey(base_component.BaseComponent):
    """Looks at the world when a run begins.

    Args:
        config: the pipeline, as it is compiled.
    """

    SPEC_CLASS = SurveySpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)

    def __init__(self, config: Config):
        channels = {name: types.Channel(type=standard_artifacts.String) for name in text_names()}
        super().__init__(SurveySpec(**{CONFIGURATION: to_yaml(config), CODE: distribution_fingerprint()}, **channels))

    @property
    def world(self) -> World:
        """What this task will tell."""
        return from_texts({name: self.outputs[name].future()[0].value for name in text_names()})


def _draw(config: Config) -> None:
    drawn = config.draw
    for name, write in FILES.items():
        count = getattr(drawn, name) if drawn.folder else 0
        if count:
            write(Path(drawn.folder) / f'{name}.csv.gz', count, drawn.seed)
