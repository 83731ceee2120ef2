"""DataCheck: compares the data with the schema, with themselves and with those that were accepted last."""

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
from components.properties import Text
from components.settings import ValidateSettings, from_json
from components.source import fingerprint
from components.validate import accepted, gate
from components.validate.artifacts import DataVerdict
from components.validate.findings import Finding, write_findings


class DataCheckSpec(component_spec.ComponentSpec):
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
    """Compares, and writes the findings."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        settings = from_json(ValidateSettings, exec_properties['settings'])
        overrides = tuple(exec_properties['overrides'].split())
        before = accepted.previous(Path(exec_properties['accepted_folder']), exec_properties['data'])
        findings = tuple(
            dataclasses.replace(finding, overridden=not finding.passed and finding.gate in overrides)
            for finding in _findings(input_dict, settings, before)
        )
        verdict = artifact_utils.get_single_instance(output_dict['verdict'])
        write_findings(Path(verdict.uri), findings)
        verdict.set_int_custom_property('passed', int(not any(finding.stops for finding in findings)))
        for finding in findings:
            logging.info('%s: %s (%s)', finding.gate, finding.message, 'passed' if finding.passed else 'not passed')


class DataCheck(base_component.BaseComponent):
    """Says what is wrong with the data; DataGate stops the run for it.

    Two steps, so that the verdict is kept, and shown on Kubeflow, where the data are refused: a step that fails leaves
    no artifact.

    Args:
        task: `expression` or `keypoints`.
        examples, statistics, anomalies: channels of the steps before it.
        settings: the thresholds, a ValidateSettings as JSON.
        data: a name for this state of the data; its statistics are kept under it when they are accepted.
        accepted_folder: where accepted statistics are kept.
        previous: the name of the accepted data that these will be compared with; part of the cache key alone.
        overrides: gates of `findings.GATES`, separated by blanks, that do not stop this run.
    """

    SPEC_CLASS = DataCheckSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)

    def __init__(
        self,
        task: str,
        examples: types.BaseChannel,
        statistics: types.BaseChannel,
        anomalies: types.BaseChannel,
        settings: Text,
        data: Text,
        accepted_folder: str,
        previous: Text = '',
        overrides: Text = '',
    ):
        super().__init__(
            DataCheckSpec(
                task=task,
                settings=settings,
                data=data,
                accepted_folder=accepted_folder,
                previous=previous,
                overrides=overrides,
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
