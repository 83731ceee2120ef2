"""The straight path on real faces: the published files to a pushed joint model."""

import json
from pathlib import Path

import pytest

from components.ingest.rejects import read_summary

pytestmark = pytest.mark.e2e

DATASETS = Path(__file__).parents[3] / 'shared' / 'datasets'
EXPRESSIONS, KEYPOINTS = DATASETS / 'icml_face_data.csv.gz', DATASETS / 'data.csv.gz'


@pytest.mark.skipif(not EXPRESSIONS.exists(), reason=f'The published datasets are not in {DATASETS}.')
def test_two_thousand_real_rows_of_each_file_become_a_pushed_joint_model(workplace):
    run = workplace.run(
        *('--set', f'ingest.expression.files=[{EXPRESSIONS}]', '--set', f'ingest.keypoints.files=[{KEYPOINTS}]'),
        *('--set', 'ingest.expression.limit=2000', '--set', 'ingest.keypoints.limit=2000'),
        # The first 2,000 rows hold no PublicTest row.
        *('--set', 'ingest.expression.split=hash', '--set', "draw.folder=''"),
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert workplace.versions() == {'expression': ['1'], 'faces': ['1'], 'keypoints': ['1']}
    for task in ('expression', 'keypoints'):
        summary = read_summary(workplace.artifact(f'FaceExampleGen-{task}', 'rejects'))
        kept, rejected = sum(summary.kept.values()), sum(summary.rejected.values())
        assert summary.rows == 2000 == kept + rejected + sum(summary.left_out.values())
        assert kept > 1900
    checks = [
        json.loads(path.read_text()) for path in workplace.store.glob('artifacts/ServingCheck-*/check/*/check.json')
    ]
    assert {check['model']: check['passed'] for check in checks} == dict.fromkeys(
        ('expression', 'keypoints', 'faces'), True
    )
