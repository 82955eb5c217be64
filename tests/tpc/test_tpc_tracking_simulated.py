"""TPC tracking on simulated Pb-Pb: efficiency, fakes and pulls against the truth of overlapping collisions."""

from typing import NamedTuple

import numpy as np
import pytest

from o2dask.columns import Columns
from o2dask.reco.geometry.tpc import BZ_KG, CM_PER_TIME_BIN, TIME_BIN_BC
from o2dask.reco.simulation.schema import FLAG_PHYSICAL_PRIMARY
from o2dask.reco.simulation.timeframes import TimeframeParams, build_timeframe
from o2dask.reco.tpc.labels import label_tracks
from o2dask.reco.tpc.reconstruct import reconstruct
from o2dask.reco.tpc.simulation import simulate_tpc
from o2dask.reco.tpc.simulation_params import TpcSimParams
from o2dask.timeframe import BC_NS, BCS_PER_ORBIT

COLLISIONS, ORBITS = 8, 2


class Closure(NamedTuple):
    """A timeframe with its truth and what tracking makes of it."""

    truth: dict[str, Columns]
    tracks: Columns
    members: Columns
    labels: Columns


@pytest.fixture(scope="module")
def closure() -> Closure:
    # Eight collisions within two drift times and a half: as dense in time as 50 kHz Pb-Pb.
    params = TimeframeParams(system="pbpb", collisions=COLLISIONS, seed=3, n_orbits=ORBITS)
    truth = build_timeframe(params, 0)
    made = simulate_tpc(truth["MC/COLLISIONS"], truth["MC/PARTICLES"], TpcSimParams(), 3, n_bcs=ORBITS * BCS_PER_ORBIT)
    truth |= made.payloads
    tracks, members, _ = reconstruct(truth["TPC/CLUSTERNATIVE"])
    return Closure(truth, tracks, members, label_tracks(tracks, members, truth["TPC/CLUSTERLABEL"]))


def findable(truth: dict[str, Columns], min_pt: float) -> np.ndarray:
    """Return the particles that must be found: primaries on 70 pad rows or more."""
    particles, references = truth["MC/PARTICLES"], truth["MC/TPCREFS"]
    n_rows = np.zeros(particles.n_rows, int)
    n_rows[references["mc"]] = references["n_rows"]
    is_primary = (particles["flags"] & FLAG_PHYSICAL_PRIMARY) > 0
    return is_primary & (n_rows >= 70) & (np.hypot(particles["px"], particles["py"]) > min_pt)


def test_primaries_are_found_once_and_few_tracks_are_fake(closure: Closure) -> None:
    wanted = findable(closure.truth, 0.3)
    good = (closure.labels["purity"] >= 0.9) & (closure.labels["mc"] >= 0)
    found = np.bincount(closure.labels["mc"][good], minlength=len(wanted))
    assert wanted.sum() > 500
    assert (found[wanted] > 0).mean() > 0.99
    assert np.maximum(found[wanted] - 1, 0).sum() < 0.01 * wanted.sum()
    hard = np.abs(closure.tracks["q2pt"]) < 1 / 0.3
    assert (~good[hard]).mean() < 0.015


def test_pulls_at_the_reference_point_are_within_15_percent_of_unit_width(closure: Closure) -> None:
    pulls = pulls_at_reference(closure)
    half_width = np.diff(np.percentile(pulls, [15.87, 84.13], axis=0), axis=0)[0] / 2
    n = len(pulls)
    assert n > 500
    assert (np.abs(half_width - 1) < 0.15).all(), half_width
    assert (np.abs(np.median(pulls, axis=0)) < 5 * 1.25 / np.sqrt(n)).all(), np.median(pulls, axis=0)


def pulls_at_reference(closure: Closure) -> np.ndarray:
    """Return (n, 5) pulls of found primaries: the reference point moved to the track's x on a circle."""
    truth, tracks, labels = closure.truth, closure.tracks, closure.labels
    particles, references, collisions = truth["MC/PARTICLES"], truth["MC/TPCREFS"], truth["MC/COLLISIONS"]
    where = np.full(particles.n_rows, -1)
    where[references["mc"]] = np.arange(references.n_rows)
    pick = np.flatnonzero((labels["purity"] >= 0.9) & (labels["mc"] >= 0) & (tracks["n_clusters"] >= 70))
    pick = pick[findable(truth, 0.3)[labels["mc"][pick]]]
    mc = labels["mc"][pick]
    ref = {name: references[name][where[mc]].astype(float) for name in ("x", "y", "z", "px", "py", "pz")}
    cos, sin = np.cos(tracks["alpha"][pick].astype(float)), np.sin(tracks["alpha"][pick].astype(float))
    x, y = ref["x"] * cos + ref["y"] * sin, ref["y"] * cos - ref["x"] * sin
    px, py = ref["px"] * cos + ref["py"] * sin, ref["py"] * cos - ref["px"] * sin
    pt = np.hypot(px, py)
    q2pt, tgl, snp = np.sign(tracks["q2pt"][pick]) / pt, ref["pz"] / pt, py / pt
    dx = tracks["x"][pick] - x
    snp_there = snp - 0.000299792458 * BZ_KG * q2pt * dx
    near = (np.abs(dx) < 3) & (px > 0) & (np.abs(snp) < 0.9) & (np.abs(snp_there) < 0.9)
    with np.errstate(invalid="ignore"):
        y += dx * (snp + snp_there) / (np.sqrt(1 - snp**2) + np.sqrt(1 - snp_there**2))
    z = ref["z"] + tgl * np.sign(dx) * np.hypot(dx, y - (ref["y"] * cos - ref["x"] * sin))
    collision = particles["collision"][mc]
    time = (collisions["bc"][collision] + collisions["t"][collision] / BC_NS) / TIME_BIN_BC
    side = np.where(tracks["sides"][pick] == 3, np.sign(z), np.where(tracks["sides"][pick] == 1, 1, -1))
    z_true = tracks["z"][pick] + side * (time - tracks["time0"][pick]) * CM_PER_TIME_BIN
    difference = np.stack(
        [tracks["y"][pick] - y, z_true - z, tracks["snp"][pick] - snp_there, tracks["tgl"][pick] - tgl,
         tracks["q2pt"][pick] - q2pt],
        axis=1,
    )  # fmt: skip
    return (difference / np.sqrt(tracks["cov"][pick][:, [0, 2, 5, 9, 14]]))[near]


def test_the_true_time_lies_within_the_bounds_of_a_track(closure: Closure) -> None:
    truth, tracks, labels = closure.truth, closure.tracks, closure.labels
    good = np.flatnonzero((labels["purity"] >= 0.97) & (labels["mc"] >= 0))
    collision = truth["MC/PARTICLES"]["collision"][labels["mc"][good]]
    time = truth["MC/COLLISIONS"]["bc"][collision] / TIME_BIN_BC
    late = time - tracks["time0"][good]
    slack = 2.0  # resolution of a time bin
    is_inside = (late < tracks["time_fwd"][good] + slack) & (-late < tracks["time_bwd"][good] + slack)
    assert is_inside.mean() > 0.99


def test_energy_loss_of_protons_stands_above_that_of_pions(closure: Closure) -> None:
    truth, tracks, labels = closure.truth, closure.tracks, closure.labels
    good = np.flatnonzero((labels["purity"] >= 0.9) & (labels["mc"] >= 0) & (tracks["n_clusters"] >= 80))
    pdg = np.abs(truth["MC/PARTICLES"]["pdg"][labels["mc"][good]])
    p = np.sqrt(1 + tracks["tgl"][good] ** 2) / np.abs(tracks["q2pt"][good])
    band = (p > 0.4) & (p < 0.6)
    for name in ("dedx_tot", "dedx_max"):
        dedx = tracks[name][good]
        pions, protons = dedx[band & (pdg == 211)], dedx[band & (pdg == 2212)]
        assert len(pions) > 50 and len(protons) > 5
        assert np.median(protons) > 2 * np.median(pions)
        assert pions.std() / pions.mean() < 0.2
