"""Selections against a row-by-row version of O2's TrackSelection.h."""

import numpy as np
import pytest

from o2dask.analysis.errors import UnknownNameError
from o2dask.analysis.physics.selection import (
    EventSelection,
    TrackSelection,
    global_track_selection,
    run3_dca_xy,
    tpc_only_selection,
)
from o2dask.errors import ConfigError

ALL = np.uint32(0xFFFFFFFF)


def columns(n=400, seed=1):
    rng = np.random.default_rng(seed)
    return {
        "trackType": rng.integers(0, 2, n),
        "pt": rng.exponential(0.5, n).astype(np.float32),
        "eta": rng.uniform(-1.2, 1.2, n),
        "tpcNClsFound": rng.integers(20, 159, n),
        "tpcNClsCrossedRows": rng.integers(20, 159, n),
        "tpcCrossedRowsOverFindableCls": rng.uniform(0.5, 1.2, n),
        "tpcChi2NCl": rng.uniform(0, 6, n),
        "tpcFractionSharedCls": rng.uniform(0, 1, n),
        "hasTPC": rng.random(n) < 0.9,
        "hasITS": rng.random(n) < 0.8,
        "itsNCls": rng.integers(0, 8, n),
        "itsChi2NCl": rng.uniform(0, 50, n),
        "itsClusterMap": rng.integers(0, 128, n).astype(np.uint8),
        "dcaXY": rng.normal(0, 0.1, n),
        "dcaZ": rng.normal(0, 1.5, n),
    }


def passes_global(r):
    """Return O2's decision for one track of getGlobalTrackSelectionRun3ITSMatch(Run3ITSibAny), cut by cut."""
    return {
        0: r["trackType"] == 0,
        1: 0.1 <= r["pt"] <= 1e10,
        2: -0.8 <= r["eta"] <= 0.8,
        4: r["tpcNClsCrossedRows"] >= 70,
        5: r["tpcCrossedRowsOverFindableCls"] >= 0.8,
        6: r["tpcChi2NCl"] <= 4,
        7: r["hasTPC"],
        9: r["itsChi2NCl"] <= 36,
        10: r["hasITS"],
        11: any(int(r["itsClusterMap"]) >> layer & 1 for layer in (0, 1, 2)),
        13: abs(r["dcaXY"]) <= 0.0105 + 0.0350 / r["pt"] ** 1.1,
        14: abs(r["dcaZ"]) <= 2,
    }


def test_global_tracks_are_those_of_o2():
    table = columns()
    selection = global_track_selection()
    bits, mask = selection.bits(table), selection.mask(table)
    for i in range(len(bits)):
        wanted = passes_global({name: values[i] for name, values in table.items()})
        assert {bit: bool(bits[i] >> np.uint32(bit) & 1) for bit in wanted} == {b: bool(v) for b, v in wanted.items()}
        assert mask[i] == all(wanted.values())
    assert 0 < mask.sum() < len(mask)


def test_limits_are_inside_as_in_o2():
    table = {"pt": np.array([0.0999, 0.1, 1.0, 1.0001]), "tpcNClsFound": np.array([70, 69, 70, 70])}
    assert TrackSelection(pt=(0.1, 1.0)).mask(table).tolist() == [False, True, True, False]
    assert TrackSelection(min_tpc_clusters=70).mask(table).tolist() == [True, False, True, True]


def test_the_cut_flow_counts_each_cut_alone_and_after_the_others():
    table = columns()
    flow = tpc_only_selection().flow(table)
    masks = [
        (table["pt"] >= 0.15),
        (abs(table["eta"]) <= 0.8),
        (table["tpcNClsFound"] >= 50),
        (table["tpcChi2NCl"] <= 4),
        table["hasTPC"],
        (abs(table["dcaXY"]) <= 2.4),
        (abs(table["dcaZ"]) <= 3.2),
    ]
    assert flow.alone == tuple(int(m.sum()) for m in masks)
    assert flow.after == tuple(int(m.sum()) for m in np.logical_and.accumulate(masks))
    assert flow.after[-1] == tpc_only_selection().mask(table).sum()
    assert "TPC clusters" in str(flow) and f"{flow.n_rows:,}" in str(flow)


def test_cut_flows_of_two_samples_add_up_to_that_of_both():
    a, b = columns(100, 2), columns(150, 3)
    both = {name: np.concatenate([a[name], b[name]]) for name in a}
    selection = global_track_selection()
    assert selection.flow(a) + selection.flow(b) == selection.flow(both)
    with pytest.raises(ConfigError, match="want the same cuts"):
        _ = selection.flow(a) + tpc_only_selection().flow(a)


def test_only_columns_of_cuts_that_are_on_are_read():
    assert TrackSelection(eta=(-1, 1)).mask({"eta": np.array([0.0, 2.0])}).tolist() == [True, False]
    with pytest.raises(UnknownNameError, match="tpcNClsFound"):
        tpc_only_selection().mask({"pt": np.ones(2), "eta": np.zeros(2)})


def test_its_requirements_count_layers():
    table = {"itsClusterMap": np.array([0b0000111, 0b0000001, 0b1111000, 0], np.uint8)}
    assert TrackSelection(its_hits=((2, (0, 1, 2)),)).mask(table).tolist() == [True, False, False, False]
    assert TrackSelection(its_hits=((0, (0, 1)), (1, (3,)))).mask(table).tolist() == [False, False, True, False]


def test_nan_passes_no_cut():
    table = {"dcaXY": np.array([np.nan, 0.0]), "pt": np.array([1.0, 1.0])}
    assert TrackSelection(dca_xy_of_pt=run3_dca_xy).mask(table).tolist() == [False, True]
    assert TrackSelection(max_dca_xy=0.0).mask(table).tolist() == [False, True]


def test_a_selection_without_cuts_keeps_all():
    assert TrackSelection().mask({"pt": np.ones(3)}).tolist() == [True] * 3
    assert (TrackSelection().bits({"pt": np.ones(3)}) == ALL).all()


def test_tables_are_selected_by_calling(aod):
    tracks = aod[0].tracks
    chosen = TrackSelection(pt=(0.5, 2), min_tpc_clusters=0)(tracks)
    assert 0 < len(chosen) < len(tracks)
    assert chosen.pt().min() >= 0.5 and chosen.pt().max() <= 2


def test_events_are_selected_by_vertex_and_contributors(aod):
    collisions = aod[0].collisions
    mask = EventSelection(max_abs_z=5, min_contributors=1000).mask(collisions)
    np.testing.assert_array_equal(mask, (abs(collisions.posZ()) < 5) & (collisions.numContrib() >= 1000))
    edge = {"posZ": np.array([10.0, -9.99, np.nan]), "numContrib": np.array([5, 5, 5])}
    assert EventSelection().mask(edge).tolist() == [False, True, False]


def test_contradictions_are_refused():
    with pytest.raises(ConfigError, match="got both"):
        TrackSelection(max_dca_xy=1, dca_xy_of_pt=run3_dca_xy)
    with pytest.raises(ConfigError, match=r"TrackSelection\.eta"):
        TrackSelection(eta=(1, -1))
