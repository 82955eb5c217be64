"""A table as an awkward record array whose columns are read and computed when they are touched.

Knows tables and awkward's virtual arrays. What is virtual stays in its process: pickling reads it all.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from o2dask.analysis import indices
from o2dask.analysis.errors import UnknownNameError, close_to

if TYPE_CHECKING:
    from o2dask.analysis.table import Table

__all__ = ["virtual_records"]


def virtual_records(table: "Table", names: tuple[str, ...] = ()) -> Any:
    """Return an awkward array of records with one field per getter, nested as the table is; nothing is read yet.

    Parameters
    ----------
    table : Table
        Its rows.
    names : tuple of str
        Getters that need no arguments; default: all of them, the rows that indices point to left out.
    """
    import awkward as ak

    getters = {name: g for name, g in table.getters.items() if g.kind != "follow" and not g.arguments}
    if unknown := [name for name in names if name not in getters]:
        raise UnknownNameError(
            f"{table!r}: no getter {unknown[0]!r} without arguments; {close_to(unknown[0], getters)}"
        )
    chosen = names or tuple(getters)
    flat = type(table)(table._group, table._rows)
    nothing = flat[0:0]
    forms: list[Any] = []
    buffers: dict[str, Callable[[], Any]] = {}
    for name in chosen:
        form, _, kept = ak.to_buffers(ak.to_layout(getattr(nothing, name)()), form_key=f"{name}-{{id}}")
        forms.append(form)
        buffers |= {key: _reader(flat, name, key) for key in kept}
    records = ak.from_buffers(ak.forms.RecordForm(forms, list(chosen)), len(flat), buffers)
    return indices.wrap(records, table._levels)


def _reader(table: "Table", name: str, key: str) -> Callable[[], Any]:
    def read() -> Any:
        import awkward as ak

        values = ak.to_packed(ak.to_layout(getattr(table, name)()))
        return ak.to_buffers(values, form_key=f"{name}-{{id}}")[2][key]

    return read
