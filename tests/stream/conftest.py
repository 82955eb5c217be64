"""One scheduler for all tests of the stream, reachable by processes on this machine only."""

import pytest
from distributed import Client, LocalCluster


@pytest.fixture(scope="session")
def stream_cluster():
    with LocalCluster(
        n_workers=0, processes=False, protocol="tcp://", host="127.0.0.1", dashboard_address="127.0.0.1:0"
    ) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def stream_client(stream_cluster):
    from o2dask.stream.queue import install

    with Client(stream_cluster, set_as_default=False) as client:
        install(client)
        yield client


@pytest.fixture(scope="session", autouse=True)
def _starter():
    """Keep the process that starts others: its imports take a second."""
    from o2dask.stream import starter

    starter.acquire()
    yield
    starter.release()
