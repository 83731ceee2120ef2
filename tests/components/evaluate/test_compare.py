"""What an interval says of a candidate."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.evaluate.bootstrap import Difference
from components.evaluate.compare import PASSING, compare
from components.evaluate.results import Verdict, describe


@pytest.mark.parametrize(
    ('low', 'high', 'margin', 'finding'),
    [
        (0.01, 0.03, 0.02, 'better'),
        (0.01, 0.03, 0.0, 'better'),
        (-0.01, 0.03, 0.02, 'no worse'),
        (-0.03, 0.01, 0.02, 'not shown to be no worse'),
        (-0.01, 0.05, 0.0, 'not shown to be no worse'),
        (-0.03, -0.01, 0.02, 'worse'),
        (-0.015, -0.005, 0.02, 'worse'),
        (-0.02, 0.0, 0.02, 'no worse'),
        (0.85 - 0.86, 0.02, 0.01, 'no worse'),
        (0.0, 0.0, 0.0, 'no worse'),
        (0.0, 0.03, 0.0, 'no worse'),
    ],
)
def test_the_interval_and_the_margin_decide(low, high, margin, finding):
    assert compare(Difference((low + high) / 2, low, high), margin, more_is_better=True) == finding
    assert compare(Difference(-(low + high) / 2, -high, -low), margin, more_is_better=False) == finding


def test_what_is_unknown_is_not_shown():
    assert compare(None, 1.0, more_is_better=True) == 'not shown to be no worse'


@given(*[st.floats(-1, 1)] * 2, st.floats(0, 1), st.booleans())
def test_a_wider_margin_never_refuses_and_noise_is_never_better(one, other, margin, more_is_better):
    difference = Difference((one + other) / 2, min(one, other), max(one, other))
    finding = compare(difference, margin, more_is_better)
    if finding in PASSING:
        assert compare(difference, margin + 0.1, more_is_better) == finding
    if difference.low <= 0 <= difference.high:
        assert finding in ('no worse', 'not shown to be no worse')


@pytest.mark.parametrize(
    ('verdict', 'words'),
    [
        (
            Verdict('accuracy', 0.8221, 'change', 0.02, 0.826, True, -0.0039, -0.012, 0.0041, 'no worse'),
            'accuracy 0.8221 against 0.8260 of the served model: -0.0039 (95%: -0.0120 to +0.0041), '
            'no worse by the margin of 0.02',
        ),
        (
            Verdict('rmse', 2.5, 'change', 0.2, 2.0, False, 0.5, 0.3, 0.7, 'worse'),
            'rmse 2.5000 against 2.0000 of the served model: +0.5000 (95%: +0.3000 to +0.7000), worse',
        ),
        (
            Verdict('accuracy', 0.6, 'minimum', 0.7, None, False),
            'accuracy 0.6000 against the minimum of 0.7 (-0.1000)',
        ),
    ],
)
def test_a_verdict_in_words(verdict, words):
    assert describe(verdict) == words
