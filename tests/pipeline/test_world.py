"""What changes what a run does again, and what does not."""

import dataclasses
import json
from pathlib import Path

import pytest

from components import faces
from components.errors import StepError
from components.push import versions
from components.settings import AugmentSettings, CheckSettings, Gate, PushSettings, WorkerSettings
from data.publish import write_expressions, write_keypoints
from pipeline.beam.settings import BeamSettings
from pipeline.config import Config, Ingest, load
from pipeline.world import Surroundings, accepted_folder, survey

TASKS = (faces.EXPRESSION_MODEL, faces.KEYPOINT_MODEL)


@pytest.fixture
def config(tmp_path) -> Config:
    write_expressions(tmp_path / 'expressions.csv', 3, seed=0)
    write_keypoints(tmp_path / 'keypoints.csv', 3, seed=0)
    return load(
        'demo',
        [
            f'runs={tmp_path}/runs',
            f'serving={tmp_path}/serving',
            f'ingest.expression.files=[{tmp_path}/expressions.csv]',
            f'ingest.keypoints.files=[{tmp_path}/keypoints.csv]',
        ],
    )


def changed(config: Config, section: str, **values: object) -> Config:
    """The configuration with other settings of the expressions in one section."""
    settings = getattr(config, section)
    expression = dataclasses.replace(settings.expression, **values)
    return dataclasses.replace(config, **{section: dataclasses.replace(settings, expression=expression)})


def fields_that_differ(one: Surroundings, other: Surroundings) -> set[str]:
    return {
        field.name
        for field in dataclasses.fields(Surroundings)
        if getattr(one, field.name) != getattr(other, field.name)
    }


def publish(config: Config, candidate: str, artifact: str = '') -> int:
    folder = config.serving_folder(faces.EXPRESSION_MODEL)
    model = config.store / 'model'
    model.mkdir(parents=True, exist_ok=True)
    facts = versions.Provenance('expression', candidate, artifact or candidate, '', '', '', '')
    return versions.publish(model, folder, facts, None, 9)


def test_the_same_world_looks_the_same(config):
    assert survey(config) == survey(config)
    assert survey(config).tasks['expression'].baseline == survey(config).tasks['expression'].accepted == ''


def test_new_data_are_another_dataset_and_another_candidate_of_this_task_alone(config, tmp_path):
    before = survey(config).tasks
    write_expressions(tmp_path / 'expressions.csv', 3, seed=1)
    after = survey(config).tasks
    assert fields_that_differ(before['expression'], after['expression']) == {'data', 'dataset', 'candidate'}
    assert after['keypoints'] == before['keypoints']


def test_a_touched_file_is_the_same_data(config, tmp_path):
    before = survey(config)
    write_expressions(tmp_path / 'expressions.csv', 3, seed=0)
    assert survey(config) == before


@pytest.mark.parametrize(
    ('section', 'values', 'differing'),
    [
        ('ingest', {'evaluation_percent': 30}, {'ingest', 'dataset', 'candidate'}),
        ('ingest', {'limit': 2}, {'ingest', 'dataset', 'candidate'}),
        ('train', {'epochs': 99}, {'train', 'candidate'}),
        ('train', {'augment': AugmentSettings(flip=False)}, {'train', 'candidate'}),
        ('train', {'image_size': 64}, {'transform', 'train', 'candidate'}),
        ('validate', {'minimum_examples': 1}, {'validate'}),
        ('evaluate', {'gates': {'accuracy': Gate(minimum=0.99)}}, {'evaluate'}),
        ('evaluate', {'slices': ()}, {'evaluate'}),
    ],
)
def test_settings_change_what_is_made_of_them_and_nothing_else(config, section, values, differing):
    before, after = survey(config).tasks, survey(changed(config, section, **values)).tasks
    assert fields_that_differ(before['expression'], after['expression']) == differing
    assert after['keypoints'] == before['keypoints']


def test_settings_of_the_last_steps_make_no_other_model(config):
    before = survey(config).tasks
    later = dataclasses.replace(
        config, check=CheckSettings(questions=1), push=PushSettings(1), beam=BeamSettings('portable')
    )
    assert survey(later).tasks == before


def test_another_seed_makes_other_models_of_the_same_data(config):
    before, after = survey(config).tasks, survey(dataclasses.replace(config, seed=1)).tasks
    for task in TASKS:
        assert fields_that_differ(before[task], after[task]) == {'candidate', 'train'}


def test_several_workers_read_files_of_their_own_and_make_other_models(config):
    before = survey(config).tasks
    after = survey(dataclasses.replace(config, workers=WorkerSettings(2))).tasks
    for task in TASKS:
        assert fields_that_differ(before[task], after[task]) == {'ingest', 'dataset', 'train', 'candidate'}
        assert json.loads(str(after[task].ingest))['shards'] == 2
    # With files enough, the data stay as they are.
    sharded = changed(config, 'ingest', shards=4)
    assert fields_that_differ(
        survey(sharded).tasks['expression'],
        survey(dataclasses.replace(sharded, workers=WorkerSettings(2))).tasks['expression'],
    ) == {'train', 'candidate'}


def test_the_baseline_is_the_served_model_and_stays_when_the_candidate_itself_is_served(config):
    mine = survey(config).tasks['expression']
    publish(config, 'another')
    first = survey(config).tasks['expression']
    assert first.baseline == 'another'
    assert fields_that_differ(mine, first) == {'baseline'}
    publish(config, mine.candidate)
    assert survey(config).tasks['expression'] == first
    # Whoever comes next has to beat this one.
    assert survey(changed(config, 'train', epochs=99)).tasks['expression'].baseline == mine.candidate
    # A model that others push in the meantime has to be beaten, too.
    publish(config, 'a third')
    assert survey(config).tasks['expression'].baseline == 'a third'


def test_a_candidate_that_is_served_alone_has_nothing_to_beat(config):
    publish(config, survey(config).tasks['expression'].candidate)
    assert survey(config).tasks['expression'].baseline == ''


def test_the_accepted_statistics_are_the_newest_of_other_data(config):
    before = survey(config).tasks['expression']
    folder = Path(accepted_folder(config, 'expression'))
    (folder / before.dataset).mkdir(parents=True)
    assert survey(config).tasks['expression'] == before
    (folder / 'earlier').mkdir()
    assert fields_that_differ(before, survey(config).tasks['expression']) == {'accepted'}
    assert survey(config).tasks['expression'].accepted == 'earlier'
    assert survey(config).tasks['keypoints'].accepted == ''


def test_missing_data_and_a_damaged_served_version_are_told_in_one_line(config, tmp_path):
    publish(config, 'another')
    path = config.serving_folder('expression') / '1' / versions.PROVENANCE
    path.write_text(json.dumps({'model': 'expression'}))
    with pytest.raises(StepError, match='missing or damaged') as damaged:
        survey(config)
    (tmp_path / 'expressions.csv').unlink()
    with pytest.raises(StepError, match='Nothing matches') as missing:
        survey(config)
    with pytest.raises(StepError, match='No data are named'):
        survey(dataclasses.replace(config, ingest=Ingest()))
    assert all('\n' not in str(caught.value) for caught in (damaged, missing))


def test_a_gate_that_cannot_be_meant_is_told_before_the_run(config):
    with pytest.raises(StepError, match='no such figure'):
        survey(changed(config, 'evaluate', gates={'rmse': Gate(maximum=1)}))
    with pytest.raises(StepError, match="No gate is called 'drift'"):
        survey(config, ('drift',))


def test_a_model_can_be_trained_anew_from_the_same(config):
    before, after = survey(config).tasks, survey(config, retrain='today').tasks
    for task in TASKS:
        assert fields_that_differ(before[task], after[task]) == {'candidate', 'train'}
