"""Runs the graph on this machine, one node after the other, over ML Metadata."""

import dataclasses
import datetime
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import filelock
from ml_metadata.errors import StatusError
from ml_metadata.proto import metadata_store_pb2
from tfx.dsl.compiler import compiler, constants
from tfx.orchestration import metadata
from tfx.orchestration.local import runner_utils
from tfx.orchestration.pipeline import Pipeline
from tfx.orchestration.portable import launcher, runtime_parameter_utils
from tfx.proto.orchestration import pipeline_pb2

from components.behaviour import results as behaviour
from components.errors import StepError
from components.evaluate.results import describe, read_verdicts
from components.ingest.rejects import RejectShareError
from components.metadata import connection_config
from components.report.assemble import assemble, is_read
from components.report.component import FILE_NAME as REPORT
from components.report.ledger import Ledger, read_ledger
from components.report.metrics import kpis
from components.report.record import RunRecord, Step
from components.report.render import render
from components.storage.files import LocalFiles
from components.storage.s3 import StorageError
from components.storage.tensorflow import enable
from components.storage.uris import is_stored
from components.validate.findings import DataRefusedError
from pipeline import database, folders, history, storage
from pipeline.beam.execute import executor_operators
from pipeline.beam.settings import BeamSettings
from pipeline.config import TASKS, Config, of, to_yaml
from pipeline.dag import create_pipeline
from pipeline.world import survey

Watch = Callable[[str, str, float], None]
"""Called with a node's id, its state (`running`, `complete`, `cached`, `failed`) and its seconds."""

GRAPH_DONE = 'RunReport'

CLOCK_TOLERANCE: Final = 60.0
"""Seconds by which a clock may be set back during a run, as time servers do, before an error is laid to it."""


@dataclass(frozen=True)
class Result:
    """How a run ended.

    Attributes:
        entry: the run as it stands in the history.
        record: everything that is known of it; folders in it may be gone.
        refusals: a line for every gate and behaviour test that refused, with by how much.
        warnings: a line for what could not be written of it.
    """

    entry: history.Entry
    record: RunRecord
    refusals: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


@contextmanager
def exclusive(config: Config) -> Iterator[None]:
    """Holds the store for one run.

    Raises:
        StepError: another run holds it.
    """
    config.store.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(config.store / 'lock')
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout as error:
        raise StepError(
            f'Another run of {config.name!r} is going on in {config.store}: wait for it, or name another pipeline '
            'with --set name=….'
        ) from error
    try:
        yield
    finally:
        lock.release()


def run(config: Config, run_id: str, overrides: tuple[str, ...], watch: Watch, retrain: bool = False) -> Result:
    """Runs the pipeline; ends in a result whatever becomes of it.

    Args:
        config: the pipeline.
        run_id: a name for this run, new in its history.
        overrides: data gates that do not stop it.
        watch: is told of every node.
        retrain: trains although nothing has changed.

    Raises:
        StepError: the run could not begin.
    """
    folder = config.store / 'history' / run_id
    started, began = time.time(), time.monotonic()
    entry = history.Entry(
        run=run_id,
        state=history.RUNNING,
        started=datetime.datetime.fromtimestamp(started, datetime.UTC).isoformat(timespec='seconds'),
        process=os.getpid(),
    )
    history.write(folder, entry)
    nodes: list[str] = []
    ended: list[Step] = []
    ending: dict[str, Any] | None = None

    def noted(node: str, state: str, seconds: float) -> None:
        if state == 'running':
            storage.check_answers(config)
        else:
            ended.append(Step(node, state, seconds))
        watch(node, state, seconds)

    try:
        enable(config.artifacts, config.serving)
        database.prepare(config.metadata_store)
        # Beam's flags are part of TFX's cache key. All engines give the same, so another one is to rerun nothing: the
        # graph has those of the default, and the steps get the engine's own as they run.
        as_default = dataclasses.replace(config, beam=BeamSettings())
        world = survey(config, overrides, run_id if retrain else '')
        graph = create_pipeline(as_default, world, root=storage.pipeline_root(config, run_id))
        nodes = [component.id for component in graph.components]
        unchanged = execute(graph, config.metadata_store, run_id, noted, config.beam)
    except KeyboardInterrupt:
        unchanged, ending = False, {'state': 'interrupted', 'message': 'Interrupted; run it again to go on from here.'}
    except Exception as error:  # whatever a step raises ends in the report and in one line
        logging.getLogger(__name__).exception('The run ended early.')
        unchanged, ending = False, _ending(_cause(error, config), folder, config, started - began)
    ledger = _ledger(config, entry, tuple(ended))
    result = _conclude(config, entry, ledger, nodes, overrides, unchanged, ending, folder)
    result = dataclasses.replace(result, entry=dataclasses.replace(result.entry, seconds=time.monotonic() - began))
    try:
        history.write(folder, result.entry)
    except OSError as error:
        warning = f'The history has no more of this run than that it began: {error.strerror}.'
        return dataclasses.replace(result, warnings=(*result.warnings, warning))
    return result


def execute(graph: Pipeline, store: str, run_id: str, watch: Watch, beam: BeamSettings | None = None) -> bool:
    """Launches every node in the graph's order, as TFX's LocalDagRunner does, and tells of each.

    Args:
        graph: the pipeline.
        store: ML Metadata's file or database (`components.metadata`).
        run_id: see `run`.
        watch: is told of every node.
        beam: the engine of the steps that use Beam; by the graph's own flags when left out.

    Returns:
        Whether every result came from the cache.
    """
    # Without the connection, which may hold a password: nothing here needs it in what is compiled.
    intermediate = compiler.Compiler().compile(graph)
    runtime_parameter_utils.substitute_runtime_parameter(
        intermediate, {constants.PIPELINE_RUN_ID_PARAMETER_NAME: run_id}
    )
    deployment = runner_utils.extract_local_deployment_config(intermediate)
    connection = connection_config(store)
    operators = executor_operators(beam) if beam else {}
    states = [
        _launch(node.pipeline_node, intermediate, deployment, connection, watch, operators)
        for node in intermediate.nodes
    ]
    return all(state == 'cached' for state in states)


def _launch(
    node: pipeline_pb2.PipelineNode,
    intermediate: pipeline_pb2.Pipeline,
    deployment: pipeline_pb2.IntermediateDeploymentConfig,
    connection: metadata_store_pb2.ConnectionConfig,
    watch: Watch,
    operators: dict[Any, Any],
) -> str:
    name, began = node.node_info.id, time.monotonic()
    watch(name, 'running', 0.0)
    try:
        execution = launcher.Launcher(
            pipeline_node=node,
            mlmd_connection=metadata.Metadata(connection),
            pipeline_info=intermediate.pipeline_info,
            pipeline_runtime_spec=intermediate.runtime_spec,
            executor_spec=runner_utils.extract_executor_spec(deployment, name),
            custom_driver_spec=runner_utils.extract_custom_driver_spec(deployment, name),
            custom_executor_operators=operators,
        ).launch()
    except BaseException:
        watch(name, 'failed', time.monotonic() - began)
        raise
    state = 'complete'
    if execution is not None and execution.execution_id is not None:
        with metadata.Metadata(connection) as handle:
            (known,) = handle.store.get_executions_by_id([execution.execution_id])
        state = 'cached' if known.last_known_state == metadata_store_pb2.Execution.CACHED else 'complete'
    watch(name, state, time.monotonic() - began)
    return state


def _cause(error: Exception, config: Config) -> Exception:
    """The error, or what is wrong with the object store: libraries tell that in many ways, and seldom clearly."""
    if isinstance(error, StepError) and not isinstance(error, StorageError):
        return error
    try:
        storage.check(config)
    except StorageError as told:
        return StorageError(f'{told} What was done before is kept: run it again to go on from there.')
    return error


def _ending(error: Exception, folder: Path, config: Config, clock: float) -> dict[str, Any]:
    """What the report can say of a run that an error ended.

    Args:
        error: what ended it.
        folder: of its log.
        config: the pipeline.
        clock: by how many seconds the time of day was ahead of the monotonic clock when the run began.
    """
    message = str(error)
    if isinstance(error, DataRefusedError):
        return {'state': 'stopped', 'message': message}
    if isinstance(error, RejectShareError):
        return {
            'state': 'stopped',
            'message': message,
            'stop_summary': error.summary,
            'stop_pictures': tuple(error.pictures),
        }
    if isinstance(error, StepError):
        return {'state': 'failed', 'message': message}
    written = (config.store, config.artifacts or config.store, config.serving, tempfile.gettempdir())
    if interruption := database.interruption(config.metadata_store, error) or folders.interruption(error, written):
        return {'state': 'failed', 'message': interruption}
    story = f'(the whole story is in {folder}/log.txt)'
    set_back = clock - (time.time() - time.monotonic())
    if set_back > CLOCK_TOLERANCE:
        message = (
            f'The clock was set back by {set_back:,.0f} s during the run, and {type(error).__name__} may come of it: '
            f'set it right and run it again. What was done before is kept {story}.'
        )
    else:
        message = f'{type(error).__name__}: {next(iter(message.splitlines()), "")} {story}'
    return {'state': 'failed', 'message': message}


def _ledger(config: Config, entry: history.Entry, ended: tuple[Step, ...]) -> Ledger:
    """What ML Metadata knows of the run; where no node began or it cannot be asked, no more than what was seen."""
    store = config.metadata_store
    if ended and not database.fault(store):
        try:
            return read_ledger(store, entry.run, config.name)
        except (StatusError, RuntimeError):
            logging.getLogger(__name__).exception('ML Metadata cannot be read.')
    return Ledger(datetime.datetime.fromisoformat(entry.started), ended, {})


def _conclude(
    config: Config,
    entry: history.Entry,
    ledger: Ledger,
    nodes: list[str],
    overrides: tuple[str, ...],
    unchanged: bool,
    ending: dict[str, Any] | None,
    folder: Path,
) -> Result:
    """The run's record, its report where the graph did not come to it, and its entry in the history."""
    started = datetime.datetime.fromisoformat(entry.started)
    begun = {step.node for step in ledger.steps}
    with LocalFiles() as files:
        written = ledger.outputs.get(GRAPH_DONE, {}).get('report')
        try:
            made = {name: files.read(uri) for name, uri in _uris(ledger).items() if is_read(name)}
            report = files.read(written) / REPORT if written else folder / REPORT
        except StorageError as error:
            # What the store holds is not needed to say that it is out of reach.
            made, report, ending = {}, folder / REPORT, ending or {'state': 'failed', 'message': str(error)}
        record = assemble(
            run=entry.run,
            pipeline=config.name,
            started=started,
            steps=ledger.steps + tuple(Step(node, 'not run') for node in nodes if node not in begun),
            folders=made,
            settings={task: of(config.evaluate, task) for task in TASKS},
            overrides=overrides,
            configuration=to_yaml(config),
            ending=ending,
        )
        path, warnings = _keep_report(record, report, folder, is_stored(written))
        return Result(
            dataclasses.replace(
                entry,
                state='unchanged' if unchanged and record.state == 'pushed' else record.state,
                message=record.message,
                kpis=kpis(record),
                pushed={pushed.model: pushed.version for pushed in record.pushed if pushed.version},
                report=path,
            ),
            record,
            tuple(refusals(record)),
            warnings,
        )


def _keep_report(record: RunRecord, report: Path, folder: Path, is_copy: bool) -> tuple[str, tuple[str, ...]]:
    """Writes the report where the graph did not; returns its path, or why there is none."""
    try:
        if not report.exists():
            staged = report.with_name(f'.{REPORT}')
            staged.write_text(render(record), encoding='utf-8')
            return str(staged.replace(report)), ()
        return str(shutil.copyfile(report, folder / REPORT) if is_copy else report), ()
    except OSError as error:
        # What ended the run is to be heard all the same.
        return '', (f'There is no report: {error.strerror}.',)


def refusals(record: RunRecord) -> Iterator[str]:
    """A line for every gate and behaviour test that refused, with by how much."""
    for branch in record.branches:
        for verdict in read_verdicts(branch.evaluation, branch.settings) if branch.evaluation else ():
            if not verdict.passed:
                yield f'Refused: {branch.task} {describe(verdict)}'
        for outcome in behaviour.read_behaviour(branch.behaviour).missed if branch.behaviour else ():
            yield f'Refused: {branch.task} {behaviour.describe(outcome)}'


def _uris(ledger: Ledger) -> dict[str, str]:
    """URIs by `<task or model>_<output>`; node ids end in `-<task or model>`."""
    return {
        f'{node.rpartition("-")[2]}_{name}': uri
        for node, outputs in ledger.outputs.items()
        if '-' in node
        for name, uri in outputs.items()
        # ServedModel's output is called `model`, like the Trainer's.
        if not node.startswith('ServedModel')
    }
