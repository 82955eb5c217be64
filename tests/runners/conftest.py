"""Workers shared by the tests of this folder: their start takes seconds."""

import pytest
from distributed import Client

from o2dask.runners.testing import workers


@pytest.fixture(scope="session")
def cluster():
    """Two worker processes of one thread, one of which has a tape."""
    with workers(2, resources={"TAPE": 1}) as cluster:
        yield cluster


@pytest.fixture
def scheduler_address(cluster):
    """Address of the shared workers, both of them there."""
    with Client(cluster, set_as_default=False) as client:
        client.wait_for_workers(2, timeout=60)
    return cluster.scheduler_address
