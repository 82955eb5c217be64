"""Selections: named cuts on tracks or events, as bit masks and a cut flow.

Knows columns and cuts. Bits and comparisons of `TrackSelection` are those of O2Physics, Common/Core/TrackSelection.h
(IsSelectedMask), its presets those of Common/Core/TrackSelectionDefaults.cxx. Columns are read for cuts that are on.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from o2dask.analysis.physics.sources import column
from o2dask.errors import ConfigError

__all__ = [
    "CutFlow",
    "EventSelection",
    "TrackSelection",
    "global_track_selection",
    "run3_dca_xy",
    "tpc_only_selection",
]

Cut = tuple[str, Callable[[Any], np.ndarray]]


@dataclass(frozen=True, slots=True)
class CutFlow:
    """How many rows pass: each cut alone, and each after all before; in the order of the bits."""

    names: tuple[str, ...]
    n_rows: int
    alone: tuple[int, ...]
    after: tuple[int, ...]

    def __add__(self, other: "CutFlow") -> "CutFlow":
        """Return the flow of both samples, so that a task can sum it over dataframes."""
        if self.names != other.names:
            raise ConfigError(f"cut flows: want the same cuts, got {', '.join(self.names)}; {', '.join(other.names)}")
        alone = tuple(a + b for a, b in zip(self.alone, other.alone, strict=True))
        after = tuple(a + b for a, b in zip(self.after, other.after, strict=True))
        return CutFlow(self.names, self.n_rows + other.n_rows, alone, after)

    def __str__(self) -> str:
        width = max([len(name) for name in self.names], default=0)
        lines = [f"{'all':{width}} {self.n_rows:12,}"]
        for name, alone, after in zip(self.names, self.alone, self.after, strict=True):
            lines.append(f"{name:{width}} {alone:12,} {after:12,} {after / max(self.n_rows, 1):8.2%}")
        return "\n".join(lines)


class Selection(ABC):
    """What selections share: `cuts` by bit; a subclass is a frozen dataclass that makes them from its fields."""

    __slots__ = ()

    @abstractmethod
    def cuts(self) -> dict[int, Cut]:
        """Return the cuts that are on: bit, name, and the mask of a table."""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the cuts that are on, by bit."""
        return tuple(name for _, (name, _) in sorted(self.cuts().items()))

    def bits(self, table: Any) -> np.ndarray:
        """Return which cuts each row passes, (n,) uint32; bits of cuts that are off are set."""
        cuts = self.cuts()
        off = np.uint32(0xFFFFFFFF)
        for bit in cuts:
            off &= ~np.uint32(1 << bit)
        found: np.ndarray | None = None
        for bit, (_, passes) in cuts.items():
            mask = passes(table).astype(np.uint32) << np.uint32(bit)
            found = mask if found is None else found | mask
        return np.full(_length(table), off) if found is None else found | off

    def mask(self, table: Any) -> np.ndarray:
        """Return whether each row passes all cuts, (n,) bool: ``tracks[selection.mask(tracks)]``."""
        kept: np.ndarray = self.bits(table) == np.uint32(0xFFFFFFFF)
        return kept

    def flow(self, table: Any) -> CutFlow:
        """Return how many rows pass each cut."""
        bits = self.bits(table)
        order = sorted(self.cuts())
        alone = [bits & np.uint32(1 << bit) != 0 for bit in order]
        after = np.ones(len(bits), bool)
        counts = []
        for mask in alone:
            after = after & mask
            counts.append(int(after.sum()))
        return CutFlow(self.names, len(bits), tuple(int(mask.sum()) for mask in alone), tuple(counts))

    def __call__(self, table: Any) -> Any:
        """Return the selected rows of a table."""
        return table[self.mask(table)]


def _length(table: Any) -> int:
    return len(next(iter(table.values()))) if isinstance(table, dict) else len(table)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackSelection(Selection):
    """Cuts on barrel tracks; None is off. Units GeV/c and cm; limits are inside, as in O2.

    Attributes
    ----------
    track_type : int
        0 propagated, 1 TrackIU.
    pt, eta : tuple of float
        Lowest and highest.
    min_tpc_clusters, min_tpc_crossed_rows : int
        Too low lets in fragments; too high loses tracks at sector edges and decays.
    min_tpc_crossed_over_findable : float
        O2 uses 0.8.
    max_tpc_chi2 : float
        Per TPC cluster; O2 uses 4.
    require_tpc, require_its : bool
        O2's refit requirement, which for Run 3 means that the detector contributed.
    min_its_clusters, max_its_chi2
        Of the ITS part; O2 uses 36 for the latter.
    its_hits : tuple of (int, tuple of int)
        At least so many of these layers, for each requirement; (0 or less: none of them, O2's -1).
    max_dca_xy, max_dca_z : float
        Distance to the vertex [cm]. `dca_xy_of_pt` in place of the former: largest distance for each pt.
    max_shared : float
        Fraction of shared TPC clusters.
    """

    track_type: int | None = None
    pt: tuple[float, float] | None = None
    eta: tuple[float, float] | None = None
    min_tpc_clusters: int | None = None
    min_tpc_crossed_rows: int | None = None
    min_tpc_crossed_over_findable: float | None = None
    max_tpc_chi2: float | None = None
    require_tpc: bool = False
    min_its_clusters: int | None = None
    max_its_chi2: float | None = None
    require_its: bool = False
    its_hits: tuple[tuple[int, tuple[int, ...]], ...] = ()
    max_dca_xy: float | None = None
    dca_xy_of_pt: Callable[[np.ndarray], np.ndarray] | None = None
    max_dca_z: float | None = None
    max_shared: float | None = None

    def __post_init__(self) -> None:
        for name in ("pt", "eta"):
            limits = getattr(self, name)
            if limits is not None and not limits[0] < limits[1]:
                raise ConfigError(f"TrackSelection.{name}: want (lowest, highest), got {limits}")
        if self.max_dca_xy is not None and self.dca_xy_of_pt is not None:
            raise ConfigError("TrackSelection: want max_dca_xy or dca_xy_of_pt, got both")

    def cuts(self) -> dict[int, Cut]:
        """Return the cuts that are on, by O2's bit (TrackSelection::TrackCuts)."""
        simple = {
            0: ("track type", self.track_type, lambda t, v: column(t, "trackType") == v),
            1: ("pt", self.pt, lambda t, v: _within(column(t, "pt"), v)),
            2: ("eta", self.eta, lambda t, v: _within(column(t, "eta"), v)),
            3: ("TPC clusters", self.min_tpc_clusters, lambda t, v: column(t, "tpcNClsFound") >= v),
            4: ("TPC crossed rows", self.min_tpc_crossed_rows, lambda t, v: column(t, "tpcNClsCrossedRows") >= v),
            5: (
                "TPC crossed rows / findable",
                self.min_tpc_crossed_over_findable,
                lambda t, v: column(t, "tpcCrossedRowsOverFindableCls") >= v,
            ),
            6: ("TPC chi2 per cluster", self.max_tpc_chi2, lambda t, v: column(t, "tpcChi2NCl") <= v),
            7: ("has TPC", self.require_tpc or None, lambda t, v: column(t, "hasTPC")),
            8: ("ITS clusters", self.min_its_clusters, lambda t, v: column(t, "itsNCls") >= v),
            9: ("ITS chi2 per cluster", self.max_its_chi2, lambda t, v: column(t, "itsChi2NCl") <= v),
            10: ("has ITS", self.require_its or None, lambda t, v: column(t, "hasITS")),
            11: ("ITS layers", self.its_hits or None, lambda t, v: _its_layers(column(t, "itsClusterMap"), v)),
            13: ("DCA xy", self.dca_xy_of_pt if self.max_dca_xy is None else self.max_dca_xy, _dca_xy),
            14: ("DCA z", self.max_dca_z, lambda t, v: np.abs(column(t, "dcaZ")) <= v),
            15: ("TPC shared clusters", self.max_shared, lambda t, v: column(t, "tpcFractionSharedCls") <= v),
        }
        return {bit: (name, _bound(test, value)) for bit, (name, value, test) in simple.items() if value is not None}

    def __str__(self) -> str:
        on = {f.name: getattr(self, f.name) for f in fields(self)}
        return f"TrackSelection({', '.join(f'{k}={v}' for k, v in on.items() if v not in (None, False, ()))})"


def _bound(test: Callable[[Any, Any], np.ndarray], value: Any) -> Callable[[Any], np.ndarray]:
    return lambda table: np.asarray(test(table, value))


def _within(values: np.ndarray, limits: tuple[float, float]) -> np.ndarray:
    inside: np.ndarray = (values >= limits[0]) & (values <= limits[1])
    return inside


def _dca_xy(table: Any, limit: Any) -> np.ndarray:
    largest = limit(column(table, "pt")) if callable(limit) else limit
    passes: np.ndarray = np.abs(column(table, "dcaXY")) <= largest
    return passes


def _its_layers(cluster_map: np.ndarray, requirements: tuple[tuple[int, tuple[int, ...]], ...]) -> np.ndarray:
    passes = np.ones(len(cluster_map), bool)
    for n_wanted, layers in requirements:
        wanted = np.uint8(sum(1 << layer for layer in layers))
        n_hits = np.bitwise_count(cluster_map & wanted)
        passes &= n_hits == 0 if n_wanted <= 0 else n_hits >= n_wanted
    return passes


def run3_dca_xy(pt: np.ndarray) -> np.ndarray:
    """Return the largest dcaXY [cm] of O2's global tracks: 0.0105 + 0.0350/pt^1.1."""
    limit: np.ndarray = 0.0105 + 0.0350 / pt**1.1
    return limit


def global_track_selection(**changes: Any) -> TrackSelection:
    """Return O2's global tracks of Run 3 (getGlobalTrackSelectionRun3ITSMatch, Run3ITSibAny), with changes by field."""
    settings: dict[str, Any] = {
        "track_type": 0,
        "pt": (0.1, 1e10),
        "eta": (-0.8, 0.8),
        "require_its": True,
        "require_tpc": True,
        "min_tpc_crossed_rows": 70,
        "min_tpc_crossed_over_findable": 0.8,
        "max_tpc_chi2": 4.0,
        "its_hits": ((1, (0, 1, 2)),),
        "max_its_chi2": 36.0,
        "dca_xy_of_pt": run3_dca_xy,
        "max_dca_z": 2.0,
    }
    return TrackSelection(**(settings | changes))


def tpc_only_selection(**changes: Any) -> TrackSelection:
    """Return TPC-only tracks, with changes by field: cuts of AliESDtrackCuts::GetStandardTPCOnlyTrackCuts.

    At least 50 clusters, chi2 below 4, |dcaXY| < 2.4 cm, |dcaZ| < 3.2 cm; here also pt > 0.15 GeV/c, |eta| < 0.8.
    """
    settings: dict[str, Any] = {
        "pt": (0.15, 1e10),
        "eta": (-0.8, 0.8),
        "require_tpc": True,
        "min_tpc_clusters": 50,
        "max_tpc_chi2": 4.0,
        "max_dca_xy": 2.4,
        "max_dca_z": 3.2,
    }
    return TrackSelection(**(settings | changes))


@dataclass(frozen=True, slots=True, kw_only=True)
class EventSelection(Selection):
    """Cuts on collisions; None is off.

    Attributes
    ----------
    max_abs_z : float
        |posZ| below [cm]; beyond 10 the acceptance shrinks.
    min_contributors : int
        Tracks in the vertex fit; too low lets in fakes.
    max_chi2 : float
        Of the vertex fit per contributor.
    """

    max_abs_z: float | None = 10.0
    min_contributors: int | None = 1
    max_chi2: float | None = None

    def cuts(self) -> dict[int, Cut]:
        """Return the cuts that are on."""
        simple = {
            0: ("|z|", self.max_abs_z, lambda t, v: np.abs(column(t, "posZ")) < v),
            1: ("contributors", self.min_contributors, lambda t, v: column(t, "numContrib") >= v),
            2: ("chi2", self.max_chi2, lambda t, v: column(t, "chi2") <= v * column(t, "numContrib")),
        }
        return {bit: (name, _bound(test, value)) for bit, (name, value, test) in simple.items() if value is not None}
