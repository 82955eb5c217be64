"""Tables that the tasks of this folder make, under the names and with the columns of O2Physics where it has them.

Knows declarations only.
"""

from o2dask.analysis.declarations import declare_table
from o2dask.columns import Column

__all__ = [
    "SPECIES",
    "Centralities",
    "CollisionSelections",
    "TrackSelections",
    "TracksDca",
    "TracksPidTof",
    "TracksPidTpc",
    "V0Cores",
]

SPECIES = ("El", "Pi", "Ka", "Pr")


def _float(name: str, unit: str, text: str) -> Column:
    return Column(name=name, dtype="float32", unit=unit, text=text)


TracksDca = declare_table(
    "TracksDCA",
    description="trackdca",
    fDcaXY=_float("fDcaXY", "cm", "Distance to the collision in the transverse plane, 999 where not propagated"),
    fDcaZ=_float("fDcaZ", "cm", "Distance to the collision along the beam, 999 where not propagated"),
)
TrackSelections = declare_table(
    "TrackSelections",
    description="trackselection",
    fIsSelected=Column(name="fIsSelected", dtype="bool", text="Passes all cuts"),
    fSelectionBits=Column(name="fSelectionBits", dtype="uint32", text="Cuts passed, by O2's TrackSelection::TrackCuts"),
)
CollisionSelections = declare_table(
    "CollisionSelections",
    description="collselection",
    fIsSelected=Column(name="fIsSelected", dtype="bool", text="Passes all cuts"),
    fSelectionBits=Column(name="fSelectionBits", dtype="uint32", text="Cuts passed: 0 |z|, 1 contributors, 2 chi2"),
)
Centralities = declare_table(
    "Centralities",
    description="centrality",
    fCentrality=_float("fCentrality", "%", "Percentile, 0 the largest event, 101 outside the calibration"),
)
TracksPidTpc = declare_table(
    "TracksPidTpc",
    description="trackpidtpc",
    **{f"fTPCNSigma{s}": _float(f"fTPCNSigma{s}", "", f"TPC: sigmas from {s}, -999 without TPC") for s in SPECIES},  # type: ignore[arg-type]  # names of columns, not of parameters
)
TracksPidTof = declare_table(
    "TracksPidTof",
    description="trackpidtof",
    fBeta=_float("fBeta", "", "Velocity over c by time of flight, -999 without TOF"),
    **{f"fTOFNSigma{s}": _float(f"fTOFNSigma{s}", "", f"TOF: sigmas from {s}, -999 without TOF") for s in SPECIES},  # type: ignore[arg-type]  # names of columns, not of parameters
)
_V0 = {
    "cm": ("X", "Y", "Z", "V0radius", "DCAV0daughters", "DCApostopv", "DCAnegtopv", "DCAv0topv"),
    "GeV/c": ("Pxpos", "Pypos", "Pzpos", "Pxneg", "Pyneg", "Pzneg", "Px", "Py", "Pz", "Pt", "P", "Qtarm"),
    "GeV/c2": ("MK0Short", "MLambda", "MAntiLambda", "MGamma"),
    "": ("Eta", "V0cosPA", "Alpha"),
    "rad": ("Phi",),
    "cm c/GeV": ("Distovertotmom",),
}
V0Cores = declare_table(
    "V0Cores",
    description="v0core",
    **{f"f{name}": _float(f"f{name}", unit, "") for unit, names in _V0.items() for name in names},  # type: ignore[arg-type]  # names of columns, not of parameters
)
