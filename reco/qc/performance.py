"""How well the barrel tracks of a timeframe's AOD match the truth: efficiency, fakes, resolution, pulls, spectra.

Reads AOD tables by their stored names and MC/TPCREFS; judges the whole chain, file formats included. Histograms add up
over timeframes: ``sum`` of `Performance` is that of all.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import hist
import numpy as np

from o2dask.reco.geometry.tpc import BZ_KG, CM_PER_TIME_BIN, TIME_BIN_BC
from o2dask.reco.qc.propagation import truth_at_track
from o2dask.timeframe import BC_NS

__all__ = ["PT_EDGES", "PULL_NAMES", "Performance"]

PT_EDGES = np.array([0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.7, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0])
"""Bins in transverse momentum [GeV/c]."""
PULL_NAMES = ("y", "z", "snp", "tgl", "q2pt")
MIN_CLUSTERS = 70
"""Clusters that make a particle findable (O2's standalone QA)."""
ETA_MAX = 0.9
FAKE_MASK = 1 << 15
FLAG_PHYSICAL_PRIMARY = 4
TIME_BIN_NS = TIME_BIN_BC * BC_NS


def _pt_axis() -> hist.axis.Variable:
    return hist.axis.Variable(PT_EDGES, name="pt", label="$p_{T}$ [GeV/c]")


def _histograms() -> dict[str, hist.Hist[Any]]:
    pull = hist.axis.Regular(160, -8, 8, name="pull", label="(reconstructed - true) / error")
    which = hist.axis.StrCategory(PULL_NAMES, name="parameter")
    dpt = hist.axis.Regular(400, -0.2, 0.2, name="dpt", label=r"$\Delta p_{T} / p_{T}$")
    return {
        "findable": hist.Hist(_pt_axis()),
        "found": hist.Hist(_pt_axis()),
        "clones": hist.Hist(_pt_axis()),
        "tracks": hist.Hist(_pt_axis()),
        "fakes": hist.Hist(_pt_axis()),
        "pulls": hist.Hist(which, _pt_axis(), pull),
        "resolution": hist.Hist(_pt_axis(), dpt),
        "spectrum": hist.Hist(_pt_axis()),
        "truth": hist.Hist(_pt_axis()),
    }


@dataclass(slots=True)
class Performance:
    """Histograms of one or more timeframes.

    Attributes
    ----------
    histograms : dict of str to hist.Hist
        `findable`, `found`, `clones`: primaries with at least 70 clusters and |eta| < 0.9, by true pt; those with a
        track that is not fake; further tracks of these. `tracks`, `fakes`: all tracks, and those of which under 90 % of
        the clusters are of one particle, by measured pt. `pulls`, `resolution`: of the five parameters, where the
        track was measured, against the particle. `spectrum`, `truth`: dN/dpt of tracks in a collision and of charged
        primaries, |eta| < 0.9.
    n_timeframes, n_collisions, n_vertices : int
        Timeframes, simulated collisions, reconstructed ones.
    """

    histograms: dict[str, hist.Hist[Any]] = field(default_factory=_histograms)
    n_timeframes: int = 0
    n_collisions: int = 0
    n_vertices: int = 0

    def __add__(self, other: "Performance") -> "Performance":
        return Performance(
            {k: h + other.histograms[k] for k, h in self.histograms.items()},
            self.n_timeframes + other.n_timeframes,
            self.n_collisions + other.n_collisions,
            self.n_vertices + other.n_vertices,
        )

    def fill(self, tables: Mapping[str, Mapping[str, Any]], refs: Mapping[str, Any]) -> "Performance":
        """Add one timeframe: its AOD tables by tree name, and its MC/TPCREFS; return self."""
        tracks, labels = tables["O2track_iu"], tables["O2mctracklabel"]
        particles = tables["O2mcparticle_001"]
        mc = labels["fIndexMcParticles"]
        is_fake = ((labels["fMcMask"] & FAKE_MASK) != 0) | (mc < 0)
        pt_true = np.hypot(particles["fPx"], particles["fPy"]).astype(np.float64)
        self._fill_counts(tracks, mc, is_fake, particles, pt_true, refs)
        self._fill_states(tables, mc, is_fake, pt_true, refs)
        self.n_timeframes += 1
        self.n_collisions += len(tables["O2mccollision_001"]["fPosX"])
        self.n_vertices += len(tables["O2collision_001"]["fPosX"])
        return self

    def efficiency(self, pt_min: float = 0.5) -> float:
        """Share of findable primaries above `pt_min` [GeV/c] with a track that is not fake."""
        return self._above("found", pt_min) / max(self._above("findable", pt_min), 1)

    def fake_rate(self, pt_min: float = 0.5) -> float:
        """Share of tracks above `pt_min` [GeV/c] that are fake."""
        return self._above("fakes", pt_min) / max(self._above("tracks", pt_min), 1)

    def clone_rate(self, pt_min: float = 0.5) -> float:
        """Further tracks per findable primary above `pt_min` [GeV/c]."""
        return self._above("clones", pt_min) / max(self._above("findable", pt_min), 1)

    def _above(self, name: str, pt_min: float) -> float:
        h = self.histograms[name]
        return float(h.values(flow=True)[h.axes[0].index(pt_min * 1.0001) + 1 :].sum())

    def _fill_counts(
        self,
        tracks: Mapping[str, Any],
        mc: np.ndarray,
        is_fake: np.ndarray,
        particles: Mapping[str, Any],
        pt_true: np.ndarray,
        refs: Mapping[str, Any],
    ) -> None:
        h = self.histograms
        pz = particles["fPz"].astype(np.float64)
        eta = np.arcsinh(pz / np.maximum(pt_true, 1e-9))
        is_primary = (particles["fFlags"] & FLAG_PHYSICAL_PRIMARY) != 0
        central = is_primary & (np.abs(eta) < ETA_MAX)
        findable = np.zeros(len(pt_true), bool)
        findable[refs["mc"][refs["n_clusters"] >= MIN_CLUSTERS]] = True
        findable &= central
        n_found = np.bincount(mc[~is_fake], minlength=len(pt_true))[: len(pt_true)]
        h["findable"].fill(pt_true[findable])
        h["found"].fill(pt_true[findable & (n_found > 0)])
        h["clones"].fill(pt_true[findable], weight=np.maximum(n_found[findable] - 1, 0))
        pt = 1 / np.maximum(np.abs(tracks["fSigned1Pt"].astype(np.float64)), 1e-6)
        h["tracks"].fill(pt)
        h["fakes"].fill(pt[is_fake])
        in_collision = (tracks["fIndexCollisions"] >= 0) & (np.abs(np.arcsinh(tracks["fTgl"])) < ETA_MAX)
        h["spectrum"].fill(pt[in_collision])
        charged = np.isin(np.abs(particles["fPdgCode"]), (11, 13, 211, 321, 2212))
        h["truth"].fill(pt_true[central & charged])

    def _fill_states(
        self,
        tables: Mapping[str, Mapping[str, Any]],
        mc: np.ndarray,
        is_fake: np.ndarray,
        pt_true: np.ndarray,
        refs: Mapping[str, Any],
    ) -> None:
        tracks, cov = tables["O2track_iu"], tables["O2trackcov_iu"]
        reference = np.full(len(pt_true), -1)
        reference[refs["mc"]] = np.arange(len(refs["mc"]))
        rows = np.flatnonzero(~is_fake & (tables["O2trackextra_001"]["fTPCNClsFindable"] >= MIN_CLUSTERS))
        rows = rows[reference[mc[rows]] >= 0]
        at = reference[mc[rows]]
        point = np.stack([refs[k][at] for k in ("x", "y", "z")], axis=1)
        momentum = np.stack([refs[k][at] for k in ("px", "py", "pz")], axis=1)
        charge = _charge(tables["O2mcparticle_001"]["fPdgCode"][mc[rows]])
        x = tracks["fX"][rows].astype(np.float64)
        truth, arrived = truth_at_track(point, momentum, charge, tracks["fAlpha"][rows], x, bz=BZ_KG)
        # further legs of a looper start far from where the particle entered: their truth is not the reference point
        near = arrived & (np.abs(x - np.hypot(point[:, 0], point[:, 1])) < 10)
        names = ("fY", "fZ", "fSnp", "fTgl", "fSigned1Pt")
        state = np.stack([tracks[k][rows].astype(np.float64) for k in names], axis=1)
        state[:, 1] += _shift_to_true_time(tables, mc, rows)
        errors = ("fSigmaY", "fSigmaZ", "fSigmaSnp", "fSigmaTgl", "fSigma1Pt")
        sigma = np.stack([cov[k][rows].astype(np.float64) for k in errors], axis=1)
        near &= np.abs(state[:, 0] - truth[:, 0]) < 5
        pt = 1 / np.abs(truth[near, 4])
        for i, name in enumerate(PULL_NAMES):
            pull = (state[near, i] - truth[near, i]) / sigma[near, i]
            self.histograms["pulls"].fill(name, pt, pull)
        self.histograms["resolution"].fill(pt, np.abs(truth[near, 4] / state[near, 4]) - 1)


def _charge(pdg: np.ndarray) -> np.ndarray:
    """Return charges of e, mu, pi, K, p and charged hyperons; leptons' PDG codes have the opposite sign."""
    lepton = np.isin(np.abs(pdg), (11, 13))
    inverted = lepton | np.isin(np.abs(pdg), (3112, 3312, 3334))
    return np.where(inverted, -np.sign(pdg), np.sign(pdg)).astype(np.float64)


def _shift_to_true_time(tables: Mapping[str, Mapping[str, Any]], mc: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return what to add to z [cm] so that it holds at the true time of the particle's collision."""
    tracks, extra, bc = tables["O2track_iu"], tables["O2trackextra_001"], tables["O2bc_001"]["fGlobalBC"]
    first = np.int64(bc[0]) if len(bc) else np.int64(0)
    since = (bc.astype(np.int64) - first) * BC_NS
    collisions, mc_collisions = tables["O2collision_001"], tables["O2mccollision_001"]
    own = tables["O2mcparticle_001"]["fIndexMcCollisions"][mc[rows]]
    truth_ns = since[mc_collisions["fIndexBCs"][own]] + mc_collisions["fT"][own]
    owner = tracks["fIndexCollisions"][rows]
    origin_row = np.zeros(len(rows), np.int64)
    origin_row[owner >= 0] = collisions["fIndexBCs"][owner[owner >= 0]]
    ambiguous = tables["O2ambiguoustrack"]
    first_bc = np.zeros(len(tracks["fX"]), np.int64)
    first_bc[ambiguous["fIndexTracks"]] = ambiguous["fIndexSliceBCs"][:, 0]
    origin_row[owner < 0] = first_bc[rows[owner < 0]]
    track_ns = since[origin_row] + extra["fTrackTime"][rows]
    side = np.sign(tracks["fZ"][rows])
    return side * CM_PER_TIME_BIN * (truth_ns - track_ns) / TIME_BIN_NS
