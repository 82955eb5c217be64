"""Particle identification by dE/dx in the TPC: expected signal, number of sigmas, and the fit of both from data.

Knows momenta, signals and cluster counts. O2Physics, Common/Core/PID/TPCPIDResponse.h (default resolution) and AliceO2,
DataFormatsTPC/BetheBlochAleph.h.
"""

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np

from o2dask.analysis.formulas.constants import MASSES
from o2dask.analysis.physics.sources import column
from o2dask.analysis.physics.tracks import NOT_MEASURED
from o2dask.errors import ConfigError, DataError

__all__ = ["SPECIES", "TpcResponse", "bethe_bloch_aleph", "fit_tpc_response", "species_of_pdg", "tpc_n_sigma"]

SPECIES = {name: (mass, 2.0 if name in ("He", "Al") else 1.0) for name, mass in MASSES.items()}
"""Mass [GeV/c2] and charge by O2's two letters: El Mu Pi Ka Pr De Tr He Al."""
_PDG = {11: "El", 13: "Mu", 211: "Pi", 321: "Ka", 2212: "Pr", 1000010020: "De", 1000010030: "Tr", 1000020030: "He"}
_MIN_TRACKS = 200


def bethe_bloch_aleph(beta_gamma: np.ndarray, p: tuple[float, ...]) -> np.ndarray:
    """Return the mean energy loss in the ALEPH parametrisation, in units of a minimum ionising particle.

    (p2 - beta^p4 - ln(p3 + 1/(beta gamma)^p5)) p1/beta^p4: W. Blum, W. Riegler, L. Rolandi, Particle Detection with
    Drift Chambers, 2nd edition, section 10.3; AliceO2, BetheBlochAleph.h.
    """
    beta_gamma = np.asarray(beta_gamma, np.float64)
    power = (beta_gamma / np.sqrt(1 + beta_gamma * beta_gamma)) ** p[3]
    loss: np.ndarray = (p[1] - power - np.log(p[2] + beta_gamma ** -p[4])) * p[0] / power
    return loss


@dataclass(frozen=True, slots=True, kw_only=True)
class TpcResponse:
    """What a particle leaves in the TPC. Defaults: O2Physics, TPCPIDResponse.h.

    Attributes
    ----------
    bethe_bloch : tuple of 5 float
        Parameters of `bethe_bloch_aleph`.
    mip : float
        Signal of a minimum ionising particle, in units of tpcSignal.
    charge_factor : float
        Power of the charge by which signals of nuclei grow; 2 without saturation.
    resolution : tuple of 2 float
        Relative width r0 sqrt(1 + r1/n_clusters). Too small a width loses signal in n-sigma cuts.
    """

    bethe_bloch: tuple[float, float, float, float, float] = (
        0.03209809958934784,
        19.9768009185791,
        2.5266601063857674e-16,
        2.7212300300598145,
        6.080920219421387,
    )
    mip: float = 50.0
    charge_factor: float = 2.299999952316284
    resolution: tuple[float, float] = (0.07, 0.0)

    def __post_init__(self) -> None:
        if len(self.bethe_bloch) != 5 or len(self.resolution) != 2:
            raise ConfigError("TpcResponse: want 5 parameters of bethe_bloch and 2 of resolution")
        if self.mip <= 0 or self.resolution[0] <= 0:
            raise ConfigError("TpcResponse: want positive mip and resolution")

    def expected(self, p: np.ndarray, species: str) -> np.ndarray:
        """Return the expected signal for momenta at the TPC's inner wall [GeV/c]; -999 where it is below zero."""
        mass, charge = _species(species)
        signal = self.mip * bethe_bloch_aleph(np.asarray(p) / mass, self.bethe_bloch) * charge**self.charge_factor
        expected: np.ndarray = np.where(signal >= 0, signal, NOT_MEASURED)
        return expected

    def sigma(self, p: np.ndarray, n_clusters: np.ndarray, species: str) -> np.ndarray:
        """Return the expected width of the signal."""
        width: np.ndarray = self.expected(p, species) * self.relative_width(n_clusters)
        return width

    def relative_width(self, n_clusters: np.ndarray) -> np.ndarray:
        """Return the width over the signal."""
        n = np.asarray(n_clusters, np.float64)
        inverse = np.divide(1.0, n, out=np.zeros_like(n), where=n > 0)
        width: np.ndarray = self.resolution[0] * np.sqrt(np.maximum(1 + self.resolution[1] * inverse, 0))
        return width


def tpc_n_sigma(tracks: Any, species: str, response: TpcResponse | None = None) -> np.ndarray:
    """Return O2's tpcNSigma: (tpcSignal - expected)/sigma, (n,) float32; -999 for tracks without TPC.

    Parameters
    ----------
    tracks : Table or mapping
        With tpcInnerParam, tpcSignal, tpcNClsFound and hasTPC.
    species : str
        "El", "Mu", "Pi", "Ka", "Pr", "De", "Tr", "He", "Al".
    response : TpcResponse, optional
        O2's default, or one from `fit_tpc_response`.
    """
    response = response or TpcResponse()
    p, n_clusters = column(tracks, "tpcInnerParam").astype(np.float64), column(tracks, "tpcNClsFound")
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        expected = response.expected(p, species)
        n_sigma = (column(tracks, "tpcSignal") - expected) / (expected * response.relative_width(n_clusters))
    known = column(tracks, "hasTPC") & (expected > 0)
    return np.where(known, n_sigma, NOT_MEASURED).astype(np.float32)


def fit_tpc_response(
    p: np.ndarray,
    signal: np.ndarray,
    species: np.ndarray,
    n_clusters: np.ndarray,
    start: TpcResponse | None = None,
) -> TpcResponse:
    """Return the response fitted to tracks of known species.

    Parameters
    ----------
    p, signal : ndarray, (n,)
        Momentum at the TPC's inner wall [GeV/c] and tpcSignal.
    species : ndarray, (n,), str
        As in `SPECIES`, from generated particles, V0 daughters or TOF; others ("") are left out.
    n_clusters : ndarray, (n,), int
        Clusters found.
    start : TpcResponse, optional
        Where to begin; its mip and charge_factor are kept.

    Raises
    ------
    DataError
        If fewer than 200 tracks can be used.

    Notes
    -----
    Medians of bins in beta gamma (at least 20 tracks each) are fitted by scipy's least_squares with a soft loss, which
    mislabelled tracks and the Landau tail do not move; the resolution from the spread about the fit by clusters.
    """
    from scipy.optimize import least_squares

    start = start or TpcResponse()
    mass = np.array([SPECIES[s][0] if s in SPECIES else np.nan for s in species], np.float64)
    charge = np.array([SPECIES[s][1] if s in SPECIES else np.nan for s in species], np.float64)
    used = np.isfinite(mass) & (np.asarray(p) > 0) & (np.asarray(signal) > 0) & (np.asarray(n_clusters) > 0)
    if used.sum() < _MIN_TRACKS:
        raise DataError(f"fit_tpc_response: want {_MIN_TRACKS} tracks of known species, got {used.sum()}")
    beta_gamma = np.asarray(p, np.float64)[used] / mass[used]
    scaled = np.asarray(signal, np.float64)[used] / (start.mip * charge[used] ** start.charge_factor)
    centres, medians, errors = _profile(np.log(beta_gamma), np.log(scaled))

    def residuals(q: np.ndarray) -> np.ndarray:
        with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
            model = bethe_bloch_aleph(np.exp(centres), _unpacked(q))
            pull = (np.log(np.maximum(model, 1e-6)) - medians) / errors
        finite: np.ndarray = np.nan_to_num(pull, nan=1e3, posinf=1e3, neginf=-1e3)
        return finite

    b = start.bethe_bloch
    first = np.array([np.log(b[0]), np.log(b[1]), np.log(b[2]), b[3], b[4]])
    best = least_squares(residuals, first, loss="soft_l1", x_scale=[0.3, 0.3, 3.0, 0.3, 1.0], max_nfev=4000)
    found = replace(start, bethe_bloch=_unpacked(best.x))
    pulls = scaled / bethe_bloch_aleph(beta_gamma, found.bethe_bloch) - 1
    return replace(found, resolution=_resolution(pulls, np.asarray(n_clusters, np.float64)[used]))


def species_of_pdg(pdg: np.ndarray) -> np.ndarray:
    """Return O2's two letters for PDG codes, (n,) str; "" for others."""
    names = np.full(len(pdg), "", dtype="U2")
    for code, name in _PDG.items():
        names[np.abs(pdg) == code] = name
    return names


def _unpacked(q: np.ndarray) -> tuple[float, float, float, float, float]:
    return float(np.exp(q[0])), float(np.exp(q[1])), float(np.exp(q[2])), float(q[3]), float(q[4])


def _profile(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return centre, median and its error of y in bins of x with at least 20 entries."""
    low, high = np.percentile(x, [0.5, 99.5])
    edges = np.linspace(low, high, 60)
    place = np.digitize(x, edges)
    rows = [np.flatnonzero(place == i) for i in range(1, len(edges))]
    rows = [r for r in rows if len(r) >= 20]
    spread = [1.4826 * np.median(np.abs(y[r] - np.median(y[r]))) for r in rows]
    errors = [1.2533 * max(s, 1e-3) / np.sqrt(len(r)) for s, r in zip(spread, rows, strict=True)]
    # A floor of half a percent: no bin may pull the curve harder than the formula can follow.
    return (
        np.array([x[r].mean() for r in rows]),
        np.array([np.median(y[r]) for r in rows]),
        np.hypot(errors, 0.005),
    )


def _resolution(pulls: np.ndarray, n_clusters: np.ndarray) -> tuple[float, float]:
    """Return r0, r1 of the relative width r0 sqrt(1 + r1/n) from spreads in five bins of n clusters."""
    edges = np.unique(np.percentile(n_clusters, [0, 20, 40, 60, 80, 100]))
    inverse, squares = [], []
    for low, high in pairwise(edges):
        r = np.flatnonzero((n_clusters >= low) & (n_clusters <= high))
        if len(r) >= 20:
            inverse.append(np.mean(1 / n_clusters[r]))
            squares.append((1.4826 * np.median(np.abs(pulls[r] - np.median(pulls[r])))) ** 2)
    if len(inverse) < 2:
        return float(1.4826 * np.median(np.abs(pulls - np.median(pulls)))), 0.0
    slope, constant = np.polyfit(inverse, squares, 1)
    if constant <= 0 or slope < 0:  # flat within errors
        return float(np.sqrt(np.mean(squares))), 0.0
    return float(np.sqrt(constant)), float(slope / constant)


def _species(name: str) -> tuple[float, float]:
    if name not in SPECIES:
        raise ConfigError(f"species: want one of {', '.join(SPECIES)}, got {name!r}")
    return SPECIES[name]
