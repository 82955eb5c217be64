"""Random but valid AOD tables, built from the data model itself: indices in range, groups sorted, slices inclusive."""

from collections.abc import Mapping

import numpy as np

from o2dask.analysis import Dataframe, open_aod
from o2dask.aod.model import ColumnModel, TableModel, data_ref, tables
from o2dask.aod.store import Store, commit_dataframe
from o2dask.columns import Columns, Jagged

CORE = (
    "O2bc_001",
    "O2collision_001",
    "O2track_iu",
    "O2trackcov_iu",
    "O2trackextra_001",
    "O2mctracklabel",
    "O2mccollision_001",
    "O2mcparticle_001",
    "O2mccollisionlabel",
)
"""The tables of the first issue."""
TRACK = "O2track_iu"
SORTED = ("fIndexCollisions", "fIndexMcCollisions", "fIndexBCs")


def sizes(n_tracks: int) -> dict[str, int]:
    """Return rows per kind of table; row-aligned tables share the count of what they are aligned with."""
    n_collisions = n_tracks // 10
    return {"BC": 2 * n_collisions, "COLLISION": n_collisions, "MCCOLLISION": n_collisions, "MCPARTICLE": 2 * n_tracks}


def random_dataframe(seed: int, n_tracks: int, trees: tuple[str, ...] = CORE) -> dict[str, Columns]:
    """Return the tables by tree name."""
    rng = np.random.default_rng(seed)
    rows = {tree: _n_rows(tree, n_tracks) for tree in tables()}
    return {tree: random_table(rng, tables()[tree], rows) for tree in trees}


def write(folder, dataframe: Mapping[str, Columns], number: int = 1) -> Dataframe:
    """Write one dataframe as it is, relations unchecked, and open it."""
    commit_dataframe(Store(folder), number, dataframe, {})
    return open_aod(folder)[0]


def replaced(columns: Columns, **arrays: np.ndarray) -> Columns:
    """Return a table with other values in some columns."""
    return Columns(columns.schema, dict(columns) | arrays)


def _n_rows(tree: str, n_tracks: int) -> int:
    head = tables()[tree].row_aligned_with or tree
    if tree == "O2timestamps":
        head = "O2bc_001"
    return sizes(n_tracks).get(data_ref(head).description, n_tracks)


def random_table(rng: np.random.Generator, model: TableModel, rows: Mapping[str, int]) -> Columns:
    """Return one table of the model."""
    n = rows[model.tree]
    arrays = {c.name: _column(rng, c, n, rows.get(c.target, 0)) for c in model.columns}
    if model.description == "BC":
        arrays["fGlobalBC"] = np.cumsum(rng.integers(1, 500, n)).astype(np.uint64)
    if "fSnp" in arrays:
        arrays |= _barrel_state(rng, n)
    if model.description == "MCPARTICLE":
        arrays |= _momenta(rng, n)
    return Columns(model.schema, arrays)


def _column(rng, model: ColumnModel, n: int, n_target: int):
    dtype = np.dtype(model.column.dtype)
    kind = model.kind.removeprefix("self_")
    if kind == "index":
        return _index(rng, model.name, n, n_target)
    if kind == "slice_index":
        first = rng.integers(-1, n_target, n) if n_target else np.full(n, -1)
        last = np.minimum(first + rng.integers(0, 3, n), n_target - 1)
        return np.stack([first, np.where(first < 0, -1, last)], axis=1).astype(np.int32)
    if model.column.is_jagged:
        counts = rng.integers(0, 3, n) if kind or n == 0 else np.full(n, 5)  # five values of each of its partners
        offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
        if kind:
            return Jagged(offsets, rng.integers(0, max(n_target, 1), offsets[-1]).astype(np.int32))
        return Jagged(offsets, _values(rng, dtype, int(offsets[-1])))
    return _values(rng, dtype, (n, *model.column.shape))


def _index(rng, name: str, n: int, n_target: int) -> np.ndarray:
    ids = rng.integers(-1, n_target, n) if n_target else np.full(n, -1)
    return (np.sort(ids) if name in SORTED else ids).astype(np.int32)


def _values(rng, dtype: np.dtype, shape) -> np.ndarray:
    if dtype.kind == "f":
        return rng.normal(0, 10, shape).astype(dtype)
    limits = np.iinfo(dtype)
    return rng.integers(limits.min, limits.max, shape, dtype, endpoint=True)


def _barrel_state(rng, n: int) -> dict[str, np.ndarray]:
    state = {
        "fX": rng.uniform(0, 80, n),
        "fAlpha": rng.uniform(-np.pi, np.pi, n),
        "fSnp": rng.uniform(-1, 1, n),
        "fTgl": rng.normal(0, 1, n),
        "fSigned1Pt": rng.normal(0, 2, n),
    }
    return {name: values.astype(np.float32) for name, values in state.items()}


def _momenta(rng, n: int) -> dict[str, np.ndarray]:
    momentum = rng.normal(0, 1, (3, n))
    energy = np.sqrt((momentum**2).sum(axis=0) + 0.139570**2)
    names = ("fPx", "fPy", "fPz", "fE")
    return {name: v.astype(np.float32) for name, v in zip(names, (*momentum, energy), strict=True)}
