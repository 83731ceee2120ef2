"""How far the figures, and the differences between two models, would move with other faces of the same kind."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy import sparse

from components import faces
from components.evaluate.figures import CALIBRATION_ERROR, DETAILS, FIGURES, TERMS, Arrays, score_buckets
from components.evaluate.metrics import BASELINE, CANDIDATE, OVERALL
from components.evaluate.rows import Rows

LEVEL: Final = 0.95
RESAMPLES: Final = 1000
PERSONS, ROWS = 'persons', 'rows'

FEWEST_UNITS: Final = 10
"""Fewer persons, or rows, say too little of those that are not among them: their figures have no interval."""

LARGEST_VALUES: Final = 50
"""Of a feature with more values than these, the slices with the fewest rows have no intervals."""


@dataclass(frozen=True)
class Interval:
    """Bounds between which a figure lies with the confidence `LEVEL`."""

    low: float
    high: float


@dataclass(frozen=True)
class Difference:
    """By how much the candidate's figure exceeds the baseline's, on the same rows, and its interval."""

    difference: float
    low: float
    high: float


@dataclass(frozen=True)
class Intervals:
    """What the bootstrap found; a figure that is no number has neither interval nor difference.

    Attributes:
        unit: what was drawn, `persons`, or `rows` where no person is known.
        figures: the candidate's, by slice and metric; in slices only those that sum the model up.
        differences: of the overall figures, by metric; empty without a baseline.
    """

    unit: str
    figures: dict[str, dict[str, Interval]]
    differences: dict[str, Difference]


def bootstrap(task: str, rows: Rows, resamples: int = RESAMPLES) -> Intervals:
    """Percentile bootstrap (Efron 1979, doi:10.1214/aos/1176344552) over persons, the same at every call.

    The rows of a person are drawn together, and so are rows of the same pixels; every row is drawn as often for the
    candidate as for the baseline. Where all of a few rows are right, no resample has a wrong one, and the interval is
    too narrow.

    Args:
        task: `faces.EXPRESSION_MODEL` or `faces.KEYPOINT_MODEL`.
        rows: with the answers of `CANDIDATE` and, where a model is served, of `BASELINE`.
        resamples: how many.
    """
    unit = PERSONS if (rows.person != rows.content_hash).any() else ROWS
    persons, person = np.unique(rows.person, return_inverse=True)
    if len(persons) < FEWEST_UNITS:
        return Intervals(unit, {}, {})
    slices = _slices(rows.slices, person)
    found = {
        model: resampled_figures(task, rows.truth, answers, slices, person, resamples)
        for model, answers in rows.answers.items()
    }
    intervals = {
        where: {name: _figure_interval(name, values) for name, values in of_slice.items() if _is_number(values)}
        for where, of_slice in found[CANDIDATE].items()
    }
    if BASELINE not in found:
        return Intervals(unit, intervals, {})
    candidate, baseline = found[CANDIDATE][OVERALL], found[BASELINE][OVERALL]
    differences = {name: values - baseline[name] for name, values in candidate.items()}
    return Intervals(
        unit, intervals, {name: _difference(values) for name, values in differences.items() if _is_number(values)}
    )


def _slices(features: Mapping[str, np.ndarray], person: np.ndarray) -> dict[str, np.ndarray]:
    """By slice, the indices of its rows: all rows, then the largest slices of each feature."""
    found = {OVERALL: np.arange(len(person))}
    for feature, column in features.items():
        values, codes, counts = np.unique(column, return_inverse=True, return_counts=True)
        for code in np.argsort(-counts, kind='stable')[:LARGEST_VALUES]:
            rows = np.flatnonzero(codes == code)
            if len(np.unique(person[rows])) >= FEWEST_UNITS:
                found[f'{feature}={values[code]}'] = rows
    return found


def resampled_figures(
    task: str,
    truth: np.ndarray,
    answers: np.ndarray,
    slices: Mapping[str, np.ndarray],
    person: np.ndarray,
    resamples: int,
) -> dict[str, Arrays]:
    """By slice and metric, float64 [1 + resamples]: first of the rows as they are, then of each resample."""
    terms = TERMS[task](truth, answers)
    of_rows = np.hstack([values.reshape(len(person), -1) for values in terms.values()])
    if task == faces.EXPRESSION_MODEL:  # nearly all of them zeros: one cell of the confusion matrix is hit
        of_rows = sparse.csr_matrix(of_rows)
    members = _members(slices, len(person))
    rankings = _rankings(truth, answers) if task == faces.EXPRESSION_MODEL else {}
    totals = np.empty((1 + resamples, len(slices), of_rows.shape[1]))
    areas = {name: np.empty(1 + resamples) for name in rankings}
    for number, counts in enumerate(draws(person.max() + 1, resamples)):
        weights = counts[person]
        members.data = weights[members.indices]
        summed = members @ of_rows
        totals[number] = summed.toarray() if sparse.issparse(summed) else summed
        for name, ranking in rankings.items():
            areas[name][number] = ranking.area(weights)

    sums = _split(totals, terms)
    figures = FIGURES[task](sums)
    found = {where: {name: values[:, index] for name, values in figures.items()} for index, where in enumerate(slices)}
    overall = {name: values[:, 0] for name, values in sums.items()}
    found[OVERALL] |= DETAILS[task](overall) | areas
    return found


def _members(slices: Mapping[str, np.ndarray], rows: int) -> sparse.csr_matrix:
    """[slices, rows]: which rows a slice has; a row's terms are kept once, however many slices it is in."""
    indices = np.concatenate(list(slices.values()))
    ends = np.cumsum([0, *(len(of_slice) for of_slice in slices.values())])
    return sparse.csr_matrix((np.ones(len(indices)), indices, ends), shape=(len(slices), rows))


def _split(totals: np.ndarray, terms: Arrays) -> Arrays:
    """The sums of each kind of term: [..., *shape of a row's term] out of [..., terms]."""
    sizes = [int(np.prod(values.shape[1:])) for values in terms.values()]
    parts = np.split(totals, np.cumsum(sizes)[:-1], axis=-1)
    return {
        name: part.reshape(*part.shape[:-1], *values.shape[1:])
        for part, (name, values) in zip(parts, terms.items(), strict=True)
    }


def draws(persons: int, resamples: int) -> Iterator[np.ndarray]:
    """How often each person counts, float64 [persons]: once each, then as often as it is drawn."""
    yield np.ones(persons)
    random = np.random.default_rng(0)
    for _ in range(resamples):
        yield np.bincount(random.integers(persons, size=persons), minlength=persons).astype(np.float64)


def _rankings(truth: np.ndarray, probabilities: np.ndarray) -> dict[str, '_Ranking']:
    buckets = score_buckets(probabilities)
    return {f'auc_{name}': _Ranking(truth == index, buckets[:, index]) for index, name in enumerate(faces.EXPRESSIONS)}


class _Ranking:
    """The rows ranked by their score of one class, for the area under its ROC curve."""

    def __init__(self, is_truth: np.ndarray, scores: np.ndarray):
        values, ranks = np.unique(scores, return_inverse=True)
        self._count = len(values)
        self._positive, self._negative = np.flatnonzero(is_truth), np.flatnonzero(~is_truth)
        self._positive_ranks, self._negative_ranks = ranks[is_truth], ranks[~is_truth]

    def area(self, weights: np.ndarray) -> float:
        """Share of the pairs of a row of the class and another that are ranked rightly, a tie being half right.

        Args:
            weights: how often each row counts, float64 [n].

        Returns:
            NaN where there is no pair.
        """
        positive, negative = weights[self._positive], weights[self._negative]
        pairs = positive.sum() * negative.sum()
        if not pairs:
            return float('nan')
        tied = np.bincount(self._negative_ranks, negative, self._count)
        below = np.cumsum(tied) - tied / 2
        return float(positive @ below[self._positive_ranks] / pairs)


def _is_number(values: np.ndarray) -> bool:
    return bool(np.isfinite(values[0]))


def _figure_interval(name: str, values: np.ndarray) -> Interval:
    found = _interval(values)
    if name != CALIBRATION_ERROR:
        return found
    # Noise only adds to this figure, and a resample has it twice: by what it exceeds the rows' figure, that exceeds the
    # true one. So the interval is reflected, as the basic bootstrap (Davison and Hinkley 1997, section 5.2) does.
    point = float(values[0])
    return Interval(max(0.0, 2 * point - found.high), max(point, 2 * point - found.low))


def _interval(values: np.ndarray) -> Interval:
    # A resample may lack what a figure is of, such as the rows of an expression.
    low, high = np.nanquantile(values[1:], [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(float(low), float(high))


def _difference(values: np.ndarray) -> Difference:
    interval = _interval(values)
    return Difference(float(values[0]), interval.low, interval.high)
