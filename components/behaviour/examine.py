"""Tests of a model's behaviour, after CheckList (Ribeiro et al. 2020, arXiv:2005.04118), and its degradation curves.

The curves' corruptions grow as those of Hendrycks and Dietterich 2019, arXiv:1903.12261, do.
"""

import dataclasses
import math
from collections.abc import Callable, Iterator
from typing import Final

import numpy as np

from components import faces
from components.behaviour.measures import YARDSTICKS, total_variation
from components.behaviour.perturbations import DEGRADATIONS, EQUIVARIANCES, PERTURBATIONS, Degradation
from components.behaviour.results import Behaviour, Curve, Kind, Outcome
from components.behaviour.sample import Sample
from components.ingest.images import to_png, to_thumbnail
from components.settings import ExpressionBehaviour, KeypointBehaviour

Ask = Callable[[list[bytes]], np.ndarray]
"""From encoded images to probabilities float32 `[n, 5]`, or to points float32 `[n, 15, 2]` in pixels of the images."""

DRAWN: Final = 'drawn'


def examine(
    task: str, sample: Sample, drawn: Sample, ask: Ask, settings: ExpressionBehaviour | KeypointBehaviour
) -> Behaviour:
    """Asks a model about faces before and after changes, and about faces that nobody mistakes.

    Args:
        task: `expression` or `keypoints`.
        sample: faces of the eval split.
        drawn: drawn faces.
        ask: the model.
        settings: limits, and the seed of the noise and of the covered places.
    """
    limits = dataclasses.asdict(settings.limits)
    before = ask([to_png(image) for image in sample.images])
    outcomes = [_perturb(task, test, sample, before, ask, limits[test]) for test in PERTURBATIONS]
    yardstick = YARDSTICKS[task]
    answers = ask([to_png(image) for image in drawn.images])
    value = yardstick.right(answers, drawn.truth, drawn.sizes)
    outcomes.append(_outcome(task, DRAWN, 'minimum function', value, limits[DRAWN], len(drawn.images)))
    curves = tuple(_curve(task, degradation, sample, before, ask, settings.seed) for degradation in DEGRADATIONS)
    return Behaviour(task, len(sample.images), tuple(outcomes), curves)


def _perturb(task: str, test: str, sample: Sample, before: np.ndarray, ask: Ask, limit: float | None) -> Outcome:
    """All variants of one test, each as many answers, taken together."""
    is_expression = task == faces.EXPRESSION_MODEL
    sizes = sample.sizes
    after = []
    for perturbation in PERTURBATIONS[test]:
        answers = ask([perturbation.apply(image) for image in sample.images])
        after.append(answers if is_expression else perturbation.undo(answers, sizes))
    count = len(after)
    repeated, changed = np.concatenate([before] * count), np.concatenate(after)
    value = YARDSTICKS[task].alike(repeated, changed, np.concatenate([sizes] * count))
    kind: Kind = 'equivariance' if test in EQUIVARIANCES and not is_expression else 'invariance'
    distance = total_variation(repeated, changed) if is_expression else None
    return _outcome(task, test, kind, value, limit, len(sample.images), distance)


def _outcome(
    task: str, test: str, kind: Kind, value: float, limit: float | None, count: int, distance: float | None = None
) -> Outcome:
    figure = YARDSTICKS[task].figure
    # NaN keeps to no limit.
    passed = limit is None or (value >= limit if figure == 'share' else value <= limit)
    return Outcome(test, kind, figure, _number(value), limit, passed, count, _number(distance))


def _curve(task: str, degradation: Degradation, sample: Sample, before: np.ndarray, ask: Ask, seed: int) -> Curve:
    scores = list(_scores(task, degradation, sample, before, ask, seed))
    worst = degradation.apply(sample.images[0], degradation.strengths[-1], _random(seed, 0))
    return Curve(
        degradation=degradation.name,
        unit=degradation.unit,
        strengths=degradation.strengths,
        figures={name: tuple(_number(score[name]) for score in scores) for name in scores[0]},
        picture=to_thumbnail(worst),
    )


def _scores(
    task: str, degradation: Degradation, sample: Sample, before: np.ndarray, ask: Ask, seed: int
) -> Iterator[dict[str, float]]:
    """The figures at each strength."""
    for strength in degradation.strengths:
        answers = before
        if strength:
            answers = ask(
                [
                    to_png(degradation.apply(image, strength, _random(seed, row)))
                    for row, image in enumerate(sample.images)
                ]
            )
            if task == faces.KEYPOINT_MODEL:
                answers = degradation.undo(answers, sample.sizes, strength)
        yield YARDSTICKS[task].scores(answers, sample.truth, sample.sizes)


def _random(seed: int, row: int) -> np.random.Generator:
    """The same for every strength, so that only the strength differs along a curve."""
    return np.random.default_rng([seed, row])


def _number(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
