"""Pusher: makes a blessed and checked model the served one."""

import dataclasses
import datetime
import json
import os
import subprocess
from pathlib import Path
from typing import Any, Final

from tfx import types
from tfx.dsl.components.base import base_component, base_executor, executor_spec
from tfx.types import artifact_utils, component_spec, standard_artifacts
from tfx.utils import path_utils

from components import faces
from components.behaviour.artifacts import Behaviour
from components.check.component import WARMUP, read_check
from components.dashboard import Markdown
from components.evaluate.results import is_blessed, read_figures
from components.ingest.artifacts import Rejects
from components.joint.component import CANDIDATE, MADE_OF, read_parts
from components.markdown import escaped
from components.properties import Text
from components.push import versions
from components.push.card import Evidence, joint_card, network_card, read_card
from components.settings import PushSettings, from_json
from components.source import ROOT, fingerprint
from components.storage.files import LocalFiles

FILE_NAME: Final = 'pushed.json'
CARD_FILE: Final = Path(versions.MODEL_CARD).name
REVISION: Final = 'EMOTION_PIPELINE_REVISION'  # an image has no repository

EVIDENCE: Final = {
    'rejects': Rejects,
    'statistics': standard_artifacts.ExampleStatistics,
    'model_run': standard_artifacts.ModelRun,
    'evaluation': standard_artifacts.ModelEvaluation,
    'behaviour': Behaviour,
}
"""What the model card is written of, of each task."""


class PusherSpec(component_spec.ComponentSpec):
    PARAMETERS = {
        'name': component_spec.ExecutionParameter(type=str),
        'folder': component_spec.ExecutionParameter(type=str),
        'settings': component_spec.ExecutionParameter(type=str),
        'candidate': component_spec.ExecutionParameter(type=str),
        'data': component_spec.ExecutionParameter(type=str),
        'identity': component_spec.ExecutionParameter(type=str),
        'code': component_spec.ExecutionParameter(type=str),
    }
    INPUTS = {
        'model': component_spec.ChannelParameter(type=standard_artifacts.Model),
        'check': component_spec.ChannelParameter(type=standard_artifacts.InfraBlessing),
        'blessing': component_spec.ChannelParameter(type=standard_artifacts.ModelBlessing, optional=True),
    } | {
        f'{task}_{name}': component_spec.ChannelParameter(type=kind, optional=True)
        for task in faces.TASKS
        for name, kind in {**EVIDENCE, 'served': standard_artifacts.Model}.items()
    }
    OUTPUTS = {
        'pushed': component_spec.ChannelParameter(type=standard_artifacts.PushedModel),
        'model_card': component_spec.ChannelParameter(type=Markdown),
    }


class Executor(base_executor.BaseExecutor):
    """Pushes, or writes down why not. Neither is a failure of the run."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        with LocalFiles() as files:
            self._push(input_dict, output_dict, exec_properties, files)

    def _push(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
        files: LocalFiles,
    ) -> None:
        check = files.read(artifact_utils.get_single_uri(input_dict['check']))
        refusal = _refusal(input_dict, check, files)
        version, card = 0, ''
        folder = exec_properties['folder']
        if not refusal:
            facts = self._provenance(input_dict, exec_properties, files)
            card = _card(facts, input_dict, files)
            version = versions.publish(
                _saved_model(artifact_utils.get_single_uri(input_dict['model']), files),
                folder,
                facts,
                check / WARMUP,
                from_json(PushSettings, exec_properties['settings']).keep,
                card,
            )
            if not version:
                refusal = 'an older version is this very model; roll back to it to serve it again'
        pushed = artifact_utils.get_single_instance(output_dict['pushed'])
        pushed.set_int_custom_property('pushed', int(not refusal))
        pushed.set_int_custom_property('pushed_version', version)
        pushed.set_string_custom_property('model', exec_properties['name'])
        pushed.set_string_custom_property('note', refusal)
        record = {
            'model': exec_properties['name'],
            'version': version,
            'folder': f'{folder}/{version}' if version else '',
            'note': refusal,
            'run': versions.provenance(folder, version).run if version else '',
        }
        output = files.write(pushed.uri)
        (output / FILE_NAME).write_text(json.dumps(record), encoding='utf-8')
        if version:
            (output / CARD_FILE).write_text(card, encoding='utf-8')
        shown = artifact_utils.get_single_instance(output_dict['model_card'])
        shown.value = card if version else f'Not pushed: {escaped(refusal)}.\n'

    def _provenance(
        self, inputs: dict[str, list[types.Artifact]], exec_properties: dict[str, Any], files: LocalFiles
    ) -> versions.Provenance:
        model = artifact_utils.get_single_instance(inputs['model'])
        evaluations = inputs.get(f'{exec_properties["name"]}_evaluation') or []
        return versions.Provenance(
            model=exec_properties['name'],
            candidate=exec_properties['candidate'],
            artifact=model.uri,
            made_of=model.get_custom_property(MADE_OF) or '',
            run=self._context.pipeline_run_id or '' if self._context else '',
            commit=git_commit(),
            data=exec_properties['data'],
            created=datetime.datetime.now(datetime.UTC).isoformat(timespec='seconds'),
            kpis={
                figure.metric: figure.value
                for evaluation in evaluations
                for figure in read_figures(files.read(evaluation.uri))
                if figure.slice == 'overall'
            },
        )


class Pusher(base_component.BaseComponent):
    """Pushes a model to `<folder>/<version>`, where nobody ever sees a part of it.

    TFX's own Pusher copies straight into the served folder, so a server can load half a model.

    Args:
        name: `expression`, `keypoints` or `faces`.
        model, check: channels of the candidate and of its ServingCheck.
        blessing: channel of the Evaluator; the joint model has none of its own.
        evidence: channels of what the model card is written of, by `<task>_<output>` with the outputs of `EVIDENCE`,
            for each task of the model; for the joint model those of ServedModel too, `<task>_served`.
        folder: the model's serving folder.
        settings: how many versions are kept, a PushSettings as JSON.
        candidate, data: fingerprints that go into the provenance.
        identity: `versions.identity` of the folder; part of the cache key alone.
    """

    SPEC_CLASS = PusherSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)

    def __init__(
        self,
        name: str,
        model: types.BaseChannel,
        check: types.BaseChannel,
        folder: str,
        settings: Text,
        candidate: Text,
        data: Text,
        identity: Text = '',
        blessing: types.BaseChannel | None = None,
        evidence: dict[str, types.BaseChannel] | None = None,
    ):
        super().__init__(
            PusherSpec(
                name=name,
                model=model,
                check=check,
                blessing=blessing,
                folder=folder,
                settings=settings,
                candidate=candidate,
                data=data,
                identity=identity,
                code=fingerprint('push'),
                pushed=types.Channel(type=standard_artifacts.PushedModel),
                model_card=types.Channel(type=Markdown),
                **(evidence or {}),
            )
        )


def git_commit() -> str:
    """The commit of the code that runs; an empty text where neither an image's environment nor a repository tells."""
    if os.environ.get(REVISION):
        return os.environ[REVISION]
    try:
        answer = subprocess.run(  # noqa: S603 - a fixed command
            ['git', '-C', str(ROOT), 'rev-parse', 'HEAD'],  # noqa: S607
            capture_output=True,
            text=True,
            check=True,
            timeout=10,
        )
    except (OSError, subprocess.SubprocessError):
        return ''
    return answer.stdout.strip()


def _card(facts: versions.Provenance, inputs: dict[str, list[types.Artifact]], files: LocalFiles) -> str:
    """The model card; of a part of the joint model that was served before, the card of that version."""
    if facts.model != faces.JOINT_MODEL:
        return network_card(facts, _evidence(facts.model, inputs, files))
    parts = read_parts(files.read(artifact_utils.get_single_uri(inputs['model'])))
    cards = []
    for task in faces.TASKS:
        if parts[task] == CANDIDATE:
            cards.append(network_card(dataclasses.replace(facts, model=task), _evidence(task, inputs, files)))
        else:
            cards.append(read_card(_saved_model(artifact_utils.get_single_uri(inputs[f'{task}_served']), files)))
    return joint_card(facts, cards)


def _evidence(task: str, inputs: dict[str, list[types.Artifact]], files: LocalFiles) -> Evidence:
    return Evidence(**{name: files.read(artifact_utils.get_single_uri(inputs[f'{task}_{name}'])) for name in EVIDENCE})


def _saved_model(uri: str, files: LocalFiles) -> Path:
    """The SavedModel in a Model artifact."""
    return Path(path_utils.serving_model_path(str(files.read(uri))))


def _refusal(inputs: dict[str, list[types.Artifact]], check: Path, files: LocalFiles) -> str:
    """Why the candidate is not pushed, or an empty text."""
    blessings = inputs.get('blessing') or []
    if any(not is_blessed(files.read(blessing.uri)) for blessing in blessings):
        return 'refused by the evaluation'
    result = read_check(check)
    return '' if result.passed else 'refused by the serving check: ' + '; '.join(result.findings)
