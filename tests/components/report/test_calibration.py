"""The reliability diagram: its figures against scikit-learn and numpy, and what the page says of them."""

import dataclasses
from pathlib import Path

import jinja2
import numpy as np
import pytest
import scipy.special
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.calibration import calibration_curve

from components.report import calibration as diagram
from components.report.calibration import BINS, Calibration, expected_error, read_calibration, reliability
from components.train.calibration import Temperature, fit_temperature, write_temperature
from tests.components.report.test_report import Page

REPORT = Path(diagram.__file__).parent


def answers(count: int, sharpness: float, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Logits that are too large by the factor `sharpness`, and truths."""
    random = np.random.default_rng(seed)
    logits = random.normal(0, 1.5, (count, 5))
    truth = (logits + random.gumbel(size=logits.shape)).argmax(axis=1)
    return (sharpness * logits).astype(np.float32), truth


def model_run(folder: Path, logits: np.ndarray, truth: np.ndarray, temperature: Temperature) -> Path:
    """What a trainer leaves of these logits."""
    names = np.arange(len(truth))
    np.savez(
        folder / 'predictions.npz',
        content_hash=names.astype('U'),
        source=names.astype('U'),
        row=names,
        group=names.astype('U'),
        truth=truth,
        prediction=scipy.special.softmax(logits / np.float32(temperature.temperature), axis=1),
    )
    write_temperature(folder, temperature)
    return folder


@pytest.fixture
def calibration(tmp_path) -> Calibration:
    """Of a network that was twice as sure as it should have been, on 3,000 faces."""
    logits, truth = answers(6000, 2.0)
    temperature = fit_temperature(logits[:3000], truth[:3000])
    return read_calibration(model_run(tmp_path, logits[3000:], truth[3000:], temperature))


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 400), st.floats(0.05, 20.0))
def test_the_bins_are_those_of_scikit_learn_and_the_error_that_of_numpy(seed, count, sharpness):
    logits, truth = answers(count, sharpness, seed)
    probabilities = scipy.special.softmax(logits.astype(np.float64), axis=1)
    confidence, right = probabilities.max(axis=1).clip(max=1.0), probabilities.argmax(axis=1) == truth
    bins = reliability(probabilities, truth)
    accuracies, confidences = calibration_curve(right, confidence, n_bins=BINS, strategy='uniform')
    np.testing.assert_allclose([found.accuracy for found in bins], accuracies)
    np.testing.assert_allclose([found.confidence for found in bins], confidences)
    expected = 0.0
    for number in range(BINS):
        inside = (confidence > number / BINS) & (confidence <= (number + 1) / BINS)
        if inside.any():
            expected += inside.mean() * abs(right[inside].mean() - confidence[inside].mean())
    assert expected_error(bins) == pytest.approx(expected, abs=1e-12)
    assert sum(found.count for found in bins) == count


def test_a_network_that_is_half_right_and_quite_sure_errs_by_half():
    (only,) = reliability(np.eye(5)[np.zeros(10, int)], np.arange(10) % 2)
    assert (only.count, only.confidence, only.accuracy) == (10, 1.0, 0.5)
    assert expected_error((only,)) == 0.5


def test_the_temperature_makes_a_network_that_is_too_sure_as_sure_as_right(calibration):
    assert calibration.faces == 3000
    assert calibration.error_before > 0.08
    assert calibration.error < 0.03
    assert calibration.confidence == pytest.approx(calibration.accuracy, abs=0.03)


def test_the_error_before_is_that_of_the_logits_without_a_temperature(tmp_path):
    logits, truth = answers(500, 3.0)
    plain, calibrated = (tmp_path / name for name in ('plain', 'calibrated'))
    plain.mkdir()
    calibrated.mkdir()
    without = read_calibration(model_run(plain, logits, truth, Temperature()))
    with_it = read_calibration(model_run(calibrated, logits, truth, Temperature(2.5, 60, 1.0, 0.9)))
    assert without.error_before == pytest.approx(without.error)
    assert with_it.error_before == pytest.approx(without.error, abs=1e-5)
    assert with_it.error != pytest.approx(without.error, abs=1e-2)


def test_the_diagram_stays_inside_its_box_and_draws_what_it_says(calibration):
    assert len(calibration.bars) == len(calibration.bins)
    floor = diagram.TOP + diagram.PLOT_HEIGHT
    for found, bar in zip(calibration.bins, calibration.bars, strict=True):
        for part in (bar.accuracy, bar.count):
            assert diagram.LEFT <= part.x < part.x + part.width <= diagram.WIDTH - diagram.RIGHT
            assert diagram.TOP <= part.y <= part.y + part.height <= diagram.HEIGHT - diagram.BOTTOM + 0.1
        assert bar.accuracy.height == pytest.approx(found.accuracy * diagram.PLOT_HEIGHT, abs=0.2)
        assert bar.accuracy.y + bar.accuracy.height == pytest.approx(floor, abs=0.2)
        assert bar.accuracy.x <= bar.point[0] <= bar.accuracy.x + bar.accuracy.width + 1.1
        assert bar.point[1] == bar.accuracy.y, 'the point lies on the top of its bar'
    tallest = max(calibration.bars, key=lambda bar: bar.count.height)
    assert tallest.count.height == diagram.HISTOGRAM_HEIGHT
    assert tallest.title.startswith(f'{max(found.count for found in calibration.bins):,} faces')


def rendered(calibration: Calibration) -> Page:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(REPORT), autoescape=True, undefined=jinja2.StrictUndefined
    )
    html = environment.get_template('calibration.html').render(calibration=calibration, diagram=diagram)
    return Page(html)


def test_the_page_says_the_error_the_temperature_and_the_log_losses(calibration):
    page = rendered(calibration)
    words = ' '.join(page.text.split())
    fitted = calibration.temperature
    assert f'the expected calibration error is {100 * calibration.error:.1f}%;' in words
    assert f'without a temperature it would be {100 * calibration.error_before:.1f}%' in words
    assert f'The temperature is {fitted.temperature:.2f}, fitted on 3,000 training faces' in words
    assert f'{fitted.log_loss_before:.3f} before and is {fitted.log_loss_after:.3f} with it' in words
    (label,) = (attributes['aria-label'] for tag, attributes in page.tags if attributes.get('role') == 'img')
    assert label.count(' sure, ') == len(calibration.bins)
    assert '3,000 faces' in label
    assert sum(tag == 'g' for tag, _ in page.tags) == len(calibration.bins)


def test_the_page_says_where_no_temperature_was_fitted(calibration):
    words = ' '.join(rendered(dataclasses.replace(calibration, temperature=Temperature())).text.split())
    assert 'No temperature was fitted' in words
    assert 'None' not in words
