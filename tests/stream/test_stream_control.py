"""A running stream is paused, slowed down and stopped by whoever is connected to its scheduler."""

import threading
import time

import pytest
from stream_flows import PATTERNS, flow
from stream_tools import LIMIT_S, eventually, write_ctf

import o2dask as o2
from o2dask.cli.main import app
from o2dask.errors import ConfigError
from o2dask.runners.control import StreamControl
from o2dask.runners.folder import FolderSink
from o2dask.runners.remote import Commands
from o2dask.runners.settings import BatchSettings
from o2dask.runners.stream import run_stream
from o2dask.runners.testing import workers
from o2dask.stream.errors import StreamError
from o2dask.stream.settings import StreamSettings


class Obeyed(StreamControl):
    """Notes what was asked for."""

    def __init__(self):
        StreamControl.__init__(self)
        self.done = []

    def set_rate(self, rate):
        if rate == 13.0:
            raise StreamError("a stream that is stopped cannot run")
        self.done.append(rate)


def obeyed(*messages, run="r"):
    control, told = Obeyed(), []
    for message in messages:
        Commands(run, control, control.set_rate, told.append).obey(message)
    return control, told


def test_words_for_this_run_are_obeyed_and_told():
    control, told = obeyed({"run": "r", "word": "pause", "value": 0.0}, {"run": "r", "word": "rate", "value": 5.0})
    assert control.is_paused() and control.done == [5.0]
    assert told == ["pause: asked for by a viewer", "rate: 5 TF/s"]
    control, _ = obeyed({"run": "r", "word": "pause"}, {"run": "r", "word": "stop"})
    assert control.is_set() and not control.is_paused()
    assert obeyed({"run": "r", "word": "rate", "value": 13})[1] == ["rate: a stream that is stopped cannot run"]


@pytest.mark.parametrize(
    "message",
    [
        {"run": "another", "word": "stop"},
        {"word": "stop"},
        {"run": "r", "word": "listen"},
        {"run": "r", "word": "rate", "value": -1.0},
        {"run": "r", "word": "rate", "value": "fast"},
        {"run": "r", "word": "rate", "value": float("inf")},
        ["stop"],
        None,
    ],
    ids=str,
)
def test_what_is_no_command_of_this_run_does_nothing(message):
    control, told = obeyed(message)
    assert not (control.is_set() or control.is_paused() or control.done or told)


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    """A stream without an end, and its report when it has ended."""
    folder = tmp_path_factory.mktemp("control")
    ctf = write_ctf(folder / "tf.ctf", 10)
    source = StreamSettings(source=f"replay:{ctf}", n_readouts=2, loop=True, rate=40.0, base=str(folder))
    sink, reports, notices, addresses, is_open = (
        FolderSink(str(folder / "out"), PATTERNS),
        [],
        [],
        [],
        threading.Event(),
    )

    def opened(address, stream):
        addresses.append(address)
        is_open.set()

    def run(scheduler):
        settings = BatchSettings(scheduler=scheduler)
        note = lambda event: notices.append(getattr(event, "text", ""))  # noqa: E731
        reports.append(run_stream(flow(), source, sink, settings=settings, opened=opened, progress=note))

    with workers(1) as cluster:
        thread = threading.Thread(target=run, args=(cluster.scheduler_address,))
        thread.start()
        try:
            assert is_open.wait(60)
            yield addresses[0], reports, notices
        finally:
            with o2.connect(addresses[0]) as view:
                if view.status not in ("STOPPED", "LOST"):
                    view.stop()
            thread.join(60)


def wait_for(view, is_so, limit_s=LIMIT_S):
    end = time.monotonic() + limit_s
    while not is_so(view.state):
        assert time.monotonic() < end, view.state
        time.sleep(0.05)
    return view.state


def commits_within(view, seconds):
    before = view.state["committed"]
    time.sleep(seconds)
    return view.state["committed"] - before


def test_a_stream_is_paused_slowed_down_and_stopped_from_outside(running, capsys):
    address, reports, notices = running
    with o2.connect(address) as view:
        wait_for(view, lambda state: state.get("committed", 0) > 5)
        view.pause()
        still = wait_for(view, lambda state: state["in_flight"] == 0)
        time.sleep(1.2)
        assert view.status == "PAUSED" and view.state["committed"] == still["committed"]
        state = view.state
        assert (state["places"], state["in_flight"], state["window"]) == (0, 0, 4) and state["lag_s"] > 1.0
        parts = state["queues"]["parts"]
        assert parts["counts"]["built"] > 5 and parts["timeframes"] <= parts["max_timeframes"]
        html = view._repr_html_()
        assert "0 of 4" in html and "timeframes in its room" in html and "{" not in html
        view.set_rate(2.0).resume()
        assert view.status == "RUNNING"
        queues = lambda state: sum(queue["ready"] for queue in state["queues"].values())  # noqa: E731
        wait_for(view, lambda state: state["committed"] > still["committed"] and not queues(state))
        eventually(lambda: commits_within(view, 2.0) < 20)  # 2 a second, no more 40, once what was read out is done
        with pytest.raises(ConfigError, match="want timeframes per second"):
            view.set_rate(-1.0)
        assert app(["control", address, "pause"], standalone_mode=False) == 0
        assert "streamed PAUSED" in capsys.readouterr().out
        assert app(["control", address, "rate"], standalone_mode=False) == 2
        assert app(["control", address, "pause", "3"], standalone_mode=False) == 2
        assert app(["control", address, "stop"], standalone_mode=False) == 0
        wait_for(view, lambda state: state["state"] == "STOPPED")
        with pytest.raises(ConfigError, match="no stream runs"):
            view.pause()
    assert {"pause: asked for by a viewer", "rate: 2 TF/s", "stop: asked for by a viewer"} <= set(notices)
    eventually(lambda: reports)
    assert reports[0].ok and not reports[0].interrupted
    counters = sorted(r.timeframe.tf_counter for r in reports[0].committed)
    assert counters == list(range(len(counters))), "a stop while it pauses drains as any other"
