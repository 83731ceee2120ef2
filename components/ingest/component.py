"""FaceExampleGen: faces in CSV files or class folders to tf.Examples."""

from tfx import types
from tfx.dsl.components.base import base_beam_component, executor_spec
from tfx.types import standard_artifacts
from tfx.types.component_spec import ChannelParameter, ExecutionParameter

from components.ingest import executor
from components.ingest.artifacts import Rejects
from components.properties import Text
from components.source import fingerprint


class FaceExampleGenSpec(types.ComponentSpec):
    """What FaceExampleGen takes and gives; all parameters are text, which a cluster's backend keeps as it is."""

    INPUTS: dict[str, ChannelParameter] = {}
    OUTPUTS = {
        executor.EXAMPLES_KEY: ChannelParameter(type=standard_artifacts.Examples),
        executor.REJECTS_KEY: ChannelParameter(type=Rejects),
    }
    PARAMETERS = {
        executor.TASK_KEY: ExecutionParameter(type=str),
        executor.SETTINGS_KEY: ExecutionParameter(type=str),
        executor.CODE_KEY: ExecutionParameter(type=str),
        executor.DATA_KEY: ExecutionParameter(type=str),
    }


class FaceExampleGen(base_beam_component.BaseBeamComponent):
    """Reads one dataset, splits it without leaks, and sets aside the rows that cannot be used.

    Args:
        task: `faces.EXPRESSION_MODEL` or `faces.KEYPOINT_MODEL`.
        settings: which files, and how they are read and split, an IngestSettings as JSON.
        data: fingerprint of the files, from `sources.resolve`, so that changed data are read anew and not taken from
            the cache.
    """

    SPEC_CLASS = FaceExampleGenSpec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(executor.Executor)

    def __init__(self, task: str, settings: Text, data: Text = ''):
        super().__init__(
            FaceExampleGenSpec(
                task=task,
                settings=settings,
                code=fingerprint('ingest'),
                data=data,
                examples=types.Channel(type=standard_artifacts.Examples),
                rejects=types.Channel(type=Rejects),
            )
        )
