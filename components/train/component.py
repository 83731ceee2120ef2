"""TFX's Trainer for one of the networks."""

from tfx.components.trainer.component import Trainer
from tfx.proto import trainer_pb2
from tfx.types import BaseChannel

from components import faces
from components.settings import TrainSettings, to_json
from components.source import fingerprint


def trainer(
    task: str,
    examples: BaseChannel,
    transform_graph: BaseChannel,
    settings: TrainSettings,
    seed: int,
    checkpoints: str,
) -> Trainer:
    """Trainer with the network of a task.

    Args:
        task: `expression` or `keypoints`.
        examples, transform_graph: channels of the steps before it.
        settings: the network and its training.
        seed: of weights, order and augmentation.
        checkpoints: folder that outlives a killed run.
    """
    return Trainer(
        run_fn=f'components.train.{task}.run_fn',
        examples=examples,
        transform_graph=transform_graph,
        train_args=trainer_pb2.TrainArgs(splits=[faces.TRAIN_SPLIT]),
        eval_args=trainer_pb2.EvalArgs(splits=[faces.EVAL_SPLIT]),
        custom_config={
            'settings': to_json(settings),
            'seed': seed,
            'checkpoints': checkpoints,
            'code': fingerprint('transform', 'train'),
        },
    )
