"""The checks of the soak see what is wrong; what is sound passes them in every pair of a soak."""

import pytest
from ml_metadata import MetadataStore
from ml_metadata.proto import metadata_store_pb2

from components.metadata import connection_config
from tests.soak.checks import violations


@pytest.fixture
def store(tmp_path):
    """A store with an artifact that is finished, one that was begun, and one that has no files by its nature."""
    folder = tmp_path / 'runs' / 'soak'
    (folder / 'whole').mkdir(parents=True)
    (folder / 'whole' / 'file').touch()
    metadata = MetadataStore(connection_config(str(folder / 'metadata.sqlite')))
    states = metadata_store_pb2.Artifact
    for kind, name, state in (
        ('Examples', 'whole', states.LIVE),
        ('Examples', 'begun', states.PENDING),
        ('system.Metrics', 'figures', states.LIVE),
    ):
        type_id = metadata.put_artifact_type(metadata_store_pb2.ArtifactType(name=kind))
        metadata.put_artifacts([states(type_id=type_id, uri=str(folder / name), state=state)])
    return folder


def test_a_sound_store_without_a_served_version_passes(store, tmp_path):
    assert violations(store, tmp_path / 'serving') == []


def test_a_finished_artifact_without_files_is_told(store, tmp_path):
    (store / 'whole' / 'file').unlink()
    assert violations(store, tmp_path / 'serving') == [f'an artifact is LIVE and has no file: {store}/whole']


def test_a_damaged_database_is_told(store, tmp_path):
    path = store / 'metadata.sqlite'
    content = bytearray(path.read_bytes())
    content[4096 : 4096 + 2048] = bytes(2048)
    path.write_bytes(content)
    (told,) = violations(store, tmp_path / 'serving')
    assert 'metadata' in told


@pytest.mark.parametrize('name', ['1.part', 'copy'])
def test_what_a_server_sees_beside_the_versions_is_told(store, tmp_path, name):
    (tmp_path / 'serving' / 'expression' / name).mkdir(parents=True)
    (told,) = violations(store, tmp_path / 'serving')
    assert name in told


def test_half_a_version_is_told(store, tmp_path):
    (tmp_path / 'serving' / 'expression' / '1').mkdir(parents=True)
    (told,) = violations(store, tmp_path / 'serving')
    assert 'expression.onnx' in told
