"""Pushed models without TensorFlow: networks of a few operations in ONNX, in the folder's layout."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from components import faces
from components.inference.network import onnx_file

SIDE = 48


def write_version(folder: Path, model: str, version: int = 1) -> Path:
    """Writes a version that loads and answers.

    Args:
        folder: of the served models.
        model: `expression`, `keypoints` or `faces`.
        version: its number.

    Returns:
        The version's folder.
    """
    written = folder / model / str(version)
    for task in faces.parts(model):
        path = onnx_file(written, task)
        path.parent.mkdir(parents=True, exist_ok=True)
        onnx.save(_network(task), str(path))
    return written


def _network(task: str) -> onnx.ModelProto:
    """The mean of the image, by weights to as many numbers as the task has."""
    expression = task == faces.EXPRESSION_MODEL
    count = len(faces.EXPRESSIONS) if expression else 2 * len(faces.KEYPOINTS)
    weights = np.linspace(-0.01, 0.01, count, dtype=np.float32)[None]
    nodes = [
        helper.make_node('ReduceMean', ['image'], ['mean'], axes=[1, 2], keepdims=0),
        helper.make_node('MatMul', ['mean', 'weights'], ['product']),
        helper.make_node('Softmax' if expression else 'Sigmoid', ['product'], ['flat']),
        helper.make_node('Reshape', ['flat', 'shape'], ['answer']),
    ]
    shape = [count] if expression else [len(faces.KEYPOINTS), 2]
    graph = helper.make_graph(
        nodes,
        task,
        [helper.make_tensor_value_info('image', TensorProto.FLOAT, ['batch', SIDE, SIDE, 1])],
        [helper.make_tensor_value_info('answer', TensorProto.FLOAT, ['batch', *shape])],
        [numpy_helper.from_array(weights, 'weights'), numpy_helper.from_array(np.array([-1, *shape]), 'shape')],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid('', 17)], ir_version=8)
