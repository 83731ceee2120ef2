"""DataGate: stops the run when the data are broken, leak, or are unlike those that were accepted last."""

import dataclasses
from pathlib import Path
from typing import Any

import tensorflow_data_validation as tfdv
from absl import logging
from tensorflow_metadata.proto.v0 import anomalies_pb2
from tfx import types
from tfx.dsl.components.base import base_component, base_executor, executor_spec
from tfx.types import artifact_utils, component_spec, standard_artifacts

from components import faces
from components.errors import StepError
from components.settings import ValidateSettings, from_json, to_json
from components.source import fingerprint
from components.validate import accepted, gate
from components.validate.artifacts import DataVerdict
from components.validate.findings import GATES, DataRefusedError, Finding, write_findings


class DataGateSpec(component_spec.ComponentSpec):
    PARAMETERS = {
        'task': component_spec.ExecutionParameter(type=str),
        'settings': component_spec.ExecutionParameter(type=str),
        'data': component_spec.ExecutionParameter(type=str),
        'accepted_folder': component_spec.ExecutionParameter(type=str),
        'previous': component_spec.ExecutionParameter(type=str),
        'overrides': component_spec.ExecutionParameter(type=str),
        'code': component_spec.ExecutionParameter(type=str),
    }
    INPUTS = {
        'examples': component_spec.ChannelParameter(type=standard_artifacts.Examples),
        'statistics': component_spec.ChannelParameter(type=standard_artifacts.ExampleStatistics),
        'anomalies': component_spec.ChannelParameter(type=standard_artifacts.ExampleAnomalies),
    }
    OUTPUTS = {'verdict': component_spec.ChannelParameter(type=DataVerdict)}


class Executor(base_executor.BaseExecutor):
    """Compares, writes the findings, and raises `DataRefusedError` where one stops the run."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        settings = from_json(ValidateSettings, exec_properties['settings'])
        overrides = tuple(exec_properties['overrides'].split())
        folder, data = Path(exec_properties['accepted_folder']), exec_properties['data']
        statistics_folder = Path(artifact_utils.get_single_uri(input_dict['statistics']))

        findings = tuple(
            dataclasses.replace(finding, overridden=not finding.passed and finding.gate in overrides)
            for finding in _findings(input_dict, settings, accepted.previous(folder, data))
        )
        write_findings(Path(artifact_utils.get_single_uri(output_dict['verdict'])), findings)
        for finding in findings:
            logging.info('%s: %s (%s)', finding.gate, finding.message, 'passed' if finding.passed else 'not passed')
        stopping = [finding for finding in findings if finding.stops]
        if stopping:
            raise DataRefusedError(_advice(exec_properties['task'], stopping), findings)
        accepted.accept(folder, data, statistics_folder)


class DataGate(base_component.BaseComponent):
    """Holds back what follows it until the data are accepted.

    Args:
        task: `expression` or `keypoints`.
        examples, statistics, anomalies: channels of the steps before it.
        settings: the thresholds.
        data: a name for this state of the data; its statistics are kept under it when they are accepted.
        accepted_folder: where accepted statistics are kept.
        previous: the name of the accepted data that these will be compared with; part of the cache key alone.
        overrides: gates of `findings.GATES` that do not stop this run.
    """

    SPEC_CLASS = DataGateSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)

    def __init__(
        self,
        task: str,
        examples: types.BaseChannel,
        statistics: types.BaseChannel,
        anomalies: types.BaseChannel,
        settings: ValidateSettings,
        data: str,
        accepted_folder: str,
        previous: str = '',
        overrides: tuple[str, ...] = (),
    ):
        unknown = set(overrides) - set(GATES)
        if unknown:
            raise StepError(f'No gate is called {min(unknown)!r}: override one of {", ".join(GATES)}.')
        super().__init__(
            DataGateSpec(
                task=task,
                settings=to_json(settings),
                data=data,
                accepted_folder=accepted_folder,
                previous=previous,
                overrides=' '.join(sorted(overrides)),
                code=fingerprint('validate'),
                examples=examples,
                statistics=statistics,
                anomalies=anomalies,
                verdict=types.Channel(type=DataVerdict),
            )
        )


def _findings(
    inputs: dict[str, list[types.Artifact]], settings: ValidateSettings, before: Path | None
) -> list[Finding]:
    statistics_folder = Path(artifact_utils.get_single_uri(inputs['statistics']))
    anomalies_folder = Path(artifact_utils.get_single_uri(inputs['anomalies']))
    examples_folder = Path(artifact_utils.get_single_uri(inputs['examples']))
    statistics = _load_statistics(statistics_folder)
    anomalies = {
        split: anomalies_pb2.Anomalies.FromString((anomalies_folder / f'Split-{split}' / 'SchemaDiff.pb').read_bytes())
        for split in faces.SPLITS
    }
    files = {split: sorted((examples_folder / f'Split-{split}').glob('*')) for split in faces.SPLITS}

    findings = [
        *gate.schema_findings(anomalies),
        *gate.image_findings(statistics),
        *gate.count_findings(statistics, settings),
        *gate.leak_findings(files),
        *gate.split_findings(statistics, settings),
    ]
    if before is not None:
        findings.extend(gate.drift_findings(statistics, _load_statistics(before), settings))
    return findings


def _load_statistics(folder: Path) -> gate.Statistics:
    return {split: tfdv.load_stats_binary(str(folder / f'Split-{split}' / 'FeatureStats.pb')) for split in faces.SPLITS}


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
