"""Conclusion: the task that ends a run on Kubeflow, whatever became of it, and tells what it decided."""

import datetime
import json
from pathlib import Path
from typing import Any

from absl import logging
from tfx import types
from tfx.dsl.components.base import base_component, base_executor, executor_spec
from tfx.orchestration.kubeflow.decorators import FinalStatusStr
from tfx.types import component_spec

from components.report.outcome import Outcome, read_outcome
from components.settings import from_json, to_json
from pipeline import hooks
from pipeline.hooks import Decision, HookSettings


class ConclusionSpec(component_spec.ComponentSpec):
    PARAMETERS = {
        'final_status': component_spec.ExecutionParameter(type=str),
        'pipeline': component_spec.ExecutionParameter(type=str),
        'hooks': component_spec.ExecutionParameter(type=str),
        'outcomes': component_spec.ExecutionParameter(type=str),
    }
    INPUTS: dict = {}
    OUTPUTS: dict = {}


class Executor(base_executor.BaseExecutor):
    """Tells the hooks; one that does not listen is a line in the log."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        run = str(self._context.pipeline_run_id)
        outcome = read_outcome(Path(exec_properties['outcomes']), run)
        decision = _decide(exec_properties['pipeline'], run, json.loads(exec_properties['final_status']), outcome)
        logging.info('The run decided: %s %s', decision.decision, decision.message)
        for warning in hooks.notify(from_json(HookSettings, exec_properties['hooks']), decision):
            logging.warning(warning)


class Conclusion(base_component.BaseComponent):
    """Tells hook command and webhook.

    Args:
        pipeline: its name.
        settings: whom to tell.
        outcomes: the folder into which RunReport writes how a run ended that came so far.
    """

    SPEC_CLASS = ConclusionSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)

    def __init__(self, pipeline: str, settings: HookSettings, outcomes: str):
        super().__init__(
            ConclusionSpec(final_status=FinalStatusStr(), pipeline=pipeline, hooks=to_json(settings), outcomes=outcomes)
        )


def _decide(pipeline: str, run: str, status: dict[str, Any], outcome: Outcome | None) -> Decision:
    """The decision of a run.

    Args:
        pipeline, run: their names.
        status: Kubeflow's PipelineTaskFinalStatus.
        outcome: what RunReport wrote; None where the run did not come so far.
    """
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec='seconds')
    if outcome is None:
        message = status.get('error', {}).get('message') or 'A task failed: its log in the dashboard says why.'
        return Decision(pipeline, run, hooks.FAILED, message, now, exit_status=1)
    decision = hooks.REFUSED if outcome.state == 'refused' else hooks.PUSHED if outcome.pushed else hooks.NOTHING_NEW
    return Decision(
        pipeline,
        run,
        decision,
        outcome.message,
        now,
        kpis=outcome.kpis,
        pushed=outcome.pushed,
        exit_status=hooks.EXIT[decision],
    )
