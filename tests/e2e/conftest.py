"""Whole runs of the command, each in a process of its own, on a store of the test's own."""

import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

TINY = Path(__file__).with_name('tiny.yaml')


@dataclass(frozen=True)
class Workplace:
    """A folder with its own runs, serving folder and data."""

    folder: Path
    config: Path = TINY

    def beside(self, name: str) -> 'Workplace':
        """Another one, with the same data."""
        folder = self.folder.parent / name
        shutil.copytree(self.folder / 'data', folder / 'data')
        return Workplace(folder, self.config)

    def run(self, *arguments: str) -> subprocess.CompletedProcess:
        command = [str(Path(sys.executable).with_name('emotion-pipeline')), 'run', '--config', str(self.config)]
        return subprocess.run([*command, *arguments], cwd=self.folder, capture_output=True, text=True, timeout=900)

    @property
    def store(self) -> Path:
        return self.folder / 'runs' / 'tiny'

    def last(self) -> dict:
        """The newest entry of the history."""
        entries = [json.loads(path.read_text()) for path in sorted(self.store.glob('history/*/run.json'))]
        return entries[-1]

    def versions(self) -> dict[str, list[str]]:
        """The served versions by model, and whatever else lies there in sight."""
        return {
            model.name: sorted(entry.name for entry in model.iterdir() if not entry.name.startswith('.'))
            for model in sorted((self.folder / 'serving').iterdir())
        }

    def artifact(self, node: str, output: str) -> Path:
        """The newest artifact of a node."""
        found = (self.store / 'artifacts' / node / output).iterdir()
        return max(found, key=lambda path: int(path.name))


@pytest.fixture(scope='module')
def workplace(tmp_path_factory) -> Workplace:
    return Workplace(tmp_path_factory.mktemp('workplace'))
