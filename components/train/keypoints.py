"""Trains the network that finds 15 keypoints."""

from tfx.components.trainer.fn_args_utils import FnArgs

from components import faces
from components.train.export import KeypointModel
from components.train.fit import Task, run
from components.train.losses import RootMeanSquaredError, mean_absolute_error
from components.train.network import keypoint_network, mirror_points

TASK = Task(
    name=faces.KEYPOINT_MODEL,
    build=keypoint_network,
    encode=lambda points: points,
    loss=lambda settings: mean_absolute_error,
    metric=RootMeanSquaredError,
    figure='val_rmse',
    mode='min',
    mirror_answer=mirror_points,
    decode=lambda points: points * faces.KEYPOINT_SIZE,
    to_truth=lambda points: points * faces.KEYPOINT_SIZE,
    export=KeypointModel,
)


def run_fn(arguments: FnArgs) -> None:
    """Called by TFX's Trainer."""
    run(TASK, arguments)
