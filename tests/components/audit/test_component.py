"""LabelAudit's executor on drawn faces, as Transform leaves them."""

import logging
from pathlib import Path

import pytest
from tfx import types
from tfx.types import artifact_utils, standard_artifacts

from components import faces
from components.audit.artifacts import Audit
from components.audit.component import Executor, LabelAudit, configuration
from components.audit.results import read_issues, read_summary
from components.settings import AuditSettings, from_json, to_json

PROGRESS = 'emotion_pipeline.progress'
SETTINGS = AuditSettings(folds=2, widths=(16,), blocks=(1,), epochs=2, batch_size=16, maximum_rows=4)


class KilledError(Exception):
    pass


class Killer(logging.Handler):
    def emit(self, record):
        if 'audit-fold-2-of-2: epoch 1 of 2' in record.getMessage():
            raise KilledError


@pytest.fixture
def audit(transformed, tmp_path):
    """Runs the executor, and gives the folder that it wrote."""
    data = transformed[faces.EXPRESSION_MODEL]

    def run(name: str) -> Path:
        examples, graph, found = standard_artifacts.Examples(), standard_artifacts.TransformGraph(), Audit()
        examples.uri, graph.uri, found.uri = str(data.examples), str(data.transform_output), str(tmp_path / name)
        examples.split_names = artifact_utils.encode_split_names(list(faces.SPLITS))
        (tmp_path / name).mkdir()
        Executor().Do(
            {'examples': [examples], 'transform_graph': [graph]},
            {'audit': [found]},
            {'configuration': configuration(SETTINGS, 3, str(tmp_path / 'checkpoints')), 'code': 'c0de'},
        )
        return tmp_path / name

    return run


def test_goes_on_after_it_was_killed_and_leaves_table_and_summary(audit, transformed, tmp_path, caplog):
    caplog.set_level(logging.INFO, PROGRESS)
    killer = Killer()
    logging.getLogger(PROGRESS).addHandler(killer)
    try:
        with pytest.raises(KilledError):
            audit('killed')
    finally:
        logging.getLogger(PROGRESS).removeHandler(killer)
    assert not list((tmp_path / 'killed').iterdir())
    folder = audit('done')
    assert [record.getMessage() for record in caplog.records if 'goes on' in record.getMessage()] == [
        'audit-fold-2-of-2: goes on after epoch 1'
    ]
    assert not list((tmp_path / 'checkpoints').iterdir())

    assert sorted(path.name for path in folder.iterdir()) == ['audit.csv', 'summary.json']
    summary, issues = read_summary(folder), read_issues(folder)
    assert (summary.rows, summary.folds, summary.epochs) == (55, 2, 2)
    assert len(issues) == min(summary.issues, SETTINGS.maximum_rows)
    drawn = {
        (face.content_hash.hex(), face.source, face.row): faces.EXPRESSIONS[face.label]
        for rows in transformed[faces.EXPRESSION_MODEL].faces.values()
        for face in rows
    }
    for issue in issues:
        assert drawn[issue.content_hash, issue.source, issue.row] == issue.label


def test_the_step_gives_an_audit():
    step = LabelAudit(
        types.Channel(type=standard_artifacts.Examples),
        types.Channel(type=standard_artifacts.TransformGraph),
        configuration(SETTINGS, 0, 'runs'),
    ).with_id('LabelAudit-expression')
    assert step.outputs['audit'].type is Audit
    assert Audit.TYPE_NAME == 'faces.LabelAudit'
    assert step.exec_properties['code']


def test_settings_survive_json():
    assert from_json(AuditSettings, to_json(SETTINGS)) == SETTINGS


@pytest.mark.parametrize(
    ('values', 'rule'),
    [
        ({'folds': 1}, 'folds is 0'),
        ({'maximum_rows': 0}, 'maximum_rows is 1'),
        ({'epochs': 0}, 'epochs'),
        ({'widths': (16,)}, 'widths and blocks'),
        ({'learning_rate': 0.0}, 'learning_rate'),
        ({'dropout': 1.0}, 'dropout'),
    ],
)
def test_settings_have_bounds(values, rule):
    with pytest.raises(ValueError, match=rule):
        AuditSettings(**values)
