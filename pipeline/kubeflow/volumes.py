"""Where a pipeline's folders are on a cluster."""

import dataclasses
from pathlib import PurePosixPath

from components.metadata import MetadataSettings
from pipeline.config import TASKS, Config, of


def on_volumes(config: Config) -> Config:
    """The configuration with its folders on the volumes that tasks mount.

    Runs go to the state volume, served models to the serving volume. A relative path of the data, as `../faces/*.csv`,
    lies on the data volume, there as `faces/*.csv`; absolute paths and URIs stay.
    """
    volumes = config.kubeflow
    ingest = {task: of(config.ingest, task) for task in TASKS}
    return dataclasses.replace(
        config,
        runs=volumes.state.path,
        serving=volumes.serving.path,
        # Kubeflow has a metadata service of its own.
        metadata=MetadataSettings(),
        draw=dataclasses.replace(config.draw, folder=_on(volumes.data.path, config.draw.folder)),
        ingest=dataclasses.replace(
            config.ingest,
            **{
                task: dataclasses.replace(
                    settings,
                    files=tuple(_on(volumes.data.path, pattern) for pattern in settings.files),
                    corrections=tuple(_on(volumes.data.path, pattern) for pattern in settings.corrections),
                )
                for task, settings in ingest.items()
            },
        ),
    )


def _on(volume: str, path: str) -> str:
    if not path or path.startswith('/') or '://' in path:
        return path
    return str(PurePosixPath(volume, *(part for part in PurePosixPath(path).parts if part != '..')))
