"""What a recipe of training is worth, outside TFX: one network, trained by the pipeline's own parts.

    .venv/bin/python -W ignore -m tests.benchmarks.recipes --task expression --set train.expression.epochs=12

The rows are those of `rows.py`. `<folder>/results.jsonl` gets a line with the settings and the figures of the best
epoch, on the eval split and on the rows that are held out of the training split (`calibration_percent`), where those
are; `<folder>/<name>.npz` holds the answers. `--against` compares them with another recipe's, row by row. A training
that was killed goes on when it is asked for again with the same settings.
"""

import argparse
import dataclasses
import hashlib
import json
import logging
import os
import sys
import time
from pathlib import Path
from typing import Any, Final

import numpy as np

from components import faces
from components.evaluate.bootstrap import Difference, bootstrap
from components.evaluate.metrics import BASELINE, CANDIDATE
from components.evaluate.rows import Rows as Answered
from components.settings import TrainSettings
from components.train.batches import Split, hold_out, load_split, training_steps
from pipeline.config import load, of
from tests.benchmarks.contest import FIGURES
from tests.benchmarks.rows import Rows, prepared

RESULTS: Final = 'results.jsonl'
EVALUATION, HELD_OUT = 'evaluation', 'held_out'
SHOWN: Final = ('accuracy', 'macro_f1', 'rmse')


def splits(rows: Rows, task: str) -> tuple[Split, Split]:
    """What is trained on and judged by."""
    import tensorflow_transform as tft

    output = tft.TFTransformOutput(rows.transform[task])
    training, evaluation = (
        load_split(rows.files(task, split), output, task) for split in (faces.TRAIN_SPLIT, faces.EVAL_SPLIT)
    )
    return training, evaluation


def trained(
    task: str, settings: TrainSettings, seed: int, training: Split, evaluation: Split, folder: Path, name: str
) -> dict[str, Any]:
    """Trains one network and writes its answers; returns what `results.jsonl` gets of it.

    Args:
        task: `expression` or `keypoints`.
        settings: of the training.
        seed: of weights, order and augmentation.
        training, evaluation: the splits.
        folder: of the results and the checkpoints.
        name: of the recipe.
    """
    from components.train import expression, keypoints
    from components.train.fit import finish, fit_networks, precision, predict

    described = {faces.EXPRESSION_MODEL: expression.TASK, faces.KEYPOINT_MODEL: keypoints.TASK}[task]
    percent = settings.calibration_percent if described.has_probabilities else 0.0
    training, held_out = hold_out(training, percent)
    kept = folder / name / _key(settings, seed, training)
    load_before, began = os.getloadavg()[0], time.monotonic()
    figures, answers = {}, {}
    with precision(settings):
        networks, curves = fit_networks(described, settings, seed, training, evaluation, kept, kept / 'logs')
        seconds = time.monotonic() - began
        for part, split in {EVALUATION: evaluation, HELD_OUT: held_out}.items():
            if not len(split):
                continue
            truth, given = described.to_truth(split.truth), {}
            for mirror in (False, True):
                asked = dataclasses.replace(settings, average_mirror=mirror)
                # No temperature, which changes none of these figures.
                answering, _ = finish(
                    described, networks, asked, training.truth, held_out.at(np.zeros(len(held_out), bool))
                )
                given[mirror] = described.decode(predict(answering, settings, split))
                figures[f'{part}_mirror' if mirror else part] = FIGURES[task](truth, given[mirror])
            answers |= _named(part, split, truth, given[settings.average_mirror])
    np.savez_compressed(folder / f'{name}.npz', **answers)
    history, images = curves[described.figure], training_steps(training, settings) * settings.batch_size
    return {
        'name': name,
        'task': task,
        'seed': seed,
        'settings': dataclasses.asdict(settings),
        'parameters': sum(network.count_params() for network in networks),
        'rows': len(training),
        'epochs': len(history),
        'best_epoch': history.index((max if described.mode == 'max' else min)(history)) + 1,
        'last_epoch': {figure: values[-1] for figure, values in curves.items()},
        # Validation and checkpoints included; of a training that goes on, without what was before,
        # so that its images/s are too many.
        'seconds': seconds,
        'images_per_second': images * len(history) * settings.networks / seconds,
        'load_before': load_before,
        'figures': figures,
    }


def _key(settings: TrainSettings, seed: int, training: Split) -> str:
    """Of what a training depends on, so that it goes on from its own checkpoints alone.

    One more network is trained beside those that are there.
    """
    parts = [str(dataclasses.replace(settings, networks=1)), str(seed), *training.content_hash.tolist()]
    return hashlib.blake2b('\n'.join(parts).encode(), digest_size=8).hexdigest()


def _named(part: str, split: Split, truth: np.ndarray, answers: np.ndarray) -> dict[str, np.ndarray]:
    found = {'content_hash': split.content_hash, 'group': split.group, 'source': split.source, 'row': split.row}
    return {f'{part}_{key}': value for key, value in {**found, 'truth': truth, 'answers': answers}.items()}


def differences(task: str, recipe: Path, other: Path) -> dict[str, dict[str, Difference]]:
    """By how much a recipe's figures exceed another one's, with 95% intervals, by part and figure.

    Args:
        task: `expression` or `keypoints`.
        recipe, other: the answers' files; rows that only one of them has do not count.
    """
    found = {}
    with np.load(recipe) as first, np.load(other) as second:
        for part in (EVALUATION, HELD_OUT):
            if f'{part}_truth' in first and f'{part}_truth' in second:
                of_part = bootstrap(task, _paired(first, second, part)).differences
                found[part] = {name: value for name, value in of_part.items() if name in SHOWN}
    return found


def _paired(first: Any, second: Any, part: str) -> Answered:
    keys = [list(zip(found[f'{part}_source'], found[f'{part}_row'], strict=True)) for found in (first, second)]
    where = {key: index for index, key in enumerate(keys[1])}
    rows = [index for index, key in enumerate(keys[0]) if key in where]
    others = [where[keys[0][index]] for index in rows]
    return Answered(
        content_hash=first[f'{part}_content_hash'][rows],
        source=first[f'{part}_source'][rows],
        row=first[f'{part}_row'][rows],
        person=first[f'{part}_group'][rows],
        slices={},
        truth=first[f'{part}_truth'][rows],
        answers={CANDIDATE: first[f'{part}_answers'][rows], BASELINE: second[f'{part}_answers'][others]},
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--task', choices=faces.TASKS, required=True)
    parser.add_argument('--config', default='full', help='whose settings of `train` are used (full)')
    parser.add_argument('--set', action='append', default=[], metavar='SECTION.KEY=VALUE', help='as of the command')
    parser.add_argument('--name', help="of the recipe (the task's)")
    parser.add_argument('--against', nargs='*', default=[], metavar='NAME', help='recipes to compare with')
    parser.add_argument('--rows', type=Path, default=Path('benchmarks/rows'), help='folder (benchmarks/rows)')
    parser.add_argument('--folder', type=Path, default=Path('benchmarks/recipes'), help='(benchmarks/recipes)')
    options = parser.parse_args()
    logging.basicConfig(stream=sys.stdout, format='%(message)s', force=True)
    logging.getLogger('emotion_pipeline.progress').setLevel(logging.INFO)
    config, name = load(options.config, options.set), options.name or options.task
    options.folder.mkdir(parents=True, exist_ok=True)
    training, evaluation = splits(prepared(options.rows), options.task)
    settings = of(config.train, options.task)
    result = trained(options.task, settings, config.seed, training, evaluation, options.folder, name)
    with (options.folder / RESULTS).open('a', encoding='utf-8') as results:
        results.write(json.dumps({'set': options.set, **result}) + '\n')
    print(json.dumps({key: result[key] for key in ('name', 'epochs', 'seconds', 'images_per_second', 'figures')}))
    for other in options.against:
        for part, of_part in differences(
            options.task, *(options.folder / f'{known}.npz' for known in (name, other))
        ).items():
            for figure, found in of_part.items():
                interval = f'{found.low:+.4f} to {found.high:+.4f}'
                print(f'{name} less {other}, {part}, {figure}: {found.difference:+.4f}, {interval}')


if __name__ == '__main__':
    main()
