"""Who takes part in a training, and one on two devices of a machine, for which logical ones of the processor stand."""

import json
import subprocess
import sys

import numpy as np
import pytest

from components.errors import StepError
from components.train.replicas import place


def config(kind: str, index: int, **cluster: int) -> dict[str, str]:
    addresses = {name: [f'{name}-{number}:2222' for number in range(count)] for name, count in cluster.items()}
    # Kubeflow's operator writes `environment` too.
    text = json.dumps({'cluster': addresses, 'task': {'type': kind, 'index': index}, 'environment': 'cloud'})
    return {'TF_CONFIG': text}


@pytest.mark.parametrize(
    ('environment', 'expected'),
    [
        ({}, (0, 1)),
        ({'TF_CONFIG': ''}, (0, 1)),
        (config('worker', 0, worker=2), (0, 2)),
        (config('worker', 1, worker=2), (1, 2)),
        (config('chief', 0, chief=1, worker=2), (0, 3)),
        (config('worker', 0, chief=1, worker=2), (1, 3)),
    ],
)
def test_the_chief_comes_first(environment, expected):
    assert place(environment) == expected


@pytest.mark.parametrize(
    'environment',
    [
        {'TF_CONFIG': 'worker'},
        {'TF_CONFIG': '{}'},
        {'TF_CONFIG': '[]'},
        {'TF_CONFIG': '{"cluster": 1, "task": {"type": "worker", "index": 0}}'},
        config('ps', 0, ps=1, worker=1),
        config('worker', 2, worker=2),
        config('worker', -1, worker=2),
        config('chief', 1, chief=2),
    ],
)
def test_a_configuration_that_cannot_be_meant_is_told_in_one_line(environment):
    with pytest.raises(StepError, match='^TF_CONFIG '):
        place(environment)


# The same training on one device and on two. Batch normalisation, the average of the weights, uneven eval rows (37).
TRAIN = """
import dataclasses, json, sys
from pathlib import Path
import numpy as np
import tensorflow as tf
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices('CPU')[0], [tf.config.LogicalDeviceConfiguration()] * 2
)
import keras
from components.settings import AugmentSettings, TrainSettings
from components.train.average import WeightAverage
from components.train.batches import Split, training_steps
from components.train.checkpoints import Checkpoints
from components.train.expression import TASK
from components.train.fit import fit, predict
from components.train.replicas import Worker, alone

random = np.random.default_rng(1)
names = np.arange(69)
labels = names % 5
pixels = (random.normal(size=(69, 32, 32, 1)) + labels[:, None, None, None]).astype(np.float32)
split = Split(pixels, labels, names.astype('U'), names, names, names)
evaluation = split.at(names < 37)
settings = TrainSettings(
    image_size=32, widths=(16, 32), blocks=(1, 1), dropout=0.0, epochs=3, batch_size=16,
    augment=AugmentSettings(mixup=0.3),
)
folder = Path(sys.argv[1])
two = Worker(tf.distribute.MirroredStrategy(['CPU:0', 'CPU:1']))
assert (two.replicas, two.local_replicas, two.total(7)) == (2, 2, 7)

def train(name, settings, worker):
    average = WeightAverage(1.0, training_steps(split, settings))
    checkpoints = Checkpoints(folder / name, TASK.figure, TASK.mode, 9, settings.epochs, average)
    network = fit(TASK, settings, 5, split, evaluation, checkpoints, folder / 'logs', worker)
    assert not any(layer.synchronized for layer in network.layers if hasattr(layer, 'synchronized'))
    np.savez(folder / f'{name}.npz', predict(network, settings, evaluation))
    (folder / f'{name}.json').write_text(json.dumps(checkpoints.history))

train('one', settings, alone())
train('two', settings, two)
keras.config.set_dtype_policy('mixed_float16')
train('coarse', dataclasses.replace(settings, epochs=1, dropout=0.1, stochastic_depth=0.1), two)
"""


def test_two_devices_learn_as_one(tmp_path):
    """To four digits. Dropout is random and float16 coarse: that they train is all that is asked of them."""
    subprocess.run([sys.executable, '-c', TRAIN, str(tmp_path)], check=True, timeout=600)
    one, two, coarse = (json.loads((tmp_path / f'{name}.json').read_text()) for name in ('one', 'two', 'coarse'))
    assert one.keys() == two.keys()
    for name, values in one.items():
        # An answer that is as good as tied may turn: one row of the 37.
        slack = 1 / 30 if 'accuracy' in name else 0.0
        np.testing.assert_allclose(two[name], values, rtol=1e-4, atol=slack, err_msg=name)
    answers = [np.load(tmp_path / f'{name}.npz')['arr_0'] for name in ('one', 'two')]
    np.testing.assert_allclose(answers[1], answers[0], atol=1e-3)
    assert coarse['loss'][0] == pytest.approx(one['loss'][0], rel=0.2)
