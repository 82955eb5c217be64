"""Settings, geometry and gas as the simulation's kernels take them: flat named tuples of numbers and arrays.

Gas and electronics: reco/geometry/tpc.json (O2's ParameterGas.h and ParameterElectronics.h); walls:
reco/geometry/material.py. Knows no particle and no cluster.
"""

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from o2dask.reco.geometry.material import GAS, SOLID, layer_arrays
from o2dask.reco.geometry.tpc import (
    DRIFT_LENGTH_CM,
    N_ROWS,
    N_SECTORS,
    TIME_BIN_BC,
    gas,
    pad_rows,
    sector_alpha,
)
from o2dask.reco.tpc.simulation_matter_kernels import LANDAU_MEAN_FIRST, LANDAU_MEAN_STEP
from o2dask.reco.tpc.simulation_params import TpcSimParams
from o2dask.timeframe import BC_NS

__all__ = ["MAX_PADS", "Geometry", "Response", "Transport", "geometry", "response", "transport"]

MAX_PADS = 140
"""Pads of the longest row, rounded up."""


class Geometry(NamedTuple):
    """Pad rows for kernels; arrays of 152 unless said otherwise, float64.

    `planes` (154,): x of the inner edge of the sector frame, of the rows, of the outer end. `roc` int32: 0-2.
    `alive` (36, 152, 140) uint8. `sine`, `cosine` (18,) of the sectors' azimuths.
    """

    planes: np.ndarray
    half_width: np.ndarray
    pad_width: np.ndarray
    pad_height: np.ndarray
    n_pads: np.ndarray
    roc: np.ndarray
    alive: np.ndarray
    sine: np.ndarray
    cosine: np.ndarray


class Transport(NamedTuple):
    """Field, walls, gas and limits for the transport kernel.

    `layers` (n, 4): radius, half length, X/X0, g/cm2; the last is empty and is where the sector frames begin.
    From `z_over_a` to `density_0`: the walls' material (reco.geometry.material.Solid). Gas: `gas_loss` mean loss of a
    minimum-ionising unit charge [GeV/cm], `gas_xi` Landau's xi at beta = 1 [GeV/cm], `gas_top` largest energy of one
    electron that stays in its cluster [GeV]. `landau`, `landau_tail` (4096,): quantiles of 0-0.99 and 0.99-1;
    `landau_cuts` (260,): where to cut the tail for means from `LANDAU_MEAN_FIRST` in steps of `LANDAU_MEAN_STEP`.
    Flat, because numba's parallel launchers take no tuples within tuples.
    """

    curvature: float
    layers: np.ndarray
    z_over_a: float
    excitation: float
    density_c: float
    density_x0: float
    density_x1: float
    density_a: float
    density_k: float
    density_0: float
    aleph0: float
    aleph1: float
    aleph2: float
    aleph3: float
    aleph4: float
    aleph_minimum: float
    gas_loss: float
    gas_xi: float
    gas_top: float
    gas_per_x0: float
    gas_x0_for_log: float
    max_path: float
    min_momentum: float
    landau: np.ndarray
    landau_tail: np.ndarray
    landau_cuts: np.ndarray


class Response(NamedTuple):
    """What turns a crossing into a cluster.

    `sizes` (4096,) float32: electrons of a primary ionisation by quantile; `gaps` (4096,) float32: distance between
    two primaries in units of its mean.
    """

    primaries_per_cm: float
    sizes: np.ndarray
    gaps: np.ndarray
    mean_size: float
    variance_size: float
    attachment: float
    diffusion_t: float
    diffusion_l: float
    intrinsic_y: np.ndarray
    intrinsic_z: np.ndarray
    pad_response: float
    shaper_width: float
    adc_per_electron: float
    gain_variance: float
    noise_adc: float
    threshold_adc: float
    drift_length: float
    cm_per_time_bin: float
    ns_per_time_bin: float
    bc_per_time_bin: float


def geometry(dead: tuple[tuple[int, int, int, int, int], ...] = ()) -> Geometry:
    """Return the pad rows for kernels, with the pads of `dead` switched off."""
    rows = pad_rows()
    alive = np.ones((N_SECTORS, N_ROWS, MAX_PADS), np.uint8)
    for sector, first_row, last_row, first_pad, last_pad in dead:
        alive[sector, first_row : last_row + 1, max(first_pad, 0) : last_pad + 1] = 0
    alpha = np.asarray(sector_alpha(np.arange(18)))
    width = rows.pad_width.astype(np.float64)
    return Geometry(
        planes=np.concatenate([[80.0], rows.x.astype(np.float64), [250.0]]),
        half_width=0.5 * rows.n_pads * width,
        pad_width=width,
        pad_height=rows.pad_height.astype(np.float64),
        n_pads=rows.n_pads.astype(np.float64),
        roc=np.searchsorted([63, 97], np.arange(N_ROWS), side="right").astype(np.int32),
        alive=alive,
        sine=np.sin(alpha),
        cosine=np.cos(alpha),
    )


class _Landau(NamedTuple):
    """Landau's distribution: quantiles of 0-0.99 and of 0.99-1, and where to cut it for a given mean."""

    quantiles: np.ndarray
    tail: np.ndarray
    cuts: np.ndarray


@lru_cache(maxsize=1)
def _landau() -> _Landau:
    from scipy.stats import landau

    # scipy's variable x is Landau's times 2/pi, shifted: lambda = x pi/2 + ln(pi/2).
    x = np.concatenate([np.linspace(-3.0, 20.0, 8001), np.geomspace(20.01, 1e6, 8000)])
    value, density = x * np.pi / 2 + np.log(np.pi / 2), landau.pdf(x)
    steps = np.diff(x)
    below = np.concatenate([[0.0], np.cumsum(0.5 * (density[1:] + density[:-1]) * steps)])
    moment = density * value
    means = np.concatenate([[0.0], np.cumsum(0.5 * (moment[1:] + moment[:-1]) * steps)]) / np.maximum(below, 1e-12)
    middle = (np.arange(4096) + 0.5) / 4096
    rises = np.flatnonzero(np.diff(means[x > -2.0], prepend=-np.inf) > 0) + np.searchsorted(x, -2.0, side="right")
    grid = LANDAU_MEAN_FIRST + LANDAU_MEAN_STEP * np.arange(260)
    return _Landau(
        quantiles=np.interp(0.99 * middle, below, value),
        tail=np.interp(0.99 + 0.01 * middle, below, value),
        cuts=np.exp(np.interp(grid, means[rises], np.log(np.maximum(value[rises], 1e-3)))),
    )


@lru_cache(maxsize=1)
def _cluster_sizes() -> tuple[np.ndarray, float, float]:
    """Return electrons per primary ionisation by quantile, their mean and variance.

    Energy of a primary falls as E^-2.2 from the ionisation potential; one electron plus one per w_ion beyond it, 300
    at most, where a delta electron leaves the cluster (AliRoot's AliTPC, from which O2 has these constants).
    """
    constants = gas()
    u = (np.arange(4096 * 256) + 0.5) / (4096 * 256)
    energy = constants["ion_pot_eV"] * u[::-1] ** (-1 / 1.2)
    n = np.minimum(np.floor((energy - constants["ion_pot_eV"]) / constants["w_ion_eV"]) + 1, 300.0)
    # One entry per quantile: the mean of its slice, so that the mean of the table is that of the distribution.
    sizes = n.reshape(4096, 256).mean(axis=1).astype(np.float32)
    return sizes, float(sizes.mean(dtype=np.float64)), float(sizes.var(dtype=np.float64))


@lru_cache(maxsize=1)
def _gaps() -> np.ndarray:
    """Return the exponential distribution by quantile, each entry the mean of its slice."""
    edges = np.arange(4097) / 4096
    below = np.concatenate([(1 - edges[:-1]) * (1 - np.log(1 - edges[:-1])), [0.0]])  # integral of x exp(-x) beyond
    return ((below[:-1] - below[1:]) * 4096).astype(np.float32)


def _aleph_minimum(constants: list[float]) -> float:
    bg = np.geomspace(1.0, 10.0, 4000)
    p0, p1, p2, p3, p4 = constants
    a = (bg / np.sqrt(1 + bg * bg)) ** p3
    return float(((p1 - a - np.log(p2 + bg**-p4)) * p0 / a).min())


def transport(params: TpcSimParams) -> Transport:
    """Return the transport kernel's constants."""
    facts: dict[str, Any] = gas()
    sizes_mean = _cluster_sizes()[1]
    w_ion = facts["w_ion_eV"] * 1e-9
    layers = layer_arrays(scale=params.material_scale)
    x0 = GAS.radiation_length
    gas_scale = 1.0 if params.material_scale > 0 else 0.0
    return Transport(
        curvature=-0.000299792458 * params.bz_kg,
        layers=np.concatenate([layers, [[79.0, 1e9, 0.0, 0.0]]]),
        **SOLID._asdict(),
        **{f"aleph{i}": float(v) for i, v in enumerate(facts["bethe_bloch_aleph"])},
        aleph_minimum=_aleph_minimum(facts["bethe_bloch_aleph"]),
        gas_loss=gas_scale * facts["primaries_per_cm"] * sizes_mean * w_ion,
        gas_xi=gas_scale * 0.153538e-3 * GAS.z_over_a * GAS.density,
        gas_top=300 * w_ion,
        gas_per_x0=params.material_scale / x0,
        gas_x0_for_log=160.0 / x0,
        max_path=params.max_path,
        min_momentum=params.min_momentum,
        landau=_landau().quantiles,
        landau_tail=_landau().tail,
        landau_cuts=_landau().cuts,
    )


def response(params: TpcSimParams) -> Response:
    """Return the response kernel's constants."""
    facts = gas()
    sizes, mean, variance = _cluster_sizes()
    return Response(
        primaries_per_cm=float(facts["primaries_per_cm"]),
        sizes=sizes,
        gaps=_gaps(),
        mean_size=mean,
        variance_size=variance,
        attachment=params.attachment_per_us,
        diffusion_t=float(facts["diff_t_sqrt_cm"]),
        diffusion_l=float(facts["diff_l_sqrt_cm"]),
        intrinsic_y=np.array(params.intrinsic_y, np.float64),
        intrinsic_z=np.array(params.intrinsic_z, np.float64),
        pad_response=params.pad_response,
        shaper_width=params.shaper_width,
        adc_per_electron=params.adc_per_electron,
        gain_variance=params.gain_variance,
        noise_adc=params.noise_adc,
        threshold_adc=params.threshold_adc,
        drift_length=DRIFT_LENGTH_CM,
        cm_per_time_bin=params.cm_per_time_bin,
        ns_per_time_bin=TIME_BIN_BC * BC_NS,
        bc_per_time_bin=float(TIME_BIN_BC),
    )
