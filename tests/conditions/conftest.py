"""A store in a folder, a server, and objects of a few bytes."""

import pytest
from ccdb_server import CcdbServer

from o2dask.conditions import CcdbStore, Http, LocalStore


@pytest.fixture
def store(tmp_path):
    return LocalStore(tmp_path / "conditions")


@pytest.fixture
def server():
    with CcdbServer() as made:
        yield made


@pytest.fixture
def quick():
    """Limits that tests can wait for."""
    return Http(timeout_s=0.5, total_s=1.0, retries=2, backoff_s=0.01)


@pytest.fixture
def ccdb(server, quick):
    return CcdbStore(server.url, http=quick)
