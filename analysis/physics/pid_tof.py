"""Particle identification by time of flight: signal, beta, mass, number of sigmas.

Knows times, lengths and momenta. O2Physics, Common/Core/PID/PIDTOF.h (TOFResoParamsV2 with its defaults). Times in ps.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from o2dask.analysis.formulas.constants import LIGHT_SPEED_CM_PS, MASSES
from o2dask.analysis.formulas.extra import tof_expected_time
from o2dask.analysis.physics.pid_tpc import SPECIES
from o2dask.analysis.physics.sources import column
from o2dask.analysis.physics.tracks import NOT_MEASURED
from o2dask.errors import ConfigError

__all__ = ["TofResponse", "tof_beta", "tof_mass", "tof_n_sigma", "tof_signal"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TofResponse:
    """Width of the time difference. Defaults: O2Physics, TOFResoParamsV2.

    Attributes
    ----------
    momentum : tuple of 4 float
        p0, p1 [c/GeV], p2: relative momentum resolution p0 + p1 p + p2 m/p. The fourth, p3 [ps GeV/c]: scattering.
    time : float
        The detector's resolution [ps].
    """

    momentum: tuple[float, float, float, float] = (0.008, 0.008, 0.002, 40.0)
    time: float = 60.0

    def __post_init__(self) -> None:
        if len(self.momentum) != 4 or self.time <= 0:
            raise ConfigError("TofResponse: want 4 parameters of momentum and a positive time")

    def sigma(self, p: np.ndarray, signal: np.ndarray, species: str, event_time_error: Any = 0.0) -> np.ndarray:
        """Return the expected width [ps] of signal - event time - expected time, for momentum p [GeV/c]."""
        m = _mass_over_charge(species)
        p0, p1, p2, p3 = self.momentum
        p = np.asarray(p, np.float64)
        width = (p0 + p1 * p + p2 * m / p) * signal / (1 + p * p / (m * m))
        total: np.ndarray = np.sqrt(width**2 + (p3 / p) ** 2 + self.time**2 + np.asarray(event_time_error) ** 2)
        return total


def tof_signal(tracks: Any) -> np.ndarray:
    """Return O2's tofSignal [ps]: the track's time plus the expected time for the hypothesis used in the tracking.

    float64; 0 where that hypothesis is none of the nine, -999 without TOF.
    """
    hypothesis = column(tracks, "pidForTracking").astype(np.int64)
    length, momentum = column(tracks, "length"), column(tracks, "tofExpMom")
    masses = np.array([mass / SPECIES[name][1] for name, mass in MASSES.items()])
    known = hypothesis < len(masses)
    expected = _expected(length, momentum, masses[np.where(known, hypothesis, 0)])
    signal = column(tracks, "trackTime") * 1000.0 + expected
    return np.where(column(tracks, "hasTOF"), np.where(known, signal, 0.0), NOT_MEASURED)


def tof_beta(tracks: Any, event_time: Any = 0.0, signal: np.ndarray | None = None) -> np.ndarray:
    """Return velocity over c: length/((signal - event time) c), (n,) float64; -999 without TOF.

    `event_time` [ps]: one number or one per track, relative to the same BC as the track's time.
    """
    signal = tof_signal(tracks) if signal is None else signal
    with np.errstate(divide="ignore", invalid="ignore"):
        beta = column(tracks, "length") / ((signal - event_time) * LIGHT_SPEED_CM_PS)
    return np.where(column(tracks, "hasTOF"), beta, NOT_MEASURED)


def tof_mass(tracks: Any, event_time: Any = 0.0) -> np.ndarray:
    """Return the mass over charge [GeV/c2], p/beta sqrt(|1 - beta^2|) as in O2, (n,) float64; -999 without TOF."""
    beta = tof_beta(tracks, event_time)
    with np.errstate(divide="ignore", invalid="ignore"):
        mass = column(tracks, "p") / beta * np.sqrt(np.abs(1 - beta * beta))
    return np.where(column(tracks, "hasTOF"), mass, NOT_MEASURED)


def tof_n_sigma(
    tracks: Any,
    species: str,
    response: TofResponse | None = None,
    event_time: Any = 0.0,
    event_time_error: Any = 0.0,
) -> np.ndarray:
    """Return O2's tofNSigma: (signal - event time - expected time)/sigma, (n,) float32; -999 without TOF.

    Parameters
    ----------
    tracks : Table or mapping
        With p, length, tofExpMom, trackTime, hasTOF and pidForTracking.
    species : str
        As for the TPC.
    response : TofResponse, optional
        O2's defaults if left out.
    event_time, event_time_error : float or ndarray, (n,)
        Of the collision [ps].
    """
    response = response or TofResponse()
    signal = tof_signal(tracks)
    with np.errstate(divide="ignore", invalid="ignore"):
        expected = _expected(column(tracks, "length"), column(tracks, "tofExpMom"), _mass_over_charge(species))
        sigma = response.sigma(column(tracks, "p"), signal, species, event_time_error)
        n_sigma = (signal - event_time - expected) / sigma
    return np.where(column(tracks, "hasTOF"), n_sigma, NOT_MEASURED).astype(np.float32)


def _expected(length: np.ndarray, momentum: np.ndarray, mass: Any) -> np.ndarray:
    with np.errstate(divide="ignore", invalid="ignore"):
        time: np.ndarray = tof_expected_time(length, momentum, mass)  # type: ignore[no-untyped-call]
    return time


def _mass_over_charge(species: str) -> float:
    if species not in SPECIES:
        raise ConfigError(f"species: want one of {', '.join(SPECIES)}, got {species!r}")
    mass, charge = SPECIES[species]
    return mass / charge
