"""DataGate: stops the run when DataCheck found that the data are broken, leak, or are unlike the last accepted ones."""

from pathlib import Path
from typing import Any

from tfx import types
from tfx.dsl.components.base import base_component, base_executor, executor_spec
from tfx.types import artifact_utils, component_spec, standard_artifacts

from components.properties import Text
from components.source import fingerprint
from components.storage.files import LocalFiles
from components.validate import accepted
from components.validate.artifacts import DataVerdict
from components.validate.findings import DataRefusedError, Finding, read_findings


class DataGateSpec(component_spec.ComponentSpec):
    PARAMETERS = {
        'task': component_spec.ExecutionParameter(type=str),
        'data': component_spec.ExecutionParameter(type=str),
        'accepted_folder': component_spec.ExecutionParameter(type=str),
        'code': component_spec.ExecutionParameter(type=str),
    }
    INPUTS = {
        'verdict': component_spec.ChannelParameter(type=DataVerdict),
        'statistics': component_spec.ChannelParameter(type=standard_artifacts.ExampleStatistics),
    }
    OUTPUTS: dict = {}


class Executor(base_executor.BaseExecutor):
    """Raises `DataRefusedError` where a finding stops the run; keeps the statistics of data that pass."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        with LocalFiles() as files:
            findings = read_findings(files.read(artifact_utils.get_single_uri(input_dict['verdict'])))
            stopping = [finding for finding in findings if finding.stops]
            if stopping:
                raise DataRefusedError(_advice(exec_properties['task'], stopping))
            statistics = files.read(artifact_utils.get_single_uri(input_dict['statistics']))
            accepted.accept(Path(exec_properties['accepted_folder']), exec_properties['data'], statistics)


class DataGate(base_component.BaseComponent):
    """Holds back what follows it until the data are accepted.

    Args:
        task: `expression` or `keypoints`.
        verdict: channel of DataCheck.
        statistics: channel of StatisticsGen.
        data: a name for this state of the data; its statistics are kept under it when they are accepted.
        accepted_folder: where accepted statistics are kept.
    """

    SPEC_CLASS = DataGateSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)

    def __init__(
        self, task: str, verdict: types.BaseChannel, statistics: types.BaseChannel, data: Text, accepted_folder: str
    ):
        super().__init__(
            DataGateSpec(
                task=task,
                data=data,
                accepted_folder=accepted_folder,
                code=fingerprint('validate'),
                verdict=verdict,
                statistics=statistics,
            )
        )


def _advice(task: str, stopping: list[Finding]) -> str:
    worst = '; '.join(
        finding.message + (f' (limit {finding.threshold:g})' if finding.threshold is not None else '')
        for finding in stopping[:3]
    )
    more = f' and {len(stopping) - 3} more' if len(stopping) > 3 else ''
    gates = ' '.join(f'--override {name}' for name in sorted({finding.gate for finding in stopping}))
    return (
        f'The {task} data were refused: {worst}{more}. Mend the data, change validate.{task} in the configuration, '
        f'or accept them for this run with {gates}.'
    )
