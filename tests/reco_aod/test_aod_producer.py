"""The AOD producer: relations between its tables, and values that must come back out of what is stored."""

import numpy as np
import pytest

from o2dask.columns import Columns
from o2dask.reco.aod.bcs import BcTable, nearest_bc
from o2dask.reco.aod.mc import MASK_FAKE, MASK_NOISE, particle_table
from o2dask.reco.aod.producer import MC_TABLES, TABLES, produce_aod
from o2dask.reco.geometry.tpc import CM_PER_TIME_BIN
from o2dask.reco.simulation.schema import MC_COLLISIONS, MC_PARTICLES
from o2dask.reco.tpc.schema import TRACKLABEL, TRACKS
from o2dask.reco.vertexing.schema import PVTX, PVTXTRACK
from o2dask.timeframe import BC_NS, TimeframeId

TIMEFRAME = TimeframeId(run=300000, tf_counter=2, first_orbit=64)
TIME_BIN_NS = 8 * BC_NS


def filled(schema, n, **values):
    arrays = dict(schema.empty(n)) | {k: np.asarray(v).astype(schema[k].dtype) for k, v in values.items()}
    return Columns(schema, arrays)


@pytest.fixture
def inputs():
    """Two vertices; tracks 3, 1 belong to the first, 0 to the second, 2 and 4 to none."""
    cov = np.tile(np.array([4e-2, 1e-3, 9e-2, 0, 0, 1e-4, 0, 0, 0, 4e-4, 0, 0, 0, 0, 1e-2]), (5, 1))
    return {
        "tracks": filled(
            TRACKS,
            5,
            x=[85, 86, 87, 88, 89],
            alpha=[0.1, 0.2, 0.3, 0.4, 0.5],
            z=[10, 20, -30, 40, 50],
            snp=[0.1, -0.1, 0, 0.2, 0.3],
            tgl=[0.5, 0.4, -0.3, 0.2, 0.1],
            q2pt=[1, -2, 0.5, 4, -0.25],
            cov=cov,
            chi2=[100, 200, 300, 400, 500],
            time0=[1000, 500, 700, 502, 5],
            time_fwd=[10, 20, 30, 40, 50],
            time_bwd=[5, 15, 25, 35, 45],
            n_clusters=[100, 150, 70, 140, 300],
            n_crossed_rows=[110, 152, 80, 145, 250],
            sides=[1, 1, 2, 3, 1],
        ),
        "vertices": filled(
            PVTX, 2, z=[1.5, -2], t=[501 * TIME_BIN_NS, 1004 * TIME_BIN_NS + 7], n_contributors=[2, 1],
            first_track=[0, 2], n_tracks=[2, 1], cov=np.ones((2, 6)), t_res=[3, 4],
        ),
        "members": filled(PVTXTRACK, 3, track=[3, 1, 0], is_contributor=[True, False, True]),
        "labels": filled(TRACKLABEL, 5, mc=[3, 0, -1, 0, 2], purity=[1, 0.95, 0, 0.5, 1]),
        "collisions": filled(MC_COLLISIONS, 2, bc=[4008, 8032], z=[1.4, -2.1], n_particles=[3, 1], weight=[1, 1]),
        "particles": filled(
            MC_PARTICLES, 4, collision=[0, 0, 0, 1], pdg=[310, 211, -211, 2212], status=[2, 1, 1, 1],
            flags=[4, 1, 1, 4], mother=[-1, 0, 0, -1], px=[1, 0.5, 0.5, 2], e=[2, 1, 1, 3],
        ),
    }  # fmt: skip


@pytest.fixture
def made(inputs):
    return produce_aod(TIMEFRAME, inputs)


def test_every_table_of_a_simulated_dataframe_is_made(made):
    assert tuple(made) == TABLES + MC_TABLES


def test_without_truth_the_truth_tables_are_left_out(inputs):
    real = {k: v for k, v in inputs.items() if k in ("tracks", "vertices", "members")}
    made = produce_aod(TIMEFRAME, real)
    assert tuple(made) == TABLES
    assert made["O2bc_001"].n_rows == 2


def test_tracks_are_grouped_by_collision_after_the_unassigned_ones(made):
    tracks = made["O2track_iu"]
    assert tracks["fIndexCollisions"].tolist() == [-1, -1, 0, 0, 1]
    np.testing.assert_allclose(tracks["fX"], [87, 89, 86, 88, 85])
    assert made["O2mctracklabel"]["fIndexMcParticles"].tolist() == [-1, 2, 0, 0, 3]
    assert made["O2mctracklabel"]["fMcMask"].tolist() == [MASK_NOISE, 0, 0, MASK_FAKE, 0]


def test_a_track_of_one_side_moves_to_the_time_of_its_vertex_and_a_crossing_one_stays(made):
    z = made["O2track_iu"]["fZ"]
    assert z[2] == pytest.approx(20 + CM_PER_TIME_BIN * (501 - 500), abs=1e-4)
    assert z[3] == pytest.approx(40, abs=1e-4)
    assert z[4] == pytest.approx(10 + CM_PER_TIME_BIN * (1004 + 7 / TIME_BIN_NS - 1000), abs=1e-4)
    assert z[0] == pytest.approx(-30, abs=1e-4)


def test_times_of_tracks_are_relative_to_the_crossing_they_refer_to(made):
    bcs = made["O2bc_001"]["fGlobalBC"].astype(np.int64) - TIMEFRAME.first_bc
    assert (np.diff(bcs) > 0).all()
    extra, tracks, collisions = made["O2trackextra_001"], made["O2track_iu"], made["O2collision_001"]
    owner = tracks["fIndexCollisions"]
    own_bc = bcs[collisions["fIndexBCs"][owner[2:]]] * BC_NS
    np.testing.assert_allclose(
        own_bc + extra["fTrackTime"][2:], np.array([501, 501, 1004]) * TIME_BIN_NS + [0, 0, 7], atol=0.01
    )
    ambiguous = made["O2ambiguoustrack"]
    assert ambiguous["fIndexTracks"].tolist() == [0, 1]
    first = bcs[ambiguous["fIndexSliceBCs"][:, 0]] * BC_NS
    np.testing.assert_allclose(first + extra["fTrackTime"][:2], np.array([700, 5]) * TIME_BIN_NS, atol=0.01)


def test_the_time_of_an_unassigned_track_keeps_both_of_its_bounds(made):
    bits = made["O2trackextra_001"]["fTrackTimeRes"].view(np.uint32)
    assert (bits[:2] & 0xFFFF).tolist() == [30 * 128, 50 * 128]
    assert (bits[:2] >> 16).tolist() == [25 * 128, 45 * 128]
    flags = made["O2trackextra_001"]["fFlags"]
    assert ((flags & 8) != 0).tolist() == [True, True, False, False, False]
    assert ((flags & 2) != 0).tolist() == [False, False, False, True, True]


def test_the_collision_time_has_the_sign_of_o2(made):
    collisions = made["O2collision_001"]
    bcs = made["O2bc_001"]["fGlobalBC"].astype(np.int64) - TIMEFRAME.first_bc
    time = bcs[collisions["fIndexBCs"]] * BC_NS - collisions["fCollisionTime"]
    np.testing.assert_allclose(time, [501 * TIME_BIN_NS, 1004 * TIME_BIN_NS + 7], atol=0.01)


def test_covariances_come_back_from_standard_deviations_and_correlations(made):
    cov = made["O2trackcov_iu"]
    assert cov["fSigmaY"][0] == pytest.approx(0.2, rel=1e-4)
    assert cov["fSigma1Pt"][0] == pytest.approx(0.1, rel=1e-4)
    zy = cov["fRhoZY"][0] / 128 * cov["fSigmaZ"][0] * cov["fSigmaY"][0]
    assert zy == pytest.approx(1e-3, abs=0.2 * 0.3 / 128)


def test_cluster_counts_beyond_a_byte_saturate(made):
    extra = made["O2trackextra_001"]
    assert extra["fTPCNClsFindable"][1] == 255
    crossed = extra["fTPCNClsFindable"].astype(int) - extra["fTPCNClsFindableMinusCrossedRows"]
    assert crossed.tolist() == [80, 250, 152, 145, 110]


def test_mothers_and_daughters_point_at_each_other(made):
    particles = made["O2mcparticle_001"]
    assert particles["fIndexArray_Mothers"].offsets.tolist() == [0, 0, 1, 2, 2]
    assert particles["fIndexArray_Mothers"].content.tolist() == [0, 0]
    assert particles["fIndexSlice_Daughters"].tolist() == [[1, 2], [-1, -1], [-1, -1], [-1, -1]]


def test_generator_status_is_packed_and_transported_particles_carry_their_process(made):
    status = made["O2mcparticle_001"]["fStatusCode"].view(np.uint32)
    assert (status[[0, 3]] >> 29).tolist() == [5, 5]
    assert (status[[0, 3]] & 0x1FF).tolist() == [2, 1]
    assert status[[1, 2]].tolist() == [4, 4]


def test_pairs_of_a_photon_are_told_from_decays():
    particles = filled(MC_PARTICLES, 2, pdg=[22, 11], mother=[-1, 0], flags=[0, 1])
    assert particle_table(particles)["fStatusCode"][1] == 5


def test_a_collision_is_labelled_by_the_majority_of_its_contributors(made):
    assert made["O2mccollisionlabel"]["fIndexMcCollisions"].tolist() == [0, 1]


def test_an_empty_timeframe_makes_empty_tables(inputs):
    empty = {k: v.schema.empty() for k, v in inputs.items()}
    assert {t: c.n_rows for t, c in produce_aod(TIMEFRAME, empty).items() if c.n_rows} == {}


def test_slices_without_a_crossing_in_reach_name_the_nearest_one():
    bcs = BcTable(TIMEFRAME, np.array([1000, 100, 100]))
    assert len(bcs) == 2
    spans = bcs.slices(np.array([0.0, 90 * BC_NS, 2000 * BC_NS]), np.array([10.0, 1001 * BC_NS, 2001 * BC_NS]))
    assert spans.tolist() == [[0, 0], [0, 1], [1, 1]]


def test_times_outside_the_timeframe_stay_in_it():
    assert nearest_bc(np.array([-100.0, 1e12]), TIMEFRAME).tolist() == [0, TIMEFRAME.n_bcs - 1]
