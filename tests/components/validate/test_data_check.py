"""DataCheck and DataGate on the artifacts that the steps before them leave."""

import dataclasses
import json
from pathlib import Path

import pytest
import tensorflow_data_validation as tfdv
from tfx.types import artifact_utils, standard_artifacts

from components import faces
from components.dashboard import Markdown
from components.errors import StepError
from components.ingest.artifacts import Rejects
from components.ingest.rejects import Summary
from components.settings import ValidateSettings, to_json
from components.validate import accepted, data_check, data_gate
from components.validate.artifacts import DataVerdict
from components.validate.findings import (
    GATES,
    DataRefusedError,
    Finding,
    check_overrides,
    read_findings,
    write_findings,
)

SETTINGS = ValidateSettings(maximum_image_drift=0.3, maximum_split_distance=0.4, minimum_examples=60)


def stopping(folder: Path) -> list[str]:
    """The gates that stopped the data whose artifacts lie in the folder."""
    return [finding.gate for finding in read_findings(folder / 'verdict') if finding.stops]


SUMMARY = Summary(7, {'train': 6, 'eval': 0}, {'no image': 1}, {}, 0, ('faces.csv',), None, '')


@pytest.fixture
def judge(tmp_path, measure, schemas, write_splits):
    """Lays out the artifacts of a split of Examples, runs the executors, and gives the findings."""

    def run(data: str, train, evaluation, overrides: str = '', settings: ValidateSettings = SETTINGS, summary=SUMMARY):
        folder = tmp_path / data
        splits = {faces.TRAIN_SPLIT: train, faces.EVAL_SPLIT: evaluation}
        write_splits(folder / 'examples', splits)
        for split, examples in splits.items():
            statistics = measure(examples)
            anomalies = tfdv.validate_statistics(statistics, schemas['expression'])
            for kind in ('statistics', 'anomalies'):
                (folder / kind / f'Split-{split}').mkdir(parents=True)
            (folder / 'statistics' / f'Split-{split}' / 'FeatureStats.pb').write_bytes(statistics.SerializeToString())
            (folder / 'anomalies' / f'Split-{split}' / 'SchemaDiff.pb').write_bytes(anomalies.SerializeToString())
        inputs = {
            'examples': standard_artifacts.Examples(),
            'statistics': standard_artifacts.ExampleStatistics(),
            'anomalies': standard_artifacts.ExampleAnomalies(),
            'rejects': Rejects(),
        }
        for name, artifact in inputs.items():
            artifact.uri = str(folder / name)
            if name != 'rejects':
                artifact.split_names = artifact_utils.encode_split_names(list(faces.SPLITS))
        (folder / 'rejects').mkdir()
        (folder / 'rejects' / 'summary.json').write_text(json.dumps(dataclasses.asdict(summary)))
        verdict = DataVerdict()
        verdict.uri = str(folder / 'verdict')
        properties = {
            'task': 'expression',
            'settings': to_json(settings),
            'data': data,
            'accepted_folder': str(tmp_path / 'accepted'),
            'previous': '',
            'overrides': overrides,
            'code': '',
        }
        channels = {name: [artifact] for name, artifact in inputs.items()}
        report = Markdown()
        report.uri = str(folder / 'data_report')
        data_check.Executor().Do(channels, {'verdict': [verdict], 'data_report': [report]}, properties)
        assert verdict.get_int_custom_property('passed') == int(not stopping(folder))
        data_gate.Executor().Do({'verdict': [verdict], 'statistics': channels['statistics']}, {}, properties)
        return read_findings(folder / 'verdict')

    return run


@pytest.fixture
def angry(examples) -> list[bytes]:
    """All of one class and some of the others: far from the even shares of the whole."""
    return examples['expression'][::5] + examples['expression'][1:60]


def newest(folder: Path) -> str | None:
    found = accepted.previous(folder / 'accepted', '')
    return found.name if found else None


def test_good_data_pass_and_are_accepted(tmp_path, judge, examples, other_faces):
    findings = judge('monday', examples['expression'], other_faces)
    assert all(finding.passed and not finding.overridden for finding in findings)
    assert {finding.gate for finding in findings} == {'schema', 'minimum-examples', 'leak', 'split-distance'}
    assert newest(tmp_path) == 'monday'
    kept = tfdv.load_stats_binary(str(tmp_path / 'accepted' / 'monday' / 'Split-train' / 'FeatureStats.pb'))
    assert kept.datasets[0].num_examples == 120


def test_the_next_data_are_compared_with_the_accepted(tmp_path, judge, examples, other_faces, angry):
    judge('monday', examples['expression'], other_faces)
    with pytest.raises(DataRefusedError) as caught:
        judge('tuesday', angry, other_faces)
    message = str(caught.value)
    assert '\n' not in message
    for part in ('expression', 'limit 0.1', '--override class-drift', 'validate.expression'):
        assert part in message
    assert '--override image-drift' not in message
    assert newest(tmp_path) == 'monday'
    # The verdict is written all the same, for people too.
    assert stopping(tmp_path / 'tuesday') == ['class-drift']
    page = (tmp_path / 'tuesday' / 'data_report').read_text()
    for part in ('refused', 'class\\-drift', 'no image', r'faces\.csv'):
        assert part in page


def test_an_override_lets_the_data_pass_says_so_and_accepts_them(tmp_path, judge, examples, other_faces, angry):
    judge('monday', examples['expression'], other_faces)
    findings = judge('tuesday', angry, other_faces, overrides='class-drift')
    assert [finding.gate for finding in findings if not finding.passed] == ['class-drift']
    assert [finding.gate for finding in findings if finding.overridden] == ['class-drift']
    assert newest(tmp_path) == 'tuesday'


def test_an_override_is_for_its_own_gate_alone(tmp_path, judge, examples):
    settings = dataclasses.replace(SETTINGS, maximum_split_distance=1.0)
    with pytest.raises(DataRefusedError) as caught:
        judge('leaky', examples['expression'], examples['expression'][:55], 'leak', settings)
    found = read_findings(tmp_path / 'leaky' / 'verdict')
    assert [finding.gate for finding in found if not finding.passed] == ['minimum-examples', 'leak']
    assert stopping(tmp_path / 'leaky') == ['minimum-examples']
    assert '--override leak' not in str(caught.value)
    assert 'eval: 55 Examples (limit 60)' in str(caught.value)


def test_leaks_of_the_original_protocol_do_not_stop_and_other_findings_do(tmp_path, judge, examples, other_faces):
    summary = dataclasses.replace(SUMMARY, protocol='original', leaks=9)
    leaky = examples['expression'] + other_faces[:9]
    findings = judge('leaky', leaky, other_faces, summary=summary)
    assert [(finding.gate, finding.overridden) for finding in findings if not finding.passed] == [('leak', True)]
    page = (tmp_path / 'leaky' / 'data_report').read_text()
    assert 'accepted with overrides' in page
    assert '9 eval rows have a twin in the training split' in page
    with pytest.raises(DataRefusedError, match='eval: 55 Examples'):
        judge('small', leaky, other_faces[:55], summary=summary)
    assert stopping(tmp_path / 'small') == ['minimum-examples']


def test_data_outside_the_schema_are_refused(judge, examples, other_faces, change):
    train = [change(examples['expression'][0], expression=b'two\nlines'), *examples['expression'][1:]]
    with pytest.raises(DataRefusedError, match='feature expression: .*--override schema') as caught:
        judge('strange', train, other_faces)
    assert '\n' not in str(caught.value)


def test_data_of_which_most_are_no_images_are_refused(judge, examples, other_faces, change):
    train = [change(example, image=b'no image') for example in examples['expression']]
    with pytest.raises(DataRefusedError, match='train, feature image: .*--override schema'):
        judge('empty', train, other_faces)


def test_many_findings_still_make_one_short_line(tmp_path, judge, examples, other_faces, change):
    strange = {'expression': b'fear', 'brightness': b'odd', 'contrast': b'odd', 'label': 9, 'mean': 999.0}
    train = [change(examples['expression'][0], **strange), *examples['expression'][1:]]
    with pytest.raises(DataRefusedError, match=r' and \d more\. Mend the data') as caught:
        judge('worse', train, other_faces)
    assert str(caught.value).count('--override') == len(set(stopping(tmp_path / 'worse')))


def test_the_same_data_pass_a_second_time(tmp_path, judge, examples, other_faces):
    """They are not compared with themselves, nor with what came after them being refused."""
    first = judge('monday', examples['expression'], other_faces)
    (tmp_path / 'monday').rename(tmp_path / 'before')
    assert judge('monday', examples['expression'], other_faces) == first


def test_an_override_of_no_gate_is_told():
    with pytest.raises(StepError, match="'drift'.*class-drift") as caught:
        check_overrides(('leak', 'drift'))
    assert '\n' not in str(caught.value)
    check_overrides(GATES)


def test_findings_are_read_as_they_were_written(tmp_path):
    findings = (
        Finding('leak', 'ein Gesicht – zweimal', 3, 0, False, True),
        Finding('schema', 'as the schema demands', None, None, True),
        Finding('class-drift', 'far', 0.25, 0.1, False),
    )
    write_findings(tmp_path / 'new' / 'folder', findings)
    assert read_findings(tmp_path / 'new' / 'folder') == findings
    assert [finding.stops for finding in findings] == [False, False, True]
    assert [dataclasses.replace(finding, passed=True).stops for finding in findings] == [False] * 3
