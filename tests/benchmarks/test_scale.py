"""The growth benchmark, at a size that takes seconds."""

import dataclasses
import json
import subprocess
import sys

import pytest

from components import faces
from tests.benchmarks import growth, scale, stages
from tests.benchmarks.growth import Measurement

ONE = Measurement('ingest', faces.EXPRESSION_MODEL, 10_000, 10_000, 5.0, 2.5, 700_000_000, 0.01, 2, 'x86_64')


def run(folder, *arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, '-W', 'ignore', '-m', 'tests.benchmarks.scale', '--folder', str(folder), *arguments]
    return subprocess.run(command, cwd=scale.ROOT, capture_output=True, text=True, timeout=600)


def test_rows_are_drawn_read_and_measured_once(tmp_path):
    arguments = ['--rows', '60', '--task', 'expression', '--rows-per-file', '25']
    for stage in (stages.DRAW, stages.NOTEBOOK, stages.INGEST):
        arguments += ['--stage', stage]
    first = run(tmp_path, *arguments)
    assert first.returncode == 0, first.stderr
    assert 'On disk at most' in first.stdout
    results = scale.read(tmp_path)
    assert [(one.stage, one.faces, one.rows) for one in results] == [
        *((stage, 60, 60) for stage in (stages.DRAW, stages.NOTEBOOK, stages.INGEST)),
    ]
    assert all(0 <= one.others <= 1 for one in results)
    assert all(one.wall > 0 and one.processor > 0 and one.peak > 20_000_000 for one in results)
    assert len(list((tmp_path / 'expression-60' / 'drawn').iterdir())) == 3
    for name in ('table.md', 'chart.png', 'chart.svg'):
        assert (tmp_path / name).stat().st_size > 0

    # What was measured is not measured again.
    written = (tmp_path / scale.RESULTS).read_text()
    assert run(tmp_path, *arguments).returncode == 0
    assert (tmp_path / scale.RESULTS).read_text() == written


@pytest.mark.e2e
def test_every_stage_runs(tmp_path):
    done = run(tmp_path, '--rows', '300', '--task', 'keypoints')
    assert done.returncode == 0, done.stderr
    rows = {one.stage: one.rows for one in scale.read(tmp_path)}
    assert list(rows) == list(stages.STAGES)
    assert rows['statistics'] == rows['ingest'] == 300
    assert rows['transform'] + rows['evaluator'] == 300


def test_a_stage_that_fails_names_its_log(tmp_path):
    failed = run(tmp_path, '--rows', '20', '--task', 'expression', '--stage', 'notebook')
    assert failed.returncode == 1
    assert failed.stderr.splitlines()[-1].endswith(f'see {tmp_path}/logs/notebook-expression-20.log.')
    assert scale.read(tmp_path) == []


def test_the_notebook_is_left_out_where_its_rows_do_not_fit_into_memory(tmp_path, monkeypatch, capsys):
    arguments = ['scale', '--rows', '20', '--task', 'keypoints', '--stage', 'notebook', '--folder', str(tmp_path)]
    monkeypatch.setattr(sys, 'argv', arguments)
    monkeypatch.setitem(scale.NOTEBOOK_BYTES_A_ROW, faces.KEYPOINT_MODEL, 10**15)
    scale.main()
    assert '20 faces do not fit into memory' in capsys.readouterr().out
    assert scale.read(tmp_path) == []


def test_too_little_room_is_said_before(tmp_path):
    refused = run(tmp_path, '--rows', str(10**12))
    assert refused.returncode == 1
    assert 'not enough room' in refused.stderr
    assert not (tmp_path / scale.RESULTS).exists()


def test_the_last_measurement_of_each_counts(tmp_path):
    again = dataclasses.replace(ONE, wall=4.0)
    lines = [dataclasses.asdict(one) for one in (dataclasses.replace(ONE, faces=100_000), ONE, again)]
    (tmp_path / scale.RESULTS).write_text('\n'.join(map(json.dumps, lines)) + '\n')
    assert [(one.faces, one.wall) for one in scale.read(tmp_path)] == [(10_000, 4.0), (100_000, 5.0)]


def test_the_table_has_a_line_a_stage_and_tells_of_a_busy_machine():
    larger = dataclasses.replace(ONE, faces=100_000, rows=100_000, wall=40.0, processor=20.0)
    table = growth.markdown([ONE, larger])
    cells = [cell.strip() for cell in table.splitlines()[2].strip('|').split('|')]
    assert cells == ['ingest', '2,000', '2,500', '4,000', '5,000', '700', '700']
    assert 'busy' not in table
    assert 'during 1 of 2' in growth.markdown([ONE, dataclasses.replace(larger, others=0.4)])


def test_a_line_that_was_cut_short_is_measured_again(tmp_path):
    (tmp_path / scale.RESULTS).write_text(json.dumps(dataclasses.asdict(ONE)) + '\n{"stage": "dr')
    assert scale.read(tmp_path) == [ONE]
    other = dataclasses.replace(ONE, stage='draw')
    scale._write(tmp_path / scale.RESULTS, other)
    scale._write(tmp_path / 'new.jsonl', other)
    assert scale.read(tmp_path) == [other, ONE]
    assert json.loads((tmp_path / 'new.jsonl').read_text()) == dataclasses.asdict(other)
