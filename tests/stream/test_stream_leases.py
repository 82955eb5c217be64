"""The laws of a queue under lease (head of `o2dask.stream.leases`), without Dask: rules in any order, and by name."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from o2dask.stream.errors import StreamError
from o2dask.stream.leases import QueueState, Room

READOUTS = 2


def part(i, readout=0, n_bytes=10, total=20):
    return (1, i, 32 * i, 32, n_bytes, total, readout, READOUTS, f"{i}/{readout}")


def built(i, n_bytes=20):
    return (1, i, 32 * i, 32, n_bytes, n_bytes, 0, f"{i}", ())


def queues(max_timeframes=4, max_bytes=100, when_full="block"):
    parts = QueueState("parts", Room(max_timeframes, max_bytes), when_full=when_full, n_producers=READOUTS)
    return parts, QueueState("timeframes", parts.room, n_producers=0, after=parts)


def tokens(taken):
    return [token for token, _ in taken]


class Stream(RuleBasedStateMachine):
    """Readouts that are killed and go on, a builder and a driver that are killed, in any order."""

    when_full = "block"

    def __init__(self):
        super().__init__()
        self.parts, self.timeframes = queues(when_full=self.when_full)
        self.refused = {0: set(), 1: set()}
        self.hands = {}  # builder: timeframe -> {readout: token}
        self.driver = {}
        self.committed, self.dropped = [], set()

    @rule(readout=st.integers(0, 1), n=st.integers(1, 6), again=st.integers(0, 3))
    def announce(self, readout, n, again):
        name = f"r{readout}"
        first = max(0, self.parts.last_seq(name) + 1 - again)
        before = self.parts.last_seq(name)
        last, refused = self.parts.put(name, first, [part(i, readout) for i in range(first, first + n)], 0.0)
        assert before <= last < first + n or last == before
        assert all(before < seq <= last for seq in refused)
        self.refused[readout] |= set(refused)

    @rule(n=st.integers(1, 5))
    def builder_takes(self, n):
        for token, item in self.parts.get("builder", n):
            _, i, *_, readout, _, _ = item.wire
            assert readout not in self.hands.setdefault(i, {})
            self.hands[i][readout] = token

    @rule()
    def builder_builds(self):
        done = [i for i, found in self.hands.items() if len(found) == READOUTS]
        groups = [(tuple(self.hands.pop(i).values()), built(i), "built") for i in done]
        assert self.parts.forward("builder", groups, self.timeframes) == []

    @precondition(lambda self: self.hands)
    @rule(data=st.data())
    def builder_gives_up_one(self, data):
        i = data.draw(st.sampled_from(sorted(self.hands)))
        self.parts.forward("builder", [(tuple(self.hands.pop(i).values()), None, "late")], self.timeframes)
        self.dropped.add(i)

    @rule()
    def builder_dies(self):
        assert self.parts.give_back("builder") == sum(map(len, self.hands.values()))
        self.hands.clear()

    @rule(n=st.integers(1, 3))
    def driver_takes(self, n):
        self.driver |= {token: item.wire[1] for token, item in self.timeframes.get("driver", n)}

    @rule(n=st.integers(0, 3))
    def driver_settles(self, n):
        done = sorted(self.driver)[:n]
        assert self.timeframes.ack(done) == len(done)
        self.committed += [self.driver.pop(token) for token in done]

    @rule()
    def driver_dies(self):
        self.timeframes.give_back("driver")
        self.driver.clear()

    @invariant()
    def nothing_comes_twice(self):
        assert len(set(self.committed)) == len(self.committed)
        assert not self.dropped & set(self.committed)

    @invariant()
    def the_room_holds_what_is_on_its_way(self):
        room = self.parts.room
        assert len(room) <= 4
        assert room.n_bytes <= 100
        inside = [item.wire for state in (self.parts, self.timeframes) for item in state._items.values()]
        assert {wire[:4] for wire in inside} == set(room)
        assert room.n_bytes >= sum(wire[4] for wire in inside)

    def teardown(self):
        """Whatever happened, the rest goes through, and nothing that was accepted is missing."""
        self.builder_dies()
        self.driver_dies()
        ends = [self.parts.last_seq(f"r{k}") + 1 for k in range(READOUTS)]
        end = max(ends)
        while len(self.parts.room) or any(self.parts.last_seq(f"r{k}") + 1 < end for k in range(READOUTS)):
            for k in range(READOUTS):
                first = self.parts.last_seq(f"r{k}") + 1
                _, refused = self.parts.put(f"r{k}", first, [part(i, k) for i in range(first, end)], 0.0)
                self.refused[k] |= set(refused)
            self.builder_takes(100)
            self.builder_builds()
            self.driver_takes(100)
            self.driver_settles(100)
        for k in range(READOUTS):
            self.parts.close_producer(f"r{k}")
        assert self.parts.is_over
        assert self.timeframes.is_over
        assert len(self.parts.room) == self.parts.room.n_bytes == 0
        lost = set(range(end)) - set(self.committed)
        assert lost == self.dropped | self.refused[0] & self.refused[1]
        assert self.timeframes.counts["done"] == len(self.committed)


class DroppingStream(Stream):
    when_full = "drop"


TestStream = Stream.TestCase
TestDroppingStream = DroppingStream.TestCase
TestStream.settings = TestDroppingStream.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)


def test_items_of_a_lost_client_come_first_and_in_order():
    parts, _ = queues(max_timeframes=99, max_bytes=10_000)
    parts.put("r0", 0, [part(i) for i in range(6)], 0.0)
    a, b = parts.get("a", 2), parts.get("b", 2)
    parts.give_back("b")
    parts.give_back("a")
    again = parts.get("c", 9)
    assert tokens(again) == [*tokens(a), *tokens(b), 4, 5]
    assert [item.n_deliveries for _, item in again] == [2, 2, 2, 2, 1, 1]
    assert parts.counts["redelivered"] == 4


def test_a_gap_in_a_producers_numbers_is_an_error():
    parts, _ = queues()
    with pytest.raises(StreamError, match="announced 1 after -1"):
        parts.put("r0", 1, [part(1)], 0.0)


def test_room_is_kept_for_the_parts_of_a_timeframe_that_has_begun():
    parts, _ = queues(max_timeframes=9, max_bytes=50)
    assert parts.put("r0", 0, [part(i) for i in range(4)], 0.0) == (1, [])
    assert parts.room.n_bytes == 40
    assert parts.put("r1", 0, [part(i, 1) for i in range(4)], 0.0) == (1, [])
    assert parts.room.n_bytes == 40


def test_a_timeframe_larger_than_the_room_goes_alone():
    parts, _ = queues(max_bytes=5)
    assert parts.put("r0", 0, [part(0), part(1)], 0.0) == (0, [])
    parts.ack(tokens(parts.get("a", 1)))
    assert parts.put("r0", 1, [part(1)], 0.0) == (1, [])


def test_what_is_dropped_is_dropped_whole():
    parts, timeframes = queues(max_timeframes=1, when_full="drop")
    assert parts.put("r0", 0, [part(0), part(1)], 0.0) == (1, [1])
    parts.forward("b", [(tuple(tokens(parts.get("b", 1))), None, "late")], timeframes)
    assert len(parts.room) == 0
    assert parts.put("r1", 0, [part(0, 1), part(1, 1), part(2, 1)], 0.0) == (2, [0, 1])
    assert parts.counts["dropped_full"] == 1
    assert parts.counts["refused"] == 2


def test_what_is_no_more_the_builders_is_not_forwarded():
    parts, timeframes = queues()
    parts.put("r0", 0, [part(0)], 0.0)
    parts.put("r1", 0, [part(0, 1)], 0.0)
    mine = tuple(tokens(parts.get("old", 2)))
    parts.give_back("old")
    assert parts.forward("old", [(mine, built(0), "built")], timeframes) == [0]
    parts.get("new", 2)
    assert parts.forward("old", [(mine, built(0), "built")], timeframes) == [0]
    assert parts.forward("new", [(mine, built(0), "built")], timeframes) == []
    assert timeframes.n_ready == 1


def test_an_acknowledgement_counts_whoever_holds_the_item_now():
    parts, _ = queues()
    parts.put("r0", 0, [part(0)], 0.0)
    mine = tokens(parts.get("a", 1))
    parts.give_back("a")
    assert parts.ack(mine) == 1
    assert parts.get("b", 1) == []
    assert parts.ack(mine) == 0


def test_all_producers_end_before_the_same_number():
    parts, _ = queues()
    assert parts.propose_end("r0", 103) == -1
    assert parts.propose_end("r1", 100) == 103
    assert parts.propose_end("r0", 102) == 103, "started again, it is behind what it had said"
    parts, _ = queues()
    parts.close_producer("r1")
    assert parts.propose_end("r0", 7) == 7
