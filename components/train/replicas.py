"""Training on several devices or machines at once: who takes part, and the loop that they share.

Every replica, a device with a copy of the network, sees its own share of each batch; the gradients are summed over all
(synchronous data parallelism). A worker is a process with one replica or, over several GPUs, with several.
"""

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import keras
import numpy as np
import tensorflow as tf

from components.errors import StepError

TF_CONFIG: Final = 'TF_CONFIG'
"""The environment variable with which TensorFlow tells a process where all workers are, and which of them it is."""

Batch = tuple[tf.Tensor | np.ndarray, tf.Tensor]


@dataclass(frozen=True)
class Worker:
    """One of the processes that train a network together.

    Attributes:
        strategy: over the replicas of all workers.
        index: of this worker; 0 is the chief, which alone writes.
        count: of workers.
    """

    strategy: tf.distribute.Strategy
    index: int = 0
    count: int = 1

    @property
    def is_chief(self) -> bool:
        return self.index == 0

    @property
    def replicas(self) -> int:
        """Of all workers together."""
        return self.strategy.num_replicas_in_sync

    @property
    def local_replicas(self) -> int:
        return self.replicas // self.count

    def total(self, value: int) -> int:
        """The sum of all workers' values. None of them goes on before all have come here."""
        if self.count == 1:
            return value
        # Where a worker has several replicas, the first of them alone has its value.
        values = [value] + [0] * (self.local_replicas - 1)
        spread = _spread(self, [tf.constant(one, tf.int64) for one in values])
        return int(self.strategy.reduce(tf.distribute.ReduceOp.SUM, spread, axis=None))

    def spread(self, batch: Batch) -> Any:
        """This worker's share of a batch, dealt out to its replicas."""
        if self.local_replicas == 1:
            return tuple(map(tf.convert_to_tensor, batch))
        images, targets = (
            [tf.constant(part) for part in np.array_split(values, self.local_replicas)] for values in batch
        )
        return _spread(self, list(zip(images, targets, strict=True)))


def alone() -> Worker:
    """The only process, on all GPUs of this machine where there are several."""
    several = len(tf.config.list_physical_devices('GPU')) > 1
    return Worker(tf.distribute.MirroredStrategy() if several else tf.distribute.get_strategy())


def join(environment: Mapping[str, str] = os.environ) -> Worker:
    """The worker that TF_CONFIG makes of this process; waits until the others have come too.

    TensorFlow asks that this happens before anything else is reckoned.

    Raises:
        StepError: TF_CONFIG cannot be read.
    """
    index, count = place(environment)
    if count == 1:
        return alone()
    return Worker(tf.distribute.MultiWorkerMirroredStrategy(), index, count)


def place(environment: Mapping[str, str] = os.environ) -> tuple[int, int]:
    """The index of this process among the workers that TF_CONFIG names, the chief first, and how many they are.

    Raises:
        StepError: TF_CONFIG cannot be read.
    """
    text = environment.get(TF_CONFIG, '')
    if not text:
        return 0, 1
    try:
        config = json.loads(text)
        chiefs, workers = (len(config['cluster'].get(kind, ())) for kind in ('chief', 'worker'))
        kind, index = config['task']['type'], int(config['task']['index'])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise StepError(
            f'{TF_CONFIG} cannot be read ({error}): it is JSON such as '
            '{"cluster": {"worker": ["a:2222", "b:2222"]}, "task": {"type": "worker", "index": 0}}.'
        ) from error
    index += chiefs if kind == 'worker' else 0
    if kind not in ('chief', 'worker') or not 0 <= index < chiefs + workers or chiefs > 1:
        raise StepError(
            f'{TF_CONFIG} names the task {kind!r} {index} of {chiefs} chief and {workers} workers: a training has '
            'workers alone, or one chief and workers.'
        )
    return index, chiefs + workers


def fit(
    network: keras.Model,
    worker: Worker,
    training: tf.data.Dataset,
    evaluation: list[Batch],
    first_epoch: int,
    epochs: int,
    steps: int,
    callbacks: list[keras.callbacks.Callback],
) -> None:
    """Keras's `fit` for several replicas.

    Keras 3's own fails under MultiWorkerMirroredStrategy (keras-team/keras issue 20585) and would need two private
    methods overridden; here nothing is private: the network's `train_step` and `test_step` run on every replica. One
    replica keeps Keras's `fit`. Each worker looks at its own eval rows, however many; the figures are those of all
    rows, for Keras's metrics are sums, which are added up over the replicas where they are read.

    Args:
        network: compiled under the worker's strategy.
        worker: this process.
        training: its share of all batches from `first_epoch` on.
        evaluation: its share of the eval split.
        first_epoch, epochs, steps: from 0, in all, and of an epoch.
        callbacks: of Keras; a callback of one worker alone must not read the metrics.
    """
    network.stop_training = False
    notify = keras.callbacks.CallbackList(callbacks, model=network)
    train, test = (_on_every_replica(worker, step) for step in (network.train_step, network.test_step))
    batches = iter(training)
    figures: dict[str, float] = {}
    notify.on_train_begin()
    for epoch in range(first_epoch, epochs):
        network.reset_metrics()
        notify.on_epoch_begin(epoch)
        for step in range(steps):
            notify.on_train_batch_begin(step)
            train(next(batches))
            notify.on_train_batch_end(step)
        figures = _figures(network)
        network.reset_metrics()
        notify.on_test_begin()
        for batch in evaluation:
            test(batch)
        of_evaluation = _figures(network)
        notify.on_test_end(of_evaluation)
        figures |= {f'val_{name}': value for name, value in of_evaluation.items()}
        notify.on_epoch_end(epoch, figures)
        # All wait here until the chief has written the epoch, and end together.
        if worker.total(int(network.stop_training)):
            break
    notify.on_train_end(figures)


def _on_every_replica(worker: Worker, step: Callable[[Batch], Any]) -> Callable[[Batch], None]:
    @tf.function(reduce_retracing=True)
    def run(batch):
        # What the step returns are each replica's figures so far; the metrics have them all.
        worker.strategy.run(step, args=(batch,))

    return lambda batch: run(worker.spread(batch))


def _figures(network: keras.Model) -> dict[str, float]:
    return {name: float(value) for name, value in network.get_metrics_result().items()}


def _spread(worker: Worker, values: list) -> Any:
    """One value for each of this worker's replicas."""
    return worker.strategy.experimental_distribute_values_from_function(
        lambda context: values[context.replica_id_in_sync_group % len(values)]
    )
