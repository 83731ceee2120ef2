"""Compares a SavedModel with its ONNX form as the server asks it: whole requests, from encoded bytes to answers."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from components import faces
from components.check.compare import Batch
from components.errors import StepError
from components.inference.images import decode
from components.inference.network import OUTPUTS, load_version


def judge(
    name: str, model: Path, asked: list[Batch], answers: list[dict[str, np.ndarray]], tolerance: float
) -> Iterator[str]:
    """What is wrong with the ONNX form, one line each.

    Args:
        name: of the model.
        model: the SavedModel, with the ONNX form beside it.
        asked: what the SavedModel was asked.
        answers: what it answered.
        tolerance: largest difference that is let pass: probabilities, and shares of the image's width or height.
    """
    try:
        portable = load_version(model, name, version=0)
    except StepError as error:
        yield f'ONNX form: {error}'
        return
    for batch, answer in zip(asked, answers, strict=True):
        output = OUTPUTS[batch.task]
        if batch.signature != faces.SERVING_SIGNATURE or output not in answer:
            continue
        images = [decode(row) for row in batch.rows]
        difference = np.abs(portable.predict(images)[output] - answer[output])
        if output == faces.KEYPOINTS_OUTPUT:
            difference /= np.array([image.shape[1::-1] for image in images])[:, None, :]
        # Not a number is never within the tolerance.
        if not (difference <= tolerance).all():
            yield (
                f'ONNX form, {len(batch.rows)} {batch.task} row(s): {output} differ by {difference.max():.4g} from the '
                f"SavedModel's (tolerance {tolerance:g})"
            )
