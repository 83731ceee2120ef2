"""The stages of the pipeline that read every row, each by its own executor, on drawn faces.

A stage leaves what the next one reads in the folder of its task and number of rows.
"""

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from components import faces
from components.settings import EvaluateSettings, Gate, IngestSettings, TrainSettings, to_json
from pipeline.beam.settings import BeamSettings, to_flags
from tests.benchmarks.machine import own_seconds

FORMS: Final = {faces.EXPRESSION_MODEL: 'expressions', faces.KEYPOINT_MODEL: 'keypoints'}
"""By task, the form in which its faces are drawn."""

DRAW, NOTEBOOK, INGEST = 'draw', 'notebook', 'ingest'
STATISTICS, TRANSFORM, EVALUATOR = 'statistics', 'transform', 'evaluator'

_GATES: Final = {faces.EXPRESSION_MODEL: {'accuracy': Gate(0.0)}, faces.KEYPOINT_MODEL: {'rmse': Gate(maximum=1e9)}}
_SMALL: Final = TrainSettings(widths=(16,), blocks=(1,))


@dataclass(frozen=True)
class Place:
    """Where a stage finds its rows and leaves what it makes.

    Attributes:
        task: `faces.EXPRESSION_MODEL` or `faces.KEYPOINT_MODEL`.
        rows: how many faces.
        folder: of this task and number of rows.
        model: folder of the model that is evaluated.
        rows_per_file: of the drawn files.
    """

    task: str
    rows: int
    folder: Path
    model: Path
    rows_per_file: int

    @property
    def tables(self) -> str:
        """Pattern of the drawn files."""
        return str(self.folder / 'drawn' / '*.csv.gz')


@dataclass(frozen=True)
class Spent:
    """What a stage took, imports excepted.

    Attributes:
        rows: those that it read or drew.
        wall: seconds.
        processor: seconds of user and system, ended children included.
    """

    rows: int
    wall: float
    processor: float


def measure(stage: str, place: Place) -> Spent:
    """Runs a stage in this process."""
    work, rows = STAGES[stage](place)
    wall, processor = time.perf_counter(), own_seconds()
    done = work()
    return Spent(rows if done is None else done, time.perf_counter() - wall, own_seconds() - processor)


# Each of these prepares what is not to be measured, and returns the work and how many rows it is about.
Work = tuple[Callable[[], int | None], int]


def _draw(place: Place) -> Work:
    from data.files import draw_files

    there: list[int] = []

    def work() -> int:
        draw_files(FORMS[place.task], place.folder / 'drawn', place.rows, 0, place.rows_per_file, progress=there.append)
        return place.rows - there[0]  # what an earlier, stopped drawing left is not drawn again

    return work, place.rows


def _notebook(place: Place) -> Work:
    """The rival of ingest: the table whole, then its pixels row by row, and nothing more."""
    import numpy as np
    import pandas as pd

    column, size = ' pixels', faces.EXPRESSION_SIZE
    if place.task == faces.KEYPOINT_MODEL:
        column, size = 'Image', faces.KEYPOINT_SIZE

    def work() -> int:
        files = sorted(Path(place.tables).parent.glob(Path(place.tables).name))
        table = pd.concat([pd.read_csv(path) for path in files])
        table[column] = [np.fromstring(text, np.uint8, sep=' ').reshape(size, size) for text in table[column]]
        return len(table)

    return work, place.rows


def _ingest(place: Place) -> Work:
    from components.ingest.executor import Executor

    split = 'usage' if place.task == faces.EXPRESSION_MODEL else 'hash'
    settings = IngestSettings(files=(place.tables,), split=split)
    outputs = {'examples': [_examples(place, emptied=True)], 'rejects': [_artifact('Rejects', place, emptied=True)]}
    properties = {'task': place.task, 'settings': to_json(settings), 'code': '', 'data': ''}
    executor = _made(Executor, place)
    return lambda: executor.Do({}, outputs, properties), place.rows


def _statistics(place: Place) -> Work:
    from tfx.types import channel_utils

    from components.validate.statistics import FaceStatistics

    inputs = {'examples': [_examples(place)], 'schema': [_schema(place)]}
    step = FaceStatistics(**{name: channel_utils.as_channel(found) for name, found in inputs.items()})
    outputs = {'statistics': [_artifact('ExampleStatistics', place, emptied=True)]}
    executor = _made(step.executor_spec.executor_class, place)
    return lambda: executor.Do(inputs, outputs, step.exec_properties), _kept(place, *faces.SPLITS)


def _transform(place: Place) -> Work:
    from tfx.types import channel_utils

    from components.transform.component import configuration, transform

    inputs = {'examples': [_examples(place)], 'schema': [_schema(place)]}
    channels = [channel_utils.as_channel(found) for found in inputs.values()]
    step = transform(place.task, *channels, configuration(_training(place.task)))
    outputs = {'transform_graph': [_artifact('TransformGraph', place, emptied=True)]}
    executor = _made(step.executor_spec.executor_class, place)
    return lambda: executor.Do(inputs, outputs, step.exec_properties), _kept(place, faces.TRAIN_SPLIT)


def _evaluator(place: Place) -> Work:
    from tfx.types import standard_artifacts

    from components.dashboard import Metrics
    from components.evaluate.executor import SERVED_VERSION, Executor

    if not place.model.exists():
        write_model(place)
    model, nothing = standard_artifacts.Model(), standard_artifacts.Model()
    model.uri, nothing.uri = str(place.model), str(place.model / 'nothing')
    nothing.set_int_custom_property(SERVED_VERSION, 0)
    inputs = {'examples': [_examples(place)], 'model': [model], 'baseline_model': [nothing]}
    outputs = {
        'evaluation': [_artifact('ModelEvaluation', place, emptied=True)],
        'blessing': [_artifact('ModelBlessing', place, emptied=True)],
        'metrics': [Metrics()],
    }
    settings = EvaluateSettings(gates=_GATES[place.task])
    properties = {'task': place.task, 'settings': to_json(settings), 'code': ''}
    executor = _made(Executor, place)
    return lambda: executor.Do(inputs, outputs, properties), _kept(place, faces.EVAL_SPLIT)


STAGES: Final[dict[str, Callable[[Place], Work]]] = {
    DRAW: _draw,
    NOTEBOOK: _notebook,
    INGEST: _ingest,
    STATISTICS: _statistics,
    TRANSFORM: _transform,
    EVALUATOR: _evaluator,
}
"""In the order in which they run."""


def write_model(place: Place) -> None:
    """Exports a small network that was never trained: what it answers takes as long as what a trained one does."""
    import tensorflow_transform as tft

    from components.train.export import ExpressionModel, KeypointModel, save
    from components.train.network import expression_network, keypoint_network

    is_expression = place.task == faces.EXPRESSION_MODEL
    build, export = (expression_network, ExpressionModel) if is_expression else (keypoint_network, KeypointModel)
    transformed = tft.TFTransformOutput(str(place.folder / 'TransformGraph'))
    partial = place.model.with_suffix('.part')
    shutil.rmtree(partial, ignore_errors=True)
    save(export(build(_training(place.task)), transformed), partial / 'Format-Serving')
    partial.rename(place.model)


def _training(task: str) -> TrainSettings:
    size = faces.EXPRESSION_SIZE if task == faces.EXPRESSION_MODEL else faces.KEYPOINT_SIZE
    return TrainSettings(image_size=size, widths=_SMALL.widths, blocks=_SMALL.blocks)


def _made(executor_class: type, place: Place) -> Any:
    temporary = place.folder / 'temporary'
    return executor_class(
        executor_class.Context(beam_pipeline_args=list(to_flags(BeamSettings())), tmp_dir=str(temporary), unique_id='1')
    )


def _examples(place: Place, emptied: bool = False) -> Any:
    from tfx.types import artifact_utils

    examples = _artifact('Examples', place, emptied)
    examples.split_names = artifact_utils.encode_split_names(list(faces.SPLITS))
    examples.set_string_custom_property('payload_format', 'FORMAT_TF_EXAMPLE')
    return examples


def _artifact(kind: str, place: Place, emptied: bool = False) -> Any:
    from tfx.types import standard_artifacts

    from components.ingest.artifacts import Rejects

    artifact = Rejects() if kind == 'Rejects' else getattr(standard_artifacts, kind)()
    folder = place.folder / kind
    if emptied:
        shutil.rmtree(folder, ignore_errors=True)
    artifact.uri = str(folder)
    return artifact


def _schema(place: Place) -> Any:
    from components.validate.packaged_schema import Executor

    schema = _artifact('Schema', place, emptied=True)
    Executor().Do({}, {'schema': [schema]}, {'task': place.task})
    return schema


def _kept(place: Place, *splits: str) -> int:
    """Rows of these splits, as ingest counted them."""
    from components.ingest.rejects import read_summary

    kept = read_summary(place.folder / 'Rejects').kept
    return sum(kept[split] for split in splits)
