"""The artifact types that TFX does not have."""

from tfx.types import artifact


class Audit(artifact.Artifact):
    """What LabelAudit found: `audit.csv` and `summary.json` (see `components.audit.results`)."""

    TYPE_NAME = 'faces.LabelAudit'
