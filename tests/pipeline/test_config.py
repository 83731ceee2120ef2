"""Configurations: what a person may write, and what is said about what they may not."""

import dataclasses
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from components.errors import StepError
from components.settings import Gate
from pipeline.config import TASKS, Config, load, of, to_yaml

BASE = """
name: base
evaluate:
  keypoints:
    gates:
      rmse: {maximum: 5.0, margin: 0.3}
      within_10_percent: {minimum: 0.6}
"""


@pytest.fixture
def written(tmp_path):
    def write(text: str | bytes) -> str:
        path = tmp_path / 'mine.yaml'
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return str(path)

    return write


def complaint(name: str, *overrides: str) -> str:
    with pytest.raises(StepError) as caught:
        load(name, overrides)
    message = str(caught.value)
    assert '\n' not in message
    return message


def test_demo_trains_on_the_faces_that_it_draws():
    config = load('demo')
    assert config.name == 'demo'
    assert config.draw.expressions > 0 and config.draw.keypoints > 0
    assert config.ingest.expression.files == (f'{config.draw.folder}/expressions.csv.gz',)
    assert config.ingest.keypoints.files == (f'{config.draw.folder}/keypoints.csv.gz',)


def test_full_draws_nothing_and_reads_both_published_forms():
    config = load('full')
    assert config.name == 'full'
    assert not config.draw.folder
    assert all(of(config.ingest, task).files for task in TASKS)


@pytest.mark.parametrize('name', ['demo', 'full', 'original', 'best'])
def test_both_gate_the_figures_that_matter(name):
    evaluate = load(name).evaluate
    assert evaluate.expression.gates['accuracy'].minimum
    assert evaluate.keypoints.gates['rmse'].maximum


def test_what_a_file_leaves_out_has_its_default(written):
    assert load(written('name: mine')) == Config(name='mine')


@pytest.mark.parametrize('name', ['demo', 'full', 'original', 'best'])
def test_what_is_printed_is_the_configuration(name, written):
    overrides = (
        'train.expression.learning_rate=1e-7',
        'ingest.expression.mapping={angry: anger}',
        'beam.flags=[--a=b]',
    )
    config = load(name, overrides)
    printed = to_yaml(config)
    assert load(written(printed)) == config
    assert yaml.safe_load(printed)['train']['expression']['augment']['flip'] is True, 'defaults are printed too'


def test_folders_are_absolute_so_that_the_cache_does_not_depend_on_where_one_stands(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = load('demo')
    assert config.store == tmp_path / 'runs' / 'demo'
    assert config.serving_folder('faces') == tmp_path / 'serving' / 'faces'
    assert Path(config.metadata_store).parent == config.store


@pytest.mark.parametrize(
    ('override', 'value'),
    [
        ('seed=7', lambda config: config.seed == 7),
        ('train.expression.epochs=3', lambda config: config.train.expression.epochs == 3),
        ('train.expression.blocks=[1, 2, 1, 1]', lambda config: config.train.expression.blocks == (1, 2, 1, 1)),
        ('train.keypoints.augment.flip=no', lambda config: config.train.keypoints.augment.flip is False),
        ('ingest.keypoints.files=[a.csv,b/*]', lambda config: config.ingest.keypoints.files == ('a.csv', 'b/*')),
        ('runs=a=b', lambda config: config.runs == 'a=b'),
        ('evaluate.keypoints.gates.rmse.maximum=3', lambda c: c.evaluate.keypoints.gates['rmse'] == Gate(None, 3, 0.3)),
        ('evaluate.keypoints.gates.rmse={}', lambda c: c.evaluate.keypoints.gates['rmse'] == Gate()),
        ('evaluate.keypoints.gates.rmse_nose_tip={maximum: 2}', lambda c: len(c.evaluate.keypoints.gates) == 3),
        ('evaluate.keypoints.gates.rmse.maximum=null', lambda c: c.evaluate.keypoints.gates['rmse'].maximum is None),
    ],
)
def test_set_changes_one_value_and_leaves_the_others(override, value, written):
    path = written(BASE)
    config = load(path, [override])
    assert value(config)
    printed, before = (yaml.safe_load(to_yaml(each)) for each in (config, load(path)))
    section = override.split('=')[0].split('.')[0]
    assert {k: v for k, v in printed.items() if k != section} == {k: v for k, v in before.items() if k != section}
    assert config.evaluate.keypoints.gates['within_10_percent'] == Gate(minimum=0.6)


def test_the_last_set_wins():
    assert load('demo', ['seed=1', 'seed=2']).seed == 2


@pytest.mark.parametrize('written_as', ['1', '1.0', '1e0', '10e-1'])
def test_a_number_may_be_written_in_any_form(written_as):
    key = 'train.expression.learning_rate'
    overrides = [f'{key}={written_as}', f'evaluate.expression.gates.accuracy.minimum={written_as}']
    config = load('demo', overrides)
    for value in (config.train.expression.learning_rate, config.evaluate.expression.gates['accuracy'].minimum):
        assert (value, type(value)) == (1.0, float)
    # Equal numbers are equal text, or the cache would miss.
    assert to_yaml(config) == to_yaml(load('demo', [override.replace(written_as, '1.0') for override in overrides]))


def test_1e_3_without_a_point_is_a_number(written):
    assert load(written('train: {expression: {learning_rate: 1e-3}}')).train.expression.learning_rate == 0.001


@pytest.mark.parametrize(
    ('key', 'nearest'),
    [
        ('trian', 'did you mean train?'),
        ('train.expresion', 'did you mean train.expression?'),
        ('train.expression.epoch', 'did you mean train.expression.epochs?'),
        ('train.expression.augment.flips', 'did you mean train.expression.augment.flip?'),
        ('evaluate.keypoints.gates.rmse.maximun', 'did you mean evaluate.keypoints.gates.rmse.maximum?'),
        ('push.zzz', 'known here: keep.'),
    ],
)
def test_an_unknown_key_is_told_with_the_nearest_one(key, nearest, written):
    message = complaint('demo', f'{key}=1')
    assert message == f'Unknown configuration key {key}: {nearest}'
    nested: object = 1
    for part in reversed(key.split('.')):
        nested = {part: nested}
    assert complaint(written(yaml.safe_dump(nested))) == message


@pytest.mark.parametrize(
    ('override', 'message'),
    [
        ('train.expression.epochs=many', "key train.expression.epochs: expected int, got str 'many'"),
        ('train.expression.epochs=1.5', 'key train.expression.epochs: expected int, got float 1.5'),
        ('train.expression.epochs=true', 'key train.expression.epochs: expected int, got bool True'),
        ('train.expression.dropout=yes', 'key train.expression.dropout: expected float, got bool True'),
        ('train.expression.dropout=abc', "key train.expression.dropout: expected float, got str 'abc'"),
        ('train.expression.mixed_precision=1', 'expected bool, got int 1'),
        ('train.expression.widths=7', 'key train.expression.widths: expected a list such as [a, b], got int 7'),
        ('train.expression.widths=[1, x]', 'key train.expression.widths: expected tuple[int, ...]'),
        ('ingest.expression.files=a.csv', "expected a list such as [a, b], got str 'a.csv'"),
        ('ingest.expression.split=other', "expected Literal['hash', 'usage'], got str 'other'"),
        ('ingest.expression.mapping=[a]', 'key ingest.expression.mapping: expected dict[str, str], got list'),
        ('evaluate.expression.gates.accuracy=0.7', 'gates.accuracy: expected keys with values, got float 0.7'),
        ('evaluate.expression.gates.accuracy.minimum=x', "expected float | None, got str 'x'"),
        ('train=5', 'key train: expected keys with values, got int 5'),
        ('train=', 'key train: expected keys with values, got NoneType None'),
        ('seed=null', 'key seed: expected int, got NoneType None'),
        ('name=5', 'key name: expected str, got int 5'),
    ],
)
def test_a_value_of_the_wrong_type_is_told_with_its_key(override, message):
    assert message in complaint('demo', override)


@pytest.mark.parametrize(
    ('override', 'message'),
    [
        ('seed', 'write it as section.key=value'),
        ('=1', 'write it as section.key=value'),
        ('name.first=x', 'name has no keys of its own'),
        ('name=[a', 'cannot be read as YAML'),
        ('train..epochs=1', 'Unknown configuration key'),
    ],
)
def test_a_set_that_cannot_be_read_is_told(override, message):
    assert message in complaint('demo', override)


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        (b'train: [', 'cannot be read as YAML'),
        (b'train: {\n  a: b: c\n}\n', 'cannot be read as YAML'),
        (b'\xff\xfe\x00', 'cannot be read as YAML'),
        (b'\x00', 'cannot be read as YAML'),
        (b'', 'holds no mapping'),
        (b'- demo', 'holds no mapping'),
        (b'just text', 'holds no mapping'),
        (b'1: 2', 'Unknown configuration key 1'),
        (b'name: !!python/object/apply:os.getcwd []', 'cannot be read as YAML'),
    ],
)
def test_a_file_that_is_no_configuration_is_told_with_its_path(written, content, message):
    path = written(content)
    told = complaint(path)
    assert message in told
    assert path in told or 'key 1' in told


def test_a_configuration_extends_another_section_by_section(tmp_path):
    (tmp_path / 'base.yaml').write_text(
        'extends: full\nname: base\ntrain: {expression: {epochs: 7, widths: [16], blocks: [1]}}'
    )
    mine = tmp_path / 'mine.yaml'
    mine.write_text(f'extends: {tmp_path}/base.yaml\nname: mine\ntrain: {{expression: {{epochs: 9}}}}')
    config, full = load(str(mine)), load('full')
    assert (config.name, config.train.expression.epochs, config.train.expression.widths) == ('mine', 9, (16,))
    assert config.train.expression.augment == full.train.expression.augment
    assert (config.ingest, config.evaluate) == (full.ingest, full.evaluate)


def test_what_a_file_extends_lies_beside_it_wherever_the_command_is_typed(tmp_path):
    (tmp_path / 'base.yaml').write_text('seed: 5')
    (tmp_path / 'mine.yaml').write_text('extends: base.yaml\nname: mine')
    assert (load(f'{tmp_path}/mine.yaml').seed, load(f'{tmp_path}/mine.yaml').name) == (5, 'mine')


@pytest.mark.parametrize('text', ['extends: [full]', 'extends: mine.yaml', 'extends: other.yaml', 'extends: nothing'])
def test_what_cannot_be_extended_is_told(tmp_path, monkeypatch, text):
    monkeypatch.chdir(tmp_path)
    Path('mine.yaml').write_text(text)
    Path('other.yaml').write_text('extends: mine.yaml')
    assert 'extends is' in complaint('mine.yaml') or "no configuration 'nothing'" in complaint('mine.yaml')


@pytest.mark.parametrize('name', ['nothing', 'nothing.yaml', '', '../configs/demo.yml'])
def test_a_missing_file_is_told_with_the_names_that_there_are(name):
    assert f'no configuration {name!r}: give one of best, demo, full, original' in complaint(name)


def test_a_folder_is_no_file(tmp_path):
    (tmp_path / 'folder.yaml').mkdir()
    assert 'There is no configuration' in complaint(str(tmp_path / 'folder.yaml'))


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=4,
)
sections = [field.name for field in dataclasses.fields(Config)]


# The first text of a fresh clone waits for Hypothesis to read Unicode's tables.
@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.dictionaries(st.sampled_from(sections), plain, max_size=3), st.sampled_from(['train.expression', 'check']))
def test_whatever_is_written_loads_or_ends_in_one_line(tmp_path_factory, values, section):
    path = tmp_path_factory.getbasetemp() / 'any.yaml'
    path.write_text(yaml.safe_dump(values), encoding='utf-8')
    for overrides in ([], [f'{section}={yaml.safe_dump(values, default_flow_style=True).strip()}']):
        try:
            config = load(str(path), overrides)
        except StepError as error:
            assert len(str(error).splitlines()) == 1
        else:
            assert isinstance(config, Config)


@pytest.mark.parametrize(
    ('override', 'rule'),
    [
        ('train.expression.epochs=-1', 'epochs'),
        ('train.keypoints.batch_size=0', 'batch_size'),
        ('train.expression.widths=[16, 32]', 'widths and blocks'),
        ('train.expression.learning_rate=0', 'learning_rate'),
        ('ingest.expression.evaluation_percent=101', 'evaluation_percent'),
        ('ingest.keypoints.maximum_reject_share=2', 'maximum_reject_share'),
        ('ingest.keypoints.limit=-5', 'limit'),
        ('train.expression.augment.mixup=-0.1', 'mixup and cutmix are 0'),
        ('train.keypoints.average_epochs=-1', 'average_epochs is 0'),
        ('kubeflow.data.path=data', "absolute, not 'data'"),
        ('kubeflow.retries.count=-1', 'count is 0'),
        ('kubeflow.resources.default.cpu_limit=0.1', 'no more than cpu_limit'),
        ('kubeflow.resources.Trainer.memory_limit=0', 'no more than memory_limit'),
        ('workers.count=0', 'workers.count is 1'),
        ('workers.restarts=-1', 'workers.restarts is 0'),
        ('workers.count=3', 'batch_size is 32, which workers.count of 3 does not divide'),
        ('ingest.keypoints.shards=-1', 'shards is 0'),
        ('kubeflow={training: job, state: {path: /mnt/state}}', 'kubeflow.state: give it a claim'),
    ],
)
def test_a_number_that_makes_no_sense_is_told_with_its_rule(override, rule):
    with pytest.raises(StepError, match=rule) as caught:
        load('demo', [override])
    assert len(str(caught.value).splitlines()) == 1


def test_fewer_files_than_workers_are_told():
    with pytest.raises(StepError, match='ingest.keypoints.shards is 1: give each of 2 workers'):
        load('demo', ['workers.count=2', 'ingest.keypoints.shards=1'])
    assert load('demo', ['workers.count=2', 'ingest.keypoints.shards=3']).workers.count == 2
