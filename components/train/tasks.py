"""The two networks' tasks by name."""

from components import faces
from components.train import expression, keypoints
from components.train.fit import Task


def task(name: str) -> Task:
    """The task of one of `faces.TASKS`."""
    return {faces.EXPRESSION_MODEL: expression.TASK, faces.KEYPOINT_MODEL: keypoints.TASK}[name]
