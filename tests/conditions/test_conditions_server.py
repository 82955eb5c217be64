"""A CCDB server over HTTP: what is asked, what is not asked twice, and what happens when it is out of order."""

import pickle
import time

import numpy as np
import pytest
from ccdb_server import CcdbServer

from o2dask.conditions import (
    CachedStore,
    CcdbStore,
    ConditionError,
    ConditionNotFoundError,
    ConditionServerError,
    Http,
    snapshot,
)
from o2dask.errors import ConfigError

HOW = ["direct", "redirect", "replicas"]


def test_what_is_uploaded_comes_back_with_its_header(ccdb, server):
    arrays = {"gain": np.linspace(0.8, 1.2, 100)}
    header = ccdb.put("TPC/Calib/Gain", arrays, 100, 200, metadata={"maker": "a b&c", "runNumber": "505673"})
    found = CcdbStore(server.url).get("TPC/Calib/Gain", 150)
    np.testing.assert_array_equal(found.content["gain"], arrays["gain"])
    for name in ("path", "valid_from", "valid_until", "created", "etag", "content_type", "size", "file_name"):
        assert getattr(found.header, name) == getattr(header, name), name
    assert found.header.metadata == {"maker": "a b&c", "runNumber": "505673", "ObjectType": "npz"}
    assert found.header.file_name == "Gain.npz"
    (listed,) = ccdb.list("TPC/*")
    assert listed == found.header
    assert ccdb.list("TPC/Calib/Gain") == (listed,)
    assert ccdb.list("ITS/*") == ccdb.list("ITS/Calib") == ()


@pytest.mark.parametrize("how", HOW)
def test_content_is_found_where_the_server_points(how, quick):
    with CcdbServer(how) as server:
        server.add("A/B", 0, 10, b'{"x": 1}', metadata={"ObjectType": "json"})
        assert CcdbStore(server.url, http=quick).get("A/B", 5).content == {"x": 1}


@pytest.mark.parametrize("how", HOW)
def test_the_second_time_only_the_name_is_compared(how, quick):
    with CcdbServer(how) as server:
        made = server.add("A/B", 0, 10, b"first", created=1)
        store = CcdbStore(server.url, http=quick)
        first = store.get("A/B", 5)
        server.requests.clear()
        assert store.get("A/B", 6).payload == first.payload
        assert [status for *_, status in server.requests] == [304]
        server.add("A/B", 0, 10, b"second", created=2)
        assert store.get("A/B", 6).payload == b"second"
        server.objects.remove(made)
        assert store.get("A/B", 6, created_not_before=2).payload == b"second"


def test_a_cache_folder_spares_the_next_process_the_content(tmp_path, quick):
    with CcdbServer("redirect") as server:
        server.add("A/B", 0, 10, b"content", metadata={"k": "v"})
        first = CcdbStore(server.url, http=quick, cache=tmp_path / "cache").get("A/B", 5)
        server.requests.clear()
        again = pickle.loads(pickle.dumps(CcdbStore(server.url, http=quick, cache=tmp_path / "cache")))
        assert again.get("A/B", 7) == first.__class__(
            header=again.get("A/B", 7).header, payload=b"content", holds=(0, 10)
        )
        assert {status for *_, status in server.requests} == {304}
        (file,) = (tmp_path / "cache").rglob("*.bin")
        file.write_bytes(b"damaged")
        fresh = CcdbStore(server.url, http=quick, cache=tmp_path / "cache")
        assert fresh.get("A/B", 7).payload == b"content"


def test_limits_and_metadata_reach_the_server(ccdb, server):
    server.add("A/B", 0, 10, b"1", created=100, metadata={"k": "x y"})
    server.add("A/B", 0, 10, b"2", created=200)
    assert ccdb.get("A/B", 5).payload == b"2"
    assert ccdb.get("A/B", 5, created_not_after=199).payload == b"1"
    assert ccdb.get("A/B", 5, metadata={"k": "x y"}).payload == b"1"
    with pytest.raises(ConditionNotFoundError, match="created not before 201"):
        ccdb.get("A/B", 5, created_not_before=201)


def test_delete_takes_the_winner_or_the_one_named(ccdb, server):
    old, new = (server.add("A/B", 0, 10, b"x", created=c) for c in (1, 2))
    assert ccdb.delete("A/B", 5).etag == new["id"]
    assert ccdb.delete("A/B", etag=old["id"]).etag == old["id"]
    assert not server.objects
    with pytest.raises(ConditionNotFoundError):
        ccdb.delete("A/B", 5)
    with pytest.raises(ConditionNotFoundError, match="has no object"):
        ccdb.delete("A/B", etag="x")


def test_a_snapshot_of_a_server_needs_it_no_more(tmp_path, quick):
    with CcdbServer("replicas") as server:
        for i in range(4):
            server.add("TPC/Gain", 10 * i, 10 * i + 15, b"%d" % i, created=i)
        frozen = snapshot(CcdbStore(server.url, http=quick), ["TPC/*"], (5, 35), tmp_path / "s.zip")
    assert [frozen.get("TPC/Gain", t).payload for t in (5, 9, 10, 29, 30, 34)] == [b"0", b"0", b"1", b"2", b"3", b"3"]


def test_trust_in_validity_can_be_withdrawn(server, quick):
    server.add("A/B", 0, 100, b"wide", created=1)
    server.add("A/B", 50, 60, b"narrow", created=2)
    trusting, careful = (
        CachedStore(CcdbStore(server.url, http=quick, trust_validity=trust)) for trust in (True, False)
    )
    assert [trusting.get("A/B", t).payload for t in (10, 55, 70)] == [b"wide"] * 3
    assert [careful.get("A/B", t).payload for t in (10, 55, 70, 56)] == [b"wide", b"narrow", b"wide", b"narrow"]
    assert (trusting.counters.misses, careful.counters.misses) == (1, 4)


@pytest.mark.parametrize("fault", [500, 503, 429, "cut", 0.8])
def test_a_passing_fault_is_outlived(ccdb, server, fault):
    server.add("A/B", 0, 10, b"content" * 100)
    server.faults = [fault]
    assert ccdb.get("A/B", 5).payload == b"content" * 100


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (500, "status 500 out of order"),
        (0.8, r"does not answer in 0\.5 s"),
        ("cut", "the line broke"),
        ("drip", "longer than"),
    ],
)
def test_a_lasting_fault_is_an_error_with_url_and_remedy(ccdb, server, fault, message):
    server.add("A/B", 0, 10, b"content" * 100)
    server.faults = [fault] * 9
    with pytest.raises(ConditionServerError, match=rf"/A/B/5/: .*{message}.* after 3 tries; .*snapshot"):
        ccdb.get("A/B", 5)


def test_a_server_that_is_down_is_given_up_after_the_retries(quick):
    with CcdbServer() as server:
        url = server.url
    start = time.monotonic()
    with pytest.raises(ConditionServerError, match=r"refused.* after 3 tries"):
        CcdbStore(url, http=quick).get("A/B", 5)
    assert time.monotonic() - start < 20  # the time-out of a user is a minute


def test_another_host_answers_when_the_first_is_down(server, quick):
    with CcdbServer() as gone:
        pass
    server.add("A/B", 0, 10, b"content")
    assert CcdbStore(f"{gone.url},{server.url}", http=quick).get("A/B", 5).payload == b"content"
    with pytest.raises(ConditionServerError, match="no server answers"):
        CcdbStore(f"{gone.url},{gone.url}", http=quick).get("A/B", 5)


def test_content_that_changed_on_its_way_is_refused(ccdb, server):
    server.add("A/B", 0, 10, b"content")
    server.faults = ["garble"]
    with pytest.raises(ConditionError, match="want MD5"):
        ccdb.get("A/B", 5)


def test_an_object_without_any_replica_names_all_that_were_tried(quick):
    with CcdbServer("replicas") as server:
        made = server.add("A/B", 0, 10, b"content")
        server.winner = lambda request: made | {"id": "not-there"}
        with pytest.raises(ConditionServerError, match=r"no replica .*alien://.*only http.*file:///.*status 404"):
            CcdbStore(server.url, http=quick).get("A/B", 5)


@pytest.mark.parametrize(
    ("status", "error"), [(403, ConfigError), (400, ConditionServerError), (404, ConditionServerError)]
)
def test_an_upload_that_is_refused_is_told_and_not_repeated(ccdb, server, status, error):
    server.faults = [status] * 5
    with pytest.raises(error, match=f"{status} out of order"):
        ccdb.put("A/B", 1, 0, 10)
    assert len(server.requests) == 1


@pytest.mark.parametrize("fault", [500, 0.8])
def test_an_upload_that_may_have_arrived_is_not_repeated(ccdb, server, fault):
    server.faults = [fault] * 5
    with pytest.raises(ConditionServerError, match="POST"):
        ccdb.put("A/B", 1, 0, 10)
    assert len(server.faults) == 4


def test_what_ccdb_cannot_take_is_refused_before_it_is_sent(ccdb, server):
    with pytest.raises(ConfigError, match="the server says when"):
        ccdb.put("A/B", 1, 0, 10, created=5)
    with pytest.raises(ConfigError, match="ASCII text without /"):
        ccdb.put("A/B", 1, 0, 10, metadata={"where": "a/b"})
    assert not server.requests


@pytest.mark.parametrize("url", ["ftp://host", "http://", "host:8080", "http://host?x=1"])
def test_urls_of_no_server_are_refused(url):
    with pytest.raises(ConfigError, match="server of conditions"):
        CcdbStore(url)


def test_a_body_that_is_too_large_is_not_taken(server):
    server.add("A/B", 0, 10, b"x" * 5000)
    with pytest.raises(ConditionServerError, match="at most 1000 bytes"):
        CcdbStore(server.url, http=Http(max_bytes=1000, retries=0)).get("A/B", 5)
