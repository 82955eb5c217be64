"""Queues under lease as the scheduler serves them: who waits, who is woken, who dies."""

import threading
import time
import uuid
from contextlib import suppress

import pytest
from distributed import Client, LocalCluster
from stream_tools import LIMIT_S, eventually, timeframe

from o2dask.errors import ConfigError
from o2dask.runners.feed import Feed
from o2dask.stream.descriptor import Built, Part
from o2dask.stream.errors import SchedulerGoneError, StreamError
from o2dask.stream.feed import QueueFeed
from o2dask.stream.queue import MAX_WAIT_S, LeaseQueue, install
from o2dask.stream.spool import Spool
from o2dask.timeframe import TimeframeRef


@pytest.fixture
def queue(stream_client):
    queue = LeaseQueue(stream_client, uuid.uuid4().hex)
    queue.create(max_timeframes=8)
    yield queue
    queue.destroy()


@pytest.fixture
def other(stream_cluster):
    with Client(stream_cluster, set_as_default=False) as client:
        yield client


def parts(*numbers, readout=0, n_readouts=1, n_bytes=0):
    return [
        Part(timeframe=timeframe(i), readout=readout, n_readouts=n_readouts, n_bytes=n_bytes).to_wire() for i in numbers
    ]


def built(*numbers):
    return [Built(TimeframeRef(id=timeframe(i), url="enumerate:", index=i)).to_wire() for i in numbers]


def counters(leased):
    return [item.item[1] for item in leased]


def test_items_go_through_in_order_and_many_at_a_time(queue):
    assert queue.put("r", 0, parts(*range(5))).accepted_until == 4
    leased = queue.get(3)
    assert counters(leased) == [0, 1, 2]
    assert queue.ack([item.token for item in leased]) == 3
    assert counters(queue.get(9)) == [3, 4]
    status = queue.status()
    assert (status["ready"], status["leased"], status["timeframes"]) == (0, 2, 2)


def test_an_announcement_that_is_repeated_counts_once(queue):
    queue.put("r", 0, parts(0, 1))
    assert queue.put("r", 0, parts(0, 1, 2)).accepted_until == 2
    assert queue.last_seq("r") == 2
    assert queue.last_seq("nobody") == -1
    assert counters(queue.get(9)) == [0, 1, 2]


def test_what_a_producer_announced_and_died_is_not_taken_in_after_its_successor_began(queue, other):
    """The successor clears away what it finds unannounced: announced later, its parts are gone."""
    before, after = queue, LeaseQueue(other, queue.name)
    assert before.open_producer("r") == (-1, -1)
    assert before.put("r", 0, parts(*range(9)), 0).accepted_until == 7
    failures = []

    def announce():
        try:
            before.put("r", 8, parts(8))
        except StreamError as error:
            failures.append(str(error))

    waiting = threading.Thread(target=announce)
    waiting.start()
    time.sleep(0.1)
    assert after.open_producer("r") == (7, 7)
    after.ack([item.token for item in after.get(9)])
    waiting.join(LIMIT_S)
    assert "another process is producer r" in failures[0]
    assert after.last_seq("r") == 7
    assert after.put("r", 8, parts(8)).accepted_until == 8


def test_nothing_to_get_is_waited_for_and_no_longer_than_asked(queue):
    begin = time.monotonic()
    assert queue.get(1, timeout_s=0.2) == []
    assert 0.2 <= time.monotonic() - begin < MAX_WAIT_S
    timer = threading.Timer(0.2, queue.put, ("r", 0, parts(7)))
    timer.start()
    assert counters(queue.get(1, timeout_s=LIMIT_S)) == [7]
    timer.join()


def test_a_full_queue_makes_producers_wait_until_room_is_free(queue):
    assert queue.put("r", 0, parts(*range(10)), 0.1).accepted_until == 7
    first = queue.get(2)
    timer = threading.Timer(0.2, queue.ack, ([item.token for item in first],))
    timer.start()
    assert queue.put("r", 8, parts(8, 9), LIMIT_S).accepted_until == 9
    timer.join()
    assert queue.status()["peak_timeframes"] == 8


def test_a_full_queue_that_drops_says_what(stream_client):
    queue = LeaseQueue(stream_client, uuid.uuid4().hex)
    queue.create(max_timeframes=2, when_full="drop")
    answer = queue.put("r", 0, parts(*range(5)))
    assert (answer.accepted_until, answer.refused) == (4, (2, 3, 4))
    assert answer.room == (0, 0, 2, 4)
    assert queue.status()["counts"]["dropped_full"] == 3
    queue.destroy()


def test_what_a_client_held_that_is_gone_is_delivered_again(queue, stream_cluster):
    queue.put("r", 0, parts(0, 1, 2))
    with Client(stream_cluster, set_as_default=False) as client:
        assert counters(LeaseQueue(client, queue.name).get(2)) == [0, 1]
    leased = queue.get(9)
    assert [(item.item[1], item.n_deliveries) for item in leased] == [(0, 2), (1, 2), (2, 1)]


def test_an_item_is_not_given_to_a_client_that_died_waiting(queue, stream_cluster):
    with Client(stream_cluster, set_as_default=False) as client:
        waiting = threading.Thread(target=_quietly, args=(LeaseQueue(client, queue.name).get,))
        waiting.start()
        time.sleep(0.2)
    waiting.join()
    queue.put("r", 0, parts(0))
    assert counters(queue.get(1, timeout_s=LIMIT_S)) == [0]


def _quietly(function):
    with suppress(StreamError):
        function(1, timeout_s=10.0)


def test_a_lease_that_is_not_renewed_ends(queue, other):
    theirs = LeaseQueue(other, queue.name)
    queue.put("r", 0, parts(0, 1))
    held = theirs.get(2, lease_s=1.0)
    assert theirs.renew(3.0) == 2
    time.sleep(1.1)
    assert queue.get(1, timeout_s=0.0) == [], "renewed, it outlives its first time"
    assert counters(queue.get(2, timeout_s=LIMIT_S)) == [0, 1]
    assert queue.status()["counts"]["expired"] == 1
    assert theirs.renew(0.3) == 0
    assert theirs.ack([held[0].token]) == 1, "it is done, whoever holds it now"
    assert theirs.give_back([held[1].token]) == 0


def test_what_is_given_back_comes_again(queue):
    queue.put("r", 0, parts(0, 1))
    first, second = queue.get(2)
    assert queue.give_back([first.token]) == 1
    assert counters(queue.get(9)) == [0]
    assert second.token != first.token


def test_parts_become_a_timeframe_in_one_step_and_the_stream_ends_after_it(queue, stream_client):
    timeframes = LeaseQueue(stream_client, f"{queue.name}/t")
    timeframes.create(after=queue.name, n_producers=0)
    queue.put("r", 0, parts(0, 1))
    first, second = queue.get(2)
    groups = [((first.token,), *built(0), "built"), ((second.token,), None, "dropped")]
    assert queue.forward(timeframes.name, groups) == []
    assert queue.forward(timeframes.name, groups) == [0, 1]
    queue.close_producer("r")
    assert queue.is_over
    assert not timeframes.is_over
    (item,) = timeframes.get(9)
    assert Built.from_wire(item.item).ref.id == timeframe(0)
    assert timeframes.get(1, timeout_s=0.0) == []
    timeframes.ack([item.token])
    begin = time.monotonic()
    assert timeframes.get(1, timeout_s=LIMIT_S) == []
    assert time.monotonic() - begin < MAX_WAIT_S, "at once, for nothing more can come"
    assert timeframes.is_over
    timeframes.destroy()


def test_queues_go_with_the_client_that_made_them(stream_client, stream_cluster):
    name = uuid.uuid4().hex
    with Client(stream_cluster, set_as_default=False) as owner:
        LeaseQueue(owner, name).create()
        queue = LeaseQueue(stream_client, name)
        assert queue.last_seq("r") == -1
    with pytest.raises(StreamError, match="its stream has ended"):
        eventually(lambda: queue.last_seq("r") != -1)


def test_a_queue_is_made_once(queue):
    with pytest.raises(StreamError, match="another session"):
        queue.create()


@pytest.mark.parametrize("options", [{"when_full": "burn"}, {"max_timeframes": 0}, {"max_bytes": 0}])
def test_a_queue_that_cannot_work_is_refused(queue, options):
    with pytest.raises(ConfigError, match="want"):
        queue.create(**options)


def test_a_scheduler_that_is_gone_is_told_in_one_line():
    with LocalCluster(
        n_workers=0, processes=False, protocol="tcp://", host="127.0.0.1", dashboard_address="127.0.0.1:0"
    ) as cluster:
        client = Client(cluster, set_as_default=False)
        install(client)
        queue = LeaseQueue(client, "q")
        queue.create()
        feed = QueueFeed(queue)
    with pytest.raises(SchedulerGoneError, match="lost the scheduler") as error:
        queue.put("r", 0, parts(0))
    assert "\n" not in str(error.value)
    eventually(lambda: feed.failure)
    assert "\n" not in feed.failure
    assert not feed.is_over
    feed.close()
    client.close()


# -- the feed


@pytest.fixture
def spool(tmp_path):
    spool = Spool.create("s", base=str(tmp_path))
    yield spool
    spool.remove()


def test_the_feed_gives_each_timeframe_once_and_unlinks_it(queue, spool):
    queue.put("r", 0, built(0, 1, 2))
    for i in range(3):
        spool.write(timeframe(i), 0, lambda path: open(path, "w").close())  # noqa: PTH123
    queue.close_producer("r")
    called = threading.Event()
    with QueueFeed(queue, spool, on_ready=called.set) as feed:
        assert called.wait(LIMIT_S)
        eventually(lambda: feed.status()["ready"] == 3)
        assert [ref.id for ref in feed.take(2)] == [timeframe(0), timeframe(1)]
        assert feed.status()["out"] == 2
        refs = [*feed.take(9)]
        assert [ref.id for ref in refs] == [timeframe(2)]
        feed.settle(refs)
        eventually(lambda: list(spool.leftovers()) == [timeframe(0), timeframe(1)])
        assert not feed.is_over
        feed.settle([TimeframeRef(id=timeframe(i), url="", index=0) for i in (0, 1)])
        eventually(lambda: feed.is_over)
    assert not spool.leftovers()


def test_what_was_done_before_or_is_announced_twice_is_settled_at_once(queue):
    queue.put("r", 0, built(0, 1))
    queue.put("again", 0, built(1))
    with QueueFeed(queue, is_done=lambda ref: ref.id == timeframe(0)) as feed:
        eventually(lambda: feed.status()["again"] == feed.status()["done_before"] == 1)
        refs = feed.take(9)
        assert [ref.id for ref in refs] == [timeframe(1)]
        feed.settle(refs)
        eventually(lambda: queue.status()["timeframes"] == 0)
        queue.put("again", 1, built(1, 0))
        eventually(lambda: queue.status()["timeframes"] == 0)
        assert feed.take(9) == []
        assert feed.status()["again"] == 3


def test_a_feed_gives_back_what_was_not_settled(queue, other):
    queue.put("r", 0, built(0, 1))
    with QueueFeed(LeaseQueue(other, queue.name)) as feed:
        eventually(lambda: feed.status()["ready"] == 2)
        feed.settle(feed.take(1))
    assert counters(queue.get(9, timeout_s=LIMIT_S)) == [1]


def test_a_feed_renews_what_it_holds_and_takes_no_more_than_asked(queue, other):
    queue.put("r", 0, built(*range(6)))
    with QueueFeed(LeaseQueue(other, queue.name), ahead=2, lease_s=1.5) as feed:
        eventually(lambda: feed.status()["ready"] == 2)
        time.sleep(2.0)
        assert queue.status()["leased"] == 2
        assert queue.status()["counts"].get("expired", 0) == 0
        assert len(feed.take(9)) == 2
        eventually(lambda: feed.status()["ready"] == 2)


def test_stop_is_handed_on_once(queue):
    calls = []
    with QueueFeed(queue, on_stop=lambda: calls.append(1)) as feed:
        assert isinstance(feed, Feed)
        feed.stop()
        feed.stop()
    assert calls == [1]
