"""TFX's Trainer for one of the networks."""

import json

from tfx.components.trainer.component import Trainer
from tfx.proto import trainer_pb2
from tfx.types import BaseChannel

from components import faces
from components.properties import Text
from components.settings import TrainSettings, WorkerSettings, to_json
from components.source import fingerprint


def configuration(
    settings: TrainSettings, seed: int, checkpoints: str, retrain: str = '', workers: WorkerSettings | None = None
) -> str:
    """All that a training depends on beside its inputs, as JSON.

    Args:
        settings: the network and its training.
        seed: of weights, order and augmentation.
        checkpoints: folder that outlives a killed run.
        retrain: a new text trains anew although nothing else has changed.
        workers: that train together; one where it is left out.
    """
    return json.dumps(
        {
            'settings': to_json(settings),
            'seed': seed,
            'checkpoints': checkpoints,
            'retrain': retrain,
            'workers': to_json(workers or WorkerSettings()),
        }
    )


def trainer(task: str, examples: BaseChannel, transform_graph: BaseChannel, custom_config: Text) -> Trainer:
    """Trainer with the network of a task.

    Args:
        task: `expression` or `keypoints`.
        examples, transform_graph: channels of the steps before it.
        custom_config: from `configuration`.
    """
    step = Trainer(
        run_fn=f'components.train.{task}.run_fn',
        examples=examples,
        transform_graph=transform_graph,
        train_args=trainer_pb2.TrainArgs(splits=[faces.TRAIN_SPLIT]),
        eval_args=trainer_pb2.EvalArgs(splits=[faces.EVAL_SPLIT]),
    )
    # The constructor takes a dictionary alone, and knows nothing of the code's fingerprint.
    step.exec_properties.update(custom_config=custom_config, code=fingerprint('transform', 'train'))
    return step
