"""Pusher and ServedModel, run as TFX runs them, on real artifacts."""

import dataclasses
import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import tensorflow as tf
from tfx.dsl.components.base.base_executor import BaseExecutor
from tfx.types import Artifact, standard_artifacts
from tfx.utils import path_utils

from components import faces
from components.check import component as check
from components.check.warmup import write_warmup
from components.dashboard import Markdown
from components.evaluate.results import read_figures
from components.joint.component import CANDIDATE, MADE_OF, PARTS
from components.push import component, served_model, versions
from components.settings import EvaluateSettings, Gate, PushSettings, to_json
from tests.components import run_artifacts


def at(kind: type[Artifact], folder: Path) -> Artifact:
    folder.mkdir(parents=True, exist_ok=True)
    artifact = kind()
    artifact.uri = str(folder)
    return artifact


@dataclasses.dataclass(frozen=True)
class Evaluated:
    """A candidate with the results of two real evaluations: one that it passes, and one that it fails."""

    model: Artifact
    evaluation: Artifact
    blessed: Artifact
    refused: Artifact
    evidence: dict[str, Artifact]


@pytest.fixture(scope='module')
def evaluated(tmp_path_factory, folders) -> Evaluated:
    folder = folders[faces.EXPRESSION_MODEL]

    def run(minimum: float) -> tuple[Artifact, Artifact]:
        target = tmp_path_factory.mktemp('evaluated')
        settings = EvaluateSettings(gates={'accuracy': Gate(minimum=minimum)})
        run_artifacts.evaluate(folder, faces.EXPRESSION_MODEL, settings, target)
        return (
            at(standard_artifacts.ModelEvaluation, target / 'evaluation'),
            at(standard_artifacts.ModelBlessing, target / 'blessing'),
        )

    evaluation, blessed = run(0.01)
    model = at(standard_artifacts.Model, folder / run_artifacts.CANDIDATE)
    return Evaluated(
        model, evaluation, blessed, run(1.0)[1], _evidence(folders) | {'expression_evaluation': evaluation}
    )


def _evidence(folders: dict[str, Path]) -> dict[str, Artifact]:
    """Of both tasks, by the names of Pusher's inputs."""
    return {
        f'{task}_{name}': at(kind, folders[task] / name)
        for task in faces.TASKS
        for name, kind in component.EVIDENCE.items()
    }


@pytest.fixture
def checked(tmp_path) -> Callable[..., Artifact]:
    def write(*findings: str) -> Artifact:
        artifact = at(standard_artifacts.InfraBlessing, tmp_path / 'check')
        folder = Path(artifact.uri)
        result = check.CheckResult(faces.EXPRESSION_MODEL, not findings, findings, 0.01)
        (folder / check.FILE_NAME).write_text(json.dumps(dataclasses.asdict(result)))
        write_warmup(folder / check.WARMUP, faces.EXPRESSION_MODEL, b'image')
        return artifact

    return write


@pytest.fixture
def push(tmp_path, evaluated) -> Callable[..., tuple[Artifact, dict]]:
    """Runs the executor; gives the artifact and what it wrote down."""

    def run(inputs: dict[str, Artifact], keep: int = 5, **properties: str) -> tuple[Artifact, dict]:
        pushed = at(standard_artifacts.PushedModel, tmp_path / 'pushed')
        card = Markdown()
        card.uri = str(tmp_path / 'card.md')
        component.Executor(BaseExecutor.Context(pipeline_run_id='20240506-070809')).Do(
            {key: [artifact] for key, artifact in (evaluated.evidence | inputs).items()},
            {'pushed': [pushed], 'model_card': [card]},
            {
                'name': faces.EXPRESSION_MODEL,
                'folder': str(tmp_path / 'serving'),
                'settings': to_json(PushSettings(keep)),
                'candidate': 'the candidate',
                'data': 'the data',
                'identity': '',
                'code': '',
            }
            | properties,
        )
        return pushed, json.loads((Path(pushed.uri) / component.FILE_NAME).read_text())

    return run


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob('*') if path.is_file()}


def test_a_blessed_and_checked_model_is_pushed_with_its_provenance_and_warmup(evaluated, checked, push, tmp_path):
    inputs = {
        'model': evaluated.model,
        'check': checked(),
        'blessing': evaluated.blessed,
    }
    pushed, record = push(inputs)
    assert (pushed.get_int_custom_property('pushed'), pushed.get_int_custom_property('pushed_version')) == (1, 1)
    folder = tmp_path / 'serving' / '1'
    assert record == {
        'model': 'expression',
        'version': 1,
        'folder': str(folder),
        'note': '',
        'run': '20240506-070809',
    }

    facts = versions.provenance(folder.parent, 1)
    found = read_figures(Path(evaluated.evaluation.uri))
    assert facts.kpis == {figure.metric: figure.value for figure in found if figure.slice == 'overall'}
    assert (facts.model, facts.candidate, facts.data) == ('expression', 'the candidate', 'the data')
    assert (facts.artifact, facts.run) == (evaluated.model.uri, '20240506-070809')
    head = subprocess.run(
        ['git', '-C', str(Path(__file__).parent), 'rev-parse', 'HEAD'], capture_output=True, text=True
    )
    assert facts.commit == head.stdout.strip()

    requests = folder / 'assets.extra' / 'tf_serving_warmup_requests'
    assert requests.read_bytes() == (Path(inputs['check'].uri) / check.WARMUP).read_bytes()
    original = files(Path(path_utils.serving_model_dir(evaluated.model.uri)))
    assert original.items() <= files(folder).items()
    tf.saved_model.load(str(folder))


def test_in_an_image_the_environment_names_the_commit(monkeypatch):
    assert len(component.git_commit()) == 40
    monkeypatch.setenv('EMOTION_PIPELINE_REVISION', 'abc123')
    assert component.git_commit() == 'abc123'


def test_a_model_card_lies_beside_the_version_and_is_shown(evaluated, checked, push, tmp_path):
    pushed, _ = push({'model': evaluated.model, 'check': checked()})
    card = (tmp_path / 'serving' / '1' / 'assets.extra' / 'model_card.md').read_text()
    assert card.startswith('# Model card: expression')
    assert (Path(pushed.uri) / component.CARD_FILE).read_text() == card
    assert (tmp_path / 'card.md').read_text() == card


@pytest.fixture
def joint(tmp_path, evaluated) -> Callable[..., dict[str, Artifact]]:
    """Pusher's inputs for a joint model whose parts come from there."""

    def make(**parts: str) -> dict[str, Artifact]:
        model = at(standard_artifacts.Model, tmp_path / 'joint')
        shutil.copytree(path_utils.serving_model_dir(evaluated.model.uri), path_utils.serving_model_dir(model.uri))
        (Path(model.uri) / PARTS).write_text(json.dumps(parts))
        served = {f'{task}_served': at(standard_artifacts.Model, tmp_path / f'served {task}') for task in faces.TASKS}
        return {'model': model, **served}

    return make


def test_the_joint_model_has_no_evaluation_of_its_own(joint, checked, push, tmp_path):
    inputs = joint(expression='candidate', keypoints='candidate')
    _, record = push({**inputs, 'check': checked()}, name=faces.JOINT_MODEL)
    assert record['version'] == 1
    facts = versions.provenance(tmp_path / 'serving', 1)
    assert (facts.model, facts.kpis) == ('faces', {})
    card = (tmp_path / 'card.md').read_text()
    assert [line for line in card.splitlines() if line.startswith('# ')] == [
        '# Model card: faces',
        '# Model card: expression',
        '# Model card: keypoints',
    ]


def test_a_part_of_the_joint_model_that_was_served_before_brings_its_card(joint, checked, push, tmp_path):
    inputs = joint(expression='served', keypoints='candidate')
    before = Path(path_utils.serving_model_dir(inputs['expression_served'].uri)) / 'assets.extra'
    before.mkdir(parents=True)
    (before / 'model_card.md').write_text('The card of version 7.')
    push({**inputs, 'check': checked()}, name=faces.JOINT_MODEL)
    card = (tmp_path / 'card.md').read_text()
    assert 'The card of version 7.' in card
    assert '# Model card: expression' not in card
    assert '# Model card: keypoints' in card


def test_a_candidate_that_is_not_blessed_is_not_pushed(evaluated, checked, push, tmp_path):
    pushed, record = push(
        {
            'model': evaluated.model,
            'check': checked(),
            'blessing': evaluated.refused,
        }
    )
    assert pushed.get_int_custom_property('pushed') == 0
    assert pushed.get_int_custom_property('pushed_version') == 0
    assert record == {
        'model': 'expression',
        'version': 0,
        'folder': '',
        'note': 'refused by the evaluation',
        'run': '',
    }
    assert not (tmp_path / 'serving').exists()


def test_a_candidate_that_failed_its_check_is_not_pushed_and_the_note_says_why(evaluated, checked, push, tmp_path):
    pushed, record = push(
        {
            'model': evaluated.model,
            'check': checked('it is slow', 'it is wrong'),
            'blessing': evaluated.blessed,
        }
    )
    assert pushed.get_int_custom_property('pushed') == 0
    assert record['note'] == 'refused by the serving check: it is slow; it is wrong'
    assert not (tmp_path / 'serving').exists()


def test_as_many_versions_stay_as_the_settings_say(evaluated, checked, push, tmp_path):
    for name in 'abc':
        model = at(standard_artifacts.Model, tmp_path / name)
        shutil.copytree(path_utils.serving_model_dir(evaluated.model.uri), path_utils.serving_model_dir(model.uri))
        push({'model': model, 'check': checked()}, keep=2)
    assert versions.versions(tmp_path / 'serving') == [2, 3]


def test_an_executor_that_runs_again_after_a_kill_pushes_nothing_twice(evaluated, checked, push, tmp_path):
    inputs = {'model': evaluated.model, 'check': checked()}
    assert push(inputs)[1] == push(inputs)[1]
    assert versions.versions(tmp_path / 'serving') == [1]


def test_a_model_that_was_replaced_is_not_pushed_again_by_a_repeated_run(evaluated, checked, push, tmp_path):
    other = at(standard_artifacts.Model, tmp_path / 'other')
    shutil.copytree(path_utils.serving_model_dir(evaluated.model.uri), path_utils.serving_model_dir(other.uri))
    first, second = ({'model': model, 'check': checked()} for model in (evaluated.model, other))
    assert [push(first)[1]['version'], push(second)[1]['version']] == [1, 2]
    pushed, record = push(first)
    assert (record['version'], pushed.get_int_custom_property('pushed')) == (0, 0)
    assert 'roll back' in record['note']
    versions.rollback(tmp_path / 'serving', 1, '2026-01-01')
    # Nor is the rollback undone.
    assert push(second)[1]['version'] == 0
    assert push(first)[1]['version'] == 3
    assert versions.versions(tmp_path / 'serving') == [1, 2, 3]


@pytest.fixture
def serve(tmp_path) -> Callable[[str], Artifact]:
    def run(candidate: str, artifact: Artifact | None = None) -> Artifact:
        model = at(standard_artifacts.Model, tmp_path / f'baseline of {candidate}')
        inputs = {'candidate_model': [artifact or at(standard_artifacts.Model, tmp_path / candidate)]}
        properties = {'folder': str(tmp_path / 'serving'), 'candidate': candidate, 'baseline': '', 'code': ''}
        served_model.Executor(BaseExecutor.Context()).Do(inputs, {'model': [model]}, properties)
        return model

    return run


def test_nothing_served_is_version_0_and_no_model(serve):
    model = serve('the candidate')
    # 0 has to be written down, not only be missing: Kubeflow hands on what is there.
    assert model.has_custom_property(served_model.SERVED_VERSION)
    assert model.get_int_custom_property(served_model.SERVED_VERSION) == 0
    assert not list(Path(model.uri).rglob('saved_model.pb'))
    assert list(Path(model.uri).iterdir()), 'an object store keeps no empty folder'


def test_the_served_model_is_a_copy_of_the_newest_version(evaluated, checked, push, serve, tmp_path):
    for name in 'ab':
        model = at(standard_artifacts.Model, tmp_path / name)
        shutil.copytree(path_utils.serving_model_dir(evaluated.model.uri), path_utils.serving_model_dir(model.uri))
        push({'model': model, 'check': checked()}, candidate=name)
    model = serve('c')
    assert model.get_int_custom_property(served_model.SERVED_VERSION) == 2
    copy = Path(path_utils.serving_model_path(model.uri))
    assert files(copy) == files(tmp_path / 'serving' / '2')
    shutil.rmtree(tmp_path / 'serving' / '2')
    tf.saved_model.load(str(copy))


def test_a_candidate_is_not_its_own_baseline(evaluated, checked, push, serve):
    push({'model': evaluated.model, 'check': checked()}, candidate='a')
    assert serve('b').get_int_custom_property(served_model.SERVED_VERSION) == 1
    assert serve('a', evaluated.model).get_int_custom_property(served_model.SERVED_VERSION) == 0


def test_a_model_trained_anew_from_the_same_has_to_beat_the_served_one(evaluated, checked, push, serve):
    push({'model': evaluated.model, 'check': checked()}, candidate='a')
    assert serve('a').get_int_custom_property(served_model.SERVED_VERSION) == 1


def test_a_joint_model_made_anew_of_the_same_parts_is_not_pushed_again(evaluated, checked, push, tmp_path):
    pushed = []
    for name, made_of in (('first', 'one two'), ('again', 'one two'), ('other', 'one three')):
        model = at(standard_artifacts.Model, tmp_path / name)
        shutil.copytree(path_utils.serving_model_dir(evaluated.model.uri), path_utils.serving_model_dir(model.uri))
        (Path(model.uri) / PARTS).write_text(json.dumps(dict.fromkeys(faces.TASKS, CANDIDATE)))
        model.set_string_custom_property(MADE_OF, made_of)
        pushed.append(push({'model': model, 'check': checked()}, name=faces.JOINT_MODEL)[1]['version'])
    assert pushed == [1, 1, 2]
