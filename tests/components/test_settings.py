"""Settings on their way into a step and out again."""

import copy
import dataclasses
import json

import dacite
import pytest

from components.settings import (
    AuditSettings,
    AugmentSettings,
    CheckSettings,
    EvaluateSettings,
    ExpressionBehaviour,
    Gate,
    IngestSettings,
    KeypointBehaviour,
    PushSettings,
    TrainSettings,
    ValidateSettings,
    from_json,
    to_json,
)

KINDS = (
    IngestSettings,
    ValidateSettings,
    AuditSettings,
    TrainSettings,
    ExpressionBehaviour,
    KeypointBehaviour,
    EvaluateSettings,
    CheckSettings,
    PushSettings,
)


@pytest.mark.parametrize('kind', KINDS)
def test_defaults_come_back_as_they_went(kind):
    assert from_json(kind, to_json(kind())) == kind()


@pytest.mark.parametrize(
    'settings',
    [
        IngestSettings(files=('a.csv', 'b/*'), classes=('x', 'y'), mapping={'angry': 'anger'}, split='usage', limit=7),
        TrainSettings(widths=(1, 2), blocks=(3, 4), augment=AugmentSettings(flip=False, rotation=0.0)),
        EvaluateSettings(gates={'rmse': Gate(maximum=5.0), 'accuracy': Gate(0.7, None, 0.02)}, slices=()),
    ],
)
def test_nested_settings_come_back_as_they_went(settings):
    back = from_json(type(settings), to_json(settings))
    assert back == settings
    # A list in place of a tuple would compare unequal, and a mapping in place of a Gate would lack its fields.
    assert dataclasses.asdict(back) == dataclasses.asdict(settings)


def test_equal_settings_are_equal_text_whatever_their_order():
    one = EvaluateSettings(gates={'a': Gate(1.0), 'b': Gate(2.0)})
    other = EvaluateSettings(gates={'b': Gate(2.0), 'a': Gate(1.0)})
    assert to_json(one) == to_json(other)


@pytest.mark.parametrize('kind', KINDS)
def test_every_changed_value_is_another_text(kind):
    default = kind()
    for field in dataclasses.fields(kind):
        changed = copy.copy(default)
        # Past the checks of what makes sense: any value will do here.
        object.__setattr__(changed, field.name, 'changed')
        assert to_json(changed) != to_json(default), field.name


def test_settings_cannot_change_on_the_way():
    with pytest.raises(dataclasses.FrozenInstanceError):
        PushSettings().keep = 1


def test_text_of_other_settings_is_not_taken():
    with pytest.raises(dacite.DaciteError):
        from_json(PushSettings, to_json(CheckSettings()))
    with pytest.raises(dacite.DaciteError):
        from_json(PushSettings, json.dumps({'keep': 'five'}))
