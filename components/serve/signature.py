"""What goes into the models and comes out, as the SavedModels' `serving_default` has it."""

from dataclasses import dataclass
from typing import Final

from components import faces
from components.inference.network import OUTPUTS

TEXT: Final = 'text'
NUMBER: Final = 'number'


@dataclass(frozen=True)
class Tensor:
    """A tensor by name.

    Attributes:
        name: in requests and answers.
        kind: `text` (bytes) or `number` (float32).
        shape: -1 for the batch.
    """

    name: str
    kind: str
    shape: tuple[int, ...]


INPUT: Final = Tensor(faces.SERVING_INPUT, TEXT, (-1,))

_OUTPUTS: Final = {
    faces.PROBABILITIES: Tensor(faces.PROBABILITIES, NUMBER, (-1, len(faces.EXPRESSIONS))),
    faces.KEYPOINTS_OUTPUT: Tensor(faces.KEYPOINTS_OUTPUT, NUMBER, (-1, len(faces.KEYPOINTS), 2)),
}
_NAMES: Final = (
    Tensor(faces.EXPRESSION_NAMES, TEXT, (-1, len(faces.EXPRESSIONS))),
    Tensor(faces.KEYPOINT_NAMES, TEXT, (-1, len(faces.KEYPOINTS))),
)


def outputs(model: str) -> tuple[Tensor, ...]:
    """What a model answers with."""
    answers = tuple(_OUTPUTS[OUTPUTS[task]] for task in faces.parts(model))
    return answers + _NAMES if model == faces.JOINT_MODEL else answers
