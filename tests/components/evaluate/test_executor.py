from pathlib import Path

import pyarrow
import pytest
import tensorflow_model_analysis as tfma
from tfx.types import standard_artifacts

from components.evaluate.executor import SERVED_VERSION, bless, split_batch, without_empty_baseline


@pytest.mark.parametrize(('version', 'kept'), [(0, False), (3, True), (0.0, False), (3.0, True), (None, False)])
def test_a_baseline_counts_when_its_version_is_not_zero_even_as_kubeflows_float(version, kept):
    baseline, model = standard_artifacts.Model(), standard_artifacts.Model()
    if isinstance(version, int):
        baseline.set_int_custom_property(SERVED_VERSION, version)
    elif version is not None:
        baseline.set_float_custom_property(SERVED_VERSION, version)
    inputs = without_empty_baseline({'model': [model], 'baseline_model': [baseline]})
    assert inputs == {'model': [model], **({'baseline_model': [baseline]} if kept else {})}


def test_large_batches_are_split_in_order_and_lose_nothing():
    records = pyarrow.RecordBatch.from_arrays([pyarrow.array([[row] for row in range(10)])], ['row'])
    parts = split_batch({tfma.ARROW_RECORD_BATCH_KEY: records, 'other': 1}, batch_size=4)
    assert [part[tfma.ARROW_RECORD_BATCH_KEY].num_rows for part in parts] == [4, 4, 2]
    joined = pyarrow.Table.from_batches([part[tfma.ARROW_RECORD_BATCH_KEY] for part in parts])
    assert joined.equals(pyarrow.Table.from_batches([records]))
    assert all(part['other'] == 1 for part in parts)


@pytest.mark.parametrize(
    ('file', 'passed', 'left'),
    [
        ('BLESSED', [True, True], 'BLESSED'),
        ('BLESSED', [], 'BLESSED'),
        ('BLESSED', [True, False], 'NOT_BLESSED'),
        ('NOT_BLESSED', [True], 'NOT_BLESSED'),
        ('NOT_BLESSED', [False], 'NOT_BLESSED'),
    ],
)
def test_a_blessing_stands_only_where_everything_passed(tmp_path, file, passed, left):
    blessing = standard_artifacts.ModelBlessing()
    blessing.uri = str(tmp_path)
    (tmp_path / file).touch()
    blessing.set_int_custom_property('blessed', int(file == 'BLESSED'))
    bless(blessing, Path(blessing.uri), iter(passed))
    assert [path.name for path in Path(blessing.uri).iterdir()] == [left]
    assert blessing.get_int_custom_property('blessed') == int(left == 'BLESSED')
