"""The TPC as numbers: 36 sectors of 152 pad rows, drift, and the transforms between pad, time bin and centimetres.

Source: tpc.json beside this file, from AliceO2's GPU/GPUTracking/DataTypes/GPUTPCGeometry.h and
Detectors/TPC/base (ParameterGas.h, ParameterElectronics.h, ParameterDetector.h).

Frame of a sector: x along the sector's middle, y along its pads, z along the beam; the global frame is this one turned
by `sector_alpha`. Sectors 0-17 are the A side (z > 0), 18-35 the C side (z < 0), whose pads count the other way.
"""

import json
from functools import cache
from importlib.resources import files
from typing import Any, NamedTuple

import numpy as np

__all__ = [
    "BZ_KG",
    "CM_PER_TIME_BIN",
    "DRIFT_LENGTH_CM",
    "N_ROWS",
    "N_SECTORS",
    "TIME_BIN_BC",
    "PadRows",
    "gas",
    "pad_rows",
    "sector_alpha",
]

N_SECTORS = 36
N_ROWS = 152
BZ_KG = -5.00668
"""Solenoid field that tracking uses [kG]; sign: curvature [1/cm] = -0.000299792458 * BZ_KG * q/pt."""
DRIFT_LENGTH_CM = 250.0
"""From the central electrode (z = 0) to the pads [cm]."""
TIME_BIN_BC = 8
"""Length of a time bin [BC]."""
CM_PER_TIME_BIN = 0.5149841936779702
"""Drift per time bin [cm]: 2.58 cm/us times 8 BC."""


class PadRows(NamedTuple):
    """Per pad row: radius `x` [cm], number of pads `n_pads`, `pad_width` and `pad_height` [cm], `region` 0-9.

    Arrays of (152,): float32, int32, float32, float32, int32.
    """

    x: np.ndarray
    n_pads: np.ndarray
    pad_width: np.ndarray
    pad_height: np.ndarray
    region: np.ndarray


@cache
def _facts() -> dict[str, Any]:
    return json.loads(files("o2dask.reco.geometry").joinpath("tpc.json").read_text())


@cache
def pad_rows() -> PadRows:
    """Return the 152 pad rows, innermost first."""
    facts = _facts()
    region = np.array(facts["row_region"], np.int32)
    width = np.array([r["pad_width"] for r in facts["regions"]], np.float32)[region]
    height = np.array([r["pad_height"] for r in facts["regions"]], np.float32)[region]
    return PadRows(np.array(facts["row_x"], np.float32), np.array(facts["row_npads"], np.int32), width, height, region)


@cache
def gas() -> dict[str, Any]:
    """Return the gas parameters: diffusion [sqrt(cm)], ionisation, Bethe-Bloch constants; names as in tpc.json."""
    return _facts()["gas"]


def sector_alpha(sector: np.ndarray | int) -> np.ndarray:
    """Return the azimuth [rad, in (-pi, pi]] of the middle of each sector: 10 + 20 * (sector % 18) degrees, folded."""
    alpha = np.deg2rad(10.0 + 20.0 * (np.asarray(sector) % 18))
    return np.where(alpha > np.pi, alpha - 2 * np.pi, alpha)
