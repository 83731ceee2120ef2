"""Two workers in processes of their own, on loopback, on drawn faces: real trainings, one of them disturbed."""

import dataclasses
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import keras
import numpy as np
import psutil
import pytest
import tensorflow as tf
import tensorflow_transform as tft
from tfx.components.trainer.fn_args_utils import FnArgs

from components import faces
from components.errors import StepError
from components.ingest.examples import to_example
from components.settings import TrainSettings, WorkerSettings
from components.train import expression, job, keypoints
from components.train.batches import Share, load_own, load_split, training_batches
from components.train.component import configuration
from components.train.fit import optimizer
from components.train.processes import loopback
from components.train.replicas import TF_CONFIG
from pipeline.kubeflow.settings import KubeflowSettings, Resources, SecretKey, Volume
from pipeline.kubeflow.training_job import training_job
from tests.components.train.training_operator import serve

SEED, EPOCHS = 5, 3

# Rows of the two files of each split: the workers have unequal parts.
ROWS = {faces.TRAIN_SPLIT: (26, 14), faces.EVAL_SPLIT: (9, 6)}


@pytest.fixture(scope='module')
def files(transformed, tmp_path_factory) -> Callable[[str, str], list[str]]:
    """By task and split, the pattern of two files."""
    folder = tmp_path_factory.mktemp('sharded')
    for task, data in transformed.items():
        for split, counts in ROWS.items():
            rows = iter(data.faces[split])
            (folder / task / split).mkdir(parents=True)
            for shard, count in enumerate(counts):
                path = folder / task / split / f'data_tfrecord-{shard:05d}-of-00002.gz'
                with tf.io.TFRecordWriter(str(path), options='GZIP') as writer:
                    for _ in range(count):
                        writer.write(to_example(next(rows)))
    return lambda task, split: [str(folder / task / split / '*')]


@pytest.fixture(scope='module')
def settings(tiny) -> TrainSettings:
    """Without dropout, of which each worker draws its own."""
    return dataclasses.replace(tiny, epochs=EPOCHS, dropout=0.0, stochastic_depth=0.0)


@pytest.fixture(scope='module')
def ask(transformed, files) -> Callable[..., FnArgs]:
    """What TFX's Trainer asks for."""

    def given(folder: Path, task: str, settings: TrainSettings, restarts: int = 2, start: str = 'local') -> FnArgs:
        told = configuration(settings, SEED, str(folder / 'checkpoints'), '', WorkerSettings(2, start, restarts))
        return FnArgs(
            train_files=files(task, faces.TRAIN_SPLIT),
            eval_files=files(task, faces.EVAL_SPLIT),
            transform_output=str(transformed[task].transform_output),
            serving_model_dir=str(folder / 'model'),
            model_run_dir=str(folder / 'run'),
            custom_config=json.loads(told),
        )

    return given


@pytest.fixture(scope='module')
def undisturbed(ask, settings, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp('undisturbed')
    keypoints.run_fn(ask(folder, faces.KEYPOINT_MODEL, settings))
    return folder


def history(folder: Path) -> dict[str, list[float]]:
    return json.loads((folder / 'run' / 'history.json').read_text())


def weights(folder: Path) -> dict[str, np.ndarray]:
    """Of the exported network, by name."""
    reader = tf.train.load_checkpoint(str(folder / 'model' / 'variables' / 'variables'))
    return {
        name: reader.get_tensor(name) for name, kind in reader.get_variable_to_dtype_map().items() if kind.is_floating
    }


def workers() -> dict[int, psutil.Process]:
    """The worker processes of this one, by index."""
    found = {}
    for process in psutil.Process().children():
        try:
            if 'components.train.worker' in process.cmdline():
                found[json.loads(process.environ()[TF_CONFIG])['task']['index']] = process
        except (psutil.Error, KeyError):
            continue
    return found


def test_two_workers_learn_as_one_process_that_is_fed_the_same_batches(undisturbed, transformed, files, settings):
    """To four digits: sums over the replicas are added up in another order."""
    task = keypoints.TASK
    output = tft.TFTransformOutput(str(transformed[task.name].transform_output))
    parts = [load_own(files(task.name, faces.TRAIN_SPLIT), output, task.name, index, 2) for index in range(2)]
    assert [len(part) for part in parts] == list(ROWS[faces.TRAIN_SPLIT])
    steps = sum(map(len, parts)) // settings.batch_size
    halves = [
        training_batches(part, settings, SEED, 0, task.encode, Share(steps, settings.batch_size // 2, index))
        for index, part in enumerate(parts)
    ]
    together = tf.data.Dataset.zip(tuple(halves)).map(
        lambda one, other: tuple(tf.concat(both, axis=0) for both in zip(one, other, strict=True))
    )
    keras.utils.set_random_seed(SEED)
    network = task.build(settings)
    network.compile(optimizer(settings, steps), task.loss(settings), metrics=[task.metric()])
    evaluation = load_split(files(task.name, faces.EVAL_SPLIT), output, task.name)
    expected = network.fit(
        together,
        validation_data=(evaluation.pixels, evaluation.truth),
        steps_per_epoch=steps,
        epochs=EPOCHS,
        verbose=0,
    ).history
    found = history(undisturbed)
    assert found.keys() == {*expected, 'learning_rate'}
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, rtol=1e-4, err_msg=name)
    assert found['val_rmse'][-1] != found['val_rmse'][0]


def test_the_chief_writes_all_that_one_process_writes(undisturbed):
    predictions = np.load(undisturbed / 'run' / 'predictions.npz')
    assert len(predictions['prediction']) == sum(ROWS[faces.EVAL_SPLIT])
    assert list((undisturbed / 'run' / 'logs').rglob('events.*'))
    assert (undisturbed / 'run' / 'attention.npz').exists()
    names = [name for name, _ in tf.train.list_variables(str(undisturbed / 'model' / 'variables' / 'variables'))]
    assert not [name for name in names if 'optimizer' in name]
    assert not list((undisturbed / 'checkpoints').iterdir())


def test_a_killed_worker_and_all_others_start_again_and_end_as_if_nothing_had_happened(
    undisturbed, ask, settings, tmp_path
):
    killed: list[int] = []

    def kill() -> None:
        while not list(tmp_path.glob('checkpoints/*/network-1/epoch-00000')):
            time.sleep(0.02)
        process = workers()[1]
        killed.append(process.pid)
        process.send_signal(signal.SIGKILL)

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    keypoints.run_fn(ask(tmp_path, faces.KEYPOINT_MODEL, settings))
    assert len(killed) == 1
    assert not workers()
    for name, values in history(undisturbed).items():
        np.testing.assert_allclose(history(tmp_path)[name], values, rtol=1e-4, err_msg=name)
    found, expected = weights(tmp_path), weights(undisturbed)
    assert found.keys() == expected.keys()
    assert len(found) > 10
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, atol=1e-4, err_msg=name)


def test_a_job_on_a_cluster_trains_alike_though_a_pod_is_killed(
    undisturbed, ask, settings, tmp_path, monkeypatch, caplog
):
    """Each pod is started again by itself, as Kubernetes does it; those that are left find out by themselves."""
    config = KubeflowSettings(state=Volume(str(tmp_path), 'faces-state'), secrets={'TOKEN': SecretKey('store', 'key')})
    (tmp_path / 'cluster').mkdir()
    with serve(tmp_path / 'cluster') as (cluster, kubeconfig):
        cluster.secrets['store/key'] = 'value'
        monkeypatch.setenv('KUBECONFIG', str(kubeconfig))
        monkeypatch.setenv(job.MANIFEST, training_job(config, faces.KEYPOINT_MODEL, Resources()))

        def kill() -> None:
            while not list(tmp_path.glob('checkpoints/*/checkpoints/network-1/epoch-00000')):
                time.sleep(0.02)
            (pods,) = cluster.pods.values()
            pods[1].process.send_signal(signal.SIGKILL)

        threading.Thread(target=kill, daemon=True).start()
        with caplog.at_level('INFO', 'emotion_pipeline.progress'):
            keypoints.run_fn(ask(tmp_path, faces.KEYPOINT_MODEL, settings))
        (pods,) = cluster.pods.values()
        assert min(pod.restarts for pod in pods) >= 1
    for name, values in history(undisturbed).items():
        np.testing.assert_allclose(history(tmp_path)[name], values, rtol=1e-4, err_msg=name)
    assert (tmp_path / 'model' / 'assets.extra' / 'onnx' / 'keypoints.onnx').exists()
    assert not list((tmp_path / 'checkpoints').iterdir())
    states = [record.getMessage().rpartition(': ')[2] for record in caplog.records if 'training job' in record.message]
    assert states[0].startswith('created the training job train-keypoints-')
    assert states[-1] == 'Succeeded'
    assert {'Running', 'Restarting'} <= set(states)


@pytest.fixture
def elsewhere(tmp_path, monkeypatch) -> Iterator[None]:
    """TF_CONFIG around this process as that of the chief, and the other worker, which follows the trainings here."""
    chief, other = loopback(2)
    environment = {**os.environ, TF_CONFIG: other}
    follower = subprocess.Popen(
        [sys.executable, '-m', 'components.train.follow', str(tmp_path / 'checkpoints')],
        env=environment,
        start_new_session=True,
    )
    monkeypatch.setenv(TF_CONFIG, chief)
    try:
        yield
        assert follower.poll() is None
    finally:
        os.killpg(follower.pid, signal.SIGKILL)
        follower.wait()


@pytest.mark.parametrize('networks', [1, 2])
def test_all_that_a_recipe_may_ask_for_works_with_a_worker_that_somebody_else_starts(
    ask, settings, tmp_path, elsewhere, networks
):
    asked = dataclasses.replace(
        settings,
        epochs=2,
        dropout=0.2,
        stochastic_depth=0.2,
        networks=networks,
        average_epochs=1.0,
        average_mirror=False,
        calibration_percent=10.0,
        augment=dataclasses.replace(settings.augment, mixup=0.3, cutmix=0.3),
    )
    expression.run_fn(ask(tmp_path, faces.EXPRESSION_MODEL, asked, start='external'))
    found = np.load(tmp_path / 'run' / 'predictions.npz')
    figures = history(tmp_path)
    assert {len(values) for values in figures.values()} == {2}
    assert len(list(tmp_path.glob('run/logs/network-*'))) == (networks if networks > 1 else 0)
    if networks == 1:
        # What is exported is what was validated: averaged weights, in all replicas alike.
        accuracy = (found['prediction'].argmax(axis=1) == found['truth']).mean()
        assert accuracy == pytest.approx(max(figures['val_accuracy']), abs=1e-6)


def test_a_launcher_that_has_restarted_often_enough_gives_up_in_one_line(ask, settings, tmp_path):
    given = ask(tmp_path, faces.KEYPOINT_MODEL, settings, restarts=1)
    given.transform_output = str(tmp_path / 'missing')
    with pytest.raises(StepError) as caught:
        keypoints.run_fn(given)
    assert re.fullmatch(
        r'The keypoints training failed 2 times, at last with worker [01]: \w+: [^\n]*missing[^\n]* \(log in [^\n]+\): '
        r'run again to go on after the last epoch, or raise workers.restarts\.',
        str(caught.value),
    )
    (folder,) = (tmp_path / 'checkpoints').iterdir()
    assert not (folder / 'arguments.json').exists()
    assert not workers()


def test_workers_with_too_few_files_are_refused_and_not_started_again(ask, settings, tmp_path):
    given = ask(tmp_path, faces.KEYPOINT_MODEL, settings)
    given.train_files = [given.train_files[0].replace('*', '*-00000-*')]
    with pytest.raises(StepError, match='2 workers cannot share 1 files .*ingest.keypoints.shards at 2 or more'):
        keypoints.run_fn(given)
    assert not workers()


@pytest.mark.parametrize(
    ('environment', 'message'),
    [
        ('', 'workers.count is 2 and workers.start external, but TF_CONFIG names 1 workers'),
        (loopback(2)[1], 'TF_CONFIG makes this process the worker 1: the pipeline runs where the chief is'),
    ],
    ids=['alone', 'no chief'],
)
def test_the_pipeline_runs_where_the_chief_is(ask, settings, tmp_path, monkeypatch, environment, message):
    monkeypatch.setenv(TF_CONFIG, environment)
    with pytest.raises(StepError, match=message):
        keypoints.run_fn(ask(tmp_path, faces.KEYPOINT_MODEL, settings, start='external'))


def test_a_worker_whose_starter_is_gone_ends(tmp_path):
    worker = subprocess.Popen(
        [sys.executable, '-m', 'components.train.worker', '--arguments', str(tmp_path / 'none.json'), '--attended'],
        stdin=subprocess.PIPE,
    )
    worker.stdin.close()
    assert worker.wait(60) == 1
