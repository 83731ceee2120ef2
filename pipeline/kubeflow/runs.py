"""Runs: start one, follow it, look at it, list them."""

import datetime
import re
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import kfp_server_api

from components.errors import StepError
from pipeline.kubeflow.connection import Server, ServerError, every, named, silent
from pipeline.kubeflow.specification import Specification
from pipeline.kubeflow.upload import Version, found_or_created, upload

SUCCEEDED, FAILED = 'SUCCEEDED', 'FAILED'
FINAL: Final = frozenset({SUCCEEDED, FAILED, 'SKIPPED', 'CANCELED'})
PIPELINE_ROOTS: Final = ('s3://', 'minio://', 'gs://')

_PATIENCE = 5  # failed questions in a row before following is given up
_MOST_LISTED: Final = 1000
# A pod that was tried again bears a number.
_NO_TASK: Final = re.compile(r'(|root|executor|tfx-dag|(.*-)?driver)(\([0-9]+\))?')


@dataclass(frozen=True)
class Task:
    """A task of a run.

    Attributes:
        name: in the pipeline.
        state: as the server names it.
        start, end: when it began and ended, as far as it did.
        error: what its container, or whatever stands for it, failed of.
    """

    name: str
    state: str
    start: datetime.datetime | None
    end: datetime.datetime | None
    error: str


@dataclass(frozen=True)
class Submission:
    """A run that was started."""

    run_id: str
    name: str
    version: Version


def submit(
    server: Server,
    specification: Specification,
    arguments: Mapping[str, Any],
    *,
    experiment: str = '',
    pipeline_root: str = '',
    service_account: str = '',
) -> Submission:
    """Starts a run.

    Args:
        server: runs it.
        specification: of the pipeline; uploaded first where the server lacks this version.
        arguments: values of the run-time parameters.
        experiment: groups runs; named like the pipeline when left out.
        pipeline_root: where the outputs go. Said explicitly, as the server does not heed the specification's own.
        service_account: of the pods; the installation's own when left out.

    Raises:
        StepError: the server refuses it.
    """
    check_pipeline_root(pipeline_root)
    version = upload(server, specification)
    experiment_id = experiment_of(server, experiment or specification.name)
    name = f'{specification.name}-{datetime.datetime.now():%Y%m%d-%H%M%S}'
    with silent():
        run = server.client.run_pipeline(
            experiment_id,
            name,
            params=dict(arguments),
            pipeline_id=version.pipeline_id,
            version_id=version.version_id,
            pipeline_root=pipeline_root or None,
            service_account=service_account or None,
        )
    return Submission(run.run_id, name, version)


def experiment_of(server: Server, name: str) -> str:
    """The id of the experiment of a name, created if it is missing."""
    experiment_id, _ = found_or_created(
        partial(_find_experiment, server, name), partial(_create_experiment, server, name)
    )
    return experiment_id


def check_pipeline_root(root: str) -> None:
    """Refuses what the launcher cannot write to.

    Raises:
        StepError: it is no object store.
    """
    if root and not root.startswith(PIPELINE_ROOTS):
        raise StepError(f'Pipeline root {root!r}: Kubeflow writes to {", ".join(PIPELINE_ROOTS)} alone.')


def follow(
    server: Server,
    run_id: str,
    show: Callable[[kfp_server_api.V2beta1Run], None],
    *,
    interval: float = 5.0,
    timeout: float | None = None,
) -> kfp_server_api.V2beta1Run:
    """Waits for a run's end.

    Args:
        server: runs it.
        run_id: of the run.
        show: is called with every answer.
        interval: seconds between two questions.
        timeout: seconds; a run that takes longer is returned as it is then.

    Raises:
        StepError: the server does not know the run, or fails five times in a row.
    """
    deadline = None if timeout is None else time.monotonic() + timeout
    failures = 0
    while True:
        try:
            run = server.client.get_run(run_id)
        except ServerError as error:
            failures += 1
            if not error.is_passing or failures == _PATIENCE:
                raise
        else:
            failures = 0
            show(run)
            if run.state in FINAL or (deadline is not None and time.monotonic() >= deadline):
                return run
        time.sleep(interval)


def tasks(run: kfp_server_api.V2beta1Run, names: Collection[str] = ()) -> list[Task]:
    """A run's tasks in the order in which they began.

    Beside the tasks the server lists their drivers, their executors and the DAGs, all of which may hold the error.

    Args:
        run: as the server tells it.
        names: of the pipeline's tasks; when left out, whatever is neither driver, executor nor the whole.
    """
    details = (run.run_details and run.run_details.task_details) or []
    found = [
        Task(
            name=detail.display_name,
            state=detail.state or 'PENDING',
            start=detail.start_time,
            end=detail.end_time,
            error=next(_errors(detail, details), ''),
        )
        for detail in details
        if (detail.display_name in names if names else not _NO_TASK.fullmatch(detail.display_name or ''))
    ]
    never = datetime.datetime.max.replace(tzinfo=datetime.UTC)
    return sorted(found, key=lambda task: (task.start or never, task.name))


def recent(
    server: Server, count: int, wanted: Callable[[kfp_server_api.V2beta1Run], bool]
) -> list[kfp_server_api.V2beta1Run]:
    """The last runs, the newest first, among the last 1000 of the namespace.

    Which fields the server can filter by differs from version to version, so that they are chosen here.
    """
    ask = partial(server.client.list_runs, sort_by='created_at desc', namespace=server.namespace or None)
    chosen: list[kfp_server_api.V2beta1Run] = []
    for seen, run in enumerate(every(ask, lambda page: page.runs), start=1):
        if wanted(run):
            chosen.append(run)
        if len(chosen) == count or seen == _MOST_LISTED:
            break
    return chosen


def is_of(run: kfp_server_api.V2beta1Run, pipeline_id: str) -> bool:
    """Whether it is a run of that pipeline, of whatever version."""
    reference = run.pipeline_version_reference
    return bool(reference) and reference.pipeline_id == pipeline_id


def duration(start: datetime.datetime | None, end: datetime.datetime | None) -> str:
    """How long it took, or takes by now."""
    # What has not ended is given no time, or the beginning of time.
    if not start or start.year <= 1970:
        return ''
    end = end if end and end >= start else datetime.datetime.now(datetime.UTC)
    return str(datetime.timedelta(seconds=round((end - start).total_seconds())))


def _find_experiment(server: Server, name: str) -> str | None:
    ask = partial(server.client.list_experiments, filter=named(name), namespace=server.namespace or None)
    experiments = every(ask, lambda page: page.experiments)
    return next((experiment.experiment_id for experiment in experiments if experiment.display_name == name), None)


def _create_experiment(server: Server, name: str) -> str:
    body = kfp_server_api.V2beta1Experiment(display_name=name, namespace=server.namespace or None)
    return server.client.experiments.experiment_service_create_experiment(body=body).experiment_id


def _errors(detail: Any, details: list[Any]) -> Iterator[str]:
    """The messages of a task and of whatever runs for it."""
    seen: set[str] = set()
    below = [detail]
    while below:
        current = below.pop()
        if current.task_id in seen:
            continue
        seen.add(current.task_id)
        if current.error and current.error.message:
            yield current.error.message
        # A child is named by its task or by its pod, depending on the server's version.
        children = {key for child in current.child_tasks or [] for key in (child.task_id, child.pod_name) if key}
        below += [
            other
            for other in details
            if other.parent_task_id == current.task_id or other.task_id in children or other.pod_name in children
        ]
