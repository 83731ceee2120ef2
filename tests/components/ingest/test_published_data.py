"""Facts about the two published files that shared/datasets/README.md states."""

from pathlib import Path

import pytest

from components import faces
from components.settings import IngestSettings

DATASETS = Path(__file__).resolve().parents[4] / 'shared' / 'datasets'


def published(name: str) -> tuple[str, ...]:
    path = DATASETS / name
    if not path.exists():
        pytest.skip(f'{path} is not here: the published data stay outside the repository')
    return (str(path),)


@pytest.mark.e2e
def test_the_expression_file(run):
    result = run('expression', IngestSettings(files=published('icml_face_data.csv.gz'), split='usage'))
    summary = result.summary
    assert summary.rows == 22_133
    assert summary.rejected['flat image'] == 11
    # 1,149 rows repeat another; the flat ones among them are all alike and are rejected before they are compared.
    assert summary.duplicates == 1_149 - 10
    train, evaluation = ([e[faces.CONTENT_HASH][0] for e in result.examples[split]] for split in faces.SPLITS)
    assert not set(train) & set(evaluation)
    # All PublicTest rows stay but those that contradict others.
    assert 2_486 - summary.rejected['contradicting labels'] <= len(evaluation) <= 2_486
    assert len(train) + len(evaluation) == sum(summary.kept.values())
    assert 188 <= summary.left_out['twin of an evaluation row'] < 1_149
    assert set(summary.rejected) == {'flat image', 'contradicting labels'}
    assert summary.rejected['contradicting labels'] >= 2 * 14 - 4


@pytest.mark.e2e
def test_one_eval_row_in_ten_leaks_under_the_protocol_of_the_original(run):
    files = published('icml_face_data.csv.gz')
    summary = run('expression', IngestSettings(files=files, protocol='original')).summary
    assert summary.rows == 22_133
    assert summary.rejected == {'flat image': 11}
    shares = [summary.kept['train'], summary.kept['eval'], *summary.left_out.values()]
    assert [count / summary.rows for count in shares] == pytest.approx([0.9, 0.05, 0.05], abs=0.005)
    assert summary.leaks / summary.kept['eval'] == pytest.approx(0.1, abs=0.03)


@pytest.mark.e2e
def test_the_keypoint_file(run):
    result = run('keypoints', IngestSettings(files=published('data.csv.gz')))
    assert result.summary.rows == sum(result.summary.kept.values()) == 2_140
    assert result.summary.rejected == result.summary.left_out == {}
    assert all(e[faces.POINTS_PRESENT] == [1] * 15 for e in result.examples['train'])
