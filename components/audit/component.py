"""LabelAudit: finds the rows of the expression dataset whose labels are most likely wrong."""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import tensorflow_transform as tft
from absl import logging
from tfx import types
from tfx.dsl.components.base import base_component, base_executor, executor_spec
from tfx.types import artifact_utils, component_spec, standard_artifacts

from components import faces
from components.audit.artifacts import Audit
from components.audit.folds import assign_folds
from components.audit.issues import find_issues
from components.audit.predictions import cross_validate
from components.audit.results import write_issues, write_summary
from components.properties import Text
from components.settings import AuditSettings, from_json, to_json
from components.source import fingerprint
from components.storage.files import LocalFiles
from components.train.batches import load_split


def configuration(settings: AuditSettings, seed: int, checkpoints: str) -> str:
    """All that an audit depends on beside its inputs, as JSON.

    Args:
        settings: of the audit.
        seed: of weights, order and augmentation.
        checkpoints: folder that outlives a killed run.
    """
    return json.dumps({'settings': to_json(settings), 'seed': seed, 'checkpoints': checkpoints})


class LabelAuditSpec(component_spec.ComponentSpec):
    PARAMETERS = {
        'configuration': component_spec.ExecutionParameter(type=str),
        'code': component_spec.ExecutionParameter(type=str),
    }
    INPUTS = {
        'examples': component_spec.ChannelParameter(type=standard_artifacts.Examples),
        'transform_graph': component_spec.ChannelParameter(type=standard_artifacts.TransformGraph),
    }
    OUTPUTS = {'audit': component_spec.ChannelParameter(type=Audit)}


class Executor(base_executor.BaseExecutor):
    """Trains the folds' networks, and writes the rows that these do not believe."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        given = json.loads(exec_properties['configuration'])
        settings = from_json(AuditSettings, given['settings'])
        transform_graph = artifact_utils.get_single_uri(input_dict['transform_graph'])
        transform_output = tft.TFTransformOutput(transform_graph)
        files = {split: f'{artifact_utils.get_split_uri(input_dict["examples"], split)}/*' for split in faces.SPLITS}
        training, evaluation = (
            load_split([files[split]], transform_output, faces.EXPRESSION_MODEL) for split in faces.SPLITS
        )
        checkpoints = _checkpoint_folder([*files.values(), transform_graph], exec_properties)
        folds = assign_folds(training, settings.folds)
        predictions = cross_validate(training, evaluation, folds, settings, given['seed'], checkpoints)
        issues, summary = find_issues(training, evaluation, *predictions, settings)
        with LocalFiles() as local:
            folder = local.write(artifact_utils.get_single_uri(output_dict['audit']))
            write_issues(folder, issues)
            write_summary(folder, summary)
        shutil.rmtree(checkpoints)
        logging.info('%d of %d labels are likely wrong', summary.issues, summary.rows)


class LabelAudit(base_component.BaseComponent):
    """Lists labels that are likely wrong; a person decides, and the ingest is told (`ingest.expression.corrections`).

    Args:
        examples: of the expression dataset.
        transform_graph: gives its preprocessing graph.
        configuration: from `configuration`.
    """

    SPEC_CLASS = LabelAuditSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)

    def __init__(self, examples: types.BaseChannel, transform_graph: types.BaseChannel, configuration: Text):
        super().__init__(
            LabelAuditSpec(
                configuration=configuration,
                code=fingerprint('audit', 'train', 'transform'),
                examples=examples,
                transform_graph=transform_graph,
                audit=types.Channel(type=Audit),
            )
        )


def _checkpoint_folder(inputs: list[str], properties: dict[str, Any]) -> Path:
    """This audit's own folder: the same again only for the same data, code, settings and seed."""
    named = json.dumps([inputs, properties['configuration'], properties['code']])
    name = hashlib.blake2b(named.encode(), digest_size=8).hexdigest()
    return Path(json.loads(properties['configuration'])['checkpoints']) / f'audit-{name}'
