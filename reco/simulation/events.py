"""Generator events in memory, and how they are read from files.

Knows the columns of event files (Parquet; HepMC3 through `o2dask.reco.simulation.hepmc`) and which of their rows a
transport of our own starts from. Knows no timeframe: vertices, rotations and times come later.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

import numpy as np

from o2dask.errors import ConfigError, DataError
from o2dask.reco.simulation.decays import decaying_codes
from o2dask.reco.simulation.particles import C_CM_PER_NS, charge_of, is_heavy_flavour, is_long_lived, mass_of

if TYPE_CHECKING:
    import fsspec
    import pyarrow as pa

__all__ = ["EventSample", "RawEvents", "existing_file", "read_events", "select_for_transport"]

_MM = 0.1
"""Millimetres in cm."""
_WANTED = ("event", "pdg", "px", "py", "pz", "vx", "vy", "vz", "vt", "status", "parent")


@dataclass(frozen=True, slots=True, kw_only=True)
class EventSample:
    """Generator events as arrays: event i has rows ``offsets[i]:offsets[i + 1]``.

    Of each event the rows from which transport starts: particles without a long-lived ancestor, first those without
    parent, then the decay products of heavy flavour, those of one parent contiguous.

    Attributes
    ----------
    name : str
        Where they come from, for messages.
    offsets : ndarray, (n_events + 1,), int64
    impact : ndarray, (n_events,), float32
        Impact parameter [fm], 0 for pp.
    weight : ndarray, (n_events,), float64
        Relative probability of the event, at least 0.
    pdg, status : ndarray, (n_rows,), int32
        PDG code; 1 final, 2 decays (HepMC).
    parent : ndarray, (n_rows,), int32
        Row within the event, -1 none.
    px, py, pz, mass : ndarray, (n_rows,), float32
        [GeV/c], [GeV].
    vx, vy, vz, vt : ndarray, (n_rows,), float32
        Production point [cm] and time [ns] relative to the collision.
    """

    name: str
    offsets: np.ndarray
    impact: np.ndarray
    weight: np.ndarray
    pdg: np.ndarray
    status: np.ndarray
    parent: np.ndarray
    px: np.ndarray
    py: np.ndarray
    pz: np.ndarray
    mass: np.ndarray
    vx: np.ndarray
    vy: np.ndarray
    vz: np.ndarray
    vt: np.ndarray

    @property
    def n_events(self) -> int:
        """Number of events."""
        return len(self.offsets) - 1

    @property
    def n_rows(self) -> int:
        """Number of particles."""
        return len(self.pdg)

    @property
    def eta(self) -> np.ndarray:
        """Pseudorapidities (n_rows,)."""
        pt = np.hypot(self.px, self.py)
        return np.arcsinh(self.pz / np.maximum(pt, np.float32(1e-12)))

    def within(self, eta_max: float) -> "EventSample":
        """Return the sample without particles at |eta| >= `eta_max`, parents of others excepted."""
        keep = self._with_parents(np.abs(self.eta) < eta_max)
        return self._keep(keep)

    def rows_of(self, events: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the rows of the given events, event after event (repeats allowed), and where each event starts."""
        counts = np.diff(self.offsets)[events]
        starts = np.cumsum(counts) - counts
        within = np.arange(counts.sum()) - np.repeat(starts, counts)
        return np.repeat(self.offsets[:-1][events], counts) + within, starts

    def _global_parent(self) -> np.ndarray:
        first = np.repeat(self.offsets[:-1], np.diff(self.offsets))
        return np.where(self.parent < 0, -1, self.parent + first)

    def _with_parents(self, keep: np.ndarray) -> np.ndarray:
        parent, keep = self._global_parent(), keep.copy()
        while True:
            needed = parent[keep & (parent >= 0)]
            if keep[needed].all():
                return keep
            keep[needed] = True

    def _keep(self, keep: np.ndarray) -> "EventSample":
        before = np.concatenate(([0], np.cumsum(keep)))
        parent = self._global_parent()
        offsets = before[self.offsets]
        first = np.repeat(offsets[:-1], np.diff(self.offsets))
        moved = np.where(parent < 0, -1, before[parent] - first).astype(np.int32)
        per_row = {f.name: getattr(self, f.name)[keep] for f in fields(self) if f.name not in _PER_EVENT}
        per_row["parent"] = moved[keep]
        return EventSample(name=self.name, offsets=offsets, impact=self.impact, weight=self.weight, **per_row)


_PER_EVENT = ("name", "offsets", "impact", "weight")


@dataclass(frozen=True, slots=True, kw_only=True)
class RawEvents:
    """All particles of generator events as their generator listed them, in cm, ns and GeV.

    `columns`: event (index, ascending), pdg, status, parent (row within the event, -1 none), px, py, pz, mass (NaN
    where unknown), vx, vy, vz, vt, each (n_rows,). `impact` and `weight` are (n_events,).
    """

    name: str
    columns: Mapping[str, np.ndarray]
    impact: np.ndarray
    weight: np.ndarray


def read_events(url: str) -> EventSample:
    """Return the events of a generator file: Parquet (columns as in the docstring of `parquet_events`) or HepMC3.

    Raises
    ------
    ConfigError
        If there is no such file, or its name ends neither in .parquet nor in .hepmc, .hepmc3 (or these with .gz).
    DataError
        If it is not what its name says.
    MissingExtraError
        If it is HepMC3 and pyhepmc is not installed.
    """
    suffixes = "".join(PurePosixPath(url).suffixes[-2:]).lower()
    if suffixes.endswith(".parquet"):
        return select_for_transport(parquet_events(url))
    if suffixes.endswith((".hepmc", ".hepmc3", ".hepmc.gz", ".hepmc3.gz")):
        from o2dask.reco.simulation.hepmc import hepmc_events

        return select_for_transport(hepmc_events(url))
    raise ConfigError(f"events {url!r}: want a .parquet, .hepmc or .hepmc3 file (.gz allowed for the latter two)")


def existing_file(url: str) -> "tuple[fsspec.AbstractFileSystem, str]":
    """Return file system and path of `url`, which is known to be a file, or raise ConfigError."""
    import fsspec

    try:
        fs, path = fsspec.core.url_to_fs(url)
        exists, is_folder = fs.exists(path), fs.isdir(path)
    except (ValueError, ImportError, OSError) as error:
        raise ConfigError(f"events {url!r}: cannot be opened ({error})") from error
    if not exists or is_folder:
        raise ConfigError(f"events {url!r}: {'is a folder, want a file' if is_folder else 'no such file'}")
    return fs, path


def parquet_events(url: str) -> RawEvents:
    """Return the events of a Parquet file with one row per particle.

    Columns: event, pdg, status (1 final, 2 decays), parent (row within the event, -1 none), px py pz [GeV/c] and e
    [GeV] (e may be absent where all masses are known), vx vy vz [mm] and vt [mm/c] relative to the collision. A file
    ``<name>_events.parquet`` beside it, one row per event (event, b_fm, weight), is read if it is there.
    """
    table = _read_table(url)
    missing = [name for name in _WANTED if name not in table.column_names]
    if missing:
        raise DataError(f"events {url!r}: no column {', '.join(missing)}; want {', '.join(_WANTED)}")
    raw = {name: _plain(url, table, name) for name in (*_WANTED, *(["e"] if "e" in table.column_names else []))}
    event = raw["event"]
    if np.any(np.diff(event) < 0):
        raise DataError(f"events {url!r}: column event decreases; want the rows of each event together, in order")
    if not np.isin(raw["status"], (1, 2)).all():
        raise DataError(f"events {url!r}: column status: want 1 (final) or 2 (decays), no partons, no resonances")
    ids, impact, weight = _event_table(url, np.unique(event))
    columns: dict[str, np.ndarray] = {n: raw[n].astype(np.int64) for n in ("pdg", "status", "parent")}
    columns |= {name: raw[name].astype(np.float64) for name in ("px", "py", "pz")}
    columns |= {name: raw[name] * _MM for name in ("vx", "vy", "vz")}
    columns["vt"] = raw["vt"] * _MM / C_CM_PER_NS
    columns["event"] = np.searchsorted(ids, event)
    columns["mass"] = _mass_from_energy(columns, raw.get("e"))
    return RawEvents(name=url, columns=columns, impact=impact, weight=weight)


def _read_table(url: str) -> "pa.Table":
    import pyarrow as pa
    import pyarrow.parquet as pq

    fs, path = existing_file(url)
    try:
        with fs.open(path, "rb") as file:
            return pq.read_table(file)
    except (pa.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(f"events {url!r}: not a readable Parquet file ({reason})") from error


def _plain(url: str, table: "pa.Table", name: str) -> np.ndarray:
    column = table.column(name)
    array = column.to_numpy() if column.null_count == 0 else None
    if array is None or array.dtype.kind not in "iuf" or not np.isfinite(array).all():
        raise DataError(f"events {url!r}: column {name} holds values that are not numbers (null, NaN or text)")
    return array


def _event_table(url: str, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return ids, impact parameters and weights of the events, empty events included if the file beside lists them."""
    import fsspec

    beside = url.removesuffix(".parquet") + "_events.parquet"
    fs, path = fsspec.core.url_to_fs(beside)
    if not fs.exists(path):
        return ids, np.zeros(len(ids), np.float32), np.ones(len(ids))
    table = _read_table(beside)
    if "event" not in table.column_names:
        raise DataError(f"events {beside!r}: no column event")
    listed = _plain(beside, table, "event")
    if np.any(np.diff(listed) <= 0) or not np.isin(ids, listed).all():
        raise DataError(f"events {beside!r}: want every event of {url!r} once, ascending")
    n = len(listed)
    impact = _plain(beside, table, "b_fm") if "b_fm" in table.column_names else np.zeros(n)
    weight = _plain(beside, table, "weight") if "weight" in table.column_names else np.ones(n)
    if np.any(weight < 0) or (n and not weight.sum() > 0):
        raise DataError(f"events {beside!r}: weights are negative or all 0; events are drawn in proportion to them")
    return listed, np.maximum(impact, 0).astype(np.float32), weight.astype(np.float64)


def _mass_from_energy(columns: Mapping[str, np.ndarray], energy: np.ndarray | None) -> np.ndarray:
    if energy is None:
        return np.full(len(columns["pdg"]), np.nan)
    squared = energy.astype(np.float64) ** 2 - sum(columns[name] ** 2 for name in ("px", "py", "pz"))
    return np.sqrt(np.maximum(squared, 0.0))


def select_for_transport(raw: RawEvents) -> EventSample:
    """Return the rows from which transport starts, ordered by generation.

    Dropped: descendants of long-lived particles (K0S, Lambda, pi+..., which `decays` decays again, in the field),
    neutrals that neither decay here nor convert (neutrons, neutrinos). Heavy flavour (and tau) keeps the decays of its
    generator, which end before the beam pipe; its hadron daughters are physical primaries, as in ALICE.
    """
    columns = dict(raw.columns)
    event, n_events = columns["event"].astype(np.int64), len(raw.weight)
    offsets = np.searchsorted(event, np.arange(n_events + 1))
    parent = _checked_parents(raw.name, columns["parent"], event, offsets)
    pdg = columns["pdg"]
    depth = _depth_of_prompt(pdg, parent)
    known = np.isfinite(mass_of(pdg))
    seen = (charge_of(pdg) != 0) | np.isin(np.abs(pdg), (22, *decaying_codes()))
    keep = (depth >= 0) & (seen | is_heavy_flavour(pdg))
    mass = mass_of(pdg, columns["mass"])
    if np.isnan(mass[keep]).any():
        code = pdg[keep & ~known][0]
        raise DataError(f"events {raw.name!r}: no column e, and the mass of PDG code {code} is not known here")
    order = np.lexsort((np.arange(len(pdg)), np.where(depth > 0, parent, -1), depth, event))
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    parent_local = np.where(parent < 0, -1, place[parent] - offsets[event])
    arrays = {k: columns[k][order].astype(np.float32) for k in ("px", "py", "pz", "vx", "vy", "vz", "vt")}
    whole = EventSample(
        name=raw.name,
        offsets=offsets,
        impact=raw.impact.astype(np.float32),
        weight=raw.weight,
        pdg=pdg[order].astype(np.int32),
        status=columns["status"][order].astype(np.int32),
        parent=parent_local[order].astype(np.int32),
        mass=mass[order].astype(np.float32),
        **arrays,
    )
    return whole._keep(whole._with_parents(keep[order]))


def _checked_parents(name: str, parent: np.ndarray, event: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Return the parents as rows of all events, -1 none."""
    if np.any(parent >= np.diff(offsets)[event]):
        raise DataError(f"events {name!r}: a parent lies outside its event; want a row within the event or -1")
    return np.where(parent < 0, -1, parent + offsets[event])


def _depth_of_prompt(pdg: np.ndarray, parent: np.ndarray) -> np.ndarray:
    """Return the number of ancestors (n,) of rows that have no long-lived one, -1 for the others (and for loops)."""
    depth = np.where(parent < 0, 0, -1)
    passes_on = ~is_long_lived(pdg)
    while True:
        new = np.flatnonzero((depth < 0) & (parent >= 0) & (depth[parent] >= 0) & passes_on[parent])
        if not len(new):
            return depth
        depth[new] = depth[parent[new]] + 1
