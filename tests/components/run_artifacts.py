"""One run's artifacts in their true formats: drawn faces, TFDV's statistics and anomalies, TFMA's evaluation."""

import base64
import dataclasses
import json
import os
from pathlib import Path

import cv2
import numpy as np

from components import faces
from components.audit import results as audit
from components.behaviour.results import Behaviour, Curve, Outcome, write_behaviour
from components.report.record import Branch
from components.settings import EvaluateSettings, Gate, to_json
from components.train.calibration import Temperature, write_temperature

os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '2')

HOSTILE = '<script>alert("x")</script>.csv'
COUNTS = {faces.TRAIN_SPLIT: 100, faces.EVAL_SPLIT: 60}
CANDIDATE, SERVED = 'candidate', 'served'
CARD = '# Model card: expression\n\n<b>no tag</b>\n\n| Figure | Value |\n| --- | --- |\n| Accuracy | 0\\.9 |\n'
BEAM = ['--direct_running_mode=in_memory', '--direct_num_workers=1']
GATES = {
    faces.EXPRESSION_MODEL: {'accuracy': Gate(minimum=0.5, margin=0.01), 'log_loss': Gate(maximum=0.2)},
    faces.KEYPOINT_MODEL: {'rmse': Gate(maximum=3.0, margin=0.5), 'within_10_percent': Gate(minimum=0.7)},
}


def make_branch(task: str, folder: Path) -> Branch:
    names = [field.name for field in dataclasses.fields(Branch) if field.name not in ('task', 'settings')]
    found = {name: folder / name for name in names if name != 'audit' or task == faces.EXPRESSION_MODEL}
    return Branch(task, EvaluateSettings(GATES[task]), **found)


def make_artifacts(folder: Path, task: str) -> Path:
    """Fills the folder with every artifact of a task, each in one of its own."""
    random = np.random.default_rng(len(task))
    drawn = {split: _draw(task, split, count, random) for split, count in COUNTS.items()}
    for split, examples in drawn.items():
        _write_examples(folder / 'examples', split, examples)
    _write_statistics(folder, task)
    answers = _write_model_run(folder / 'model_run', task, drawn[faces.EVAL_SPLIT], random)
    _write_models(folder, task, drawn[faces.EVAL_SPLIT], answers)
    evaluate(folder, task, EvaluateSettings(GATES[task]))
    _write_rejects(folder / 'rejects')
    _write_findings(folder / 'verdict')
    _write_behaviour(folder / 'behaviour', task)
    if task == faces.EXPRESSION_MODEL:
        _write_audit(folder / 'audit', drawn[faces.EVAL_SPLIT])
    return folder


def _draw(task: str, split: str, count: int, random: np.random.Generator) -> list[bytes]:
    """Serialized Examples; the first one's file has a hostile name, and some points are missing."""
    from components.ingest import images
    from components.ingest.examples import to_example
    from components.ingest.parse import Face
    from data.draw import draw_face

    examples = []
    for row in range(count):
        drawn = draw_face(4 if split == faces.TRAIN_SPLIT else 5, row)
        source = HOSTILE if row % 7 == 0 else 'drawn.csv'
        if task == faces.EXPRESSION_MODEL:
            image = cv2.resize(drawn.image, (48, 48), interpolation=cv2.INTER_AREA)
            label, points = faces.EXPRESSIONS.index(drawn.expression), np.zeros(0, np.float32)
        else:
            image, label, points = drawn.image, -1, drawn.points.copy()
            points[random.random(15) < 0.1] = np.nan
        face = Face(source, row + 1, image, images.content_hash(image), '', '', label, points.ravel())
        examples.append(to_example(face))
    return examples


def _write_examples(folder: Path, split: str, examples: list[bytes]) -> None:
    import tensorflow as tf

    file = folder / f'Split-{split}' / 'data_tfrecord-00000-of-00001.gz'
    file.parent.mkdir(parents=True, exist_ok=True)
    with tf.io.TFRecordWriter(str(file), 'GZIP') as writer:
        for example in examples:
            writer.write(example)


def _write_statistics(folder: Path, task: str) -> None:
    import tensorflow_data_validation as tfdv

    from components.validate.statistics import options

    schema = tfdv.load_schema_text(str(Path(__file__).parents[2] / 'schemas' / f'{task}.pbtxt'))
    # One rule that the data break, so that there is an anomaly to tell.
    next(feature for feature in schema.feature if feature.name == faces.ROW).int_domain.max = 99
    for split in faces.SPLITS:
        statistics = tfdv.generate_statistics_from_tfrecord(
            str(folder / 'examples' / f'Split-{split}' / '*.gz'), stats_options=options(schema)
        )
        for name, file, found in (
            ('statistics', 'FeatureStats.pb', statistics),
            ('anomalies', 'SchemaDiff.pb', tfdv.validate_statistics(statistics, schema)),
        ):
            path = folder / name / f'Split-{split}' / file
            path.parent.mkdir(parents=True)
            path.write_bytes(found.SerializeToString())


def _write_model_run(
    folder: Path, task: str, examples: list[bytes], random: np.random.Generator
) -> dict[str, np.ndarray]:
    """Writes what a trainer leaves, and gives the candidate's and the served model's answers to the eval split."""
    import tensorflow as tf

    features = [tf.train.Example.FromString(example).features.feature for example in examples]
    if task == faces.EXPRESSION_MODEL:
        truth = np.array([feature[faces.LABEL].int64_list.value[0] for feature in features])
        answers = {name: _probabilities(truth, sharp, random) for name, sharp in ((CANDIDATE, 2.0), (SERVED, 1.5))}
    else:
        truth = np.array([feature[faces.POINTS].float_list.value for feature in features], np.float32).reshape(
            -1, 15, 2
        )
        center = np.where(np.isnan(truth), 48, truth)
        spread = np.linspace(0.4, 4.0, 15)[:, None] * random.gamma(2.0, 0.5, (len(truth), 1, 1))
        answers = {
            name: (center + factor * spread * random.normal(size=truth.shape)).astype(np.float32)
            for name, factor in ((CANDIDATE, 1.0), (SERVED, 1.4))
        }
    keys = {
        'content_hash': [feature[faces.CONTENT_HASH].bytes_list.value[0].decode() for feature in features],
        'source': [feature[faces.SOURCE].bytes_list.value[0].decode() for feature in features],
        'row': [feature[faces.ROW].int64_list.value[0] for feature in features],
    }
    folder.mkdir()
    np.savez_compressed(
        folder / 'predictions.npz',
        truth=truth,
        prediction=answers[CANDIDATE],
        **keys,
    )
    fall = np.exp(-np.arange(12) / 4)
    metric = 'accuracy' if task == faces.EXPRESSION_MODEL else 'rmse'
    history = {
        'loss': 1.5 * fall + 0.3,
        'val_loss': 1.4 * fall + 0.45 + 0.012 * np.arange(12),
        metric: 1 - 0.7 * fall if metric == 'accuracy' else 9 * fall + 1.2,
        f'val_{metric}': 0.9 - 0.6 * fall if metric == 'accuracy' else 8 * fall + 1.9,
        'learning_rate': 1e-3 * fall,
    }
    (folder / 'history.json').write_text(json.dumps({name: values.tolist() for name, values in history.items()}))
    np.savez_compressed(
        folder / 'attention.npz',
        best=np.arange(4) < 2,
        maps=random.random((4, 6, 6)).astype(np.float16),
        **{name: values[:4] for name, values in keys.items()},
    )
    if task == faces.EXPRESSION_MODEL:
        write_temperature(folder, Temperature(1.3, 200, 0.9, 0.85))
    return answers


def _probabilities(truth: np.ndarray, sharpness: float, random: np.random.Generator) -> np.ndarray:
    scores = random.normal(size=(len(truth), 5)) + sharpness * np.eye(5)[truth]
    return (np.exp(scores) / np.exp(scores).sum(1, keepdims=True)).astype(np.float32)


def _write_models(folder: Path, task: str, examples: list[bytes], answers: dict[str, np.ndarray]) -> None:
    """The candidate and the served model, which answer an Example with the answer that was put into it."""
    import tensorflow as tf

    output = faces.PROBABILITIES if task == faces.EXPRESSION_MODEL else faces.KEYPOINTS_OUTPUT
    answered = []
    for row, serialized in enumerate(examples):
        example = tf.train.Example.FromString(serialized)
        for name, values in answers.items():
            example.features.feature[name].float_list.value.extend(values[row].ravel())
        answered.append(example.SerializeToString())
    _write_examples(folder / 'answered', faces.EVAL_SPLIT, answered)
    _write_examples(folder / 'answered', faces.TRAIN_SPLIT, answered)
    for name, values in answers.items():
        _save_echo(folder / name, name, values.shape[1:], output)


def evaluate(folder: Path, task: str, settings: EvaluateSettings, target: Path | None = None) -> None:
    """Runs the real evaluator on the models in the folder.

    Args:
        folder: from `make_artifacts`.
        task: whose they are.
        settings: with the gates.
        target: where `evaluation` and `blessing` go; the folder itself where none is given.
    """
    from tfx.types import artifact_utils, standard_artifacts

    from components.dashboard import Metrics
    from components.evaluate.executor import SERVED_VERSION, Executor

    data, candidate, served = standard_artifacts.Examples(), standard_artifacts.Model(), standard_artifacts.Model()
    data.uri, candidate.uri, served.uri = (str(folder / name) for name in ('answered', CANDIDATE, SERVED))
    data.split_names = artifact_utils.encode_split_names(list(faces.SPLITS))
    served.set_int_custom_property(SERVED_VERSION, 2)
    evaluation, blessing = standard_artifacts.ModelEvaluation(), standard_artifacts.ModelBlessing()
    evaluation.uri, blessing.uri = (str((target or folder) / name) for name in ('evaluation', 'blessing'))
    Executor(Executor.Context(beam_pipeline_args=BEAM, tmp_dir=str(folder / 'temporary'), unique_id='1')).Do(
        {'examples': [data], 'model': [candidate], 'baseline_model': [served]},
        {'evaluation': [evaluation], 'blessing': [blessing], 'metrics': [Metrics()]},
        {'task': task, 'settings': to_json(settings), 'code': ''},
    )


def _save_echo(folder: Path, feature: str, shape: tuple[int, ...], output: str) -> None:
    import tensorflow as tf

    class Echo(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name='examples')])
        def serve(self, examples):
            return {output: tf.io.parse_example(examples, {feature: tf.io.FixedLenFeature(shape, tf.float32)})[feature]}

    model = Echo()
    tf.saved_model.save(model, str(folder / 'Format-Serving'), signatures={faces.EXAMPLES_SIGNATURE: model.serve})


def _write_behaviour(folder: Path, task: str) -> None:
    png = cv2.imencode('.png', np.full((48, 48), 90, np.uint8))[1].tobytes()
    figure, value, limit = ('share', 0.97, 0.98) if task == faces.EXPRESSION_MODEL else ('rmse', 0.4, 0.5)
    curve = Curve('blur', 'px of 48', (0.0, 1.0, 2.0), {'rmse': (2.0, 3.0, 5.0)}, base64.b64encode(png).decode())
    outcome = Outcome('mirror', 'invariance', figure, value, limit, figure == 'rmse', 60)
    write_behaviour(folder, Behaviour(task, 60, (outcome,), (curve,)))


def _write_audit(folder: Path, examples: list[bytes]) -> None:
    import tensorflow as tf

    feature = tf.train.Example.FromString(examples[0]).features.feature
    label = feature[faces.EXPRESSION].bytes_list.value[0].decode()
    content_hash = feature[faces.CONTENT_HASH].bytes_list.value[0].decode()
    pairs = {name: {other: int(name == label != other) for other in faces.EXPRESSIONS} for name in faces.EXPRESSIONS}
    joint = {name: {other: 0.2 * (name == other) for other in faces.EXPRESSIONS} for name in faces.EXPRESSIONS}
    suggestion = faces.EXPRESSIONS[faces.EXPRESSIONS.index(label) - 1]
    folder.mkdir()
    audit.write_issues(folder, [audit.Issue(content_hash, HOSTILE, 1, label, suggestion, 0.01)])
    audit.write_summary(folder, audit.Summary(160, 4, pairs, joint, 0.8, 0.75, 3, 5))


def _write_rejects(folder: Path) -> None:
    from components.ingest import images, rejects
    from data.draw import draw_face

    summary = rejects.Summary(
        rows=175,
        kept={'train': 100, 'eval': 60},
        rejected={'not a number in pixels': 4, 'one flat colour': 3},
        left_out={'contradicting labels': 8},
        duplicates=5,
        files=('drawn.csv', HOSTILE),
        span=7,
        fingerprint='0f' * 16,
    )
    pictures = [
        rejects.RejectedPicture(HOSTILE, row, 'one flat colour', images.to_thumbnail(draw_face(9, row).image // 8))
        for row in (3, 8, 12)
    ]
    folder.mkdir()
    (folder / rejects.SUMMARY_FILE).write_text(json.dumps(dataclasses.asdict(summary)))
    lines = [json.dumps(dataclasses.asdict(picture)) + '\n' for picture in pictures]
    (folder / rejects.PICTURES_FILE).write_text(''.join(lines))


def _write_findings(folder: Path) -> None:
    from components.validate.findings import Finding, write_findings

    write_findings(
        folder,
        (
            Finding('minimum-examples', 'train: 100 Examples', 100, 50, True),
            Finding('leak', f'2 training Examples of {HOSTILE} lie in the eval split', 2, 0, False, True),
            Finding(
                'split-distance', 'mean of the eval split is 0.034 from that of the training split', 0.034, 0.1, True
            ),
        ),
    )
