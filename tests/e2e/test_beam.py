"""The check before a run, on Beam's own job service: a job of seconds tells what the workers lack."""

import shutil
from pathlib import Path

import pytest

from components.errors import StepError
from pipeline.beam.check import check
from pipeline.config import load
from tests.e2e import engines
from tests.e2e.conftest import TINY

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).parents[2]


@pytest.fixture
def complaint(tmp_path, monkeypatch):
    """What the check says of a job service whose workers have this environment; nothing where all is well."""
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


def test_workers_of_this_environment_pass(complaint):
    assert complaint() == ''


def test_workers_with_another_revision_of_the_code_are_told(complaint, tmp_path):
    for name in ('components', 'pipeline', 'schemas', 'data'):
        shutil.copytree(ROOT / name, tmp_path / 'revision' / name, ignore=shutil.ignore_patterns('__pycache__'))
    (tmp_path / 'revision' / 'components' / 'faces.py').open('a').write('# another revision\n')
    told = complaint(PYTHONPATH=str(tmp_path / 'revision'))
    assert 'run another revision of this package' in told


def test_workers_without_the_package_are_told(complaint, tmp_path):
    (tmp_path / 'other' / 'pipeline').mkdir(parents=True)
    (tmp_path / 'other' / 'pipeline' / '__init__.py').touch()
    told = complaint(PYTHONPATH=str(tmp_path / 'other'))
    assert 'lack this package' in told
    assert len(told.splitlines()) == 1
