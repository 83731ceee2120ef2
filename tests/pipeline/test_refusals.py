"""What the command line says of a model that was refused."""

from types import SimpleNamespace

import pytest

from components import faces
from pipeline.local import refusals
from tests.components.run_artifacts import make_artifacts, make_branch


@pytest.fixture(scope='module')
def branch(tmp_path_factory):
    folder = tmp_path_factory.mktemp('branch')
    return make_branch(faces.EXPRESSION_MODEL, make_artifacts(folder, faces.EXPRESSION_MODEL))


def test_every_missed_gate_and_behaviour_test_is_a_line(branch):
    lines = list(refusals(SimpleNamespace(branches=[branch])))
    assert 'Refused: expression behaviour mirror: share 0.9700 against at least 0.98' in lines
    assert any(line.startswith('Refused: expression log_loss') for line in lines)
