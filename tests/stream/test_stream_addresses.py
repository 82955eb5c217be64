"""Addresses that cannot work are told before anything is started."""

import pytest

from o2dask.errors import ConfigError
from o2dask.stream.channel import Channel
from o2dask.stream.sources import probe_source

zmq = pytest.importorskip("zmq")


@pytest.mark.parametrize("port", ["0", "65536", "99999", "http"])
def test_a_port_that_cannot_be_is_refused(port):
    with pytest.raises(ConfigError, match="want a port, 1 to 65535"):
        Channel.parse(f"tcp://127.0.0.1:{port}")


def test_a_name_that_stands_for_no_host_is_refused_by_who_connects():
    with (
        pytest.raises(ConfigError, match=r"no host nowhere\.invalid"),
        Channel.parse("tcp://nowhere.invalid:5555", type="push", method="connect").open(),
    ):
        pass


def test_the_address_of_any_readout_that_is_taken_is_told_beforehand(tmp_path):
    address = f"ipc://{tmp_path}/feed"
    with Channel.parse("tcp://127.0.0.1:5555?method=connect").open():
        pass  # a loopback address is one
    with zmq.Context() as context, context.socket(zmq.PULL) as taken:
        port = taken.bind_to_random_port("tcp://127.0.0.1", min_port=20000, max_port=60000)
        for source, n in ((f"tcp://127.0.0.1:{port}", 1), (f"tcp://127.0.0.1:{port - 1}", 2)):
            with pytest.raises(ConfigError, match=f"127.0.0.1:{port}: cannot bind: .*choose another port"):
                probe_source(source, n)
    probe_source(address, 2)
    with pytest.raises(ConfigError, match="cannot bind"):
        probe_source("ipc:///nonexistent/feed", 1)
    probe_source("enumerate:4", 2)
    with pytest.raises(ConfigError, match="no such file"):
        probe_source("replay:nowhere.ctf", 2)


def test_a_stream_at_an_address_that_is_taken_ends_before_workers_are_started(tmp_path, capsys):
    from o2dask.cli.main import app

    source = f"ipc://{tmp_path}/missing/feed"
    args = ["stream", "--workflow", f"{tmp_path}/flow.py:workflow", "--source", source]
    (tmp_path / "flow.py").write_text(
        "import o2dask as o2\n"
        "def workflow():\n"
        "    return [o2.DataProcessorSpec('idle', inputs='', outputs='', algorithm=lambda ctx: None)]\n"
    )
    assert app(args, standalone_mode=False) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "cannot bind: No such file or directory" in error
