"""The artifact types that TFX does not have."""

from tfx.types import artifact


class Rejects(artifact.Artifact):
    """Rows that could not be used: `rejects.jsonl` (see `components.ingest.rejects`) and `summary.json`."""

    TYPE_NAME = 'Rejects'
