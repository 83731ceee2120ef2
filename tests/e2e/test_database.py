"""Whole runs over ML Metadata on a real MariaDB: side by side, cached, and with a server that goes away."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from ml_metadata import MetadataStore
from ml_metadata.proto import metadata_store_pb2

from components.metadata import CA, PASSWORD, USER, connection_config
from components.report.ledger import read_ledger
from tests import mariadb

pytestmark = pytest.mark.e2e

SECRET = 'a-Password-of-17'
TINY = Path(__file__).with_name('tiny.yaml')
CHANGE = ('--set', 'evaluate.keypoints.gates.rmse.maximum=89')
"""What lets Evaluator-keypoints run again, and what follows it."""


@dataclass(frozen=True)
class Place:
    """A pipeline in a folder of its own, as on a machine of its own."""

    name: str
    folder: Path
    store: str

    @property
    def output(self) -> str:
        """What its last run said."""
        return (self.folder / 'output').read_text(encoding='utf-8')

    def start(self, *arguments: str) -> subprocess.Popen:
        command = [str(Path(sys.executable).with_name('emotion-pipeline')), 'run', '--config', 'mine.yaml']
        with (self.folder / 'output').open('w') as output:
            return subprocess.Popen([*command, *arguments], cwd=self.folder, stdout=output, stderr=output)

    def last(self) -> dict:
        """The newest entry of the history."""
        path = max(self.folder.glob('runs/*/history/*/run.json'))
        return json.loads(path.read_text(encoding='utf-8'))

    def states(self) -> dict[str, str]:
        """Of the last run's nodes, as ML Metadata has them."""
        return {step.node: step.state for step in read_ledger(self.store, self.last()['run'], self.name).steps}

    def versions(self) -> dict[str, list[str]]:
        """What is served."""
        return {
            model.name: sorted(path.name for path in model.iterdir() if not path.name.startswith('.'))
            for model in (self.folder / 'serving').iterdir()
        }


@pytest.fixture(scope='module')
def server(tmp_path_factory):
    with mariadb.running(tmp_path_factory.mktemp('mariadb')) as server:
        server.create('faces', 'trainer', SECRET)
        server.execute('ALTER USER trainer REQUIRE SSL')
        yield server


@pytest.fixture(scope='module')
def places(server, tmp_path_factory) -> Iterator[list[Place]]:
    """Two pipelines on one database, which is empty at first, over TLS."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(USER, 'trainer')
        patch.setenv(PASSWORD, SECRET)
        patch.setenv(CA, str(server.authority))
        store = f'mysql://{mariadb.ADDRESS}:{server.port}/faces'
        found = [Place(name, tmp_path_factory.mktemp(name), store) for name in ('one', 'two')]
        address = {'host': mariadb.ADDRESS, 'port': server.port, 'database': 'faces'}
        for place in found:
            values = {'extends': str(TINY), 'name': place.name, 'metadata': address}
            (place.folder / 'mine.yaml').write_text(yaml.safe_dump(values), encoding='utf-8')
        yield found


@pytest.fixture(scope='module')
def first(places) -> list[int]:
    """The exit statuses of the first runs, side by side."""
    return finish([place.start('--verbose') for place in places])


def finish(processes: list[subprocess.Popen]) -> list[int]:
    try:
        return [process.wait(900) for process in processes]
    finally:
        for process in processes:
            process.kill()


def test_two_pipelines_side_by_side_on_an_empty_database_both_push(places, first):
    assert first == [0, 0], [place.output[-3000:] for place in places]
    for place in places:
        assert place.last()['state'] == 'pushed'
        assert place.versions() == {'expression': ['1'], 'faces': ['1'], 'keypoints': ['1']}
        assert list(place.states().values()) == ['complete'] * 30
        page = Path(place.last()['report']).read_text(encoding='utf-8')
        assert mariadb.ADDRESS in page and 'Trainer-keypoints' in page
    assert not list(places[0].folder.rglob('metadata.sqlite'))
    # Whatever the second in which they began.
    assert len({place.last()['run'].rpartition('-')[2] for place in places}) == 2


def test_the_password_is_in_no_file_and_in_no_row(places, first, server):
    for place in places:
        files = [path for path in place.folder.rglob('*') if path.is_file()]
        assert any(path.name == 'log.txt' for path in files)
        assert not [path for path in files if SECRET.encode() in path.read_bytes()]
    for (table,) in server.execute('SHOW TABLES FROM faces'):
        assert SECRET not in repr(server.execute(f'SELECT * FROM faces.{table}'))


def test_a_server_that_goes_away_ends_the_run_in_a_line_and_the_next_one_goes_on(places, first, server):
    one, two = places
    process = two.start(*CHANGE)
    try:
        while 'ServedModel-keypoints' not in two.output:
            assert process.poll() is None, two.output
            time.sleep(0.1)
        # Evaluator-keypoints has begun, or is about to.
        server.kill()
        assert finish([process]) == [1], two.output
        message = two.last()['message']
        assert message.startswith("The run lost its database. ML Metadata's database mysql://127.0.0.1:")
        assert message.endswith('run it again to go on from here.')
        assert two.last()['state'] == 'failed'
        assert 'Traceback' not in two.output and message[:40] in two.output
        page = Path(two.last()['report']).read_text(encoding='utf-8')
        assert 'The run lost its database' in page
        assert SECRET not in page
    finally:
        process.kill()
        server.start()

    # Nothing of the pipeline beside has changed.
    assert finish([one.start(), two.start(*CHANGE)]) == [0, 0], [place.output for place in places]
    assert set(one.states().values()) == {'cached'}
    assert 'Nothing has changed' in one.output
    rerun = {node for node, state in two.states().items() if state == 'complete'}
    assert 'Evaluator-keypoints' in rerun
    assert not {node for node in rerun if node.startswith(('Trainer', 'Transform')) or node.endswith('expression')}
    assert all(versions[-1:] == ['1'] for versions in one.versions().values())

    live = metadata_store_pb2.Artifact.LIVE
    artifacts = [each for each in MetadataStore(connection_config(one.store)).get_artifacts() if each.state == live]
    assert len(artifacts) > 60
    assert [each.uri for each in artifacts if not Path(each.uri).exists()] == []
