"""What tests in several folders share."""

from collections.abc import Iterator

import pytest

from tests.object_store import ObjectStore, running


@pytest.fixture(scope='module')
def object_store(tmp_path_factory) -> Iterator[ObjectStore]:
    with running(tmp_path_factory.mktemp('object-store')) as store:
        yield store


@pytest.fixture
def bucket(object_store, monkeypatch, request) -> str:
    """The URI of a prefix of the test's own, with the environment that reaches it."""
    for name, value in object_store.environment.items():
        monkeypatch.setenv(name, value)
    return f's3://faces/{request.node.name.partition("[")[0]}-{abs(hash(request.node.name)) % 10**6}'
