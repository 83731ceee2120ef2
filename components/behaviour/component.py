"""BehaviourTest: asks a candidate about changed and drawn faces, and says whether it answers as a good model must."""

from typing import Any, Final

import numpy as np
import tensorflow as tf
from absl import logging
from tfx import types
from tfx.dsl.components.base import base_component, base_executor, executor_spec
from tfx.types import artifact_utils, component_spec, standard_artifacts
from tfx.utils import path_utils

from components import faces
from components.behaviour.artifacts import Behaviour
from components.behaviour.drawn import draw_extremes
from components.behaviour.examine import Ask, examine
from components.behaviour.results import describe, write_behaviour
from components.behaviour.sample import read_sample
from components.properties import Text
from components.settings import ExpressionBehaviour, KeypointBehaviour, from_json
from components.source import fingerprint
from components.storage.files import LocalFiles

SETTINGS: Final[dict[str, type[ExpressionBehaviour | KeypointBehaviour]]] = {
    faces.EXPRESSION_MODEL: ExpressionBehaviour,
    faces.KEYPOINT_MODEL: KeypointBehaviour,
}
OUTPUTS: Final = {faces.EXPRESSION_MODEL: faces.PROBABILITIES, faces.KEYPOINT_MODEL: faces.KEYPOINTS_OUTPUT}
BATCH_SIZE: Final = 128


class BehaviourTestSpec(component_spec.ComponentSpec):
    PARAMETERS = {
        'task': component_spec.ExecutionParameter(type=str),
        'settings': component_spec.ExecutionParameter(type=str),
        'code': component_spec.ExecutionParameter(type=str),
    }
    INPUTS = {
        'examples': component_spec.ChannelParameter(type=standard_artifacts.Examples),
        'model': component_spec.ChannelParameter(type=standard_artifacts.Model),
    }
    OUTPUTS = {'behaviour': component_spec.ChannelParameter(type=Behaviour)}


class Executor(base_executor.BaseExecutor):
    """Asks, measures, and writes what was found; a model that misses a limit does not fail the run."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        task = exec_properties['task']
        settings = from_json(SETTINGS[task], exec_properties['settings'])
        artifact = artifact_utils.get_single_instance(output_dict['behaviour'])
        with LocalFiles() as files:
            examples = files.read(artifact_utils.get_single_uri(input_dict['examples']), f'Split-{faces.EVAL_SPLIT}/')
            model = path_utils.serving_model_path(str(files.read(artifact_utils.get_single_uri(input_dict['model']))))
            sample = read_sample(examples, task, settings.faces)
            behaviour = examine(task, sample, draw_extremes(task, settings.seed), load(model, task), settings)
            write_behaviour(files.write(artifact.uri), behaviour)
        artifact.set_int_custom_property('passed', int(behaviour.passed))
        for outcome in behaviour.missed:
            logging.warning('%s %s', task, describe(outcome))


class BehaviourTest(base_component.BaseComponent):
    """Tests what a candidate must bear and what it must know; the Evaluator blesses none that does not pass.

    Args:
        task: `expression` or `keypoints`.
        examples: channel of the Examples, of whose eval split some are changed.
        model: channel of the candidate.
        settings: limits, number of faces and seed, an ExpressionBehaviour or a KeypointBehaviour as JSON.
    """

    SPEC_CLASS = BehaviourTestSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)

    def __init__(self, task: str, examples: types.BaseChannel, model: types.BaseChannel, settings: Text):
        super().__init__(
            BehaviourTestSpec(
                task=task,
                settings=settings,
                code=fingerprint('behaviour'),
                examples=examples,
                model=model,
                behaviour=types.Channel(type=Behaviour),
            )
        )


def load(model: str, task: str) -> Ask:
    """The SavedModel at this path, ready to be asked about encoded images, in batches of `BATCH_SIZE`."""
    signature = tf.saved_model.load(model).signatures[faces.SERVING_SIGNATURE]

    def ask(images: list[bytes]) -> np.ndarray:
        batches = [images[start : start + BATCH_SIZE] for start in range(0, len(images), BATCH_SIZE)]
        answers = [signature(**{faces.SERVING_INPUT: tf.constant(batch)})[OUTPUTS[task]] for batch in batches]
        return np.concatenate(answers)

    return ask
