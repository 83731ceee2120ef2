"""Spread and agreement of runs, from their figures."""

import numpy as np

from tests.benchmarks.seeds import difference, spread

RUNS = {
    0: {'expression': {'accuracy': 0.9, 'macro_f1': 0.8}, 'keypoints': {'rmse': 2.0}},
    1: {'expression': {'accuracy': 0.94, 'macro_f1': 0.82}, 'keypoints': {'rmse': 2.5}},
    2: {'expression': {'accuracy': 0.92, 'macro_f1': 0.84}, 'keypoints': {'rmse': 2.2}},
}


def test_spread_is_that_of_the_sample():
    lines = [[cell.strip() for cell in line.strip('|').split('|')] for line in spread(RUNS).splitlines()]
    assert lines[0] == ['3 seeds', 'mean', 'standard deviation', 'least', 'most']
    assert [line[0] for line in lines[2:]] == ['expression: accuracy', 'expression: macro_f1', 'keypoints: rmse']
    rmse = [2.0, 2.5, 2.2]
    assert lines[4][1:] == [f'{value:.4f}' for value in (np.mean(rmse), np.std(rmse, ddof=1), 2.0, 2.5)]


def test_one_seed_has_no_deviation():
    assert 'nan' in spread({0: RUNS[0]})


def test_agreement_is_to_the_last_digit():
    assert 'gives the same figures' in difference(RUNS[0], RUNS[0])
    almost = {'expression': {'accuracy': 0.9, 'macro_f1': 0.8}, 'keypoints': {'rmse': 2.0 + 1e-9}}
    assert difference(RUNS[0], almost) == 'differs: keypoints: rmse by +1e-09'
