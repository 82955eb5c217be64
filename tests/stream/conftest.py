"""One scheduler for all tests of the stream, reachable by processes on this machine only; and streams on it."""

import pytest
from distributed import Client, LocalCluster
from stream_tools import write_ctf


@pytest.fixture(scope="session")
def stream_cluster():
    with LocalCluster(
        n_workers=0, processes=False, protocol="tcp://", host="127.0.0.1", dashboard_address="127.0.0.1:0"
    ) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def cluster():
    """Two worker processes on a scheduler of their own: their start takes seconds."""
    from o2dask.runners.testing import workers

    with workers(2) as cluster:
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


@pytest.fixture(scope="session")
def ctf(tmp_path_factory):
    """Forty timeframes to replay."""
    return write_ctf(tmp_path_factory.mktemp("ctf") / "tf.ctf", 40)


@pytest.fixture
def opened(stream_client, tmp_path):
    """Return a function that opens a stream; nothing of it is left on the device."""
    from o2dask.stream.session import open_stream
    from o2dask.stream.settings import StreamSettings

    base = tmp_path / "shm"
    base.mkdir()

    def stream(source, **options):
        return open_stream(stream_client, StreamSettings(source=source, **{"base": str(base), **options}))

    yield stream
    assert not list(base.iterdir())
