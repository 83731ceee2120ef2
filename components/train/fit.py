"""Trains the networks of one task: data in, a model with the weights of each one's best epoch out."""

import contextlib
import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
import tensorflow_transform as tft

from components.errors import StepError
from components.settings import TrainSettings, from_json
from components.storage.tensorflow import enable
from components.train import replicas
from components.train.arguments import Arguments
from components.train.attention import Question, write_attention
from components.train.average import WeightAverage
from components.train.batches import (
    Share,
    Split,
    evaluation_batches,
    evaluation_shares,
    evaluation_steps,
    hold_out,
    load_held_out,
    load_own,
    load_split,
    training_batches,
)
from components.train.calibration import Temperature, fit_temperature, write_temperature
from components.train.checkpoints import HISTORY, Checkpoints
from components.train.export import ExportedNetwork, save
from components.train.network import adjusted, at_temperature, averaged, averaged_over_mirror, synchronise
from components.train.replicas import Worker, alone

PREDICTIONS = 'predictions.npz'


@dataclass(frozen=True)
class Task:
    """What differs between the two networks.

    Attributes:
        name: `expression` or `keypoints`.
        build: from the settings to the network.
        encode: from a batch of truths to the target of the loss.
        loss: from the settings to the loss.
        metric: from nothing to the metric that is shown.
        figure, mode: by which figure of the history, and in which direction, the best epoch is chosen.
        mirror_answer: from the network's output for a mirror image to that for the image itself.
        decode: from the network's outputs to predictions as the exported model gives them.
        to_truth: from a split's truths to the form of those predictions.
        has_probabilities: whether the outputs are logits, which a temperature can be fitted to.
        question: what the maps of what the network looks at show.
        export: from the network and Transform's output to what is saved.
    """

    name: str
    build: Callable[[TrainSettings], keras.Model]
    encode: Callable[[tf.Tensor], tf.Tensor]
    loss: Callable[[TrainSettings], keras.losses.Loss | Callable]
    metric: Callable[[], keras.metrics.Metric]
    figure: str
    mode: str
    mirror_answer: Callable[[keras.KerasTensor], keras.KerasTensor]
    decode: Callable[[np.ndarray], np.ndarray]
    to_truth: Callable[[np.ndarray], np.ndarray]
    has_probabilities: bool
    question: Question
    export: Callable[[keras.Model, tft.TFTransformOutput], ExportedNetwork]


def train(task: Task, arguments: Arguments, worker: Worker) -> None:
    """Trains, and writes the model and, into the model run's folder, what is told of it.

    Of several workers each reads its own files; the chief alone writes, and answers for all rows in the end.

    Args:
        task: what is trained.
        arguments: data, settings and folders; that of the training itself is gone afterwards.
        worker: this process.
    """
    settings = from_json(TrainSettings, arguments.custom_config['settings'])
    seed = arguments.custom_config['seed']
    enable(arguments.transform_output)
    transform_output = tft.TFTransformOutput(arguments.transform_output)
    percent = settings.calibration_percent if task.has_probabilities else 0.0

    def load(files: list[str]) -> Split:
        if worker.count == 1:
            return load_split(files, transform_output, task.name)
        return load_own(files, transform_output, task.name, worker.index, worker.count)

    training, calibration = hold_out(load(arguments.train_files), percent, worker.total)
    evaluation = load(arguments.eval_files)
    folder, logs = Path(arguments.folder), Path(arguments.model_run_dir) / 'logs'
    with precision(settings):
        networks, history = fit_networks(task, settings, seed, training, evaluation, folder, logs, worker)
        if worker.is_chief:
            truth = training.truth
            if worker.count > 1:
                truth, calibration = load_held_out(arguments.train_files, transform_output, task.name, percent)
                evaluation = load_split(arguments.eval_files, transform_output, task.name)
            answering, temperature = finish(task, networks, settings, truth, calibration)
            _write(task, settings, arguments, networks[0], answering, temperature, evaluation, history)
            save(task.export(answering, transform_output), Path(arguments.serving_model_dir))
    # A worker that left before the chief has done would be taken for a dead one.
    worker.total(0)
    if worker.is_chief:
        shutil.rmtree(folder, ignore_errors=True)


def _write(
    task: Task,
    settings: TrainSettings,
    arguments: Arguments,
    network: keras.Model,
    answering: keras.Model,
    temperature: Temperature,
    evaluation: Split,
    history: dict[str, list[float]],
) -> None:
    """What is told of a model, into the model run's folder."""
    folder = Path(arguments.model_run_dir)
    folder.mkdir(parents=True, exist_ok=True)
    prediction = task.decode(predict(answering, settings, evaluation))
    truth = task.to_truth(evaluation.truth)
    write_predictions(folder, evaluation, truth, prediction)
    write_attention(folder, task.question, network, evaluation, truth, prediction)
    if task.has_probabilities:
        write_temperature(folder, temperature)
    (folder / HISTORY).write_text(json.dumps(history), encoding='utf-8')


def fit_networks(
    task: Task,
    settings: TrainSettings,
    seed: int,
    training: Split,
    evaluation: Split,
    folder: Path,
    logs: Path,
    worker: Worker | None = None,
) -> tuple[list[keras.Model], dict[str, list[float]]]:
    """Trains one network after the other; returns all of them, and the history of the first.

    Deep ensembles (Lakshminarayanan et al. 2017, arXiv:1612.01474): networks that differ in their random weights and in
    the order of their batches alone are wrong in different faces, and less often so together.

    Args:
        task: what is trained.
        settings: of each network.
        seed: of the first network; each one after it has the next.
        training, evaluation: the splits, or one worker's parts of them.
        folder: of the checkpoints, from which a training that was killed goes on.
        logs: for TensorBoard.
        worker: this process; the only one where it is left out.
    """
    worker = worker or alone()
    steps = share(training, settings, worker).steps
    networks, histories = [], []
    several = settings.networks > 1
    for number in range(1, settings.networks + 1):
        checkpoints = Checkpoints(
            folder / f'network-{number}',
            task.figure,
            task.mode,
            settings.patience,
            settings.epochs,
            WeightAverage(settings.average_epochs, steps) if settings.average_epochs else None,
            worker.index,
            worker.count,
            f'{task.name} network {number} of {settings.networks}' if several else task.name,
        )
        own_logs = logs / f'network-{number}' if several else logs
        networks.append(fit(task, settings, seed + number - 1, training, evaluation, checkpoints, own_logs, worker))
        histories.append(checkpoints.history)
    return networks, histories[0]


def fit(
    task: Task,
    settings: TrainSettings,
    seed: int,
    training: Split,
    evaluation: Split,
    checkpoints: Checkpoints,
    logs: Path,
    worker: Worker | None = None,
) -> keras.Model:
    """Trains from the last checkpoint, or from the start, and returns the network of the best epoch.

    Raises:
        StepError: a worker has no training rows, or its devices cannot share its eval rows.
    """
    keras.utils.set_random_seed(seed)
    worker = worker or alone()
    own = share(training, settings, worker)
    with worker.strategy.scope():
        network = task.build(settings)
        if worker.replicas > 1:
            synchronise(network)
        network.compile(optimizer(settings, own.steps), task.loss(settings), metrics=[task.metric()], jit_compile=False)
        first_epoch = checkpoints.restore(network)
    if worker.total(first_epoch) != first_epoch * worker.count:
        raise RuntimeError(f'The workers found different epochs in {checkpoints.folder}.')
    if not checkpoints.is_over():
        batches = training_batches(training, settings, seed, first_epoch, task.encode, own)
        callbacks = [
            *([checkpoints.average] if checkpoints.average is not None else []),
            checkpoints,
            *([keras.callbacks.TensorBoard(str(logs), write_graph=False)] if worker.is_chief else []),
        ]
        if worker.replicas > 1:
            shares = evaluation_shares(evaluation, settings, task.encode, worker.local_replicas)
            replicas.fit(network, worker, batches, shares, first_epoch, settings.epochs, own.steps, callbacks)
        else:
            network.fit(
                batches,
                validation_data=evaluation_batches(evaluation, settings, task.encode),
                validation_steps=evaluation_steps(evaluation, settings),
                initial_epoch=first_epoch,
                epochs=settings.epochs,
                steps_per_epoch=own.steps,
                callbacks=callbacks,
                verbose=0,
            )
    if worker.replicas > 1:
        # The same network on one device: what comes after the training is one process's work.
        network = task.build(settings)
    checkpoints.restore_best(network)
    return network


def share(training: Split, settings: TrainSettings, worker: Worker) -> Share:
    """What this worker has of each batch, of which all replicas have equal parts.

    Raises:
        StepError: a worker has no rows.
    """
    rows = worker.total(len(training))
    if worker.total(int(not len(training))):
        raise StepError(f'There are too few training rows for {worker.count} workers: lower workers.count.')
    size = max(1, min(settings.batch_size, rows) // worker.replicas) * worker.local_replicas
    return Share(max(1, rows // settings.batch_size), size, worker.index)


def finish(
    task: Task, networks: Sequence[keras.Model], settings: TrainSettings, truth: np.ndarray, calibration: Split
) -> tuple[keras.Model, Temperature]:
    """The trained networks as they are served: their mean, averaged over the mirror image and adjusted where the
    settings say so, and calibrated.

    Args:
        truth: of the rows that it was trained on, which say how frequent each class is.
        calibration: rows to fit the temperature on; without any it stays 1.
    """
    # Without the optimizer, whose state is twice as large as the weights and would be exported with them.
    network = averaged([keras.Model(each.input, each.output, name=each.name) for each in networks])
    if settings.average_mirror:
        network = averaged_over_mirror(network, task.mirror_answer)
    if settings.logit_adjustment and task.has_probabilities:
        shares = task.encode(tf.constant(truth)).numpy().mean(axis=0)
        network = adjusted(network, shares.tolist(), settings.logit_adjustment)
    if not len(calibration):
        return network, Temperature()
    temperature = fit_temperature(predict(network, settings, calibration), calibration.truth)
    return at_temperature(network, temperature.temperature), temperature


def predict(network: keras.Model, settings: TrainSettings, split: Split) -> np.ndarray:
    """The network's outputs for a split, in its order."""
    return network.predict(split.pixels, batch_size=settings.batch_size, verbose=0)


def optimizer(settings: TrainSettings, steps: int) -> keras.optimizers.Optimizer:
    """AdamW (arXiv:1711.05101) with linear warm-up and cosine decay; biases and normalisation are not decayed."""
    warmup = round(settings.warmup_epochs * steps)
    schedule = keras.optimizers.schedules.CosineDecay(
        0.0 if warmup else settings.learning_rate,
        decay_steps=max(1, settings.epochs * steps - warmup),
        warmup_target=settings.learning_rate if warmup else None,
        warmup_steps=warmup,
    )
    result = keras.optimizers.AdamW(schedule, weight_decay=settings.weight_decay)
    result.exclude_from_weight_decay(var_names=['bias', 'gamma', 'beta'])
    return result


@contextlib.contextmanager
def precision(settings: TrainSettings) -> Iterator[None]:
    """Mixed precision where a GPU is present; on a processor it is slower than float32."""
    before = keras.config.dtype_policy()
    if settings.mixed_precision and _gpus():
        keras.config.set_dtype_policy('mixed_float16')
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def write_predictions(folder: Path, evaluation: Split, truth: np.ndarray, prediction: np.ndarray) -> None:
    """The eval split's truths and predictions, which the report draws and ServingCheck compares with."""
    np.savez_compressed(
        folder / PREDICTIONS,
        content_hash=evaluation.content_hash,
        source=evaluation.source,
        row=evaluation.row,
        group=evaluation.group,
        truth=truth,
        prediction=prediction,
    )


def _gpus() -> list:
    return tf.config.list_physical_devices('GPU')
