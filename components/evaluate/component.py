"""FaceEvaluator: judges a candidate by its figures on the eval split and blesses it if it passes every gate."""

from tfx import types
from tfx.dsl.components.base.base_beam_component import BaseBeamComponent
from tfx.dsl.components.base.executor_spec import BeamExecutorSpec
from tfx.types import standard_artifacts
from tfx.types import standard_component_specs as keys
from tfx.types.component_spec import ChannelParameter, ComponentSpec, ExecutionParameter

from components import faces
from components.behaviour.artifacts import Behaviour
from components.dashboard import ClassificationMetrics, Metrics
from components.evaluate.executor import BEHAVIOUR, CONFUSION_MATRIX, METRICS, MODEL_RUN, ROC, Executor
from components.properties import Text
from components.source import fingerprint


class FaceEvaluatorSpec(ComponentSpec):
    """The inputs and outputs of TFX's Evaluator, and what Kubeflow's dashboard draws of them."""

    PARAMETERS = {
        'task': ExecutionParameter(type=str),
        'settings': ExecutionParameter(type=str),
        'code': ExecutionParameter(type=str),
    }
    INPUTS = {
        keys.EXAMPLES_KEY: ChannelParameter(type=standard_artifacts.Examples),
        keys.MODEL_KEY: ChannelParameter(type=standard_artifacts.Model),
        keys.BASELINE_MODEL_KEY: ChannelParameter(type=standard_artifacts.Model),
        MODEL_RUN: ChannelParameter(type=standard_artifacts.ModelRun, optional=True),
        BEHAVIOUR: ChannelParameter(type=Behaviour, optional=True),
    }
    OUTPUTS = {
        keys.EVALUATION_KEY: ChannelParameter(type=standard_artifacts.ModelEvaluation),
        keys.BLESSING_KEY: ChannelParameter(type=standard_artifacts.ModelBlessing),
        METRICS: ChannelParameter(type=Metrics),
        CONFUSION_MATRIX: ChannelParameter(type=ClassificationMetrics, optional=True),
        ROC: ChannelParameter(type=ClassificationMetrics, optional=True),
    }


class FaceEvaluator(BaseBeamComponent):
    """TFX's Evaluator with the project's figures, intervals and gates. A model that is not blessed fails no run."""

    SPEC_CLASS = FaceEvaluatorSpec
    EXECUTOR_SPEC = BeamExecutorSpec(Executor)

    def __init__(
        self,
        task: str,
        examples: types.BaseChannel,
        model: types.BaseChannel,
        baseline: types.BaseChannel,
        model_run: types.BaseChannel,
        behaviour: types.BaseChannel,
        settings: Text,
    ):
        """Constructs the step.

        Args:
            task: `faces.EXPRESSION_MODEL` or `faces.KEYPOINT_MODEL`.
            examples: Examples with an eval split.
            model: the candidate.
            baseline: what is served now, a Model whose custom property `served_version` is 0 when nothing is.
            model_run: the candidate's predictions, of which the ROC curve is drawn.
            behaviour: what BehaviourTest found of the candidate; none is blessed that did not pass.
            settings: gates, slices and batch size, an EvaluateSettings as JSON.
        """
        drawn = {
            MODEL_RUN: model_run,
            CONFUSION_MATRIX: types.Channel(type=ClassificationMetrics),
            ROC: types.Channel(type=ClassificationMetrics),
        }
        super().__init__(
            FaceEvaluatorSpec(
                task=task,
                settings=settings,
                code=fingerprint('evaluate'),
                examples=examples,
                model=model,
                baseline_model=baseline,
                behaviour=behaviour,
                evaluation=types.Channel(type=standard_artifacts.ModelEvaluation),
                blessing=types.Channel(type=standard_artifacts.ModelBlessing),
                metrics=types.Channel(type=Metrics),
                **(drawn if task == faces.EXPRESSION_MODEL else {}),
            )
        )
