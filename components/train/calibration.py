"""One temperature by which the logits are divided, so that probabilities mean what they say."""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

FILE_NAME: Final = 'calibration.json'

BOUND: Final = 20.0
"""A temperature lies between this and its inverse, also where all rows are right, or none is."""


@dataclass(frozen=True)
class Temperature:
    """A fitted temperature, or 1 where there were no rows to fit it on.

    Attributes:
        temperature: the logits are divided by it.
        rows: of the calibration split.
        log_loss_before, log_loss_after: mean over these rows at temperature 1 and at this one; None without rows.
    """

    temperature: float = 1.0
    rows: int = 0
    log_loss_before: float | None = None
    log_loss_after: float | None = None


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> Temperature:
    """The temperature of the least log loss (Guo et al. 2017, arXiv:1706.04599).

    Args:
        logits: float `[n, classes]` of rows that were not trained on.
        labels: int `[n]`.
    """

    def log_loss(inverse: float) -> float:
        probabilities = log_softmax(inverse * logits.astype(np.float64), axis=1)
        return -float(probabilities[np.arange(len(labels)), labels].mean())

    # In the inverse temperature the log loss is convex, so that the bounded search finds its one minimum.
    found = minimize_scalar(log_loss, bounds=(1.0 / BOUND, BOUND), method='bounded')
    return Temperature(1.0 / float(found.x), len(logits), log_loss(1.0), float(found.fun))


def write_temperature(folder: Path, temperature: Temperature) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / FILE_NAME).write_text(json.dumps(dataclasses.asdict(temperature)), encoding='utf-8')


def read_temperature(folder: Path) -> Temperature:
    return Temperature(**json.loads((folder / FILE_NAME).read_text(encoding='utf-8')))
