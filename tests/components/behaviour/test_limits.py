"""The limits on their way into the step, and what they may be."""

import dataclasses

import dacite
import pytest

from components.behaviour.component import SETTINGS
from components.behaviour.examine import DRAWN
from components.behaviour.perturbations import PERTURBATIONS
from components.settings import (
    BehaviourSettings,
    ExpressionBehaviour,
    ExpressionLimits,
    KeypointBehaviour,
    KeypointLimits,
    from_json,
    to_json,
)


@pytest.mark.parametrize(
    'settings',
    [
        ExpressionBehaviour(),
        KeypointBehaviour(),
        ExpressionBehaviour(faces=7, seed=3, limits=ExpressionLimits(shift=None, drawn=0.5)),
        KeypointBehaviour(limits=KeypointLimits(mirror=0.0, drawn=None)),
    ],
)
def test_settings_come_back_as_they_went(settings):
    assert from_json(type(settings), to_json(settings)) == settings


@pytest.mark.parametrize('kind', SETTINGS.values())
def test_every_test_has_a_limit_and_every_limit_a_test(kind):
    assert dataclasses.asdict(kind().limits).keys() == {*PERTURBATIONS, DRAWN}


@pytest.mark.parametrize(
    ('make', 'rule'),
    [
        (lambda: ExpressionLimits(shift=1.01), 'limits.shift lies between 0 and 1, or is null for none.'),
        (lambda: ExpressionLimits(drawn=-0.1), 'limits.drawn lies between 0 and 1, or is null for none.'),
        (lambda: KeypointLimits(blur=-0.5), 'limits.blur lies between 0 and 96 px, or is null for none.'),
        (lambda: KeypointLimits(blur=float('inf')), 'limits.blur lies between 0 and 96 px, or is null for none.'),
        (lambda: BehaviourSettings(faces=0), 'faces is 1 or more.'),
        (lambda: BehaviourSettings(seed=-1), 'seed is 0 or more.'),
    ],
)
def test_a_limit_out_of_bounds_is_told_in_one_line(make, rule):
    with pytest.raises(ValueError) as told:
        make()
    assert str(told.value) == rule


def test_a_limit_of_no_test_is_not_taken():
    text = to_json(ExpressionBehaviour()).replace('"shift"', '"shove"')
    with pytest.raises(dacite.UnexpectedDataError, match='shove'):
        from_json(ExpressionBehaviour, text)
