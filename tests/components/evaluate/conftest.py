"""Real models, Examples and runs of the evaluator, as small as they get."""

import dataclasses
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from components import faces
from components.settings import EvaluateSettings, to_json

os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '2')

BEAM = ['--direct_running_mode=in_memory', '--direct_num_workers=1']


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """The folders that one run of the evaluator wrote."""

    evaluation: Path
    blessing: Path


@pytest.fixture(scope='session')
def save_model() -> Callable[..., Path]:
    """Saves, as `Format-Serving`, a model whose answer to an Example is one of the Example's own features.

    To a batch that is larger than `largest_batch` it answers NaN.
    """
    import tensorflow as tf

    class Echo(tf.Module):
        def __init__(self, feature: str, shape: tuple[int, ...], output: str, largest_batch: int):
            super().__init__()
            self._feature, self._shape, self._output, self._largest = feature, shape, output, largest_batch

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name='examples')])
        def serve(self, examples):
            parsed = tf.io.parse_example(examples, {self._feature: tf.io.FixedLenFeature(self._shape, tf.float32)})
            return {self._output: tf.where(tf.shape(examples)[0] <= self._largest, parsed[self._feature], np.nan)}

    def save(folder: Path, feature: str, shape: tuple[int, ...], output: str, largest_batch: int = 10_000) -> Path:
        model = Echo(feature, shape, output, largest_batch)
        serving = folder / 'Format-Serving'
        tf.saved_model.save(model, str(serving), signatures={faces.EXAMPLES_SIGNATURE: model.serve})
        return folder

    return save


@pytest.fixture(scope='session')
def write_examples() -> Callable[[Path, dict[str, np.ndarray]], Path]:
    """Writes arrays, one row an Example, as the eval split; the train split is unreadable, as nobody may read it.

    What says where a row comes from is added where it is missing, every row another person's.
    """
    import tensorflow as tf

    def to_feature(value) -> tf.train.Feature:
        values = np.atleast_1d(value)
        if values.dtype.kind == 'f':
            return tf.train.Feature(float_list=tf.train.FloatList(value=values))
        if values.dtype.kind in 'iu':
            return tf.train.Feature(int64_list=tf.train.Int64List(value=values))
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=[str(text).encode() for text in values]))

    def write(folder: Path, columns: dict[str, np.ndarray]) -> Path:
        for split in faces.SPLITS:
            (folder / f'Split-{split}').mkdir(parents=True)
        (folder / 'Split-train' / 'data_tfrecord-00000-of-00001.gz').write_bytes(b'not to be read')
        path = folder / 'Split-eval' / 'data_tfrecord-00000-of-00001.gz'
        numbers = np.arange(len(next(iter(columns.values()))))
        origin = {
            faces.CONTENT_HASH: numbers.astype(str),
            faces.SOURCE: np.full(len(numbers), 'a.csv'),
            faces.ROW: numbers,
        }
        columns = {**origin, faces.GROUP: columns.get(faces.CONTENT_HASH, origin[faces.CONTENT_HASH]), **columns}
        with tf.io.TFRecordWriter(str(path), 'GZIP') as writer:
            for row in zip(*columns.values(), strict=True):
                features = {name: to_feature(value) for name, value in zip(columns, row, strict=True)}
                writer.write(tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString())
        return folder

    return write


@pytest.fixture(scope='session')
def evaluate() -> Callable[..., Evaluation]:
    """Runs the step's executor as TFX does; no baseline means one whose `served_version` is 0."""
    from tfx.types import artifact_utils, standard_artifacts

    from components.dashboard import Metrics
    from components.evaluate.executor import SERVED_VERSION, Executor

    def run(
        folder: Path, task: str, examples: Path, model: Path, settings: EvaluateSettings, baseline: Path | None = None
    ) -> Evaluation:
        served = standard_artifacts.Model()
        served.uri = str(baseline or folder / 'nothing served')
        served.set_int_custom_property(SERVED_VERSION, 7 if baseline else 0)
        candidate, data = standard_artifacts.Model(), standard_artifacts.Examples()
        candidate.uri, data.uri = str(model), str(examples)
        data.split_names = artifact_utils.encode_split_names(list(faces.SPLITS))
        evaluation, blessing = standard_artifacts.ModelEvaluation(), standard_artifacts.ModelBlessing()
        evaluation.uri, blessing.uri = str(folder / 'evaluation'), str(folder / 'blessing')
        Executor(Executor.Context(beam_pipeline_args=BEAM, tmp_dir=str(folder / 'temporary'), unique_id='1')).Do(
            {'examples': [data], 'model': [candidate], 'baseline_model': [served]},
            {'evaluation': [evaluation], 'blessing': [blessing], 'metrics': [Metrics()]},
            {'task': task, 'settings': to_json(settings), 'code': ''},
        )
        return Evaluation(Path(evaluation.uri), Path(blessing.uri))

    return run
