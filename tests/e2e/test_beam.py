"""Beam's own job service: what the check before a run tells of its workers, and how jobs end that do not end well."""

import shutil
import threading
import time
from pathlib import Path

import apache_beam as beam
import pytest

from components.errors import StepError
from pipeline.beam.check import check
from pipeline.beam.execute import failures_in_one_line
from pipeline.beam.settings import to_flags
from pipeline.config import load
from tests.e2e import engines
from tests.e2e.conftest import TINY

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).parents[2]


@pytest.fixture
def complaint(tmp_path, monkeypatch):
    """What the check says of a job service whose workers have this environment."""
    monkeypatch.chdir(tmp_path)

    def ask(**environment: str) -> str:
        with engines.job_service(tmp_path / 'services', **environment) as service:
            try:
                check(load(str(TINY), ['beam.runner=portable', *service.settings]))
            except StepError as error:
                return str(error)
            finally:
                assert not list((tmp_path / 'runs').rglob('.beam-*')), 'the file of the job is left'
        return ''

    return ask


def test_workers_with_another_revision_of_the_code_are_told(complaint, tmp_path):
    for name in ('components', 'pipeline', 'schemas', 'data'):
        shutil.copytree(ROOT / name, tmp_path / 'revision' / name, ignore=shutil.ignore_patterns('__pycache__'))
    (tmp_path / 'revision' / 'components' / 'faces.py').open('a').write('# another revision\n')
    told = complaint(PYTHONPATH=str(tmp_path / 'revision'))
    assert 'run another revision of this package' in told


def test_workers_without_the_package_are_told(complaint, tmp_path):
    (tmp_path / 'other' / 'pipeline').mkdir(parents=True)
    # An editable installation would give an empty package's modules all the same.
    absent = 'raise ModuleNotFoundError("No module named \'pipeline\'")'
    (tmp_path / 'other' / 'pipeline' / '__init__.py').write_text(absent)
    told = complaint(PYTHONPATH=str(tmp_path / 'other'))
    assert 'lack this package' in told
    assert len(told.splitlines()) == 1


def run_for(seconds: int, service: engines.Service, timeout: int) -> None:
    """A job whose last stage, of which a job service hears no more, takes its time."""
    settings = load(str(TINY), ['beam.runner=portable', *service.settings, f'beam.timeout={timeout}']).beam
    with (
        failures_in_one_line('FaceExampleGen-expression', settings),
        beam.Pipeline(argv=list(to_flags(settings))) as jobs,
    ):
        _ = jobs | beam.Create([seconds]) | beam.Map(time.sleep)


def test_a_job_of_which_nothing_is_heard_ends_in_bounded_time(tmp_path):
    with engines.job_service(tmp_path) as service, pytest.raises(StepError) as caught:
        run_for(600, service, timeout=20)
    assert str(caught.value).startswith('FaceExampleGen-expression: the Beam job has not ended after 20 s')


def test_a_job_service_that_goes_away_is_told(tmp_path):
    with engines.job_service(tmp_path) as service:

        def kill_once_it_works() -> None:
            engines.until(lambda: engines.busy(service.pool), service.process)
            engines.end(service.process)

        threading.Thread(target=kill_once_it_works).start()
        with pytest.raises(StepError, match=f'the job service {service.endpoint} does not answer any more'):
            run_for(600, service, timeout=300)


def test_what_the_code_of_a_step_raises_in_a_worker_is_told(tmp_path):
    with engines.job_service(tmp_path) as service, pytest.raises(StepError) as caught:
        run_for(-1, service, timeout=300)
    assert 'the Beam job failed on portable: ValueError: sleep length must be non-negative' in str(caught.value)
