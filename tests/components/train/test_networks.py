"""Several networks that answer together: what each is, what they answer, and that a killed training goes on."""

import dataclasses

import numpy as np
import pytest

from components import faces
from components.settings import TrainSettings
from components.train import expression, fit, keypoints

SETTINGS = TrainSettings(widths=(16,), blocks=(1,), dropout=0.0, epochs=1, batch_size=16, average_mirror=False)
TASKS = pytest.mark.parametrize('task', [expression.TASK, keypoints.TASK], ids=lambda task: task.name)


def splits(task, load):
    return [load(task.name, split) for split in (faces.TRAIN_SPLIT, faces.EVAL_SPLIT)]


def trained(task, load, folder, count, seed=5):
    settings = dataclasses.replace(SETTINGS, networks=count)
    networks, history = fit.fit_networks(task, settings, seed, *splits(task, load), folder, folder / 'logs')
    assert {len(values) for values in history.values()} == {SETTINGS.epochs}
    return networks


def answers(task, load, networks):
    training, evaluation = splits(task, load)
    answering, _ = fit.finish(task, networks, SETTINGS, training.truth, training.at(slice(0)))
    return fit.predict(answering, SETTINGS, evaluation)


@TASKS
def test_the_answer_is_the_mean_of_networks_that_were_trained_from_one_seed_after_the_other(task, load, tmp_path):
    alone = [answers(task, load, trained(task, load, tmp_path / str(seed), 1, seed)) for seed in (5, 6)]
    together = answers(task, load, trained(task, load, tmp_path / 'together', 2))
    assert np.abs(alone[0] - alone[1]).max() > 1e-3
    np.testing.assert_allclose(together, np.mean(alone, axis=0), atol=1e-4)


def test_a_training_killed_in_the_second_network_goes_on_there(load, tmp_path, monkeypatch, caplog):
    expected = answers(expression.TASK, load, trained(expression.TASK, load, tmp_path / 'whole', 2))
    real, calls = fit.fit, []

    def killed_at_the_second(*arguments):
        calls.append(arguments)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr(fit, 'fit', killed_at_the_second)
        with pytest.raises(KeyboardInterrupt):
            trained(expression.TASK, load, tmp_path / 'killed', 2)
    with caplog.at_level('INFO', 'emotion_pipeline.progress'):
        found = answers(expression.TASK, load, trained(expression.TASK, load, tmp_path / 'killed', 2))
    assert [record.getMessage().split(',')[0] for record in caplog.records] == [
        'expression network 1 of 2: goes on after epoch 1',
        'expression network 2 of 2: epoch 1 of 1',
    ]
    np.testing.assert_allclose(found, expected, atol=1e-4)
