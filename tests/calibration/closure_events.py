"""Collisions of pions with known truth, seen by a TPC in a given state, and what reconstruction makes of them."""

from typing import NamedTuple

import numpy as np

from o2dask.columns import Columns
from o2dask.reco.calibration.objects import CorrectionMap, DriftVelocity, MagneticField, MeanVertex, PadGain
from o2dask.reco.simulation.particles import mass_of
from o2dask.reco.simulation.schema import MC_COLLISIONS, MC_PARTICLES
from o2dask.reco.tpc.calibration import TpcCalibration
from o2dask.reco.tpc.labels import label_tracks
from o2dask.reco.tpc.params import GasModel, TpcTrackingParams
from o2dask.reco.tpc.reconstruct import reconstruct
from o2dask.reco.tpc.simulation import Flaws, simulate_tpc
from o2dask.reco.tpc.simulation_params import TpcSimParams
from o2dask.reco.vertexing.primary import find_primary_vertices
from o2dask.timeframe import BC_NS

N_BCS = 2 * 3564
N_COLLISIONS, N_EACH = 6, 70
PARAMS = TpcTrackingParams(gas=GasModel(is_on=False))


class State(NamedTuple):
    """The conditions of a run."""

    field: MagneticField = MagneticField()
    drift: DriftVelocity = DriftVelocity()
    gain: PadGain = PadGain()
    corrections: CorrectionMap = CorrectionMap()
    beam: MeanVertex = MeanVertex()

    @property
    def tpc(self) -> TpcCalibration:
        return TpcCalibration.of(**self._asdict())


class Outcome(NamedTuple):
    """How well it went.

    efficiency: good tracks per pion. q2pt, tgl: bias and width of pulls. z, t, x, y: residuals of vertices [cm, ns].
    dedx: mean [ADC/cm] and relative width of dE/dx of fast pions. n_vertices. chi2: median per cluster.
    """

    efficiency: float
    q2pt: tuple[float, float]
    tgl: tuple[float, float]
    n_vertices: int
    t: float
    z: float
    xy: float
    dedx: tuple[float, float]
    chi2: float


def pions(beam: MeanVertex, seed: int = 5) -> tuple[Columns, Columns]:
    """Return collisions and particles: pions of 0.3 to 2 GeV/c from the luminous region."""
    rng, n = np.random.default_rng(seed), N_COLLISIONS * N_EACH
    pt, eta, phi = np.exp(rng.uniform(np.log(0.3), np.log(2), n)), rng.uniform(-0.8, 0.8, n), rng.uniform(0, 6.28, n)
    pdg = np.where(rng.random(n) < 0.5, 211, -211).astype(np.int32)
    z = (beam.z + rng.normal(0, beam.sigma_z, N_COLLISIONS)).clip(-20, 20)
    x, y = beam.at(z)
    p = {"px": pt * np.cos(phi), "py": pt * np.sin(phi), "pz": pt * np.sinh(eta)}
    collisions, particles = MC_COLLISIONS.empty(N_COLLISIONS), MC_PARTICLES.empty(n)
    which = np.repeat(np.arange(N_COLLISIONS), N_EACH)
    truth = {"bc": 200 + 400 * np.arange(N_COLLISIONS), "x": x, "y": y, "z": z, "n_particles": N_EACH, "weight": 1}
    truth |= {"first_particle": N_EACH * np.arange(N_COLLISIONS)}
    rows = {"collision": which, "pdg": pdg, "status": 1, "flags": 4, "mother": -1, "path": np.inf, **p}
    rows |= {"e": np.sqrt((pt * np.cosh(eta)) ** 2 + mass_of(pdg) ** 2), "vx": x[which], "vy": y[which], "vz": z[which]}
    for columns, values in ((collisions, truth), (particles, rows)):
        for name, value in values.items():
            columns[name][:] = value
    return Columns(MC_COLLISIONS, dict(collisions)), Columns(MC_PARTICLES, dict(particles))


def simulated(state: State, seed: int = 5) -> dict[str, Columns]:
    """Return truth and clusters of the pions in a TPC in that state."""
    collisions, particles = pions(state.beam, seed)
    params = TpcSimParams(
        bz_kg=state.field.bz_kg,
        cm_per_time_bin=state.drift.cm_per_time_bin,
        offset_bins=state.drift.offset_bins,
        material_scale=0.0,  # tracks are compared where they start
    )
    tpc = state.tpc
    made = simulate_tpc(collisions, particles, params, seed, n_bcs=N_BCS, flaws=Flaws(tpc.gain, tpc.corrections))
    return {"MC/COLLISIONS": collisions, "MC/PARTICLES": particles, **made.payloads}


def judged(truth: dict[str, Columns], state: State) -> Outcome:
    """Return how well reconstruction does that takes the detector to be in `state`."""
    tracks, members, _ = reconstruct(truth["TPC/CLUSTERNATIVE"], PARAMS, state.tpc)
    labels = label_tracks(tracks, members, truth["TPC/CLUSTERLABEL"])
    particles, collisions = truth["MC/PARTICLES"], truth["MC/COLLISIONS"]
    good = (labels["purity"] > 0.9) & (labels["mc"] >= 0) & (tracks["n_clusters"] > 80)
    mc = labels["mc"][good]
    pt = np.hypot(particles["px"], particles["py"])[mc]
    of = {name: tracks[name][good].astype(float) for name in ("q2pt", "tgl", "dedx_tot", "chi2", "n_clusters")}
    cov = tracks["cov"][good].astype(float)
    charge = np.where(particles["pdg"][mc] > 0, 1, -1)
    pulls = {
        "q2pt": (of["q2pt"] * charge - 1 / pt) / np.sqrt(cov[:, 14]),
        "tgl": (of["tgl"] - particles["pz"][mc] / pt) / np.sqrt(cov[:, 9]),
    }
    vertices, _ = find_primary_vertices(tracks, None, state.field.bz_kg, state.beam, state.drift)
    t_true = collisions["bc"] * BC_NS
    nearest = np.abs(vertices["t"][:, None] - t_true).argmin(1) if vertices.n_rows else np.zeros(0, int)
    difference = {name: vertices[name] - collisions[name][nearest] for name in ("x", "y", "z")}
    mip = of["dedx_tot"][(pt > 0.4) & (pt < 0.8)]
    low, middle, high = np.percentile(mip, [16, 50, 84])
    return Outcome(
        efficiency=len(np.unique(mc)) / particles.n_rows,
        q2pt=robust(pulls["q2pt"]),
        tgl=robust(pulls["tgl"] * np.sign(of["tgl"])),
        n_vertices=vertices.n_rows,
        t=float(np.median(np.abs(vertices["t"] - t_true[nearest]))) if vertices.n_rows else np.inf,
        z=float(np.median(np.abs(difference["z"]))) if vertices.n_rows else np.inf,
        xy=float(np.hypot(difference["x"], difference["y"]).max()) if vertices.n_rows else np.inf,
        dedx=(float(middle), float((high - low) / 2 / middle)),
        chi2=float(np.median(of["chi2"] / of["n_clusters"])),
    )


def robust(values: np.ndarray) -> tuple[float, float]:
    """Return median and half the 68 % interval."""
    low, middle, high = np.percentile(values, [16, 50, 84])
    return float(middle), float((high - low) / 2)
