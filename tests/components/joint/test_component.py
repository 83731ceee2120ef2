"""The joint model: which parts it is made of, and that it answers as they do."""

import dataclasses
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_transform as tft
from tfx.dsl.components.base.base_executor import BaseExecutor
from tfx.types import Artifact, standard_artifacts
from tfx.utils import path_utils

from components import faces
from components.ingest.images import to_png
from components.joint import component
from components.joint.component import CANDIDATE, MISSING, SERVED, read_parts
from components.push.served_model import SERVED_VERSION
from components.settings import TrainSettings
from components.train import expression, keypoints
from components.train.export import save

SMALL = TrainSettings(image_size=48, widths=(4, 8), blocks=(1, 1))
TASKS = {task.name: task for task in (expression.TASK, keypoints.TASK)}


@dataclasses.dataclass(frozen=True)
class Models:
    """Artifacts of untrained networks, two of each task that answer differently."""

    candidates: dict[str, Path]
    served: dict[str, Path]


@pytest.fixture(scope='module')
def models(transformed, tmp_path_factory) -> Models:
    folder = tmp_path_factory.mktemp('models')

    def export(name: str, seed: int) -> dict[str, Path]:
        for task, kind in TASKS.items():
            keras.utils.set_random_seed(seed)
            output = tft.TFTransformOutput(str(transformed[task].transform_output))
            save(
                kind.export(kind.build(SMALL), output),
                Path(path_utils.serving_model_dir(str(folder / name / task))),
            )
        return {task: folder / name / task for task in TASKS}

    return Models(export('candidates', 1), export('served', 2))


@pytest.fixture
def join(models, tmp_path) -> Callable[..., Path]:
    """Runs the executor; gives the folder of the joint model's artifact."""

    def at(kind: type[Artifact], folder: Path) -> Artifact:
        artifact = kind()
        artifact.uri = str(folder)
        return artifact

    def run(blessed: set[str], served: set[str], as_number: Callable = int) -> Path:
        inputs = {}
        for task in TASKS:
            blessing = at(standard_artifacts.ModelBlessing, tmp_path / f'{task} blessing')
            Path(blessing.uri).mkdir()
            (Path(blessing.uri) / ('BLESSED' if task in blessed else 'NOT_BLESSED')).touch()
            baseline = at(standard_artifacts.Model, models.served[task] if task in served else tmp_path / 'nothing')
            version = as_number(3 if task in served else 0)
            if isinstance(version, int):
                baseline.set_int_custom_property(SERVED_VERSION, version)
            else:
                baseline.set_float_custom_property(SERVED_VERSION, version)
            inputs |= {
                f'{task}_model': [at(standard_artifacts.Model, models.candidates[task])],
                f'{task}_blessing': [blessing],
                f'{task}_served': [baseline],
            }
        output = at(standard_artifacts.Model, tmp_path / 'joint')
        Path(output.uri).mkdir()
        component.Executor(BaseExecutor.Context()).Do(inputs, {'model': [output]}, {'code': ''})
        return Path(output.uri)

    return run


@pytest.fixture(scope='module')
def images(transformed) -> list[bytes]:
    """Faces of both sizes, in one request."""
    drawn = [face for task in TASKS for face in transformed[task].faces[faces.EVAL_SPLIT][:2]]
    return [to_png(face.image) for face in drawn]


def answer(model: Path, images: list[bytes]) -> np.ndarray:
    (output,) = (
        tf.saved_model.load(path_utils.serving_model_path(str(model)))
        .signatures[faces.SERVING_SIGNATURE](**{faces.SERVING_INPUT: tf.constant(images)})
        .values()
    )
    return output.numpy()


ASK = """
import sys
from pathlib import Path
import numpy as np, tensorflow as tf
folder = Path(sys.argv[2])
images = [path.read_bytes() for path in sorted(folder.glob('*.png'))]
signatures = tf.saved_model.load(sys.argv[1]).signatures
(name,) = signatures['serving_default'].structured_input_signature[1]
answers = signatures['serving_default'](**{name: tf.constant(images)})
values = {key: value.numpy() for key, value in answers.items()}
texts = {key: value.astype('U') for key, value in values.items() if value.dtype == object}
np.savez(folder / 'answers.npz', signatures=list(signatures), name=name, **{**values, **texts})
"""


def test_the_joint_model_answers_in_another_process_as_its_parts_do(join, models, images, tmp_path):
    joint = join({*TASKS}, set())
    for number, image in enumerate(images):
        (tmp_path / f'{number}.png').write_bytes(image)
    # A process that has none of this project's code, as a server has none.
    subprocess.run(
        [sys.executable, '-I', '-c', ASK, path_utils.serving_model_path(str(joint)), str(tmp_path)],
        check=True,
        timeout=300,
        cwd=tmp_path,
    )
    with np.load(tmp_path / 'answers.npz') as archive:
        answers = dict(archive)
    assert answers.pop('signatures').tolist() == [faces.SERVING_SIGNATURE]
    assert answers.pop('name') == faces.SERVING_INPUT
    assert answers.keys() == {faces.PROBABILITIES, faces.KEYPOINTS_OUTPUT, 'expressions', 'keypoint_names'}
    assert (answers['expressions'] == [faces.EXPRESSIONS] * 4).all()
    assert (answers['keypoint_names'] == [faces.KEYPOINTS] * 4).all()
    expected = {
        faces.PROBABILITIES: answer(models.candidates[faces.EXPRESSION_MODEL], images),
        faces.KEYPOINTS_OUTPUT: answer(models.candidates[faces.KEYPOINT_MODEL], images),
    }
    for name, values in expected.items():
        np.testing.assert_allclose(answers[name], values, rtol=1e-4, atol=1e-5)
        assert len(np.unique(values.round(4), axis=0)) == 4, 'each face has an answer of its own'
    # In pixels of the image that was sent, be it small or large; untrained, the points lie about its middle.
    small, large = answers[faces.KEYPOINTS_OUTPUT][[0, 2]].mean(axis=(1, 2))
    assert large > 1.5 * small


def test_the_joint_model_says_what_its_positions_mean(join):
    names = json.loads((join({*TASKS}, set()) / 'Format-Serving' / 'assets.extra' / 'names.json').read_text())
    assert names == {'expressions': list(faces.EXPRESSIONS), 'keypoints': list(faces.KEYPOINTS)}


@pytest.mark.parametrize('as_number', [int, float], ids=['local', 'as Kubeflow hands numbers on'])
def test_in_place_of_a_refused_candidate_stands_the_served_model(join, models, images, as_number):
    joint = join({faces.EXPRESSION_MODEL}, {*TASKS}, as_number)
    assert read_parts(joint) == {faces.EXPRESSION_MODEL: CANDIDATE, faces.KEYPOINT_MODEL: SERVED}
    signature = tf.saved_model.load(path_utils.serving_model_path(str(joint))).signatures[faces.SERVING_SIGNATURE]
    answers = signature(**{faces.SERVING_INPUT: tf.constant(images)})
    points = answers[faces.KEYPOINTS_OUTPUT].numpy()
    np.testing.assert_allclose(points, answer(models.served[faces.KEYPOINT_MODEL], images), rtol=1e-4)
    assert np.abs(points - answer(models.candidates[faces.KEYPOINT_MODEL], images)).max() > 0.01
    probabilities = answers[faces.PROBABILITIES].numpy()
    np.testing.assert_allclose(
        probabilities, answer(models.candidates[faces.EXPRESSION_MODEL], images), rtol=1e-4, atol=1e-6
    )


def test_two_blessed_candidates_are_preferred_to_what_is_served(join):
    assert set(read_parts(join({*TASKS}, {*TASKS})).values()) == {CANDIDATE}


@pytest.mark.parametrize(
    ('blessed', 'served', 'parts'),
    [
        ({faces.EXPRESSION_MODEL}, set(), (CANDIDATE, MISSING)),
        ({faces.KEYPOINT_MODEL}, {faces.KEYPOINT_MODEL}, (MISSING, CANDIDATE)),
        (set(), {*TASKS}, (SERVED, SERVED)),
        (set(), {faces.EXPRESSION_MODEL}, (SERVED, MISSING)),
        (set(), set(), (MISSING, MISSING)),
    ],
)
def test_without_a_new_part_or_with_one_missing_no_joint_model_is_made(join, blessed, served, parts):
    joint = join(blessed, served)
    assert read_parts(joint) == dict(zip(TASKS, parts, strict=True))
    assert [path.name for path in joint.iterdir()] == [component.PARTS]
