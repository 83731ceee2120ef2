"""Whether the input keeps up with the network, and what was gained by what.

    .venv/bin/python -m tests.benchmarks.training_speed

Images a second of `fit` on the pipeline's own batches (decoded once, augmented in batches, mapped in parallel,
prefetched), as a share of the bare step's: the same compiled step on one batch of random numbers, which costs no input.
Then the same with each of these means undone, and with all of them undone. Both networks, `full`'s settings.

The ways take turns, a few steps each, for several rounds, each round in another order, and a share is the median over
the rounds of what was measured in the same round: so a machine that is now slower and now faster slows them alike. The
first steps of each turn are not counted: they find prefetched batches, or wait for the first one.

A trace of the step calls its Python code, so traces are counted by counting these calls, in trainings of three epochs
by `components.train.fit.fit` itself, its validation included. TensorFlow traces a first step twice when it creates
variables, here the optimizer's; whatever comes after the first step is a trace too many.
"""

import argparse
import dataclasses
import json
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import keras
import numpy as np
import tensorflow as tf
import tensorflow_transform as tft

from components import faces
from components.settings import TrainSettings
from components.train import batches, expression, keypoints
from components.train.batches import Split
from components.train.checkpoints import Checkpoints
from components.train.fit import Task, fit, optimizer, precision
from components.transform.augment import augment, mix
from components.transform.preprocessing import LABEL, PIXELS, POINTS
from pipeline.config import load, of
from tests.benchmarks import rows
from tests.benchmarks.rows import Rows
from tests.benchmarks.tables import table

TASKS: Final = {faces.EXPRESSION_MODEL: expression.TASK, faces.KEYPOINT_MODEL: keypoints.TASK}
BARE, PIPELINE = 'bare step on random data', "the pipeline's `fit`"
NOT_COUNTED: Final = 8
"""Steps at the beginning of each turn: more than are prefetched and mapped ahead."""
WANTED: Final = 0.9
"""Share of the bare step's pace that the pipeline is to reach (issue 3)."""
TRACED_EPOCHS: Final = 3
TRACED_BATCHES: Final = 2.5  # of rows, so that the last batch of validation is a smaller one
SEED: Final = 0


@dataclass(frozen=True)
class Means:
    """How batches are made: as the pipeline does it, or not.

    Attributes:
        decode_once: the PNGs are decoded before the first epoch, not in each.
        in_batches: a whole batch is augmented at once, not each image by itself.
        overlapped: batches are made in parallel and ahead of the step.
    """

    decode_once: bool = True
    in_batches: bool = True
    overlapped: bool = True


UNDONE: Final = {
    'decoded anew in each epoch': Means(decode_once=False),
    'augmented image by image': Means(in_batches=False),
    'no parallel map, no prefetch': Means(overlapped=False),
    'all three': Means(False, False, False),
}


@dataclass(frozen=True)
class Paces:
    """Images a second of each way, one number a round, measured in the same rounds."""

    images_per_second: dict[str, list[float]]

    def median(self, way: str) -> float:
        return statistics.median(self.images_per_second[way])

    def shares(self, way: str, of_way: str) -> list[float]:
        """Of each round, one way's pace as a share of another's."""
        pairs = zip(self.images_per_second[way], self.images_per_second[of_way], strict=True)
        return [pace / other for pace, other in pairs]

    def share(self, way: str, of_way: str) -> float:
        return statistics.median(self.shares(way, of_way))


class Stopwatch(keras.callbacks.Callback):
    """Seconds of the steps after the first `NOT_COUNTED`."""

    def __init__(self):
        super().__init__()
        self.seconds = 0.0
        self._began = 0.0

    def on_train_batch_end(self, batch, logs=None):
        if batch == NOT_COUNTED - 1:
            self._began = time.perf_counter()
        self.seconds = time.perf_counter() - self._began


def measure(task: Task, settings: TrainSettings, found: Rows, steps: int, rounds: int) -> Paces:
    """Images a second of every way.

    Args:
        task: which network.
        settings: of the network and its training.
        found: the rows.
        steps: that are counted in each turn.
        rounds: turns of each way.
    """
    transform_output = tft.TFTransformOutput(found.transform[task.name])
    files = found.files(task.name, faces.TRAIN_SPLIT)
    split = batches.load_split(files, transform_output, task.name)
    ways = {PIPELINE: batches.training_batches(split, settings, SEED, 0, task.encode)}
    for name, means in UNDONE.items():
        decode = None if means.decode_once else decoder(files, transform_output, task.name)
        ways[name] = batches_by(means, split, settings, task, decode)
        check(ways[name], ways[PIPELINE], means)
    network = compiled(task, settings, batches.training_steps(split, settings))
    bare = random_batches(ways[PIPELINE])
    network.fit(bare, steps_per_epoch=1, verbose=0)
    paces: dict[str, list[float]] = {name: [] for name in (BARE, *ways)}
    for number in range(rounds):
        for name in _rotated(list(paces), number):
            seconds = bare_seconds(network, bare, steps) if name == BARE else fit_seconds(network, ways[name], steps)
            paces[name].append(steps * min(settings.batch_size, len(split)) / seconds)
    return Paces(paces)


def _rotated(names: list[str], by: int) -> list[str]:
    by %= len(names)
    return names[by:] + names[:by]


def compiled(task: Task, settings: TrainSettings, steps: int) -> keras.Model:
    """The network as `components.train.fit.fit` compiles it."""
    keras.utils.set_random_seed(SEED)
    with precision(settings):
        network = task.build(settings)
    network.compile(optimizer(settings, steps), task.loss(settings), metrics=[task.metric()], jit_compile=False)
    return network


def fit_seconds(network: keras.Model, data: tf.data.Dataset, steps: int) -> float:
    """Seconds that `fit` takes for this many steps."""
    stopwatch = Stopwatch()
    network.fit(data, steps_per_epoch=NOT_COUNTED + steps, callbacks=[stopwatch], verbose=0)
    return stopwatch.seconds


def bare_seconds(network: keras.Model, data: tf.data.Dataset, steps: int) -> float:
    """Seconds that the compiled step takes, called this many times without `fit` around it."""
    step, iterator = network.make_train_function(), iter(data)
    for _ in range(NOT_COUNTED):
        step(iterator)
    began = time.perf_counter()
    for _ in range(steps):
        step(iterator)
    return time.perf_counter() - began


def random_batches(data: tf.data.Dataset) -> tf.data.Dataset:
    """One batch of random numbers again and again, of the shapes and types of the data's."""
    random = np.random.default_rng(SEED)
    batch = tf.nest.map_structure(
        lambda part: tf.cast(random.random(part.shape, np.float32), part.dtype), next(iter(data.take(1)))
    )
    return tf.data.Dataset.from_tensors(batch).repeat()


def decoder(
    files: list[str], transform_output: tft.TFTransformOutput, task: str
) -> Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]:
    """From indices of rows `[batch]` to their pixels and truths, decoded on the spot, as `batches.load_split` does."""
    layer, specification = transform_output.transform_features_layer(), transform_output.raw_feature_spec()
    names = sorted(name for pattern in files for name in tf.io.gfile.glob(pattern))
    records = tf.constant(list(tf.data.TFRecordDataset(names, compression_type='GZIP').as_numpy_iterator()))
    truth = LABEL if task == faces.EXPRESSION_MODEL else POINTS

    def decode(index: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        transformed = layer(tf.io.parse_example(tf.gather(records, index), specification))
        return transformed[PIXELS], transformed[truth]

    return decode


def batches_by(
    means: Means,
    split: Split,
    settings: TrainSettings,
    task: Task,
    decode: Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]] | None,
) -> tf.data.Dataset:
    """`batches.training_batches` from the first epoch on, with some of its means undone.

    Args:
        means: those that are kept.
        split, settings, task: as there.
        decode: from `decoder`; None takes the pixels from the split.
    """
    pixels, truth = tf.convert_to_tensor(split.pixels), tf.convert_to_tensor(split.truth)
    size, steps = min(settings.batch_size, len(split)), batches.training_steps(split, settings)
    is_keypoints = task.name == faces.KEYPOINT_MODEL

    def fetch(index: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return decode(index) if decode is not None else (tf.gather(pixels, index), tf.gather(truth, index))

    def change(images: tf.Tensor, targets: tf.Tensor, seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        points = targets if is_keypoints else tf.zeros([tf.shape(images)[0], len(faces.KEYPOINTS), 2])
        images, points = augment(images, points, seed, settings.augment)
        return images, task.encode(points if is_keypoints else targets)

    def blend(images: tf.Tensor, targets: tf.Tensor, seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        if is_keypoints or not settings.augment.mixup:
            return images, targets
        return mix(images, targets, tf.random.fold_in(seed, 1), settings.augment.mixup)

    def epoch(number: tf.Tensor) -> tf.data.Dataset:
        order = tf.random.experimental.stateless_shuffle(tf.range(len(split)), seed=[SEED, tf.cast(number, tf.int32)])
        order = order[: steps * size]
        if not means.in_batches:
            return tf.data.Dataset.from_tensor_slices(order).enumerate(number * steps * size)
        return tf.data.Dataset.from_tensor_slices(order).batch(size, drop_remainder=True).enumerate(number * steps)

    def seed_of(number: tf.Tensor) -> tf.Tensor:
        return tf.stack([SEED, tf.cast(number, tf.int32)])

    def load_batch(step: tf.Tensor, index: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        seed = seed_of(step)
        return blend(*change(*fetch(index), seed), seed)

    def load_image(number: tf.Tensor, index: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        image, target = change(*fetch(index[None]), seed_of(number))
        return image[0], target[0]

    parallel = 2 if means.overlapped else None
    data = tf.data.Dataset.range(settings.epochs).flat_map(epoch)
    if means.in_batches:
        data = data.map(load_batch, num_parallel_calls=parallel)
    else:
        data = data.map(load_image, num_parallel_calls=parallel).batch(size, drop_remainder=True).enumerate()
        data = data.map(lambda step, batch: blend(*batch, seed_of(step)), num_parallel_calls=parallel)
    return data.prefetch(4) if means.overlapped else data


def check(data: tf.data.Dataset, pipeline: tf.data.Dataset, means: Means) -> None:
    """Raises AssertionError where the first batch is not the pipeline's; drawn image by image, only its form is."""
    batch, expected = next(data.as_numpy_iterator()), next(pipeline.as_numpy_iterator())
    for part, wanted in zip(batch, expected, strict=True):
        if means.in_batches:
            np.testing.assert_allclose(part, wanted, atol=1e-5)
        assert part.shape == wanted.shape and part.dtype == wanted.dtype


def count_traces(task: Task, settings: TrainSettings, split: Split) -> dict[str, list[int]]:
    """How often the steps of training and of validation had been traced, in a training of a few epochs by `fit`.

    Args:
        task, settings: as `components.train.fit.fit` takes them.
        split: rows to train and to validate with.

    Returns:
        By step, its traces so far after the first batch and after each epoch.
    """
    counts: Counter[str] = Counter()
    after: dict[str, list[int]] = {'train_step': [], 'test_step': []}

    class Watched(Checkpoints):
        def on_train_batch_end(self, batch, logs=None):
            if not after['train_step']:
                self.count()

        def on_epoch_end(self, epoch, logs=None):
            super().on_epoch_end(epoch, logs)
            self.count()

        def count(self) -> None:
            for name, numbers in after.items():
                numbers.append(counts[name])

    def build(chosen: TrainSettings) -> keras.Model:
        network = task.build(chosen)
        for name in after:
            setattr(network, name, _counted(getattr(network, name), name, counts))
        return network

    short = dataclasses.replace(settings, epochs=TRACED_EPOCHS, patience=TRACED_EPOCHS)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        watched = Watched(folder / 'checkpoints', task.figure, task.mode, short.patience, short.epochs)
        fit(dataclasses.replace(task, build=build), short, SEED, split, split, watched, folder / 'logs')
    return after


def _counted(step: Callable, name: str, counts: Counter[str]) -> Callable:
    def counting(*arguments, **named):
        counts[name] += 1
        return step(*arguments, **named)

    return counting


def markdown(title: str, paces: Paces, traces: dict[str, list[int]]) -> str:
    """The table of one network, and whether it was traced more than once."""
    heads = [title, 'images/s', 'of the bare step', 'least and most', "of the pipeline's"]
    cells = [
        [
            way,
            f'{paces.median(way):,.0f}',
            f'{paces.share(way, BARE):.0%}',
            ' to '.join(f'{share:.0%}' for share in (min(paces.shares(way, BARE)), max(paces.shares(way, BARE)))),
            f'{paces.share(way, PIPELINE):.0%}',
        ]
        for way in paces.images_per_second
    ]
    train, test = traces['train_step'], traces['test_step']
    is_traced_again = train[0] < train[-1] or test[1] < test[-1]
    reached = 'reached' if paces.share(PIPELINE, BARE) >= WANTED else 'not reached'
    traced = '; '.join(f'`{name}` {", ".join(map(str, numbers))}' for name, numbers in traces.items())
    return (
        f'{table(heads, cells)}\n\nAt least {WANTED:.0%} of the bare step: {reached}. Traces after the first step and '
        f'after each epoch: {traced}; {"a step was traced again" if is_traced_again else "no step was traced again"}.'
    )


def _report(found: Rows, steps: int, rounds: int) -> Iterator[tuple[str, Paces, dict[str, list[int]]]]:
    config = load('full')
    for name, task in TASKS.items():
        settings = of(config.train, name)
        paces = measure(task, settings, found, steps, rounds)
        transform_output = tft.TFTransformOutput(found.transform[name])
        split = batches.load_split(found.files(name, faces.EVAL_SPLIT), transform_output, name)
        few = split.at(np.arange(len(split)) < TRACED_BATCHES * settings.batch_size)
        yield name, paces, count_traces(task, settings, few)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--steps', type=int, default=25, help='that are counted in each turn (25)')
    parser.add_argument('--rounds', type=int, default=7, help='turns of each way (7)')
    parser.add_argument('--folder', type=Path, default=Path('benchmarks'), help='where results lie (benchmarks)')
    options = parser.parse_args()
    found, everything = rows.prepared(options.folder / 'rows'), {}
    for name, paces, traces in _report(found, options.steps, options.rounds):
        everything[name] = {'images_per_second': paces.images_per_second, 'traces': traces}
        path = options.folder / 'training_speed.json'
        path.write_text(json.dumps({'source': found.source, **everything}, indent=1), encoding='utf-8')
        print(f'{markdown(f"{name}, {found.source}", paces, traces)}\n', flush=True)


if __name__ == '__main__':
    main()
