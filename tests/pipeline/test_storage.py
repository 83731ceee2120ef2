"""Where a run's artifacts go, and whether its object store can be used."""

import dataclasses
import importlib.util

import pytest

from components.settings import IngestSettings
from components.storage.s3 import ObjectFolder, StorageError
from pipeline import storage
from pipeline.config import Config, Ingest

stored = pytest.mark.skipif(importlib.util.find_spec('tensorflow_io') is None, reason='tensorflow-io is not installed')


def test_each_run_has_a_folder_of_its_own_outside_the_store(tmp_path):
    assert storage.pipeline_root(Config(), 'today') == ''
    config = Config(name='mine', artifacts='s3://bucket/prefix/')
    one, other = storage.pipeline_root(config, 'today'), storage.pipeline_root(config, 'today')
    assert one.startswith('s3://bucket/prefix/mine/today-') and one != other
    local = storage.pipeline_root(Config(artifacts=str(tmp_path)), 'today')
    assert local.startswith(f'{tmp_path}/faces/today-')


def test_serving_folders_are_paths_or_uris(tmp_path):
    assert Config(serving='s3://bucket/serving/').serving_folder('faces') == 's3://bucket/serving/faces'
    assert Config(serving=str(tmp_path)).serving_folder('faces') == tmp_path / 'faces'


@stored
def test_what_can_be_used_passes_and_nothing_is_left_behind(bucket):
    storage.check(Config(artifacts=bucket, serving=f'{bucket}/serving'))
    assert ObjectFolder(bucket).list() == []


@stored
@pytest.mark.parametrize('place', ['artifacts', 'serving', 'data'])
def test_every_place_is_looked_at(bucket, place):
    if place == 'data':
        ingest = Ingest(keypoints=IngestSettings(files=('s3://nowhere/data/{SPAN}/*.csv',)))
        config = Config(ingest=ingest)
    else:
        config = dataclasses.replace(Config(), **{place: 's3://nowhere/prefix'})
    with pytest.raises(StorageError, match="no bucket 'nowhere'"):
        storage.check(config)


def test_without_the_extra_it_is_said_how_to_install_it(monkeypatch):
    monkeypatch.setattr(importlib.util, 'find_spec', lambda name: None)
    with pytest.raises(StorageError, match=r'tensorflow-io.*emotion-pipeline\[s3\]'):
        storage.check(Config(artifacts='s3://bucket/prefix'))
    storage.check(Config())
