"""The clock, the schedule that ends within the time, and the figures."""

import keras
import numpy as np
import pytest
from sklearn import metrics

from components.settings import TrainSettings
from components.train.fit import optimizer
from tests.benchmarks.contest import (
    LARGEST_RISE,
    Clock,
    expression_figures,
    keypoint_figures,
    one_epoch,
    planned_steps,
)

STEP, EVALUATION = 0.25, 10.0  # seconds


class Course:
    """A training whose steps and evaluations take what they are said to."""

    def __init__(self):
        self.time = 0.0
        self.stop_training = False

    def evaluate(self) -> dict[str, float]:
        self.time += EVALUATION
        return {'figure': self.time}

    def follow(self, clock: Clock, steps: int) -> None:
        clock.set_model(self)
        for step in range(steps):
            self.time += 5.0 if step == 0 else STEP  # the first one traces
            clock.on_train_batch_end(step)
            if self.stop_training:
                break
        clock.on_train_end()


def small_network() -> keras.Model:
    network = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    network.compile('sgd', 'mse', jit_compile=False)
    return network


def test_neither_evaluations_nor_the_first_step_are_training_time():
    course, told = Course(), []
    clock = Clock(10.0, course.evaluate, 4, told.append, lambda: course.time)
    course.follow(clock, 1000)
    assert (clock.seconds, clock.steps) == (10.0, 40)
    assert course.time == 5.0 + 10.0 + 4 * EVALUATION
    assert [point['seconds'] for point in clock.curve] == [2.5, 5.0, 7.5, 10.0]
    assert [progress for progress in told if 'figure' in progress] == clock.curve
    assert [progress['seconds'] for progress in told] == [1, 2, 2.5, 3.5, 4.5, 5, 6, 7, 7.5, 8.5, 9.5, 10]


def test_a_step_that_is_longer_than_the_time_between_evaluations_has_one_evaluation():
    course = Course()
    clock = Clock(1.0, course.evaluate, 20, now=lambda: course.time)
    course.follow(clock, 1000)
    assert [point['seconds'] for point in clock.curve] == [0.25, 0.5, 0.75, 1.0]


def test_a_training_that_ends_before_its_time_is_judged_when_it_ends():
    clock = Clock(1000.0, lambda: {'figure': 2.0}, 4)
    small_network().fit(np.zeros((64, 4)), np.zeros(64), batch_size=8, epochs=2, callbacks=[clock], verbose=0)
    assert clock.steps == 15  # the first of 16 is not counted
    assert clock.curve == [{'seconds': clock.seconds, 'figure': 2.0}]


@pytest.mark.parametrize(('pace', 'seconds'), [(5.0, 600.0), (0.8, 75.0), (20.0, 2280.0)])
def test_planned_steps_fit_into_the_time_and_all_but_fill_it(pace, seconds):
    counted = planned_steps(pace, seconds) - 1
    assert 0.95 * seconds - 1 / pace <= counted / pace <= seconds


def test_at_least_one_step_is_counted():
    assert planned_steps(0.01, 1.0) == 2


@pytest.mark.parametrize('steps', [30, 300, 7296])
def test_schedule_ends_with_the_last_step(steps):
    settings = TrainSettings(epochs=48, batch_size=128, learning_rate=3e-3, warmup_epochs=1.0)
    schedule = optimizer(one_epoch(settings, 152, steps), steps)._learning_rate
    rates = np.array([float(schedule(step)) for step in np.linspace(0, steps, 61).round()])
    assert rates[-1] == pytest.approx(0, abs=1e-8)
    assert rates.max() == pytest.approx(3e-3, rel=0.02)
    highest = rates.argmax() / 60 * steps
    assert highest <= min(152, LARGEST_RISE * steps) + steps / 60
    assert (np.diff(rates[rates.argmax() :]) <= 0).all()


def test_expression_figures_are_scikit_learns():
    random = np.random.default_rng(0)
    probabilities = random.dirichlet(np.ones(5), 200)
    truth = random.integers(0, 4, 200)  # one class is never true
    found = expression_figures(truth, probabilities)
    predicted = probabilities.argmax(axis=1)
    assert found['accuracy'] == pytest.approx((predicted == truth).mean())
    of_each = [metrics.f1_score(truth == label, predicted == label, zero_division=0) for label in range(5)]
    assert found['macro_f1'] == pytest.approx(np.mean(of_each))


def test_keypoint_figures_pass_over_missing_points():
    truth = np.full((2, 15, 2), 40.0)
    points = truth.copy()
    points[0, :, 0] += 3
    truth[1, 4:] = np.nan
    points[1] += 100
    points[1, :4] -= 100
    assert keypoint_figures(truth, points) == {'rmse': pytest.approx(np.sqrt(15 * 9 / (30 + 8)))}
