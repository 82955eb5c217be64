"""What a driver tells a stream: its rate, to pause, to stop."""

import time

from stream_tools import SOURCES, drain, eventually, started, timeframe

from o2dask.stream.supervisor import State


def seconds_of(stream, n):
    """Return how long `n` timeframes take from now [s]."""
    begin = time.monotonic()
    drain(stream, until=lambda ids: len(ids) >= n)
    return time.monotonic() - begin


def test_the_rate_is_kept_over_all_readouts_and_can_be_changed(opened):
    """What a busy machine delays is made up for: over 2 s neither half the rate nor twice can be missed."""
    with opened("enumerate:100000", n_readouts=2, rate=50) as stream:
        started(stream)
        drain(stream, until=lambda ids: len(ids) >= 5)
        assert 1.4 < seconds_of(stream, 100) < 4.0
        stream.supervisor.set_rate(1000)
        assert seconds_of(stream, 500) < 500 / 50
        stream.feed.stop()
        drain(stream)


def test_a_pause_holds_everything_and_makes_nobody_late(opened):
    """At 200/s there are no 0.3 s without a timeframe, except in a pause; that is longer than who waits may wait."""
    with opened("enumerate:100000", n_readouts=2, rate=200, timeout_s=1.5) as stream:
        started(stream)
        drain(stream, until=lambda ids: len(ids) >= 10)
        stream.supervisor.pause()
        assert stream.supervisor.state is State.PAUSED

        def is_still():
            before = stream.parts.status()["last_seq"]
            time.sleep(0.3)
            return stream.parts.status()["last_seq"] == before

        eventually(is_still)
        before = stream.parts.status()["last_seq"]
        time.sleep(1.8)
        assert stream.parts.status()["last_seq"] == before
        stream.supervisor.resume()
        drain(stream, until=lambda ids: len(ids) >= 10)
        stream.feed.stop()
        drain(stream)
        counts = stream.parts.status()["counts"]
    assert "incomplete_dropped" not in counts
    assert "lost" not in counts


def test_a_stop_ends_all_readouts_after_the_same_timeframe(opened, ctf):
    with opened(f"replay:{ctf}", n_readouts=3, loop=True) as stream:
        started(stream)
        ids = drain(stream, until=lambda ids: len(ids) >= 50)
        stream.feed.stop()
        ids += drain(stream)
        status = stream.parts.status()
    assert len(set(status["last_seq"].values())) == 1
    assert sorted(ids) == [timeframe(i) for i in range(status["last_seq"]["readout-0"] + 1)]
    assert status["counts"]["built"] == len(ids)


def test_a_stop_does_not_wait_for_a_device_that_gives_nothing(opened):
    with opened(f"{SOURCES}:hangs", n_readouts=2) as stream:
        started(stream)
        assert drain(stream, until=lambda ids: len(ids) == 1) == [timeframe(0)]
        stream.feed.stop()
        assert drain(stream) == []
        reports = stream.parts.status()["reports"]
    assert [reports[f"readout-{k}"]["asked"] for k in range(2)] == [1, 1]


def test_a_stop_ends_the_readouts_of_a_users_source_after_the_same_timeframe(opened):
    with opened(f"{SOURCES}:endless", n_readouts=3) as stream:
        started(stream)
        ids = drain(stream, until=lambda ids: len(ids) >= 20)
        stream.feed.stop()
        ids += drain(stream)
        assert stream.parts.status()["counts"]["built"] == len(ids)
    assert sorted(ids) == [timeframe(i) for i in range(len(ids))]
