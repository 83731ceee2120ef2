"""Evaluates a candidate with TFMA, against the served model where there is one."""

from pathlib import Path
from typing import Any, Final

import apache_beam as beam
import tensorflow_model_analysis as tfma
from tfx import types
from tfx.components.evaluator import executor as evaluator_executor
from tfx.types import artifact_utils
from tfx.types import standard_component_specs as keys
from tfx.utils import json_utils, proto_utils

from components import faces
from components.evaluate.config import eval_config
from components.evaluate.dashboard import write_confusion_matrix, write_metrics, write_roc
from components.settings import EvaluateSettings, from_json
from components.train.fit import PREDICTIONS

SERVED_VERSION = faces.SERVED_VERSION
MODEL_RUN: Final = 'model_run'
METRICS: Final = 'metrics'
CONFUSION_MATRIX: Final = 'confusion_matrix'
ROC: Final = 'roc_micro_average'


class Executor(evaluator_executor.Executor):
    """TFX's own evaluator, with a config made from the settings and without a baseline where nothing is served."""

    def Do(  # noqa: N802
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Writes the evaluation, and the file BLESSED or NOT_BLESSED into the blessing.

        Args:
            input_dict: `examples`, `model` and `baseline_model`, whose custom property `served_version` is 0 when its
                folder holds no model, and `model_run` where a ROC curve is drawn.
            output_dict: `evaluation`, `blessing` and `metrics`; with `model_run`, `confusion_matrix` and
                `roc_micro_average`, which Kubeflow's dashboard takes as headings.
            exec_properties: `task`, and `settings` as JSON.
        """
        run = input_dict.get(MODEL_RUN)
        config = eval_config(exec_properties['task'], from_json(EvaluateSettings, exec_properties['settings']))
        super().Do(
            without_empty_baseline({key: found for key, found in input_dict.items() if key != MODEL_RUN}),
            output_dict,
            {
                keys.EVAL_CONFIG_KEY: proto_utils.proto_to_json(config),
                keys.EXAMPLE_SPLITS_KEY: json_utils.dumps([faces.EVAL_SPLIT]),
                keys.MODULE_PATH_KEY: __name__,
            },
        )
        _draw(output_dict, Path(artifact_utils.get_single_uri(run)) / PREDICTIONS if run else None)


def without_empty_baseline(inputs: dict[str, list[types.Artifact]]) -> dict[str, list[types.Artifact]]:
    """The inputs, without a baseline whose folder holds no model."""
    served = [model for model in inputs.get(keys.BASELINE_MODEL_KEY, []) if model.get_custom_property(SERVED_VERSION)]
    others = {key: artifacts for key, artifacts in inputs.items() if key != keys.BASELINE_MODEL_KEY}
    return {**others, keys.BASELINE_MODEL_KEY: served} if served else others


def _draw(outputs: dict[str, list[types.Artifact]], predictions: Path | None) -> None:
    """What Kubeflow's dashboard shows of the evaluation."""
    evaluation = Path(artifact_utils.get_single_uri(outputs[keys.EVALUATION_KEY]))
    blessing = Path(artifact_utils.get_single_uri(outputs[keys.BLESSING_KEY]))
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
