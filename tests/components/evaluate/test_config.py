import pytest

from components import faces
from components.errors import StepError
from components.evaluate.config import eval_config
from components.settings import EvaluateSettings, Gate


@pytest.mark.parametrize(
    ('task', 'gates', 'message'),
    [
        (faces.EXPRESSION_MODEL, {}, 'give at least one'),
        (faces.EXPRESSION_MODEL, {'accuracy': Gate()}, 'give at least one'),
        (faces.EXPRESSION_MODEL, {'acuracy': Gate(minimum=0.5)}, r'gates\.acuracy.*nearest name is accuracy'),
        (faces.KEYPOINT_MODEL, {'rmse_nose': Gate(maximum=5)}, 'nearest name is rmse_nose_tip'),
        (faces.KEYPOINT_MODEL, {'accuracy': Gate(minimum=0.5)}, 'no such figure'),
        (faces.KEYPOINT_MODEL, {'rmse': Gate(minimum=5)}, r'gates\.rmse\.minimum.*give a maximum'),
        (faces.EXPRESSION_MODEL, {'macro_f1': Gate(maximum=0.5)}, r'gates\.macro_f1\.maximum.*give a minimum'),
    ],
)
def test_a_gate_that_cannot_be_meant_is_told_in_one_line(task, gates, message):
    with pytest.raises(StepError, match=message) as error:
        eval_config(task, EvaluateSettings(gates=gates))
    assert '\n' not in str(error.value)


@pytest.mark.parametrize('margin', [-0.01, float('nan')])
def test_a_margin_that_is_no_margin_is_told(margin):
    with pytest.raises(ValueError, match='margin is 0 or more'):
        Gate(margin=margin)


def test_tfma_is_told_of_bounds_and_of_no_margin():
    settings = EvaluateSettings(gates={'rmse': Gate(maximum=5, margin=0.1), 'within_5_percent': Gate(margin=0.1)})
    (metrics,) = eval_config(faces.KEYPOINT_MODEL, settings).metrics_specs
    thresholds = {name: found.thresholds[0].threshold for name, found in metrics.per_slice_thresholds.items()}
    assert thresholds.keys() == {'example_count', 'rmse'}
    assert thresholds['rmse'].value_threshold.upper_bound.value == 5
    assert not any(threshold.HasField('change_threshold') for threshold in thresholds.values())


def test_an_unknown_slice_is_told_with_the_nearest_name():
    with pytest.raises(StepError, match='brightnes is no feature to slice by; the nearest name is brightness'):
        eval_config(faces.KEYPOINT_MODEL, EvaluateSettings(gates={'rmse': Gate(maximum=5)}, slices=('brightnes',)))


def test_a_batch_size_of_zero_is_told():
    with pytest.raises(StepError, match='batch_size is 0'):
        eval_config(faces.KEYPOINT_MODEL, EvaluateSettings(gates={'rmse': Gate(maximum=5)}, batch_size=0))


@pytest.mark.parametrize(
    ('task', 'gates', 'slices'),
    [
        (faces.EXPRESSION_MODEL, {'accuracy': Gate(minimum=0)}, [[], ['source'], ['expression']]),
        (faces.KEYPOINT_MODEL, {'rmse': Gate(maximum=9)}, [[], ['source']]),
    ],
)
def test_expressions_are_sliced_by_class_too(task, gates, slices):
    config = eval_config(task, EvaluateSettings(gates=gates, slices=('source',)))
    assert [list(spec.feature_keys) for spec in config.slicing_specs] == slices
