"""The pipeline and its versions on the server: one version for each content."""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import kfp_server_api

from pipeline.kubeflow.connection import Server, ServerError, every, named, silent
from pipeline.kubeflow.specification import Specification


@dataclass(frozen=True)
class Version:
    """A version of a pipeline on the server.

    Attributes:
        pipeline_id: of the pipeline.
        version_id: of the version.
        name: of the version.
        is_new: whether it was uploaded now.
    """

    pipeline_id: str
    version_id: str
    name: str
    is_new: bool


def upload(server: Server, specification: Specification) -> Version:
    """Uploads the pipeline, unless the server has a version of this content.

    Raises:
        StepError: the server refuses it.
    """
    pipeline_id, _ = found_or_created(
        partial(find_pipeline, server, specification.name),
        partial(_create_pipeline, server, specification.name),
    )
    version_id, is_new = found_or_created(
        partial(_find_version, server, pipeline_id, specification.version),
        partial(_create_version, server, pipeline_id, specification),
    )
    return Version(pipeline_id, version_id, specification.version, is_new)


def find_pipeline(server: Server, name: str) -> str | None:
    """The id of the pipeline of a name. `kfp.Client.get_pipeline_id` looks into no user's namespace."""
    ask = partial(server.client.list_pipelines, filter=named(name), namespace=server.namespace or None)
    pipelines = every(ask, lambda page: page.pipelines)
    return next((pipeline.pipeline_id for pipeline in pipelines if pipeline.display_name == name), None)


def found_or_created(find: Callable[[], str | None], create: Callable[[], str]) -> tuple[str, bool]:
    """The id of what is there, or else is created; and whether it is new."""
    found = find()
    if found is not None:
        return found, False
    try:
        return create(), True
    except ServerError as error:
        # Somebody else may have created it in the meantime.
        found = find() if error.status == 409 else None
        if found is None:
            raise
        return found, False


def _find_version(server: Server, pipeline_id: str, name: str) -> str | None:
    ask = partial(server.client.list_pipeline_versions, pipeline_id, filter=named(name))
    versions = every(ask, lambda page: page.pipeline_versions)
    return next((version.pipeline_version_id for version in versions if version.display_name == name), None)


def _create_pipeline(server: Server, name: str) -> str:
    """A pipeline without versions: `kfp.Client.upload_pipeline` would make one that bears the pipeline's name."""
    body = kfp_server_api.V2beta1Pipeline(display_name=name, namespace=server.namespace or None)
    return server.client.pipelines.pipeline_service_create_pipeline(body=body).pipeline_id


def _create_version(server: Server, pipeline_id: str, specification: Specification) -> str:
    with tempfile.TemporaryDirectory() as folder, silent():
        file = Path(folder) / 'pipeline.yaml'
        file.write_text(specification.text, encoding='utf-8')
        version = server.client.upload_pipeline_version(
            str(file), pipeline_version_name=specification.version, pipeline_id=pipeline_id
        )
    return version.pipeline_version_id
