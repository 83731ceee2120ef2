"""RunReport: one self-contained HTML page about the run, the last node of the graph."""

import datetime
from pathlib import Path
from typing import Any, Final

import dacite
import yaml
from tfx import types
from tfx.dsl.components.base import base_component, base_executor, executor_spec
from tfx.types import artifact, artifact_utils, component_spec, standard_artifacts

from components import faces
from components.audit.artifacts import Audit
from components.behaviour.artifacts import Behaviour
from components.dashboard import Html, framed
from components.ingest.artifacts import Rejects
from components.metadata import exists
from components.properties import Text
from components.report.assemble import TASKS, assemble, is_read
from components.report.ledger import Ledger, read_ledger
from components.report.outcome import write_outcome
from components.report.render import render
from components.settings import EvaluateSettings
from components.source import fingerprint
from components.storage.files import LocalFiles
from components.validate.artifacts import DataVerdict

FILE_NAME: Final = 'report.html'


class Report(artifact.Artifact):
    """The page, `report.html`."""

    TYPE_NAME = 'faces.RunReport'


_BRANCH_TYPES = {
    'examples': standard_artifacts.Examples,
    'rejects': Rejects,
    'statistics': standard_artifacts.ExampleStatistics,
    'anomalies': standard_artifacts.ExampleAnomalies,
    'verdict': DataVerdict,
    'audit': Audit,
    'model': standard_artifacts.Model,
    'model_run': standard_artifacts.ModelRun,
    'behaviour': Behaviour,
    'served': standard_artifacts.Model,
    'evaluation': standard_artifacts.ModelEvaluation,
    'blessing': standard_artifacts.ModelBlessing,
}
_MODEL_TYPES = {'check': standard_artifacts.InfraBlessing, 'pushed': standard_artifacts.PushedModel}


class RunReportSpec(component_spec.ComponentSpec):
    PARAMETERS = {
        'configuration': component_spec.ExecutionParameter(type=str),
        'overrides': component_spec.ExecutionParameter(type=str),
        'store': component_spec.ExecutionParameter(type=str),
        'outcomes': component_spec.ExecutionParameter(type=str),
        'started': component_spec.ExecutionParameter(type=str),
        'code': component_spec.ExecutionParameter(type=str),
    }
    INPUTS = {
        f'{task}_{name}': component_spec.ChannelParameter(type=kind, optional=True)
        for task in TASKS
        for name, kind in _BRANCH_TYPES.items()
    } | {
        f'{model}_{name}': component_spec.ChannelParameter(type=kind, optional=True)
        for model in faces.MODELS
        for name, kind in _MODEL_TYPES.items()
    }
    OUTPUTS = {
        'report': component_spec.ChannelParameter(type=Report),
        'run_report': component_spec.ChannelParameter(type=Html),
    }


class Executor(base_executor.BaseExecutor):
    """Renders the page from the artifacts, and from ML Metadata where there is a store; once more for Kubeflow."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        run = str(self._context.pipeline_run_id) if self._context else ''
        store = exec_properties['store']
        configuration = yaml.safe_load(exec_properties['configuration'])
        if exists(store):
            ledger = read_ledger(store, run, configuration['name'])
        else:
            ledger = Ledger(_time(exec_properties['started']), (), {})
        with LocalFiles() as files:
            record = assemble(
                run=run,
                pipeline=configuration['name'],
                started=ledger.started,
                # The last one is this very step.
                steps=ledger.steps[:-1],
                folders={
                    name: files.read(found[0].uri) for name, found in input_dict.items() if found and is_read(name)
                },
                settings=evaluate_settings(configuration),
                overrides=tuple(exec_properties['overrides'].split()),
                configuration=exec_properties['configuration'],
            )
            folder = files.write(artifact_utils.get_single_uri(output_dict['report']))
            if exec_properties['outcomes']:
                write_outcome(Path(exec_properties['outcomes']), record)
            page = render(record)
            (folder / FILE_NAME).write_text(page, encoding='utf-8')
        artifact_utils.get_single_instance(output_dict['run_report']).value = framed(page)


class RunReport(base_component.BaseComponent):
    """Writes the page.

    Args:
        channels: by `<task or model>_<output>`, as `assemble` names them.
        configuration: of the pipeline, as YAML.
        store: ML Metadata's SQLite file or the name of its database, or an empty text where there is none.
        overrides: data gates that did not stop the run, separated by blanks.
        outcomes: a folder into which it is written how the run ended, or an empty text.
        started: when the run began, ISO 8601; an empty text where the store knows.
    """

    SPEC_CLASS = RunReportSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)

    def __init__(
        self,
        channels: dict[str, types.BaseChannel],
        configuration: Text,
        store: str,
        overrides: Text = '',
        outcomes: str = '',
        started: Text = '',
    ):
        super().__init__(
            RunReportSpec(
                configuration=configuration,
                overrides=overrides,
                store=store,
                outcomes=outcomes,
                started=started,
                code=fingerprint('report'),
                report=types.Channel(type=Report),
                run_report=types.Channel(type=Html),
                **channels,
            )
        )


def _time(text: str) -> datetime.datetime:
    return datetime.datetime.fromisoformat(text) if text else datetime.datetime.now(datetime.UTC)


def evaluate_settings(configuration: dict[str, Any]) -> dict[str, EvaluateSettings]:
    """The gates by task, out of the configuration's plain form."""
    reading = dacite.Config(cast=[tuple])
    return {task: dacite.from_dict(EvaluateSettings, configuration['evaluate'][task], reading) for task in TASKS}
