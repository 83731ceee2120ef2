"""The artifacts that Kubeflow's dashboard draws; it goes by the names of their types.

The values of `Metrics` and `ClassificationMetrics` are custom properties of the artifact, and no file holds them.
`Html` and `Markdown` are one file each, as TFX's value artifacts are; its other artifacts are folders.
"""

from tfx.types.artifact import Artifact
from tfx.types.value_artifact import ValueArtifact


def framed(page: str) -> str:
    """The page as the dashboard's frame needs it.

    The frame gets the page as its `srcdoc`, where a link to `#steps` would lead to the dashboard's own address.

    Args:
        page: HTML with a `<head>`.
    """
    return page.replace('<head>', '<head>\n<base href="about:srcdoc">', 1)


class _Text(ValueArtifact):
    """A text file; assigning `value` writes it."""

    def encode(self, value: str) -> bytes:
        return value.encode()

    def decode(self, serialized_value: bytes) -> str:
        return serialized_value.decode()


class Html(_Text):
    """A page, shown in a sandboxed frame."""

    TYPE_NAME = 'system.HTML'


class Markdown(_Text):
    """A text in Markdown; HTML in it is shown as text, and what goes beyond 400,000 characters is cut off."""

    TYPE_NAME = 'system.Markdown'


class Metrics(Artifact):
    """Numbers: each is a row of the step's table and of the table that compares runs."""

    TYPE_NAME = 'system.Metrics'


class ClassificationMetrics(Artifact):
    """A confusion matrix, a ROC curve, or both; the dashboard writes the artifact's name above each."""

    TYPE_NAME = 'system.ClassificationMetrics'
