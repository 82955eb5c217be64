"""A view of a run that has ended says so, and Dask does not say more."""

import logging
import time

import pytest
from distributed import LocalCluster

import o2dask as o2
from o2dask.web.live_table import live_table


def test_a_scheduler_that_is_gone_makes_a_view_lost_and_no_noise(caplog):
    cluster = LocalCluster(
        n_workers=0, processes=False, protocol="tcp://", host="127.0.0.1", dashboard_address="127.0.0.1:0"
    )
    with cluster:
        view = o2.connect(cluster.scheduler_address, timeout_s=1.0)
    end = time.monotonic() + 20
    with caplog.at_level(logging.DEBUG, logger="distributed.client"), view:
        while view.is_connected and time.monotonic() < end:
            time.sleep(0.1)
        assert view.status == "LOST"
        logging.getLogger("distributed.client").error("something else")
    assert [r.getMessage() for r in caplog.records if r.levelno >= logging.ERROR] == ["something else"]


@pytest.mark.parametrize(
    ("state", "shown"),
    [({"window": 8}, "2 of 8"), ({"window": 8, "places": 2}, "2 of 8"), ({"window": 8, "places": 1}, "2, in 1 of 8")],
    ids=["unknown", "one each", "a group"],
)
def test_places_in_the_window_are_told_where_groups_take_them(state, shown):
    history = [{"state": "RUNNING", "in_flight": 2, "committed": 1, **state}]
    assert shown in live_table(address="", status="RUNNING", rate=0.0, history=history, histograms=[])
