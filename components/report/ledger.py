"""What ML Metadata knows of one run: which nodes ran, how they ended, how long they took and what they made."""

import datetime
from dataclasses import dataclass
from pathlib import Path

from ml_metadata import MetadataStore
from ml_metadata.proto import metadata_store_pb2

from components.metadata import connection_config
from components.report.record import Step

_STATES = {
    metadata_store_pb2.Execution.COMPLETE: 'complete',
    metadata_store_pb2.Execution.CACHED: 'cached',
    metadata_store_pb2.Execution.FAILED: 'failed',
    metadata_store_pb2.Execution.CANCELED: 'failed',
}


@dataclass(frozen=True)
class Ledger:
    """One run.

    Attributes:
        started: when, with a time zone.
        steps: the nodes that began, in order.
        outputs: URIs of the artifacts by node and output.
    """

    started: datetime.datetime
    steps: tuple[Step, ...]
    outputs: dict[str, dict[str, str]]


def read_ledger(store: str | Path, run: str, pipeline: str = '') -> Ledger:
    """Reads a run.

    Args:
        store: the SQLite file, or the name of the database (`components.metadata`).
        run: the run's id.
        pipeline: whose nodes; all of this run when left out. Pipelines that share a database may have a run of this id
            each.
    """
    metadata = MetadataStore(connection_config(str(store)))
    context = metadata.get_context_by_type_and_name('pipeline_run', run)
    if context is None:
        return Ledger(datetime.datetime.now(datetime.UTC), (), {})
    found = sorted(metadata.get_executions_by_context(context.id), key=lambda execution: execution.id)
    owners, nodes = {}, {}
    for execution in found:
        owners[execution.id], nodes[execution.id] = _node(metadata, execution.id)
    executions = [execution for execution in found if pipeline in ('', owners[execution.id])]
    return Ledger(
        started=_time(context.create_time_since_epoch),
        steps=tuple(_step(nodes[execution.id], execution) for execution in executions),
        outputs={nodes[execution.id]: _outputs(metadata, execution.id) for execution in executions},
    )


def _node(metadata: MetadataStore, execution: int) -> tuple[str, str]:
    """The pipeline's name and the node's id; the node's context is called `<pipeline>.<node>`."""
    contexts = metadata.get_contexts_by_execution(execution)
    name = next(context.name for context in contexts if context.type == 'node')
    pipeline, _, node = name.rpartition('.')
    return pipeline, node


def _step(node: str, execution: metadata_store_pb2.Execution) -> Step:
    state = _STATES.get(execution.last_known_state, 'failed')
    milliseconds = execution.last_update_time_since_epoch - execution.create_time_since_epoch
    return Step(node, state, milliseconds / 1000 if state in ('complete', 'failed') else None)


def _outputs(metadata: MetadataStore, execution: int) -> dict[str, str]:
    events = [
        event
        for event in metadata.get_events_by_execution_ids([execution])
        if event.type == metadata_store_pb2.Event.OUTPUT and len(event.path.steps) > 0
    ]
    artifacts = {found.id: found for found in metadata.get_artifacts_by_id([event.artifact_id for event in events])}
    return {
        event.path.steps[0].key: artifacts[event.artifact_id].uri
        for event in events
        if artifacts[event.artifact_id].state == metadata_store_pb2.Artifact.LIVE
    }


def _time(milliseconds: int) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(milliseconds / 1000, datetime.UTC)
