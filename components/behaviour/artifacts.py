"""The artifact types that TFX does not have."""

from tfx.types import artifact


class Behaviour(artifact.Artifact):
    """What BehaviourTest found of a candidate: `behaviour.json` (see `components.behaviour.results`)."""

    TYPE_NAME = 'faces.Behaviour'
