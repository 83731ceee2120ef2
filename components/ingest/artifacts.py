"""The artifact types that TFX does not have."""

from tfx.types import artifact


class Rejects(artifact.Artifact):
    """Rows that could not be used: `rejects*.jsonl`, `pictures.jsonl` and `summary.json` (see rejects.py)."""

    TYPE_NAME = 'faces.Rejects'  # Kubeflow's compiler refuses a name without a namespace.
