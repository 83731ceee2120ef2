"""The artifact types that TFX does not have."""

from tfx.types import artifact


class DataVerdict(artifact.Artifact):
    """What DataCheck found: `verdict.json` (see `components.validate.findings`)."""

    TYPE_NAME = 'faces.DataVerdict'
