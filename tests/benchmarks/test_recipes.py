"""A recipe's run, on noise that tells its class, and its comparison with another one."""

import dataclasses
import logging
from pathlib import Path

import numpy as np
import pytest

from components import faces
from components.settings import AugmentSettings, TrainSettings
from components.train.batches import Split
from tests.benchmarks.recipes import differences, trained

TINY = TrainSettings(
    widths=(16,), blocks=(1,), epochs=2, batch_size=32, calibration_percent=50.0, augment=AugmentSettings(cutmix=0.5)
)


def split(task: str, count: int, seed: int) -> Split:
    random, rows = np.random.default_rng(seed), np.arange(count)
    pixels = (random.normal(size=(count, 48, 48, 1)) + (rows % 5)[:, None, None, None]).astype(np.float32)
    truth = rows % 5 if task == faces.EXPRESSION_MODEL else random.uniform(0.2, 0.8, (count, 15, 2)).astype(np.float32)
    names = np.array([f'{seed}-{row}' for row in rows])
    return Split(pixels, truth, names, np.full(count, 'drawn.csv'), rows, names)


@pytest.mark.parametrize(
    ('task', 'figures'), [(faces.EXPRESSION_MODEL, {'accuracy', 'macro_f1'}), (faces.KEYPOINT_MODEL, {'rmse'})]
)
def test_a_recipe_gives_its_figures_and_leaves_its_answers(tmp_path, task, figures):
    found = trained(task, TINY, 3, split(task, 160, 1), split(task, 40, 2), tmp_path, 'one')
    assert (found['name'], found['epochs'], found['settings']) == ('one', 2, dataclasses.asdict(TINY))
    parts = ['evaluation', 'evaluation_mirror']
    if task == faces.EXPRESSION_MODEL:
        parts += ['held_out', 'held_out_mirror']
    assert {part: set(values) for part, values in found['figures'].items()} == dict.fromkeys(parts, figures)
    answers = np.load(tmp_path / 'one.npz')
    assert len(answers['evaluation_truth']) == 40
    if task == faces.EXPRESSION_MODEL:
        assert found['rows'] + len(answers['held_out_truth']) == 160
        right = answers['held_out_answers'].argmax(axis=1) == answers['held_out_truth']
        assert right.mean() == pytest.approx(found['figures']['held_out_mirror']['accuracy'])


def test_what_is_finished_is_trained_again_only_with_other_settings(tmp_path, caplog):
    training, evaluation = (split(faces.EXPRESSION_MODEL, 64, seed) for seed in (1, 2))
    caplog.set_level(logging.INFO, 'emotion_pipeline.progress')

    def run(seed: int) -> tuple[dict, int]:
        caplog.clear()
        found = trained(faces.EXPRESSION_MODEL, TINY, seed, training, evaluation, tmp_path, 'one')
        return found['figures'], sum('val_accuracy' in record.message for record in caplog.records)

    (first, epochs), (again, none), (_, others) = run(1), run(1), run(2)
    assert (epochs, none, others) == (2, 0, 2)
    assert again == first


def write(path: Path, rows: np.ndarray, is_right: np.ndarray) -> None:
    names, truth = np.array([f'face-{row}' for row in rows]), rows % 5
    columns = {
        'content_hash': names,
        'group': names,
        'source': np.full(len(rows), 'drawn.csv'),
        'row': rows,
        'truth': truth,
        'answers': np.eye(5, dtype=np.float32)[np.where(is_right, truth, (truth + 1) % 5)],
    }
    np.savez(path, **{f'evaluation_{key}': value for key, value in columns.items()})


def test_rows_that_both_have_are_compared_in_any_order(tmp_path):
    """Of the rows 20 to 99, the first recipe has 60 right, and the second one 20 of these."""
    one, two = tmp_path / 'one.npz', tmp_path / 'two.npz'
    write(one, np.arange(100), np.arange(100) < 80)
    backwards = np.arange(119, 19, -1)
    write(two, backwards, backwards < 40)
    found = differences(faces.EXPRESSION_MODEL, one, two)
    assert set(found) == {'evaluation'}
    assert set(found['evaluation']) == {'accuracy', 'macro_f1'}
    accuracy = found['evaluation']['accuracy']
    assert accuracy.difference == pytest.approx(0.5)
    assert 0.35 < accuracy.low < 0.45 < 0.55 < accuracy.high < 0.65
