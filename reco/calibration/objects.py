"""The conditions that reconstruction and simulation share: field, drift velocity, gain, beam spot, corrections.

Each is a frozen dataclass with ``path`` (O2's in CCDB), `from_content` and `to_content`: what is stored is plain JSON,
or npz for arrays. Defaults are those of the simulation. Knows no store and no processor.

O2's classes are ROOT objects of the same meaning (GRPMagField.h, VDriftCorrFact.h, MeanVertexObject.h, CalDet,
TPCFastTransform); their names are kept where they have one. `root` reads them.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Self

import numpy as np

from o2dask.conditions.errors import ConditionError
from o2dask.reco.geometry.tpc import N_ROWS, N_SECTORS, TIME_BIN_BC, pad_rows
from o2dask.timeframe import BC_NS

__all__ = ["CorrectionMap", "DriftVelocity", "MagneticField", "MeanVertex", "PadGain"]

KG_PER_AMPERE = 5.00668 / 30000.0
"""Bz of the solenoid per ampere (GPUO2InterfaceUtils::getNominalGPUBz)."""
MAX_PADS = int(pad_rows().n_pads.max())
TAN_HALF_SECTOR = math.tan(math.radians(10.0))


class _Numbers:
    """Objects that are a handful of numbers: stored as JSON with the names of their fields."""

    path: ClassVar[str]

    @classmethod
    def from_content(cls, content: Any) -> Self:
        """Return the object stored as `content`; fields that are left out have their defaults."""
        known = {f.name: f.type for f in fields(cls)}  # type: ignore[arg-type]
        if not isinstance(content, Mapping) or not content or (unknown := set(content) - set(known)):
            told = ", ".join(sorted(unknown)) if isinstance(content, Mapping) and content else f"{content!r:.80}"
            raise ConditionError(f"{cls.path}: want JSON with {', '.join(known)}, got {told}")
        for name, value in content.items():
            wanted = bool if known[name] is bool else (int, float)
            if not isinstance(value, wanted) or isinstance(value, bool) is not (wanted is bool):
                raise ConditionError(
                    f"{cls.path}: {name}: want {'true or false' if wanted is bool else 'a number'}, got {value!r:.80}"
                )
            if not math.isfinite(value):
                raise ConditionError(f"{cls.path}: {name}: want a finite number, got {value}")
        return cls(**content)

    def to_content(self) -> dict[str, Any]:
        """Return what `from_content` takes."""
        return {f.name: getattr(self, f.name) for f in fields(self)}  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True, kw_only=True)
class MagneticField(_Numbers):
    """The currents of the magnets.

    Attributes
    ----------
    l3_current : float
        Of the solenoid [A], signed: -30000 is -5.00668 kG at the centre.
    dipole_current : float
        Of the muon dipole [A], signed; nothing here uses it.
    is_uniform : bool
        Whether the solenoid's field is taken as the same everywhere, as the simulation has it; if not, it is O2's
        polynomial for the TPC, scaled by the current.
    """

    path: ClassVar[str] = "GLO/Config/GRPMagField"

    l3_current: float = -30000.0
    dipole_current: float = -6000.0
    is_uniform: bool = True

    def __post_init__(self) -> None:
        if not 60.0 <= abs(self.l3_current) <= 60000.0:
            raise ConditionError(
                f"{self.path}: l3_current: want 60 to 60000 A of either sign, got {self.l3_current}; "
                "without field take 60 A: tracks are then straight within the resolution"
            )

    @property
    def bz_kg(self) -> float:
        """Field at the centre [kG]."""
        return self.l3_current * KG_PER_AMPERE


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftVelocity(_Numbers):
    """How fast electrons drift in the TPC, and when their clock starts.

    Attributes
    ----------
    ref_v_drift : float
        Reference [cm/us].
    corr_fact, corr_fact_err : float
        Factor on it, from the calibration, with its error.
    ref_time_offset, time_offset_corr : float
        Time between the collision and time bin 0 of its charge at the pads, and its correction [us]; they add.
    """

    path: ClassVar[str] = "TPC/Calib/VDriftTgl"

    ref_v_drift: float = 2.58
    corr_fact: float = 1.0
    corr_fact_err: float = 0.0
    ref_time_offset: float = 0.0
    time_offset_corr: float = 0.0

    def __post_init__(self) -> None:
        if not 0.5 <= self.v_drift <= 10.0:
            raise ConditionError(f"{self.path}: ref_v_drift * corr_fact: want 0.5 to 10 cm/us, got {self.v_drift}")
        if not abs(self.time_offset) <= 100.0:
            raise ConditionError(f"{self.path}: time offsets: want at most 100 us, got {self.time_offset}")

    @property
    def v_drift(self) -> float:
        """Drift velocity [cm/us]."""
        return self.ref_v_drift * self.corr_fact

    @property
    def time_offset(self) -> float:
        """Offset of all times [us]."""
        return self.ref_time_offset + self.time_offset_corr

    @property
    def cm_per_time_bin(self) -> float:
        """Drift per time bin [cm]."""
        return self.v_drift * TIME_BIN_BC * BC_NS * 1e-3

    @property
    def offset_bins(self) -> float:
        """Offset of all times [time bin]."""
        return self.time_offset * 1e3 / (TIME_BIN_BC * BC_NS)


@dataclass(frozen=True, slots=True, kw_only=True)
class MeanVertex(_Numbers):
    """Where collisions happen: the luminous region.

    Attributes
    ----------
    x, y, z : float
        Its centre [cm].
    sigma_x, sigma_y, sigma_z : float
        Its widths [cm].
    slope_x, slope_y : float
        dx/dz and dy/dz of the beam line; x and y are those at z.
    """

    path: ClassVar[str] = "GLO/Calib/MeanVertex"

    x: float = 0.0
    y: float = 0.0
    z: float = 0.0
    sigma_x: float = 0.01
    sigma_y: float = 0.01
    sigma_z: float = 6.0
    slope_x: float = 0.0
    slope_y: float = 0.0

    def __post_init__(self) -> None:
        if not (1e-4 <= self.sigma_x <= 10 and 1e-4 <= self.sigma_y <= 10 and 1e-3 <= self.sigma_z <= 100):
            raise ConditionError(
                f"{self.path}: want sigma_x, sigma_y of 0.0001 to 10 cm and sigma_z of 0.001 to 100 cm, got {self}"
            )
        if max(abs(self.x), abs(self.y)) > 5 or abs(self.z) > 100 or max(abs(self.slope_x), abs(self.slope_y)) > 0.1:
            raise ConditionError(f"{self.path}: want x, y within 5 cm, z within 100 cm, slopes within 0.1, got {self}")

    def at(self, z: Any) -> tuple[Any, Any]:
        """Return x and y [cm] of the beam line at z [cm]."""
        return self.x + self.slope_x * (z - self.z), self.y + self.slope_y * (z - self.z)


@dataclass(frozen=True, slots=True, eq=False)
class PadGain:
    """Relative gain of the TPC's pads: measured charge is true charge times gain. 1 is the mean.

    Attributes
    ----------
    gain : ndarray, float32
        (36, 4) by stack (IROC, OROC 1-3), (36, 10) by region, (36, 152) by pad row, or (36, 152, 138) by pad, pads
        counted from 0, beyond a row's last one unused. Not positive or NaN: dead, nothing is corrected.
    """

    gain: np.ndarray = field(default_factory=lambda: np.ones((N_SECTORS, 4), np.float32))

    path: ClassVar[str] = "TPC/Calib/PadGainFull"
    shapes: ClassVar[tuple[tuple[int, ...], ...]] = ((4,), (10,), (N_ROWS,), (N_ROWS, MAX_PADS))

    def __post_init__(self) -> None:
        if self.gain.shape[:1] != (N_SECTORS,) or self.gain.shape[1:] not in self.shapes:
            raise ConditionError(
                f"{self.path}: gain: want shape (36, 4), (36, 10), (36, {N_ROWS}) or (36, {N_ROWS}, {MAX_PADS}), "
                f"got {self.gain.shape}"
            )
        if np.nanmax(self.gain, initial=0.0) > 100:
            raise ConditionError(f"{self.path}: gain: want gains relative to their mean, got {np.nanmax(self.gain)}")

    @property
    def is_null(self) -> bool:
        """Whether it changes nothing."""
        return bool((self.gain == 1).all())

    def per_pad(self) -> np.ndarray:
        """Return the gain (36, 152, 138) float32 of every pad; dead ones are 1."""
        gain = np.where(np.isfinite(self.gain) & (self.gain > 0), self.gain, 1.0).astype(np.float32)
        region = pad_rows().region
        if gain.ndim == 2 and gain.shape[1] == 4:
            gain = gain[:, np.searchsorted([4, 6, 8], region, side="right")]  # regions 0-3, 4-5, 6-7, 8-9
        elif gain.ndim == 2 and gain.shape[1] == 10:
            gain = gain[:, region]
        if gain.ndim == 2:
            gain = np.broadcast_to(gain[:, :, None], (N_SECTORS, N_ROWS, MAX_PADS))
        return np.ascontiguousarray(gain)

    @classmethod
    def from_content(cls, content: Any) -> "PadGain":
        """Return the object stored as npz with an array ``gain``."""
        (gain,) = _arrays(cls.path, content, ("gain",))
        return cls(gain)

    def to_content(self) -> dict[str, np.ndarray]:
        """Return what `from_content` takes."""
        return {"gain": self.gain}


@dataclass(frozen=True, slots=True, eq=False)
class CorrectionMap:
    """Where charge that arrives at a point of the TPC came from: true = measured + correction, by interpolation.

    Attributes
    ----------
    shifts : ndarray, (36, n_row, n_y, n_z, 3), float32
        dx, dy, dz [cm] in the frame of the sector, linear between nodes. Nodes are equally far apart, ends included:
        pad rows 0 to 151; y/x from -tan(10 deg) to tan(10 deg); |z|/x from 0 to `max_z2x`. Beyond, the last
        node counts.
    max_z2x : float
        Largest |z|/x of the grid.
    """

    shifts: np.ndarray = field(default_factory=lambda: np.zeros((N_SECTORS, 2, 2, 2, 3), np.float32))
    max_z2x: float = 3.0

    path: ClassVar[str] = "TPC/Calib/CorrectionMapV2"

    def __post_init__(self) -> None:
        shape = self.shifts.shape
        if len(shape) != 5 or shape[0] != N_SECTORS or shape[4] != 3 or min(shape[1:4]) < 2:
            raise ConditionError(f"{self.path}: want shape (36, n_row, n_y, n_z, 3) with 2 nodes or more, got {shape}")
        if not np.isfinite(self.shifts).all() or np.abs(self.shifts).max(initial=0) > 30:
            raise ConditionError(f"{self.path}: want finite corrections of at most 30 cm")
        if not 0.1 <= self.max_z2x <= 10:
            raise ConditionError(f"{self.path}: max_z2x: want 0.1 to 10, got {self.max_z2x}")

    @property
    def is_null(self) -> bool:
        """Whether it changes nothing."""
        return not self.shifts.any()

    @classmethod
    def from_function(cls, function: Any, n_nodes: tuple[int, int, int] = (20, 6, 12), max_z2x: float = 3.0) -> Self:
        """Return the map of ``function(sector, x, y, z) -> (dx, dy, dz)``, called with arrays [cm] at all nodes.

        z is negative for sectors of the C side.
        """
        n_row, n_y, n_z = n_nodes
        sector = np.arange(N_SECTORS)[:, None, None, None]
        x = np.interp(np.linspace(0, N_ROWS - 1, n_row), np.arange(N_ROWS), pad_rows().x)[None, :, None, None]
        y = x * np.linspace(-TAN_HALF_SECTOR, TAN_HALF_SECTOR, n_y)[None, None, :, None]
        z = x * np.linspace(0, max_z2x, n_z) * np.where(sector < 18, 1.0, -1.0)
        shifts = np.stack(np.broadcast_arrays(*function(*np.broadcast_arrays(sector, x, y, z))), axis=-1)
        return cls(shifts.astype(np.float32), max_z2x)

    @classmethod
    def from_content(cls, content: Any) -> "CorrectionMap":
        """Return the object stored as npz with arrays ``shifts`` and ``max_z2x``."""
        shifts, max_z2x = _arrays(cls.path, content, ("shifts", "max_z2x"))
        if max_z2x.shape != ():
            raise ConditionError(f"{cls.path}: max_z2x: want one number, got shape {max_z2x.shape}")
        return cls(shifts, float(max_z2x))

    def to_content(self) -> dict[str, np.ndarray]:
        """Return what `from_content` takes."""
        return {"shifts": self.shifts, "max_z2x": np.array(self.max_z2x)}


def _arrays(path: str, content: Any, names: tuple[str, ...]) -> list[np.ndarray]:
    """Return the arrays of a content, numbers of two bytes or more as float32 where they are many."""
    if not isinstance(content, Mapping) or set(content) != set(names):
        told = ", ".join(map(str, content)) if isinstance(content, Mapping) else type(content).__name__
        raise ConditionError(f"{path}: want npz with {', '.join(names)}, got {told}")
    found = []
    for name in names:
        array = np.asarray(content[name])
        if array.dtype.kind not in "fiu":
            raise ConditionError(f"{path}: {name}: want numbers, got {array.dtype}")
        found.append(np.ascontiguousarray(array, np.float32) if array.ndim else array.astype(np.float64))
    return found
