"""A run that is killed inside any node goes on from there, and ends as an undisturbed run does."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from components.report.ledger import read_ledger

pytestmark = pytest.mark.e2e


def test_a_run_killed_in_every_node_ends_as_an_undisturbed_one(workplace, tmp_path):
    assert workplace.run().returncode == 0
    ledger = read_ledger(workplace.store / 'metadata.sqlite', workplace.last()['run'])
    durations = tmp_path / 'durations.json'
    durations.write_text(json.dumps({step.node: step.seconds for step in ledger.steps}))

    disturbed = workplace.beside('disturbed')
    script = Path(__file__).with_name('kill_in_every_node.py')
    process = subprocess.run(
        [sys.executable, str(script), str(workplace.config), str(durations)],
        cwd=disturbed.folder,
        capture_output=True,
        text=True,
        timeout=1200,
    )
    assert process.returncode == 0, process.stderr[-3000:]
    outcomes = [json.loads(line) for line in process.stdout.splitlines() if line.startswith('{')]
    assert sum(outcome['killed'] for outcome in outcomes) >= 20, outcomes
    assert outcomes[-1] == {'node': '', 'killed': False, 'exit': 0}

    # Every model once, whole, and nothing staged is left.
    assert disturbed.versions() == {'expression': ['1'], 'faces': ['1'], 'keypoints': ['1']}
    assert not list((disturbed.folder / 'serving').glob('*/.staged*'))
    for task in ('expression', 'keypoints'):
        predictions = [
            np.load(place.artifact(f'Trainer-{task}', 'model_run') / 'predictions.npz')
            for place in (workplace, disturbed)
        ]
        np.testing.assert_array_equal(*(archive['content_hash'] for archive in predictions))
        np.testing.assert_allclose(*(archive['prediction'] for archive in predictions), atol=0.02)
