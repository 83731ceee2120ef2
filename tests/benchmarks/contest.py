"""One network's training against the clock, in a process of its own.

    python -m tests.benchmarks.contest expression ours --rows benchmarks/rows --seconds 80 --folder benchmarks/short

Prints a line of JSON a second with how far it is, and one with the figures at each evaluation; the result lies in
`<folder>/<task>-<rival>.json` in the end, the SavedModel beside it.

Training time is what the steps and their input take, from the end of the first step on, which traces the graph;
evaluations stop the clock.
"""

import argparse
import contextlib
import dataclasses
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import keras
import numpy as np
import tensorflow as tf
from sklearn import metrics

from components import faces
from components.settings import TrainSettings
from tests.benchmarks.machine import own_seconds, processor_seconds, share_of_others
from tests.benchmarks.rows import FILE_NAME, Rows

ORIGINAL, OURS = 'original', 'ours'
RIVALS: Final = (ORIGINAL, OURS)
SEED: Final = 0

WARM_UP_SHARE: Final = 0.1
"""Share of the time, at most `WARM_UP_SECONDS`, that measures the pace beforehand; it is not training time."""
WARM_UP_SECONDS: Final = 15.0

PACE_MARGIN: Final = 0.97
"""Steps that are planned, as a share of those that the pace allows: a schedule must come to its end."""

LARGEST_RISE: Final = 0.1
"""Share of the steps in which the learning rate rises, at most: the short form has few epochs."""

LATENCY_REQUESTS: Final = 200
LATENCY_WARM_UP: Final = 20
ENDLESS: Final = 1_000_000  # epochs

Tell = Callable[[dict[str, Any]], None]
"""Called with what is to be shown: `seconds` always, the figures too where there was an evaluation."""


@dataclass(frozen=True)
class Contestant:
    """A network and its training.

    Attributes:
        network: compiled.
        training: arguments of `fit`, without epochs.
        epochs: for `fit`; the clock may end it earlier.
        batch_size: images in a step.
        rows: images that an epoch trains on, copies of rows included.
        predict: from nothing to probabilities `[n, 5]` or points `[n, 15, 2]` in pixels, on the eval split.
        truth: int64 `[n]` classes or float32 `[n, 15, 2]` points in pixels, NaN where missing.
        export: writes the SavedModel into a folder.
        callbacks: of `fit`.
    """

    network: keras.Model
    training: dict[str, Any]
    epochs: int
    batch_size: int
    rows: int
    predict: Callable[[], np.ndarray]
    truth: np.ndarray
    export: Callable[[Path], None]
    callbacks: list[keras.callbacks.Callback] = field(default_factory=list)


@dataclass(frozen=True)
class Result:
    """What became of one network.

    Attributes:
        task: `expression` or `keypoints`.
        rival: `original` or `ours`.
        source: which rows.
        training_rows, evaluation_rows: how many.
        allowed: seconds of training that were allowed.
        seconds: seconds of training.
        images_per_second: over the whole training.
        epochs: passes over what was trained on.
        schedule: share of the learning rate's schedule that the training came through; 1 where it has none.
        curve: figures by seconds of training.
        parameters: numbers in the network, those of batch normalisation included.
        megabytes: of the SavedModel, in 10^6 bytes.
        latency: median milliseconds of an answer to one image, through the SavedModel, PNG bytes to answer.
        others: share of the processor, 0..1, that other processes took meanwhile.
    """

    task: str
    rival: str
    source: str
    training_rows: int
    evaluation_rows: int
    allowed: float
    seconds: float
    images_per_second: float
    epochs: float
    schedule: float
    curve: list[dict[str, float]]
    parameters: int
    megabytes: float
    latency: float
    others: float


class Clock(keras.callbacks.Callback):
    """Counts training time, evaluates at even intervals of it and ends the training when the time is over.

    Args:
        seconds: of training, after the first step.
        evaluate: gives the figures.
        evaluations: how many, the last one at the end of the training.
        tell: is told of the progress.
        now: gives the time, in seconds.
    """

    def __init__(
        self,
        seconds: float,
        evaluate: Callable[[], dict[str, float]] = dict,
        evaluations: int = 0,
        tell: Tell = lambda progress: None,
        now: Callable[[], float] = time.perf_counter,
    ):
        super().__init__()
        self.seconds, self.steps = 0.0, 0
        self.curve: list[dict[str, float]] = []
        self._allowed, self._evaluate, self._evaluations, self._tell = seconds, evaluate, evaluations, tell
        self._now = now
        self._resumed: float | None = None
        self._told = 0.0

    def on_train_batch_end(self, batch, logs=None):
        now = self._now()
        if self._resumed is None:
            self._resumed = now
            return
        self.seconds += now - self._resumed
        self.steps += 1
        if self.seconds >= self._allowed:
            self.model.stop_training = True
        elif self.seconds >= self._allowed * (len(self.curve) + 1) / max(1, self._evaluations):
            self._take_figures()
        elif self.seconds >= self._told + 1.0:
            self._told = self.seconds
            self._tell({'seconds': self.seconds})
        self._resumed = self._now()

    def on_train_end(self, logs=None):
        if self._evaluations:
            self._take_figures()

    def _take_figures(self) -> None:
        self._told = self.seconds
        self.curve.append({'seconds': self.seconds, **self._evaluate()})
        self._tell(self.curve[-1])


def original(task: str, rows: Rows) -> Contestant:
    """The original's network and training; see `originals`."""
    from tests.benchmarks import originals

    keras.utils.set_random_seed(SEED)
    training = originals.training(*originals.load_split(rows.files(task, faces.TRAIN_SPLIT), task), task, SEED)
    pixels, truth = originals.load_split(rows.files(task, faces.EVAL_SPLIT), task)
    network = originals.NETWORKS[task]()

    def form(values: np.ndarray) -> np.ndarray:
        return values.reshape(-1, len(faces.KEYPOINTS), 2) if task == faces.KEYPOINT_MODEL else values

    return Contestant(
        network=network,
        training=training,
        epochs=ENDLESS,
        batch_size=originals.BATCH_SIZES[task],
        rows=len(training['x']) if task == faces.KEYPOINT_MODEL else training['x'].n,
        predict=lambda: form(network.predict(pixels, batch_size=256, verbose=0)),
        truth=form(truth),
        export=lambda folder: originals.save(network, task, folder),
    )


def ours(task: str, rows: Rows, seconds: float) -> Contestant:
    """The pipeline's network with `full`'s settings; the pace is measured first, with a network that is thrown away."""
    import tensorflow_transform as tft

    from components.train import batches, expression, keypoints
    from components.train.average import WeightAverage
    from components.train.export import save
    from components.train.fit import finish, optimizer, precision
    from components.train.network import averaged_over_mirror
    from pipeline.config import load, of

    settings = of(load('full').train, task)
    described = {faces.EXPRESSION_MODEL: expression.TASK, faces.KEYPOINT_MODEL: keypoints.TASK}[task]
    transform_output = tft.TFTransformOutput(rows.transform[task])
    training = batches.load_split(rows.files(task, faces.TRAIN_SPLIT), transform_output, task)
    percent = settings.calibration_percent if described.has_probabilities else 0.0
    training, calibration = batches.hold_out(training, percent)
    evaluation = batches.load_split(rows.files(task, faces.EVAL_SPLIT), transform_output, task)
    epoch_steps = batches.training_steps(training, settings)

    def compiled(planned: TrainSettings, steps: int) -> keras.Model:
        keras.utils.set_random_seed(SEED)
        with precision(settings):
            network = described.build(settings)
        network.compile(
            optimizer(planned, steps), described.loss(settings), metrics=[described.metric()], jit_compile=False
        )
        return network

    # One long epoch, so that the end of a schedule need not be the end of a pass.
    endless = dataclasses.replace(settings, epochs=ENDLESS)
    stream = batches.training_batches(training, endless, SEED, 0, described.encode)
    warm_up = Clock(min(WARM_UP_SECONDS, WARM_UP_SHARE * seconds))
    compiled(settings, epoch_steps).fit(stream, epochs=1, callbacks=[warm_up], verbose=0)
    steps = planned_steps(warm_up.steps / warm_up.seconds, seconds)

    network = compiled(one_epoch(settings, epoch_steps, steps), steps)
    # A temperature changes no figure that is taken here; what is exported has one.
    answering = averaged_over_mirror(network, described.mirror_answer) if settings.average_mirror else network

    average = WeightAverage(settings.average_epochs, epoch_steps) if settings.average_epochs else None
    averaged = contextlib.nullcontext if average is None else average.applied

    def predict() -> np.ndarray:
        with averaged():
            return described.decode(answering.predict(evaluation.pixels, batch_size=256, verbose=0))

    def export(folder: Path) -> None:
        with averaged():
            finished, _ = finish(described, [network], settings, training.truth, calibration)
            save(described.export(finished, transform_output), folder)

    return Contestant(
        network=network,
        training={'x': stream, 'steps_per_epoch': steps},
        epochs=1,
        batch_size=settings.batch_size,
        rows=len(training),
        predict=predict,
        truth=described.to_truth(evaluation.truth),
        export=export,
        callbacks=[] if average is None else [average],
    )


def planned_steps(steps_per_second: float, seconds: float) -> int:
    """Steps of a training that is to end within the time, the first one, which is not counted, included."""
    return 1 + max(1, int(PACE_MARGIN * steps_per_second * seconds))


def one_epoch(settings: TrainSettings, epoch_steps: int, steps: int) -> TrainSettings:
    """The settings with which `fit.optimizer` gives a schedule over this many steps, as one epoch.

    The learning rate rises over as many steps as the settings say, but no longer than `LARGEST_RISE` of them all.

    Args:
        settings: of the pipeline.
        epoch_steps: in an epoch of those.
        steps: of the whole training.
    """
    rise = min(settings.warmup_epochs * epoch_steps / steps, LARGEST_RISE)
    return dataclasses.replace(settings, epochs=1, warmup_epochs=rise)


def expression_figures(truth: np.ndarray, probabilities: np.ndarray) -> dict[str, float]:
    """Accuracy and macro F1."""
    predicted, classes = probabilities.argmax(axis=1), range(len(faces.EXPRESSIONS))
    return {
        'accuracy': float(metrics.accuracy_score(truth, predicted)),
        'macro_f1': float(metrics.f1_score(truth, predicted, average='macro', labels=classes, zero_division=0)),
    }


def keypoint_figures(truth: np.ndarray, points: np.ndarray) -> dict[str, float]:
    """Root mean squared error over the known coordinates, in px of the 96x96 image."""
    return {'rmse': float(np.sqrt(np.nanmean(np.square(truth - points))))}


FIGURES: Final = {faces.EXPRESSION_MODEL: expression_figures, faces.KEYPOINT_MODEL: keypoint_figures}


def median_latency(folder: Path, images: Sequence[bytes]) -> float:
    """Median milliseconds from one encoded image to the answer, through the SavedModel."""
    answer = tf.saved_model.load(str(folder)).signatures[faces.SERVING_SIGNATURE]
    took = []
    for number in range(LATENCY_WARM_UP + LATENCY_REQUESTS):
        began = time.perf_counter()
        answers = answer(**{faces.SERVING_INPUT: tf.constant([images[number % len(images)]])})
        for value in answers.values():
            value.numpy()
        took.append(time.perf_counter() - began)
    return 1e3 * float(np.median(took[LATENCY_WARM_UP:]))


def compete(task: str, rival: str, rows: Rows, seconds: float, evaluations: int, folder: Path, tell: Tell) -> Result:
    """Trains, exports and measures; the SavedModel stays in the folder."""
    whole, own, began = processor_seconds(), own_seconds(), time.perf_counter()
    contestant = original(task, rows) if rival == ORIGINAL else ours(task, rows, seconds)
    clock = Clock(seconds, lambda: FIGURES[task](contestant.truth, contestant.predict()), evaluations, tell)
    contestant.network.fit(
        **contestant.training, epochs=contestant.epochs, callbacks=[*contestant.callbacks, clock], verbose=0
    )
    exported = folder / f'{task}-{rival}'
    contestant.export(exported)
    images = clock.steps * contestant.batch_size
    latency = median_latency(exported, _images(rows.files(task, faces.EVAL_SPLIT)))
    others = share_of_others(processor_seconds() - whole, own_seconds() - own, time.perf_counter() - began)
    return Result(
        task=task,
        rival=rival,
        source=rows.source,
        training_rows=_count(rows.files(task, faces.TRAIN_SPLIT)),
        evaluation_rows=len(contestant.truth),
        allowed=seconds,
        seconds=clock.seconds,
        images_per_second=images / clock.seconds,
        epochs=images / contestant.rows,
        # The first step is not counted.
        schedule=(clock.steps + 1) / contestant.training['steps_per_epoch'] if rival == OURS else 1.0,
        curve=clock.curve,
        parameters=contestant.network.count_params(),
        megabytes=sum(path.stat().st_size for path in exported.rglob('*') if path.is_file()) / 1e6,
        latency=latency,
        others=others,
    )


def write(result: Result, folder: Path) -> None:
    """Writes the result, whole or not at all."""
    staged = folder / f'.{result.task}-{result.rival}.json'
    staged.write_text(json.dumps(dataclasses.asdict(result), indent=1), encoding='utf-8')
    staged.replace(folder / f'{result.task}-{result.rival}.json')


def _records(patterns: list[str]) -> tf.data.TFRecordDataset:
    names = sorted(name for pattern in patterns for name in tf.io.gfile.glob(pattern))
    return tf.data.TFRecordDataset(names, compression_type='GZIP')


def _count(patterns: list[str]) -> int:
    return sum(1 for _ in _records(patterns))


def _images(patterns: list[str]) -> list[bytes]:
    """The encoded images of a few rows."""
    few = _records(patterns).take(LATENCY_WARM_UP).as_numpy_iterator()
    return [tf.train.Example.FromString(record).features.feature[faces.IMAGE].bytes_list.value[0] for record in few]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('task', choices=faces.TASKS)
    parser.add_argument('rival', choices=RIVALS)
    parser.add_argument('--rows', type=Path, required=True)
    parser.add_argument('--seconds', type=float, required=True)
    parser.add_argument('--evaluations', type=int, default=5)
    parser.add_argument('--folder', type=Path, required=True)
    options = parser.parse_args()
    rows = Rows(**json.loads((options.rows / FILE_NAME).read_text(encoding='utf-8')))
    write(
        compete(
            options.task,
            options.rival,
            rows,
            options.seconds,
            options.evaluations,
            options.folder,
            lambda progress: print(json.dumps(progress), flush=True),
        ),
        options.folder,
    )


if __name__ == '__main__':
    main()
