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
from components.dashboard import Markdown
from components.ingest.artifacts import Rejects
from components.ingest.rejects import read_summary
from components.properties import Text
from components.settings import ValidateSettings, from_json
from components.source import fingerprint
from components.storage.files import LocalFiles
from components.validate import accepted, gate
from components.validate.artifacts import DataVerdict
from components.validate.dashboard import to_markdown
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
        'rejects': component_spec.ChannelParameter(type=Rejects),
    }
    OUTPUTS = {
        'verdict': component_spec.ChannelParameter(type=DataVerdict),
        'data_report': component_spec.ChannelParameter(type=Markdown),
    }


class Executor(base_executor.BaseExecutor):
    """Compares, and writes the findings, for programs and for people."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        settings = from_json(ValidateSettings, exec_properties['settings'])
        overrides = tuple(exec_properties['overrides'].split())
        before = accepted.previous(Path(exec_properties['accepted_folder']), exec_properties['data'])
        verdict = artifact_utils.get_single_instance(output_dict['verdict'])
        with LocalFiles() as files:
            given = {name: files.read(artifact_utils.get_single_uri(found)) for name, found in input_dict.items()}
            anomalies = _load_anomalies(given['anomalies'])
            summary = read_summary(given['rejects'])
            findings = tuple(
                dataclasses.replace(finding, overridden=True)
                if not finding.passed and finding.gate in overrides
                else finding
                for finding in _findings(given, anomalies, settings, before, summary.protocol)
            )
            write_findings(files.write(verdict.uri), findings)
        verdict.set_int_custom_property('passed', int(not any(finding.stops for finding in findings)))
        artifact_utils.get_single_instance(output_dict['data_report']).value = to_markdown(
            exec_properties['task'],
            findings,
            anomalies,
            summary,
        )
        for finding in findings:
            logging.info('%s: %s (%s)', finding.gate, finding.message, 'passed' if finding.passed else 'not passed')


class DataCheck(base_component.BaseComponent):
    """Says what is wrong with the data; DataGate stops the run for it.

    Two steps, so that the verdict is kept, and shown on Kubeflow, where the data are refused: a step that fails leaves
    no artifact.

    Args:
        task: `expression` or `keypoints`.
        examples, statistics, anomalies, rejects: channels of the steps before it.
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
        rejects: types.BaseChannel,
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
                rejects=rejects,
                verdict=types.Channel(type=DataVerdict),
                data_report=types.Channel(type=Markdown),
            )
        )


def _findings(
    folders: dict[str, Path],
    anomalies: dict[str, anomalies_pb2.Anomalies],
    settings: ValidateSettings,
    before: Path | None,
    protocol: str,
) -> list[Finding]:
    statistics = _load_statistics(folders['statistics'])
    files = {split: sorted((folders['examples'] / f'Split-{split}').glob('*')) for split in faces.SPLITS}

    findings = [
        *gate.schema_findings(anomalies),
        *gate.image_findings(statistics),
        *gate.count_findings(statistics, settings),
        *gate.leak_findings(files, protocol),
        *gate.split_findings(statistics, settings),
    ]
    if before is not None:
        findings.extend(gate.drift_findings(statistics, _load_statistics(before), settings))
    return findings


def _load_anomalies(folder: Path) -> dict[str, anomalies_pb2.Anomalies]:
    return {
        split: anomalies_pb2.Anomalies.FromString((folder / f'Split-{split}' / 'SchemaDiff.pb').read_bytes())
        for split in faces.SPLITS
    }


def _load_statistics(folder: Path) -> gate.Statistics:
    return {split: tfdv.load_stats_binary(str(folder / f'Split-{split}' / 'FeatureStats.pb')) for split in faces.SPLITS}
