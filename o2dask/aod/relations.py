"""The relations that the tables of one dataframe must keep, checked before it is committed.

Knows the data model and arrays. O2's readers trust these relations without a check (`file_layout` in the facts):
broken ones are crashes or wrong physics there, so they are an error here. One pass over the index columns.
"""

from collections.abc import Mapping
from itertools import zip_longest

import numpy as np

from o2dask.aod.model import TableModel, data_ref, tables
from o2dask.columns import Columns, Jagged
from o2dask.errors import DataError, SpecError

__all__ = ["check_relations"]

# Grouping tables by collision slices them (Framework/Core ASoA.h, `sliceBy`): these indices never decrease.
_GROUPED = {
    **dict.fromkeys(("TRACK", "TRACK_IU", "MFTTRACK", "FWDTRACK", "V0", "CASCADE", "DECAY3BODY"), "fIndexCollisions"),
    "MCPARTICLE": "fIndexMcCollisions",
}


def check_relations(dataframe: Mapping[str, Columns]) -> None:
    """Raise DataError, naming table and column, unless the tables (by tree name) fit the model and one another.

    Checked: columns as in the model, row-aligned tables of one length, indices within their target (-1 is none),
    slices ordered or -1, -1, grouping indices that never decrease apart from one block of -1, bunch crossings
    ascending and unique. Tables outside the model and targets that are not in the dataframe are left alone.
    """
    models = {tree: tables()[tree] for tree in dataframe if tree in tables()}
    for tree, model in models.items():
        columns = dataframe[tree]
        _check_columns(model, columns)
        _check_alignment(model, columns, dataframe)
        for column in model.columns:
            if column.kind and (target := _present(column.target, dataframe)):
                n_target = dataframe[target].n_rows
                _check_index(f"{tree}.{column.name}", column.kind, columns[column.name], target, n_target)
        if name := _GROUPED.get(model.description):
            _check_grouping(f"{tree}.{name}", columns[name]) if name in columns else None
        if model.description == "BC":
            _check_ascending(f"{tree}.fGlobalBC", columns["fGlobalBC"])


def _check_columns(model: TableModel, columns: Columns) -> None:
    want = [(c.name, c.column.dtype, c.column.shape, c.column.is_jagged) for c in model.columns]
    got = [(c.name, c.dtype, c.shape, c.is_jagged) for c in columns.schema.columns]
    if want != got:
        first = next((w or g for w, g in zip_longest(want, got) if w != g), None)
        raise DataError(
            f"{model.tree}: columns are not those of the data model from {first[0] if first else '?'!r} on; "
            f"use o2dask.aod.tables()[{model.tree!r}].schema"
        )


def _check_alignment(model: TableModel, columns: Columns, dataframe: Mapping[str, Columns]) -> None:
    partner = _present(model.row_aligned_with, dataframe) if model.row_aligned_with else ""
    if partner and columns.n_rows != dataframe[partner].n_rows:
        raise DataError(
            f"{model.tree}: shares the row number with {partner}, which has {dataframe[partner].n_rows} rows; "
            f"got {columns.n_rows}"
        )


def _check_index(where: str, kind: str, values: "np.ndarray | Jagged", target: str, n_target: int) -> None:
    rows = values.content if isinstance(values, Jagged) else values
    if not rows.size:
        return
    lowest = 0 if isinstance(values, Jagged) else -1
    if rows.min() < lowest or rows.max() >= n_target:
        bad = rows[(rows < lowest) | (rows >= n_target)]
        raise DataError(f"{where}: want rows of {target} ({lowest} to {n_target - 1}), got {bad[0]} ({bad.size} such)")
    if "slice" in kind:
        first, last = rows[:, 0], rows[:, 1]
        wrong = (first > last) | ((first < 0) != (last < 0))
        if wrong.any():
            i_row = int(np.argmax(wrong))
            raise DataError(f"{where}: want first <= last or -1, -1, got {first[i_row]}, {last[i_row]} in row {i_row}")


def _check_grouping(where: str, values: np.ndarray) -> None:
    none = np.flatnonzero(values < 0)
    if none.size and none[-1] - none[0] + 1 != none.size:
        raise DataError(
            f"{where}: want the rows without index (-1) in one block, got them in rows {none[0]} to "
            f"{none[-1]} with others between"
        )
    given = values[values >= 0]
    falls = np.flatnonzero(given[1:] < given[:-1])
    if falls.size:
        i = int(falls[0])
        raise DataError(f"{where}: want rows sorted by it, got {given[i]} before {given[i + 1]} ({falls.size} such)")


def _check_ascending(where: str, values: np.ndarray) -> None:
    wrong = np.flatnonzero(values[1:] <= values[:-1])
    if wrong.size:
        i = int(wrong[0])
        raise DataError(f"{where}: want it ascending and unique, got {values[i]} before {values[i + 1]} in row {i}")


def _present(target: str, dataframe: Mapping[str, Columns]) -> str:
    """Return the tree in the dataframe that `target` stands for: itself or another version of it; "" if none."""
    if target in dataframe:
        return target
    return next((tree for tree in dataframe if _family(tree) == _family(target)), "")


def _family(tree: str) -> str:
    try:
        return data_ref(tree).description.removesuffix("_IU")
    except SpecError:
        return tree
