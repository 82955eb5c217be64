"""Conditions as O2 puts them into CCDB, ROOT objects, as contents of the classes in `objects`.

Each function takes the `Condition` and gives what ``from_content`` takes. Names of members are O2's (GRPMagField.h,
VDriftCorrFact.h, MeanVertexObject.h with Vertex.h, CalDet.h with CalArray.h), of all versions since 2021.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from o2dask.conditions.content import root_members
from o2dask.conditions.errors import ConditionError
from o2dask.conditions.model import Condition
from o2dask.reco.calibration.objects import MAX_PADS
from o2dask.reco.geometry.tpc import N_ROWS, N_SECTORS, pad_rows

__all__ = ["beam", "corrections", "drift", "field", "gain"]

N_INNER_ROWS = 63
"""Pad rows of an inner chamber (IROC); an outer one (OROC) has the other 89."""
_ROC = 0
"""PadSubset of a `CalDet` that has an array for each readout chamber: 36 inner ones, then 36 outer ones."""
_XX, _YY, _ZZ = 0, 2, 5
"""Places of the variances in the lower triangle `mCov`."""


def field(condition: Condition) -> dict[str, Any]:
    """Return the magnets' currents of an ``o2::parameters::GRPMagField``."""
    names = {"l3_current": "mL3Current", "dipole_current": "mDipoleCurrent", "is_uniform": "mUniformField"}
    return _renamed(condition, names)


def drift(condition: Condition) -> dict[str, Any]:
    """Return the drift velocity of an ``o2::tpc::VDriftCorrFact``; version 1 has no offsets of time."""
    names = {"ref_v_drift": "refVDrift", "corr_fact": "corrFact", "corr_fact_err": "corrFactErr"}
    offsets = {"ref_time_offset": "refTimeOffset", "time_offset_corr": "timeOffsetCorr"}
    return _renamed(condition, names, offsets)


def beam(condition: Condition) -> dict[str, Any]:
    """Return the luminous region of an ``o2::dataformats::MeanVertexObject``; version 1 has widths and no slopes."""
    members = root_members(condition)
    if "mSigma" in members:
        place, widths = members["mPos"], members["mSigma"]
    else:
        _check(condition, members, ("mPos", "mCov"))
        at = members["mPos"].get("fCoordinates", members["mPos"])
        place = [at[name] for name in ("fX", "fY", "fZ")]
        widths = [math.sqrt(max(0.0, float(members["mCov"][i]))) for i in (_XX, _YY, _ZZ)]
    numbers = dict(zip(("x", "y", "z"), map(float, place), strict=True))
    numbers |= dict(zip(("sigma_x", "sigma_y", "sigma_z"), map(float, widths), strict=True))
    return numbers | {"slope_x": float(members.get("mSlopeX", 0.0)), "slope_y": float(members.get("mSlopeY", 0.0))}


def gain(condition: Condition) -> dict[str, np.ndarray]:
    """Return the gain (36, 152, 138) of every pad of an ``o2::tpc::CalDet<float>`` by readout chamber."""
    members = root_members(condition)
    _check(condition, members, ("mData", "mPadSubset"))
    chambers = members["mData"]
    if members["mPadSubset"] != _ROC or len(chambers) != 2 * N_SECTORS:
        raise ConditionError(
            f"{condition.header}: want gains by readout chamber, 72 of them, got {len(chambers)} arrays of pad subset "
            f"{members['mPadSubset']}"
        )
    n_pads = pad_rows().n_pads
    made = np.ones((N_SECTORS, N_ROWS, MAX_PADS), np.float32)
    for i, chamber in enumerate(chambers):
        rows = slice(0, N_INNER_ROWS) if i < N_SECTORS else slice(N_INNER_ROWS, N_ROWS)
        is_pad = np.arange(MAX_PADS) < n_pads[rows, None]
        if len(chamber["mData"]) != is_pad.sum():
            raise ConditionError(
                f"{condition.header}: chamber {i}: want {is_pad.sum()} pads, got {len(chamber['mData'])}"
            )
        made[i % N_SECTORS, rows][is_pad] = chamber["mData"]  # row by row, pads counted from 0, as CalDet::getValue
    return {"gain": made}


def corrections(condition: Condition) -> Any:
    """Raise ConditionError: a ``TPCFastTransform`` is splines in a flat buffer, which its own code alone can read."""
    raise ConditionError(
        f"{condition.header}: O2's maps of distortions (TPCFastTransform) are memory images that only O2 can read; "
        "evaluate it there on a grid (CorrectionMap) and put that: o2dask conditions put STORE "
        "TPC/Calib/CorrectionMapV2 map.npz"
    )


def _renamed(condition: Condition, names: Mapping[str, str], more: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Return members under our names; those of `more` may lack."""
    members = root_members(condition)
    _check(condition, members, tuple(names.values()))
    found = {**names, **{ours: theirs for ours, theirs in (more or {}).items() if theirs in members}}
    return {ours: members[theirs] for ours, theirs in found.items()}


def _check(condition: Condition, members: Mapping[str, Any], wanted: tuple[str, ...]) -> None:
    if lacking := [name for name in wanted if name not in members]:
        raise ConditionError(
            f"{condition.header}: want an object with {', '.join(wanted)}, got one without {', '.join(lacking)}, but "
            f"with {', '.join(members) or 'nothing'}"
        )
