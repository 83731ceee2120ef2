"""Pusher: makes a blessed and checked model the served one."""

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

from components.check.component import WARMUP, read_check
from components.evaluate.results import is_blessed, read_figures
from components.joint.component import MADE_OF
from components.properties import Text
from components.push import versions
from components.settings import PushSettings, from_json
from components.source import ROOT, fingerprint

FILE_NAME: Final = 'pushed.json'
REVISION: Final = 'EMOTION_PIPELINE_REVISION'  # an image has no repository


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
        'evaluation': component_spec.ChannelParameter(type=standard_artifacts.ModelEvaluation, optional=True),
    }
    OUTPUTS = {'pushed': component_spec.ChannelParameter(type=standard_artifacts.PushedModel)}


class Executor(base_executor.BaseExecutor):
    """Pushes, or writes down why not. Neither is a failure of the run."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        check = Path(artifact_utils.get_single_uri(input_dict['check']))
        refusal = _refusal(input_dict, check)
        version = 0
        folder = Path(exec_properties['folder'])
        if not refusal:
            version = versions.publish(
                Path(path_utils.serving_model_path(artifact_utils.get_single_uri(input_dict['model']))),
                folder,
                self._provenance(input_dict, exec_properties),
                check / WARMUP,
                from_json(PushSettings, exec_properties['settings']).keep,
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
            'folder': str(folder / str(version)) if version else '',
            'note': refusal,
            'run': versions.provenance(folder, version).run if version else '',
        }
        (Path(pushed.uri) / FILE_NAME).write_text(json.dumps(record), encoding='utf-8')

    def _provenance(
        self, inputs: dict[str, list[types.Artifact]], exec_properties: dict[str, Any]
    ) -> versions.Provenance:
        model = artifact_utils.get_single_instance(inputs['model'])
        evaluations = inputs.get('evaluation') or []
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
                for figure in read_figures(Path(evaluation.uri))
                if figure.slice == 'overall'
            },
        )


class Pusher(base_component.BaseComponent):
    """Pushes a model to `<folder>/<version>`, where nobody ever sees a part of it.

    TFX's own Pusher copies straight into the served folder, so a server can load half a model.

    Args:
        name: `expression`, `keypoints` or `faces`.
        model, check: channels of the candidate and of its ServingCheck.
        blessing, evaluation: channels of the Evaluator; the joint model has none of its own.
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
        evaluation: types.BaseChannel | None = None,
    ):
        super().__init__(
            PusherSpec(
                name=name,
                model=model,
                check=check,
                blessing=blessing,
                evaluation=evaluation,
                folder=folder,
                settings=settings,
                candidate=candidate,
                data=data,
                identity=identity,
                code=fingerprint('push'),
                pushed=types.Channel(type=standard_artifacts.PushedModel),
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


def _refusal(inputs: dict[str, list[types.Artifact]], check: Path) -> str:
    """Why the candidate is not pushed, or an empty text."""
    blessings = inputs.get('blessing') or []
    if any(not is_blessed(Path(blessing.uri)) for blessing in blessings):
        return 'refused by the evaluation'
    result = read_check(check)
    return '' if result.passed else 'refused by the serving check: ' + '; '.join(result.findings)
