"""Trains one network: data in, weights of the best epoch out."""

import contextlib
import dataclasses
import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
import tensorflow_transform as tft
from tfx.components.trainer.fn_args_utils import FnArgs

from components.settings import TrainSettings, from_json
from components.source import fingerprint
from components.train.attention import Question, write_attention
from components.train.average import WeightAverage
from components.train.batches import (
    Split,
    evaluation_batches,
    evaluation_steps,
    hold_out,
    load_split,
    training_batches,
    training_steps,
)
from components.train.calibration import Temperature, fit_temperature, write_temperature
from components.train.checkpoints import HISTORY, Checkpoints
from components.train.export import ExportedNetwork, save
from components.train.network import adjusted, at_temperature, averaged_over_mirror

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


def run(task: Task, arguments: FnArgs) -> None:
    """TFX's `run_fn` for a task: trains, and writes the model and, into the model run's folder, what is told of it."""
    settings = from_json(TrainSettings, arguments.custom_config['settings'])
    seed = arguments.custom_config['seed']
    transform_output = tft.TFTransformOutput(arguments.transform_output)
    training = load_split(arguments.train_files, transform_output, task.name)
    training, calibration = hold_out(training, settings.calibration_percent if task.has_probabilities else 0.0)
    evaluation = load_split(arguments.eval_files, transform_output, task.name)
    checkpoints = _checkpoint_folder(arguments)
    run_folder = Path(arguments.model_run_dir)

    with precision(settings):
        network, history = fit_generations(task, settings, seed, training, evaluation, checkpoints, run_folder / 'logs')
        answering, temperature = finish(task, network, settings, training, calibration)
        prediction = task.decode(predict(answering, settings, evaluation))
        truth = task.to_truth(evaluation.truth)
        run_folder.mkdir(parents=True, exist_ok=True)
        write_predictions(run_folder, evaluation, truth, prediction)
        write_attention(run_folder, task.question, network, evaluation, truth, prediction)
        if task.has_probabilities:
            write_temperature(run_folder, temperature)
        (run_folder / HISTORY).write_text(json.dumps(history), encoding='utf-8')
        save(task.export(answering, transform_output), Path(arguments.serving_model_dir))
    shutil.rmtree(checkpoints, ignore_errors=True)


def fit_generations(
    task: Task, settings: TrainSettings, seed: int, training: Split, evaluation: Split, folder: Path, logs: Path
) -> tuple[keras.Model, dict[str, list[float]]]:
    """Trains each generation on what the one before it teaches; returns the last one and its history.

    Born-again networks (Furlanello et al. 2018, arXiv:1805.04770): where labels are wrong, what a network of the same
    kind has made of all of them is better to learn from than the labels alone.

    Args:
        task: what is trained.
        settings: of each generation.
        seed: of the first generation; each one after it has the next.
        training, evaluation: the splits.
        folder: of the checkpoints, from which a training that was killed goes on.
        logs: for TensorBoard.
    """
    steps = training_steps(training, settings)
    # Points have no probabilities to teach.
    generations = settings.generations if task.has_probabilities else 1
    lesson = training
    for generation in range(generations):
        checkpoints = Checkpoints(
            folder / f'generation-{generation + 1}',
            task.figure,
            task.mode,
            settings.patience,
            settings.epochs,
            WeightAverage(settings.average_epochs, steps) if settings.average_epochs else None,
        )
        of_generation = logs / f'generation-{generation + 1}' if generations > 1 else logs
        network = fit(task, settings, seed + generation, lesson, evaluation, checkpoints, of_generation)
        if generation + 1 < generations:
            lesson = taught(task, network, settings, training)
    return network, checkpoints.history


def taught(task: Task, teacher: keras.Model, settings: TrainSettings, training: Split) -> Split:
    """The training split with truths that lie between the labels and the probabilities that a teacher gives.

    Args:
        task: one whose outputs are logits.
        teacher: the trained network.
        settings: `teacher_share` is the teacher's.
        training: with labels, int64 `[n]`.

    Returns:
        The same rows with float32 `[n, classes]`.
    """
    given = task.decode(predict(averaged_over_mirror(teacher, task.mirror_answer), settings, training))
    labels = task.encode(tf.constant(training.truth)).numpy()
    share = settings.teacher_share
    return dataclasses.replace(training, truth=share * given + (1.0 - share) * labels)


def fit(
    task: Task,
    settings: TrainSettings,
    seed: int,
    training: Split,
    evaluation: Split,
    checkpoints: Checkpoints,
    logs: Path,
) -> keras.Model:
    """Trains from the last checkpoint, or from the start, and returns the network of the best epoch."""
    keras.utils.set_random_seed(seed)
    steps = training_steps(training, settings)
    with strategy().scope():
        network = task.build(settings)
        network.compile(optimizer(settings, steps), task.loss(settings), metrics=[task.metric()], jit_compile=False)
        first_epoch = checkpoints.restore(network)
    if not checkpoints.is_over():
        network.fit(
            training_batches(training, settings, seed, first_epoch, task.encode),
            validation_data=evaluation_batches(evaluation, settings, task.encode),
            validation_steps=evaluation_steps(evaluation, settings),
            initial_epoch=first_epoch,
            epochs=settings.epochs,
            steps_per_epoch=steps,
            callbacks=[
                *([checkpoints.average] if checkpoints.average is not None else []),
                checkpoints,
                keras.callbacks.TensorBoard(str(logs), write_graph=False),
            ],
            verbose=0,
        )
    checkpoints.restore_best(network)
    return network


def finish(
    task: Task, network: keras.Model, settings: TrainSettings, training: Split, calibration: Split
) -> tuple[keras.Model, Temperature]:
    """The trained network as it is served: averaged over the mirror image and adjusted where the settings say so, and
    calibrated.

    Args:
        training: rows that it was trained on, which say how frequent each class is.
        calibration: rows to fit the temperature on; without any it stays 1.
    """
    # Without the optimizer, whose state is twice as large as the weights and would be exported with them.
    network = keras.Model(network.input, network.output, name=network.name)
    if settings.average_mirror:
        network = averaged_over_mirror(network, task.mirror_answer)
    if settings.logit_adjustment and task.has_probabilities:
        shares = task.encode(tf.constant(training.truth)).numpy().mean(axis=0)
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


def strategy() -> tf.distribute.Strategy:
    """MirroredStrategy over the GPUs of this machine where there are several."""
    return tf.distribute.MirroredStrategy() if len(_gpus()) > 1 else tf.distribute.get_strategy()


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


def _checkpoint_folder(arguments: FnArgs) -> Path:
    """This training's own folder: the same again only for the same data, code, settings and seed."""
    inputs = {
        'files': arguments.train_files + arguments.eval_files,
        'transform': arguments.transform_output,
        'configuration': arguments.custom_config,
        'code': fingerprint('transform', 'train'),
    }
    name = hashlib.blake2b(json.dumps(inputs, sort_keys=True).encode(), digest_size=8).hexdigest()
    return Path(arguments.custom_config['checkpoints']) / name


def _gpus() -> list:
    return tf.config.list_physical_devices('GPU')
