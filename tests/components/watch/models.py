"""A pushed model of `faces` that is made in no time and answers by what it sees: the brighter, the happier."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from components import faces
from components.inference.network import load_version, onnx_file

SIZES = {faces.EXPRESSION_MODEL: faces.EXPRESSION_SIZE, faces.KEYPOINT_MODEL: faces.KEYPOINT_SIZE}


def write_serving(serving: Path, version: int = 1) -> Path:
    """A serving folder with a version of `faces`."""
    folder = serving / faces.JOINT_MODEL / str(version)
    for task in faces.TASKS:
        path = onnx_file(folder, task)
        path.parent.mkdir(parents=True, exist_ok=True)
        onnx.save(_network(task), str(path))
    return serving


def load(serving: Path):
    return load_version(serving / faces.JOINT_MODEL / '1', faces.JOINT_MODEL, 1)


def _network(task: str) -> onnx.ModelProto:
    size = SIZES[task]
    constants, nodes = [], []

    def constant(name: str, values) -> str:
        constants.append(numpy_helper.from_array(np.array(values, np.float32), name))
        return name

    nodes.append(helper.make_node('ReduceMean', ['images'], ['mean'], axes=[1, 2, 3], keepdims=0))
    constants.append(numpy_helper.from_array(np.array([-1, 1]), 'column'))
    nodes.append(helper.make_node('Reshape', ['mean', 'column'], ['brightness']))
    if task == faces.EXPRESSION_MODEL:
        weights = constant('weights', [[0.0, 0.0, -0.05, 0.05, 0.0]])
        nodes.append(helper.make_node('MatMul', ['brightness', weights], ['moods']))
        bias = constant('bias', [0.0, 0.0, 6.5, -6.5, 0.0])
        nodes.append(helper.make_node('Add', ['moods', bias], ['logits']))
        nodes.append(helper.make_node('Softmax', ['logits'], ['answers'], axis=-1))
        shape: list = ['batch', 5]
    else:
        weights = constant('weights', np.full((1, 30), 1e-9))
        nodes.append(helper.make_node('MatMul', ['brightness', weights], ['nothing']))
        points = np.stack(np.meshgrid(np.linspace(0.2, 0.8, 5), np.linspace(0.2, 0.8, 3)), axis=-1).ravel()
        nodes.append(helper.make_node('Add', ['nothing', constant('places', points)], ['flat']))
        constants.append(numpy_helper.from_array(np.array([-1, 15, 2]), 'pairs'))
        nodes.append(helper.make_node('Reshape', ['flat', 'pairs'], ['answers']))
        shape = ['batch', 15, 2]
    graph = helper.make_graph(
        nodes,
        task,
        [helper.make_tensor_value_info('images', TensorProto.FLOAT, ['batch', size, size, 1])],
        [helper.make_tensor_value_info('answers', TensorProto.FLOAT, shape)],
        constants,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid('', 13)], ir_version=8)
