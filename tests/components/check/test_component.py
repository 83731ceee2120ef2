"""ServingCheck on real SavedModels: one that answers as it should, and many that do not."""

import dataclasses
import io
import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_transform as tft
from PIL import Image
from tensorflow_serving.apis import prediction_log_pb2
from tfx.dsl.components.base.base_executor import BaseExecutor
from tfx.types import Artifact, standard_artifacts
from tfx.utils import path_utils

from components import faces
from components.check import compare
from components.check.component import WARMUP, CheckResult, Executor, check_model, read_check
from components.check.questions import Questions, disguise, read_questions
from components.inference.network import onnx_file
from components.ingest.images import to_png
from components.joint.component import CANDIDATE, MISSING, PARTS, SERVED
from components.joint.module import join
from components.settings import CheckSettings, TrainSettings, to_json
from components.train import expression, keypoints
from components.train.export import save
from components.train.fit import PREDICTIONS

SMALL = TrainSettings(image_size=48, widths=(4, 8), blocks=(1, 1))
TASKS = {task.name: task for task in (expression.TASK, keypoints.TASK)}
# An untrained network on a machine that does other things as well.
PATIENT = CheckSettings(questions=6, maximum_latency=60.0, timeout=300.0)


@dataclasses.dataclass(frozen=True)
class Trained:
    """What the Trainer leaves behind of one task."""

    model: Path
    run: Path
    examples: Path

    @property
    def saved_model(self) -> Path:
        return Path(path_utils.serving_model_dir(str(self.model)))

    def questions(self, count: int = 6) -> Questions:
        return read_questions(self.examples, self.run / PREDICTIONS, count)


@pytest.fixture(scope='module')
def trained(transformed, tmp_path_factory) -> dict[str, Trained]:
    found = {}
    for name, task in TASKS.items():
        folder = tmp_path_factory.mktemp(name)
        result = Trained(folder / 'model', folder / 'run', transformed[name].examples)
        keras.utils.set_random_seed(1)
        output = tft.TFTransformOutput(str(transformed[name].transform_output))
        save(task.export(task.build(SMALL), output), result.saved_model)
        # In another order than the Examples: the two are matched by content.
        drawn = transformed[name].faces[faces.EVAL_SPLIT][::-1]
        signature = tf.saved_model.load(str(result.saved_model)).signatures[faces.SERVING_SIGNATURE]
        (answers,) = signature(image_bytes=tf.constant([to_png(face.image) for face in drawn])).values()
        result.run.mkdir()
        hashes = [face.content_hash.hex() for face in drawn]
        np.savez(result.run / PREDICTIONS, content_hash=hashes, prediction=answers.numpy())
        found[name] = result
    return found


@pytest.fixture(scope='module')
def expressions(trained) -> Trained:
    return trained[faces.EXPRESSION_MODEL]


@pytest.fixture
def execute(trained, tmp_path) -> Callable[..., tuple[CheckResult, Artifact]]:
    """Runs the executor as TFX does."""

    def at(kind: type[Artifact], folder: Path) -> list[Artifact]:
        artifact = kind()
        artifact.uri = str(folder)
        return [artifact]

    def run(name: str, model: Path, tasks: tuple[str, ...]) -> tuple[CheckResult, Artifact]:
        check = at(standard_artifacts.InfraBlessing, tmp_path / 'check')
        Path(check[0].uri).mkdir(exist_ok=True)
        inputs = {'model': at(standard_artifacts.Model, model)}
        for task in tasks:
            inputs[f'{task}_examples'] = at(standard_artifacts.Examples, trained[task].examples)
            inputs[f'{task}_run'] = at(standard_artifacts.ModelRun, trained[task].run)
        properties = {'name': name, 'settings': to_json(PATIENT), 'code': ''}
        Executor(BaseExecutor.Context()).Do(inputs, {'check': check}, properties)
        return read_check(Path(check[0].uri)), check[0]

    return run


def save_module(folder: Path, serve: Callable[[tf.Tensor], tf.Tensor], *signatures: str) -> Path:
    """A SavedModel whose signatures all answer with `serve`."""
    module = tf.Module()
    inputs = {faces.SERVING_SIGNATURE: faces.SERVING_INPUT, faces.EXAMPLES_SIGNATURE: 'examples'}

    def function(name: str):
        specification = tf.TensorSpec([None], tf.string, name=name)
        return tf.function(lambda rows: {faces.PROBABILITIES: serve(rows)}, input_signature=[specification])

    names = signatures or tuple(inputs)
    tf.saved_model.save(
        module, str(folder), signatures={name: function(inputs[name]).get_concrete_function() for name in names}
    )
    return folder


def even(rows: tf.Tensor) -> tf.Tensor:
    return tf.fill([tf.shape(rows)[0], 5], 0.2)


def test_a_model_that_answers_as_the_trainer_did_passes(execute, expressions):
    result, check = execute(faces.EXPRESSION_MODEL, expressions.model, (faces.EXPRESSION_MODEL,))
    assert (result.model, result.passed, result.findings) == ('expression', True, ())
    assert 0 < result.latency < PATIENT.maximum_latency
    assert check.get_int_custom_property('blessed') == 1

    records = tf.data.TFRecordDataset(str(Path(check.uri) / WARMUP)).as_numpy_iterator()
    requests = [prediction_log_pb2.PredictionLog.FromString(record).predict_log.request for record in records]
    assert [request.model_spec.name for request in requests] == ['expression'] * 2
    signatures = tf.saved_model.load(str(expressions.saved_model)).signatures
    answers = [
        signatures[request.model_spec.signature_name](
            **{name: tf.constant(tf.make_ndarray(value)) for name, value in request.inputs.items()}
        )[faces.PROBABILITIES].numpy()
        for request in requests
    ]
    assert [answer.shape for answer in answers] == [(1, 5), (8, 5)]
    np.testing.assert_allclose(answers[0][0], expressions.questions(1).predictions[0], atol=1e-5)


@pytest.fixture(scope='module')
def stranger(transformed, tmp_path_factory) -> Path:
    """Another expression model than the one that the Trainer made its predictions with."""
    keras.utils.set_random_seed(2)
    task = TASKS[faces.EXPRESSION_MODEL]
    folder = tmp_path_factory.mktemp('stranger')
    save(task.export(task.build(SMALL), tft.TFTransformOutput(str(transformed[task.name].transform_output))), folder)
    return folder


def test_a_joint_model_is_asked_about_the_parts_that_are_new(execute, trained, stranger, tmp_path):
    model = tmp_path / 'joint'
    join(stranger, trained[faces.KEYPOINT_MODEL].saved_model, Path(path_utils.serving_model_dir(str(model))))
    parts = {faces.EXPRESSION_MODEL: SERVED, faces.KEYPOINT_MODEL: CANDIDATE}
    (model / PARTS).write_text(json.dumps(parts))
    result, check = execute(faces.JOINT_MODEL, model, tuple(TASKS))
    assert (result.model, result.passed, result.findings) == ('faces', True, ())

    parts[faces.EXPRESSION_MODEL] = CANDIDATE
    (model / PARTS).write_text(json.dumps(parts))
    result, check = execute(faces.JOINT_MODEL, model, tuple(TASKS))
    assert not result.passed and check.get_int_custom_property('blessed') == 0
    assert result.findings and all('expression row(s): probabilities differ by' in line for line in result.findings)


def test_an_onnx_form_that_answers_otherwise_is_refused(expressions, stranger, tmp_path):
    model = tmp_path / 'model'
    shutil.copytree(expressions.saved_model, model)
    onnx = onnx_file(model, faces.EXPRESSION_MODEL)
    questions = {faces.EXPRESSION_MODEL: expressions.questions()}

    shutil.copyfile(onnx_file(stranger, faces.EXPRESSION_MODEL), onnx)
    result = check_model(faces.EXPRESSION_MODEL, model, questions, PATIENT)
    assert not result.passed and len(result.findings) == 3
    assert all(line.startswith('ONNX form, ') and 'differ by 0.' in line for line in result.findings)

    onnx.write_bytes(onnx.read_bytes()[:1000])
    result = check_model(faces.EXPRESSION_MODEL, model, questions, PATIENT)
    assert [line.partition(' is no network')[0] for line in result.findings] == [f'ONNX form: {onnx}']

    onnx.unlink()
    result = check_model(faces.EXPRESSION_MODEL, model, questions, PATIENT)
    assert [line.partition(' cannot be read')[0] for line in result.findings] == [f'ONNX form: {onnx}']


def test_a_joint_model_that_was_not_made_is_refused_and_the_parts_are_named(execute, tmp_path):
    model = tmp_path / 'joint'
    model.mkdir()
    (model / PARTS).write_text(json.dumps({faces.EXPRESSION_MODEL: CANDIDATE, faces.KEYPOINT_MODEL: MISSING}))
    result, check = execute(faces.JOINT_MODEL, model, tuple(TASKS))
    assert result.findings == ('no joint model was made (expression: candidate, keypoints: missing)',)
    assert not result.passed and result.latency is None
    assert check.get_int_custom_property('blessed') == 0


def test_by_how_much_it_is_wrong_and_too_slow_is_told(expressions):
    known = expressions.questions()
    moved = dataclasses.replace(known, predictions=known.predictions + np.float32([0.05, 0, 0, 0, 0]))
    settings = dataclasses.replace(PATIENT, maximum_latency=0.0)
    result = check_model(faces.EXPRESSION_MODEL, expressions.saved_model, {faces.EXPRESSION_MODEL: moved}, settings)
    assert not result.passed
    *wrong, slow = result.findings
    assert wrong == [
        f"{where} expression row(s): probabilities differ by 0.05 from the trainer's (tolerance 0.001)"
        for where in ('serving_default, 6', 'serving_default, 1', 'serving_examples, 6')
    ]
    assert slow == f'an answer takes {result.latency:.2f} s (limit 0 s)'


def test_images_in_other_clothes_are_asked_about_too(expressions, tmp_path):
    def serve(rows: tf.Tensor) -> tf.Tensor:
        # Fails for whatever is no PNG, as a network does which was only ever shown PNGs.
        is_png = tf.equal(tf.strings.substr(rows, 1, 3), 'PNG')
        return tf.where(is_png[:, None], even(rows), np.nan)

    model = save_module(tmp_path / 'model', serve, faces.SERVING_SIGNATURE)
    known = expressions.questions(2)
    known = dataclasses.replace(known, predictions=np.full((2, 5), 0.2, np.float32))
    asked = compare.batches({faces.EXPRESSION_MODEL: known}, (faces.SERVING_SIGNATURE,))
    answers, _ = compare.ask(model, asked, tmp_path / 'asked', 300.0)
    assert list(compare.judge(asked, answers, 1e-3)) == [
        'serving_default, 3 expression row(s): probabilities holds values that are not finite'
    ]


def without_weights(model: Path, folder: Path) -> Path:
    shutil.copytree(model, folder)
    for path in (folder / 'variables').glob('variables.data*'):
        path.write_bytes(b'')
    return folder


@pytest.mark.parametrize(
    ('make', 'reason'),
    [
        (without_weights, ''),
        (lambda model, folder: save_module(folder, even, faces.SERVING_SIGNATURE), faces.EXAMPLES_SIGNATURE),
    ],
    ids=['weights are missing', 'a signature is missing'],
)
def test_a_model_that_cannot_be_asked_fails_in_one_line(expressions, tmp_path, make, reason):
    model = make(expressions.saved_model, tmp_path / 'broken')
    known = expressions.questions(1)
    known = dataclasses.replace(known, predictions=np.full((1, 5), 0.2, np.float32))
    result = check_model(faces.EXPRESSION_MODEL, model, {faces.EXPRESSION_MODEL: known}, PATIENT)
    assert not result.passed and result.latency is None
    (finding,) = result.findings
    assert finding.startswith('the process that loads it ended with status 1: ')
    assert reason in finding and '\n' not in finding


def test_a_model_that_never_answers_fails_when_its_time_is_up(expressions, tmp_path):
    def serve(rows: tf.Tensor) -> tf.Tensor:
        (count,) = tf.while_loop(lambda n: n >= 0, lambda n: ((n + 1) % 1000,), (tf.size(rows),))
        return tf.fill([tf.size(rows), 5], tf.cast(count, tf.float32))

    model = save_module(tmp_path / 'model', serve)
    settings = dataclasses.replace(PATIENT, timeout=12.0)
    began = time.monotonic()
    questions = {faces.EXPRESSION_MODEL: expressions.questions(1)}
    result = check_model(faces.EXPRESSION_MODEL, model, questions, settings)
    assert result == CheckResult('expression', False, ('no answer within 12 s',), None)
    assert 12 <= time.monotonic() - began < 60


EVEN = np.full((2, 5), 0.2, np.float32)
POINTS = np.zeros((2, 15, 2), np.float32)


def changed(values: np.ndarray, value: float) -> np.ndarray:
    values = values.copy()
    values.flat[-1] = value
    return values


@pytest.mark.parametrize(
    ('task', 'answer', 'finding'),
    [
        (faces.EXPRESSION_MODEL, {faces.PROBABILITIES: EVEN}, None),
        (faces.EXPRESSION_MODEL, {faces.PROBABILITIES: changed(EVEN, 0.2005)}, None),
        (faces.EXPRESSION_MODEL, {faces.PROBABILITIES: np.roll(np.eye(5)[:2], 2)}, 'probabilities differ by 0.8 from'),
        (faces.EXPRESSION_MODEL, {faces.PROBABILITIES: EVEN[:1]}, 'the shape (1, 5) instead of (2, 5)'),
        (faces.EXPRESSION_MODEL, {faces.PROBABILITIES: EVEN[:, :4]}, 'the shape (2, 4) instead of (2, 5)'),
        (faces.EXPRESSION_MODEL, {faces.PROBABILITIES: changed(EVEN, np.nan)}, 'not finite'),
        (faces.EXPRESSION_MODEL, {faces.PROBABILITIES: changed(EVEN, 0.3)}, 'do not lie in 0..1 with a sum of 1'),
        (faces.EXPRESSION_MODEL, {faces.PROBABILITIES: EVEN * [-1, 1, 3, 1, 1]}, 'do not lie in 0..1'),
        (faces.EXPRESSION_MODEL, {}, 'no output is called probabilities'),
        (faces.KEYPOINT_MODEL, {faces.KEYPOINTS_OUTPUT: POINTS}, None),
        (faces.KEYPOINT_MODEL, {faces.KEYPOINTS_OUTPUT: changed(POINTS, -3.0)}, 'keypoints differ by 3 from'),
        (faces.KEYPOINT_MODEL, {faces.KEYPOINTS_OUTPUT: POINTS.reshape(2, 30)}, 'shape (2, 30) instead of (2, 15, 2)'),
        (faces.KEYPOINT_MODEL, {faces.KEYPOINTS_OUTPUT: changed(POINTS, np.inf)}, 'not finite'),
    ],
)
def test_what_is_wrong_with_an_answer_is_told(task, answer, finding):
    expected = EVEN if task == faces.EXPRESSION_MODEL else POINTS
    asked = [compare.Batch(faces.SERVING_SIGNATURE, [b'', b''], task, expected)]
    told = list(compare.judge(asked, [answer], 1e-3))
    if finding is None:
        assert told == []
    else:
        (line,) = told
        assert finding in line
        assert line.startswith(f'serving_default, 2 {task} row(s): ')


def test_questions_are_the_first_faces_of_the_eval_split_with_their_own_predictions(trained, transformed):
    for name, task in trained.items():
        known = task.questions(4)
        drawn = transformed[name].faces[faces.EVAL_SPLIT][:4]
        for image, face in zip(known.images, drawn, strict=True):
            assert (np.asarray(Image.open(io.BytesIO(image))) == face.image).all()
        signature = tf.saved_model.load(str(task.saved_model)).signatures[faces.SERVING_SIGNATURE]
        (answers,) = signature(image_bytes=tf.constant(known.images)).values()
        np.testing.assert_allclose(known.predictions, answers, rtol=1e-4, atol=1e-5)


def test_disguised_images_are_the_same_face_in_other_forms_and_sizes(transformed):
    face = transformed[faces.EXPRESSION_MODEL].faces[faces.EVAL_SPLIT][0].image
    forms = set()
    for data, factor in disguise(to_png(face)):
        image = Image.open(io.BytesIO(data))
        forms.add((image.mode, image.format, factor))
        assert image.size == (face.shape[1] * factor, face.shape[0] * factor)
        small = np.asarray(image.convert('L').resize(face.shape[::-1], Image.Resampling.BOX), float)
        assert np.abs(small - face).mean() < 6
    assert forms == {('RGB', 'PNG', 1), ('RGB', 'JPEG', 3), ('L', 'JPEG', 2)}
