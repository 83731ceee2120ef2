"""A job that takes seconds: it takes the store and writes its history as `emotion-pipeline run` does."""

import dataclasses
import json
import sys
import time
from pathlib import Path

import psutil
import pytest

from pipeline.config import Config
from pipeline.hooks import HookSettings
from pipeline.schedule.attempt import Job

JOB = Path(__file__).with_name('job.py')


@dataclasses.dataclass(frozen=True)
class Workplace:
    """A pipeline of the test's own, whose hook command writes down what it is told."""

    folder: Path

    @property
    def settings(self) -> Config:
        return Config(name='mine', runs=str(self.folder / 'runs'))

    @property
    def store(self) -> Path:
        return self.settings.store

    def job(self, how: str, **changes) -> Job:
        """A job that ends as `how` says."""
        log = 'import os, sys; open(sys.argv[1], "a").write(sys.stdin.read() + "\\n")'
        job = Job(
            settings=self.settings,
            name='none',
            overrides=(),
            hooks=HookSettings(command=(sys.executable, '-c', log, str(self.folder / 'told'))),
            limit=60.0,
            once_per_span=False,
            command=(sys.executable, str(JOB), how, str(self.store)),
            grace=(0.5, 0.5),
        )
        return dataclasses.replace(job, **changes)

    def ends(self, process: int, seconds: float = 10.0) -> bool:
        """Whether a process comes to its end soon, waited for or not."""
        deadline = time.monotonic() + seconds
        while psutil.pid_exists(process) and psutil.Process(process).status() != psutil.STATUS_ZOMBIE:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.05)
        return True

    def told(self) -> list[dict]:
        """The decisions that the hook was told."""
        path = self.folder / 'told'
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def decisions(self) -> list[str]:
        return [decision['decision'] for decision in self.told()]


@pytest.fixture
def workplace(tmp_path) -> Workplace:
    return Workplace(tmp_path)
