"""Evaluates a candidate with TFMA, against the served model where there is one."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import apache_beam as beam
import tensorflow_model_analysis as tfma
from tfx import types
from tfx.components.evaluator import constants
from tfx.components.evaluator import executor as evaluator_executor
from tfx.types import artifact_utils
from tfx.types import standard_component_specs as keys
from tfx.utils import json_utils, path_utils, proto_utils

from components import faces
from components.behaviour.results import read_behaviour
from components.evaluate.bootstrap import bootstrap
from components.evaluate.config import eval_config, slice_features
from components.evaluate.dashboard import write_confusion_matrix, write_metrics, write_roc
from components.evaluate.metrics import BASELINE, CANDIDATE
from components.evaluate.results import read_verdicts, write_intervals
from components.evaluate.rows import Rows, read_rows
from components.settings import EvaluateSettings, from_json
from components.storage.files import LocalFiles
from components.train.fit import PREDICTIONS

SERVED_VERSION = faces.SERVED_VERSION
MODEL_RUN: Final = 'model_run'
BEHAVIOUR: Final = 'behaviour'
METRICS: Final = 'metrics'
CONFUSION_MATRIX: Final = 'confusion_matrix'
ROC: Final = 'roc_micro_average'


class Executor(evaluator_executor.Executor):
    """TFX's own evaluator, with intervals, and a comparison with the served model that knows of them."""

    def Do(  # noqa: N802
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Writes the evaluation, and the file BLESSED or NOT_BLESSED into the blessing.

        Args:
            input_dict: `examples`, `model` and `baseline_model`, whose custom property `served_version` is 0 when its
                folder holds no model; `model_run` where a ROC curve is drawn; `behaviour`, where the candidate's was
                tested.
            output_dict: `evaluation`, `blessing` and `metrics`; with `model_run`, `confusion_matrix` and
                `roc_micro_average`, which Kubeflow's dashboard takes as headings.
            exec_properties: `task`, and `settings` as JSON.
        """
        run = input_dict.get(MODEL_RUN)
        task, settings = exec_properties['task'], from_json(EvaluateSettings, exec_properties['settings'])
        own = (MODEL_RUN, BEHAVIOUR)  # TFX's evaluator does not know of them
        inputs = without_empty_baseline({key: found for key, found in input_dict.items() if key not in own})
        super().Do(
            inputs,
            output_dict,
            {
                keys.EVAL_CONFIG_KEY: proto_utils.proto_to_json(eval_config(task, settings)),
                keys.EXAMPLE_SPLITS_KEY: json_utils.dumps([faces.EVAL_SPLIT]),
                keys.MODULE_PATH_KEY: __name__,
            },
        )
        with LocalFiles() as files:
            evaluation = files.edit(artifact_utils.get_single_uri(output_dict[keys.EVALUATION_KEY]))
            write_intervals(evaluation, bootstrap(task, _read_rows(inputs, task, settings, files)))
            blessing = artifact_utils.get_single_instance(output_dict[keys.BLESSING_KEY])
            blessed = files.edit(blessing.uri)
            bless(
                blessing,
                blessed,
                [*(verdict.passed for verdict in read_verdicts(evaluation, settings)), _behaves(input_dict, files)],
            )
            predictions = files.read(artifact_utils.get_single_uri(run), PREDICTIONS) / PREDICTIONS if run else None
            _draw(output_dict, evaluation, blessed, predictions)
            for shown in (METRICS, CONFUSION_MATRIX, ROC):
                for artifact in output_dict.get(shown, []):
                    files.write(artifact.uri)  # has properties alone


def without_empty_baseline(inputs: dict[str, list[types.Artifact]]) -> dict[str, list[types.Artifact]]:
    """The inputs, without a baseline whose folder holds no model."""
    served = [model for model in inputs.get(keys.BASELINE_MODEL_KEY, []) if model.get_custom_property(SERVED_VERSION)]
    others = {key: artifacts for key, artifacts in inputs.items() if key != keys.BASELINE_MODEL_KEY}
    return {**others, keys.BASELINE_MODEL_KEY: served} if served else others


def bless(blessing: types.Artifact, folder: Path, passed: Iterable[bool]) -> None:
    """Lets TFMA's blessing, which knows of the fixed bounds alone, stand only where everything passed.

    Args:
        blessing: the artifact as TFX's evaluator left it.
        folder: its own.
        passed: of each verdict, whether it did.
    """
    blessed = folder / constants.BLESSED_FILE_NAME
    if blessed.exists() and not all(passed):
        blessed.rename(blessed.with_name(constants.NOT_BLESSED_FILE_NAME))
        blessing.set_int_custom_property(constants.ARTIFACT_PROPERTY_BLESSED_KEY, constants.NOT_BLESSED_VALUE)


def _behaves(inputs: dict[str, list[types.Artifact]], files: LocalFiles) -> bool:
    """Whether the candidate passed its behaviour tests, where there were any."""
    return all(read_behaviour(files.read(found.uri)).passed for found in inputs.get(BEHAVIOUR, []))


def _read_rows(
    inputs: dict[str, list[types.Artifact]], task: str, settings: EvaluateSettings, files: LocalFiles
) -> Rows:
    """The eval rows with the answers of the candidate and, where it is among the inputs, of the baseline."""
    splits = artifact_utils.get_split_uris(inputs[keys.EXAMPLES_KEY], faces.EVAL_SPLIT)
    models = {
        name: Path(path_utils.serving_model_path(str(files.read(artifact_utils.get_single_uri(inputs[key])))))
        for name, key in ((CANDIDATE, keys.MODEL_KEY), (BASELINE, keys.BASELINE_MODEL_KEY))
        if key in inputs
    }
    examples = [str(file) for split in splits for file in sorted(files.read(split).iterdir())]
    return read_rows(examples, task, slice_features(task, settings), models, settings.batch_size)


def _draw(outputs: dict[str, list[types.Artifact]], evaluation: Path, blessing: Path, predictions: Path | None) -> None:
    """What Kubeflow's dashboard shows of the evaluation."""
    write_metrics(artifact_utils.get_single_instance(outputs[METRICS]), evaluation, blessing)
    if predictions is not None:
        write_confusion_matrix(artifact_utils.get_single_instance(outputs[CONFUSION_MATRIX]), evaluation)
        write_roc(artifact_utils.get_single_instance(outputs[ROC]), predictions)


def custom_extractors(
    eval_shared_model: Any, eval_config: tfma.EvalConfig, tensor_adapter_config: Any
) -> list[tfma.extractors.Extractor]:
    """TFMA's extractors, on batches no larger than the settings say; TFX's evaluator calls this by its name.

    Left to itself, TFMA would predict on up to 1,000 images at once. Naming the prediction extractor also keeps TFMA
    from running a Transform layer that it finds in the model, whose results nobody needs.
    """
    batch_size = eval_config.model_specs[0].inference_batch_size
    return [
        tfma.extractors.Extractor('LimitBatches', beam.FlatMap(split_batch, batch_size)),
        *tfma.default_extractors(
            eval_shared_model=eval_shared_model,
            eval_config=eval_config,
            tensor_adapter_config=tensor_adapter_config,
            custom_predict_extractor=tfma.extractors.PredictionsExtractor(eval_config, eval_shared_model),
        ),
    ]


def split_batch(extracts: tfma.Extracts, batch_size: int) -> list[tfma.Extracts]:
    """The extracts of one record batch as extracts of at most `batch_size` records each, in the same order."""
    records = extracts[tfma.ARROW_RECORD_BATCH_KEY]
    return [
        {**extracts, tfma.ARROW_RECORD_BATCH_KEY: records.slice(start, batch_size)}
        for start in range(0, records.num_rows, batch_size)
    ]
