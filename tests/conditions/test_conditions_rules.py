"""Which object wins, in every kind of store, against a slow and obvious version."""

import tempfile
import time
from itertools import pairwise
from pathlib import Path

import pytest
from ccdb_server import CcdbServer
from condition_rules import PATHS, T_MAX, limits, objects, wins
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from o2dask.conditions import CachedStore, CcdbStore, ConditionNotFoundError, LocalStore, snapshot
from o2dask.conditions.model import ConditionHeader, Limits, winners
from o2dask.errors import ConfigError

FEW = settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
times = st.lists(st.integers(0, T_MAX), min_size=1, max_size=6)


def filled(made, folder):
    store = LocalStore(folder)
    for i, (path, start, end, created, metadata) in enumerate(made):
        store.put(path, {"number": i}, start, end, created=created, metadata=metadata)
    Path(folder, "objects").mkdir(exist_ok=True)
    return store


def asked(store, path, t, **limits):
    try:
        return store.get(path, t, **limits).content["number"]
    except ConditionNotFoundError:
        return None


@FEW
@given(objects(), times, limits)
def test_the_latest_created_of_the_valid_ones_wins_in_a_folder(made, when, limits):
    with tempfile.TemporaryDirectory() as folder:
        store = filled(made, folder)
        for t in when:
            for path in PATHS:
                assert asked(store, path, t, **limits) == wins(made, path, t, **limits)


@FEW
@given(objects(), limits)
def test_the_same_object_wins_wherever_it_is_said_to_hold(made, limits):
    with tempfile.TemporaryDirectory() as folder:
        store = filled(made, folder)
        for t in range(T_MAX):
            try:
                low, high = store.get(PATHS[0], t, **limits).holds
            except ConditionNotFoundError:
                continue
            assert low <= t < high
            assert len({wins(made, PATHS[0], x, **limits) for x in range(low, high)}) == 1


@FEW
@given(objects(), st.lists(st.tuples(st.sampled_from(PATHS), st.integers(0, T_MAX)), max_size=20), limits)
def test_a_cache_says_what_the_store_says(made, questions, limits):
    with tempfile.TemporaryDirectory() as folder:
        cached = CachedStore(filled(made, folder))
        for path, t in questions:
            assert asked(cached, path, t, **limits) == wins(made, path, t, **limits)


@FEW
@given(objects(), st.tuples(st.integers(0, T_MAX - 1), st.integers(1, T_MAX)), st.none() | st.integers(1, 5))
def test_a_snapshot_says_what_the_store_says_within_its_span(made, span, not_after):
    start, end = span[0], min(T_MAX, span[0] + span[1])
    there = [p for p in PATHS if any(wins(made, p, t, not_after) is not None for t in range(start, end))]
    if not there:
        return
    with tempfile.TemporaryDirectory() as folder:
        frozen = snapshot(filled(made, folder), there, (start, end), f"{folder}/s.zip", created_not_after=not_after)
        for t in range(start, end):
            for path in there:
                assert asked(frozen, path, t) == wins(made, path, t, not_after)
        with pytest.raises(ConditionNotFoundError, match="speaks for"):
            frozen.get(there[0], end)


@FEW
@given(objects(), times, limits, st.sampled_from(["direct", "redirect", "replicas"]))
def test_a_server_answers_by_the_same_rules(made, when, limits, how):
    with CcdbServer(how) as server:
        for i, (path, start, end, created, metadata) in enumerate(made):
            body = b'{"number": %d}' % i
            server.add(path, start, end, body, created=created, metadata=metadata, kind="application/json")
        store = CcdbStore(server.url)
        for t in when:
            for path in PATHS:
                assert asked(store, path, t, **limits) == wins(made, path, t, **limits)


@settings(max_examples=200, deadline=None)
@given(objects(max_size=20), st.integers(0, T_MAX - 1), limits)
def test_the_sweep_over_a_span_finds_the_winner_of_every_moment(made, start, limits):
    headers = [
        ConditionHeader(
            path=p,
            valid_from=a,
            valid_until=b,
            created=c,
            etag=f"e{i}",
            content_type="",
            size=0,
            metadata=m,
            sequence=i,
        )
        for i, (p, a, b, c, m) in enumerate(made)
        if p == PATHS[0]
    ]
    mine = [o for o in made if o[0] == PATHS[0]]
    rule = Limits.of(limits.get("created_not_after"), limits.get("created_not_before"), limits.get("metadata"))
    parts = winners(headers, (start, T_MAX), rule)
    for t in range(start, T_MAX):
        found = [h for low, high, h in parts if low <= t < high]
        expected = wins(mine, PATHS[0], t, **limits)
        assert found == ([] if expected is None else [headers[expected]])
    assert all(a[1] < b[0] or a[2] is not b[2] for a, b in pairwise(parts))


def test_of_two_puts_in_one_millisecond_the_second_wins(store, monkeypatch):
    monkeypatch.setattr(time, "time_ns", lambda: 1_700_000_000_000_000_000)
    for i in range(5):
        store.put("A/B", i, 0, 10)
    assert store.get("A/B", 0).content == 4
    assert [h.created - 1_700_000_000_000 for h in store.list()] == [4, 3, 2, 1, 0]


def test_ends_of_intervals_and_of_creation_are_where_ccdb_has_them(store):
    store.put("A/B", "old", 10, 20, created=100)
    assert store.get("A/B", 10).content == "old"
    assert store.get("A/B", 19, created_not_after=100, created_not_before=100).content == "old"
    for t, limit in ((9, {}), (20, {}), (15, {"created_not_after": 99}), (15, {"created_not_before": 101})):
        with pytest.raises(ConditionNotFoundError, match="A/B is valid at"):
            store.get("A/B", t, **limit)


@pytest.mark.parametrize(
    "path", ["", "/A", "A//B", "../A", "A/./B", "A/..", "A/7", "A/-1", "A/k=v", "a b", "A\nB", "/".join("abcdefghijk")]
)
def test_paths_that_ccdb_would_read_otherwise_are_refused(store, path):
    with pytest.raises(ConfigError, match="path of a condition"):
        store.put(path, 1, 0, 10)
    with pytest.raises(ConfigError, match="path of a condition"):
        store.get(path, 0)


@pytest.mark.parametrize("span", [(5, 5), (6, 5), (-1, 5), (0, 1.5), (0, 1 << 63)])
def test_intervals_that_hold_nothing_are_refused(store, span):
    with pytest.raises(ConfigError, match="valid_"):
        store.put("A/B", 1, *span)


@pytest.mark.parametrize("metadata", [{"a b": "x"}, {"a=": "x"}, {"": "x"}, {"a": "two\nlines"}, {"a": 1}, {"a": " x"}])
def test_metadata_that_no_header_can_hold_are_refused(store, metadata):
    with pytest.raises(ConfigError, match="metadata"):
        store.put("A/B", 1, 0, 10, metadata=metadata)
