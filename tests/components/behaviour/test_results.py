"""What is found, on its way to other steps."""

import json

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from components.behaviour.results import (
    FILE_NAME,
    Behaviour,
    Curve,
    Outcome,
    describe,
    read_behaviour,
    write_behaviour,
)

numbers = st.floats(allow_nan=False, allow_infinity=False)
outcomes = st.builds(Outcome, value=st.none() | numbers, limit=st.none() | numbers, distance=st.none() | numbers)
curves = st.builds(
    Curve,
    strengths=st.lists(numbers).map(tuple),
    figures=st.dictionaries(st.text(), st.lists(st.none() | numbers).map(tuple)),
)
behaviours = st.builds(Behaviour, outcomes=st.lists(outcomes).map(tuple), curves=st.lists(curves).map(tuple))


@settings(
    max_examples=20,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(behaviours)
def test_what_is_written_is_read_again(tmp_path, behaviour):
    write_behaviour(tmp_path, behaviour)
    assert read_behaviour(tmp_path) == behaviour


def test_whole_numbers_in_the_file_are_read_as_the_numbers_they_are(tmp_path):
    behaviour = Behaviour('keypoints', 1, (), (Curve('blur', 'px', (0.0, 1.0), {'rmse': (2.0, None)}, ''),))
    write_behaviour(tmp_path, behaviour)
    text = (tmp_path / FILE_NAME).read_text().replace('1.0', '1').replace('2.0', '2')
    (tmp_path / FILE_NAME).write_text(text)
    assert read_behaviour(tmp_path) == behaviour


def test_the_file_is_strict_json_and_says_which_tests_passed(tmp_path):
    missed = Outcome('shift', 'equivariance', 'rmse', None, 1.0, False, 7)
    passed = Outcome('mirror', 'equivariance', 'rmse', 0.0, None, True, 7)
    behaviour = Behaviour('keypoints', 7, (passed, missed), ())
    write_behaviour(tmp_path, behaviour)

    def refuse(constant):
        raise ValueError(constant)

    values = json.loads((tmp_path / FILE_NAME).read_text(), parse_constant=refuse)
    assert [(row['test'], row['passed']) for row in values['outcomes']] == [('mirror', True), ('shift', False)]
    assert (behaviour.passed, behaviour.missed) == (False, (missed,))
    assert Behaviour('keypoints', 7, (passed,), ()).passed


def test_a_person_is_told_what_was_found_and_what_would_have_passed():
    share = Outcome('shift', 'invariance', 'share', 0.8123, 0.85, False, 300)
    assert describe(share) == 'behaviour shift: share 0.8123 against at least 0.85'
    points = Outcome('shift', 'equivariance', 'rmse', None, 2.0, False, 300)
    assert describe(points) == 'behaviour shift: rmse no number against at most 2'
