"""One whole training of each network, and the model it leaves, asked in another process."""

import dataclasses
import io
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_transform as tft
from PIL import Image, ImageOps
from sklearn.metrics import log_loss
from tfx.components.trainer.fn_args_utils import FnArgs

from components import faces
from components.ingest.examples import to_example
from components.ingest.parse import Face
from components.settings import to_json
from components.train import expression, keypoints
from components.train.batches import hold_out, load_split
from components.train.calibration import read_temperature

RUN = {faces.EXPRESSION_MODEL: expression.run_fn, faces.KEYPOINT_MODEL: keypoints.run_fn}

# TensorFlow and a folder, as in any server: nothing of this project.
ASK = """
import sys, numpy as np, tensorflow as tf
for folder in sys.argv[1:]:
    model = tf.saved_model.load(folder + '/model')
    asked = np.load(folder + '/asked.npz', allow_pickle=True)
    found = {}
    for name in asked.files:
        signature = model.signatures['serving_examples' if name == 'examples' else 'serving_default']
        argument = {'examples' if name == 'examples' else 'image_bytes': tf.constant(asked[name].tolist())}
        for output, value in signature(**argument).items():
            found[name + '/' + output] = value.numpy()
    np.savez(folder + '/answers.npz', **found)
assert not any(name.split('.')[0] in ('components', 'tensorflow_transform', 'tfx') for name in sys.modules)
"""


@dataclass(frozen=True)
class Trained:
    folder: Path
    answers: dict[str, np.ndarray]
    predictions: dict[str, np.ndarray]
    calibration: list[Face]


def png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, 'PNG')
    return buffer.getvalue()


@pytest.fixture(scope='module')
def trained(tmp_path_factory, transformed, tiny, draw_faces, write_splits) -> dict[str, Trained]:
    root = tmp_path_factory.mktemp('trained')
    settings = dataclasses.replace(tiny, epochs=1, calibration_percent=50.0)
    calibration = {}
    for task, run_fn in RUN.items():
        data = transformed[task]
        training = draw_faces(task, 150, 1)
        write_splits(root / task / 'data', {faces.TRAIN_SPLIT: [to_example(face) for face in training]})
        train_files = [str(root / task / 'data' / f'Split-{faces.TRAIN_SPLIT}' / '*')]
        whole = load_split(train_files, tft.TFTransformOutput(str(data.transform_output)), task)
        held_out = set(hold_out(whole, 50.0)[1].content_hash)
        calibration[task] = [face for face in training if face.content_hash.hex() in held_out]
        used = dataclasses.replace(settings, average_mirror=task == faces.KEYPOINT_MODEL)
        arguments = FnArgs(
            train_files=train_files,
            eval_files=data.files(faces.EVAL_SPLIT),
            transform_output=str(data.transform_output),
            serving_model_dir=str(root / task / 'model'),
            model_run_dir=str(root / task / 'run'),
            custom_config={'settings': to_json(used), 'seed': 3, 'checkpoints': str(root / task / 'checkpoints')},
        )
        run_fn(arguments)

        drawn = data.faces[faces.EVAL_SPLIT]
        pictures = [Image.fromarray(face.image) for face in drawn]
        asked = {
            'examples': [to_example(face) for face in drawn],
            'images': [png(picture) for picture in pictures],
            'colour': [png(picture.convert('RGB')) for picture in pictures],
            'wide': [png(picture.resize((192, 96), Image.Resampling.BICUBIC)) for picture in pictures],
            'mirrored': [png(ImageOps.mirror(picture)) for picture in pictures],
            'alone': [png(pictures[0])],
            'calibration': [png(Image.fromarray(face.image)) for face in calibration[task]],
        }
        np.savez(root / task / 'asked.npz', **{name: np.array(value, object) for name, value in asked.items()})
    subprocess.run([sys.executable, '-c', ASK, *(str(root / task) for task in RUN)], check=True, cwd=root, timeout=300)
    return {
        task: Trained(
            root / task,
            dict(np.load(root / task / 'answers.npz')),
            dict(np.load(root / task / 'run' / 'predictions.npz')),
            calibration[task],
        )
        for task in RUN
    }


OUTPUTS = {faces.EXPRESSION_MODEL: ('probabilities', (5,)), faces.KEYPOINT_MODEL: ('keypoints', (15, 2))}


@pytest.mark.parametrize('task', list(RUN))
def test_both_signatures_answer_as_the_trainer_predicted(trained, task):
    output, shape = OUTPUTS[task]
    answers, predictions = trained[task].answers, trained[task].predictions
    assert {name.split('/')[1] for name in answers} == {output}
    for signature in ('examples', 'images', 'colour'):
        found = answers[f'{signature}/{output}']
        assert found.shape == (15, *shape)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, predictions['prediction'], atol=1e-4)
    np.testing.assert_allclose(answers[f'alone/{output}'], predictions['prediction'][:1], atol=1e-4)
    assert np.ptp(predictions['prediction'], axis=0).max() > 1e-3


def test_probabilities_are_such(trained):
    found = trained[faces.EXPRESSION_MODEL].answers['images/probabilities']
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-5)
    assert found.min() >= 0


def test_keypoints_are_in_pixels_of_the_image_that_was_sent(trained):
    """Twice as wide: the network sees all but the same, and x lies twice as far to the right."""
    answers = trained[faces.KEYPOINT_MODEL].answers
    np.testing.assert_allclose(answers['wide/keypoints'], answers['images/keypoints'] * [2, 1], atol=1.0)


@pytest.mark.parametrize('task', list(RUN))
def test_predictions_name_their_examples_and_truths(trained, transformed, task):
    drawn = transformed[task].faces[faces.EVAL_SPLIT]
    found = trained[task].predictions
    assert found['content_hash'].tolist() == [face.content_hash.hex() for face in drawn]
    assert found['row'].tolist() == [face.row for face in drawn]
    assert found['group'].tolist() == found['content_hash'].tolist()
    assert set(found['source']) == {'drawn.csv'}
    if task == faces.EXPRESSION_MODEL:
        assert found['truth'].tolist() == [face.label for face in drawn]
    else:
        truth = np.stack([face.points.reshape(15, 2) for face in drawn])
        np.testing.assert_allclose(found['truth'], truth, rtol=1e-5)
        assert np.isnan(found['truth']).any()


def test_the_history_is_that_of_the_predictions(trained):
    """Where the model does not average over the mirror image."""
    task = trained[faces.EXPRESSION_MODEL]
    history = json.loads((task.folder / 'run' / 'history.json').read_text())
    found = task.predictions
    best = max(history['val_accuracy'])
    assert (found['prediction'].argmax(axis=1) == found['truth']).mean() == pytest.approx(best, abs=1e-5)
    assert {len(values) for values in history.values()} == {1}


def test_the_exported_model_is_calibrated(trained):
    """Asked about the rows that were held out, it has the log loss that was written down."""
    task = trained[faces.EXPRESSION_MODEL]
    temperature = read_temperature(task.folder / 'run')
    assert temperature.rows == len(task.calibration) >= 50
    assert temperature.log_loss_after < temperature.log_loss_before - 1e-3
    labels = [face.label for face in task.calibration]
    probabilities = task.answers['calibration/probabilities'].astype(float)
    loss = log_loss(labels, probabilities / probabilities.sum(axis=1, keepdims=True), labels=range(5))
    assert loss == pytest.approx(temperature.log_loss_after, rel=1e-3)


def test_points_have_no_temperature(trained):
    assert not (trained[faces.KEYPOINT_MODEL].folder / 'run' / 'calibration.json').exists()


@pytest.mark.parametrize('task', list(RUN))
def test_what_the_network_looks_at_lies_beside_the_predictions(trained, task):
    found = np.load(trained[task].folder / 'run' / 'attention.npz')
    assert set(found['content_hash']) <= set(trained[task].predictions['content_hash'])
    # Of 15 faces, three of each expression, all are among the best and among the worst, or most are.
    assert found['best'].sum() == (~found['best']).sum() == {faces.EXPRESSION_MODEL: 15, faces.KEYPOINT_MODEL: 12}[task]
    assert found['maps'].max() == 1


def test_averaged_over_the_mirror_a_mirrored_face_has_mirrored_points(trained):
    answers = trained[faces.KEYPOINT_MODEL].answers
    mirrored = answers['images/keypoints'][:, faces.FLIP_ORDER] * [-1, 1] + [faces.KEYPOINT_SIZE, 0]
    np.testing.assert_allclose(answers['mirrored/keypoints'], mirrored, atol=1e-2)


@pytest.mark.parametrize('task', list(RUN))
def test_the_optimizers_state_is_not_exported(trained, task):
    variables = tf.train.list_variables(str(trained[task].folder / 'model' / 'variables' / 'variables'))
    assert len(variables) > 10
    assert not [name for name, _ in variables if 'optimizer' in name]


@pytest.mark.parametrize('task', list(RUN))
def test_names_lie_beside_the_model_and_no_checkpoint_is_left(trained, task):
    folder = trained[task].folder
    names = json.loads((folder / 'model' / 'assets.extra' / 'names.json').read_text())
    assert names == {'expressions': list(faces.EXPRESSIONS), 'keypoints': list(faces.KEYPOINTS)}
    assert not list((folder / 'checkpoints').iterdir())
    assert list((folder / 'run' / 'logs').rglob('events.*'))
