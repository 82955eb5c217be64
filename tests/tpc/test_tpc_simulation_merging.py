"""Sorting and merging of clusters, against a slow version and by hand."""

import numpy as np
import pytest
from gun import N_BCS, shoot
from hypothesis import given, settings
from hypothesis import strategies as st

from o2dask.reco.tpc.schema import FLAG_SPLIT_PAD, FLAG_SPLIT_TIME
from o2dask.reco.tpc.simulation import _merged, _Raw, simulate_tpc
from o2dask.reco.tpc.simulation_params import TpcSimParams

PARAMS = TpcSimParams()


def raw(rows):
    """Clusters from (bucket, time [bin], pad, q_tot, mc); widths 0.6 pads and 0.8 bins."""
    rows = np.array(rows, np.float64).reshape(-1, 5)
    n = len(rows)
    return _Raw(
        bucket=rows[:, 0].astype(np.uint16),
        time=np.round(rows[:, 1] * 64).astype(np.uint32),
        pad=np.round(rows[:, 2] * 64).astype(np.uint16),
        sigma_pad=np.full(n, 19, np.uint8),
        sigma_time=np.full(n, 26, np.uint8),
        q_max=(rows[:, 3] // 4).astype(np.uint16),
        q_tot=rows[:, 3].astype(np.uint16),
        flags=np.zeros(n, np.uint8),
        mc=rows[:, 4].astype(np.int32),
    )


def merged(rows):
    return _merged(raw(rows), PARAMS, N_BCS, {})


def test_two_near_clusters_become_one_at_their_centre_of_charge():
    out = merged([(7, 100.0, 20.0, 300, 1), (7, 101.0, 21.0, 100, 2)])
    assert len(out.time) == 1
    assert out.time[0] == 100.25 * 64 and out.pad[0] == 20.25 * 64
    assert out.q_tot[0] == 400 and 75 < out.q_max[0] < 100
    assert (out.mc[0], out.mc_other[0]) == (1, 2)
    assert out.sigma_pad[0] > 19 and out.sigma_time[0] > 26


def test_the_larger_contributor_is_the_label_whatever_the_order():
    for first, second in ((300, 100), (100, 300)):
        out = merged([(7, 100.0, 20.0, first, 1), (7, 101.0, 20.5, second, 2)])
        assert (out.mc[0], out.mc_other[0]) == ((1, 2) if first > second else (2, 1))


def test_two_pieces_of_one_particle_have_no_second_label():
    out = merged([(7, 100.0, 20.0, 300, 1), (7, 101.0, 20.5, 200, 1)])
    assert (out.mc[0], out.mc_other[0]) == (1, -1)


def test_three_contributors_keep_the_two_largest_labels():
    out = merged([(7, 100.0, 20.0, 300, 1), (7, 100.5, 20.5, 100, 2), (7, 101.0, 20.0, 200, 3)])
    assert len(out.time) == 1 and (out.mc[0], out.mc_other[0]) == (1, 3)


@pytest.mark.parametrize(
    ("dt", "dp", "flag"), [(3.2, 0.0, FLAG_SPLIT_TIME), (0.0, 2.5, FLAG_SPLIT_PAD), (9.0, 0.0, 0), (0.0, 8.0, 0)]
)
def test_separated_clusters_stay_two_and_say_whether_they_touch(dt, dp, flag):
    out = merged([(7, 100.0, 20.0, 300, 1), (7, 100.0 + dt, 20.0 + dp, 100, 2)])
    assert len(out.time) == 2 and (out.flags == flag).all() and (out.mc_other == -1).all()


def test_clusters_of_other_rows_and_sectors_are_left_alone():
    out = merged([(7, 100.0, 20.0, 300, 1), (8, 100.0, 20.0, 300, 1), (7 + 152, 100.0, 20.0, 300, 2)])
    assert list(zip(out.sector, out.pad_row, strict=True)) == [(0, 7), (0, 8), (1, 7)]


def test_charges_of_a_pile_stay_within_their_range():
    out = merged([(7, 100.0 + 0.01 * i, 20.0, 25_000, i) for i in range(10)])
    assert len(out.time) == 1 and out.q_tot[0] == 25 * 1024 - 1 and out.q_max[0] == 1023


clusters = st.lists(
    st.tuples(st.integers(0, 3), st.floats(0, 60), st.floats(0, 40), st.integers(10, 400), st.integers(0, 9)),
    max_size=40,
)


def slow_merge(rows):
    """The rule by hand: in order of time, each cluster takes all later ones that are near it."""
    c = raw(rows)
    todo = sorted(range(len(c.time)), key=lambda i: (c.bucket[i], c.time[i], c.pad[i], c.mc[i], c.q_tot[i]))
    found = []
    while todo:
        head, rest = todo[0], todo[1:]
        near = [head]
        for i in rest:
            dt, dp = (int(c.time[i]) - int(c.time[head])) / 64, (int(c.pad[i]) - int(c.pad[head])) / 64
            if c.bucket[i] == c.bucket[head] and (dp / 2.0) ** 2 + (dt / 2.5) ** 2 < 1 and dt <= 8:
                near.append(i)
        todo = [i for i in rest if i not in near]
        q = c.q_tot[near].astype(float)
        time = int((q * c.time[near]).sum() / q.sum() + 0.5) if len(near) > 1 else int(c.time[head])
        found.append((int(c.bucket[head]), time, min(int(q.sum()), 25 * 1024 - 1), int(c.mc[near[int(q.argmax())]])))
    return sorted(found)


@settings(max_examples=60, deadline=None)
@given(clusters)
def test_merging_is_that_of_a_slow_version(rows):
    out = merged(rows)
    got = [
        (int(s) * 152 + int(r), int(t), int(q), int(m))
        for s, r, t, q, m in zip(out.sector, out.pad_row, out.time, out.q_tot, out.mc, strict=True)
    ]
    assert sorted(got) == slow_merge(rows)
    assert got == sorted(got, key=lambda g: g[:2])


@settings(max_examples=20, deadline=None)
@given(clusters, st.randoms(use_true_random=False))
def test_the_order_of_the_input_does_not_matter(rows, random):
    shuffled = list(rows)
    random.shuffle(shuffled)
    for a, b in zip(merged(rows), merged(shuffled), strict=True):
        np.testing.assert_array_equal(a, b)


def test_two_parallel_particles_share_clusters_that_know_both():
    collisions, particles = shoot([211, 211], 30.0, 0.4, np.deg2rad([10.0, 10.02]))
    params = TpcSimParams(noise_rate=0.0, material_scale=0.0)
    label = simulate_tpc(collisions, particles, params, n_bcs=N_BCS).payloads["TPC/CLUSTERLABEL"]
    assert (label["mc_other"] >= 0).mean() > 0.8
    assert set(zip(label["mc"].tolist(), label["mc_other"].tolist(), strict=True)) >= {(0, 1), (1, 0)}
