"""What is shown of an AOD, a dataframe or a table when its name is typed: text in a terminal, HTML in Jupyter."""

from collections.abc import Iterable, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from o2dask.analysis.aod import Aod
    from o2dask.analysis.frames import Dataframe, Frame
    from o2dask.analysis.table import Row, Table

__all__ = ["Preview", "aod_html", "aod_text", "frame_html", "frame_text", "preview", "row_html", "table_html"]

MAX_DATAFRAMES = 20
"""Dataframes listed one by one; of longer lists the first ones, and a sum of the rest."""


def aod_text(aod: "Aod") -> str:
    """Return one line per table over all dataframes."""
    head = f"AOD of {_counted(len(aod), 'dataframe')}, {_size(sum(map(_n_bytes, aod)))}"
    return "\n".join([head, *_columns(_sums(list(aod)))])


def aod_html(aod: "Aod") -> str:
    """Return the sums per table and the list of dataframes as HTML tables."""
    frames = list(aod)
    title = f"<b>AOD</b> of {_counted(len(frames), 'dataframe')}, {_size(sum(map(_n_bytes, frames)))}"
    listed = [_dataframe_row(i, frame) for i, frame in enumerate(frames[:MAX_DATAFRAMES])]
    more = f"<p>... and {len(frames) - MAX_DATAFRAMES} more</p>" if len(frames) > MAX_DATAFRAMES else ""
    per_frame = _html_table(("", "dataframe", "run", "first orbit", "tables", "rows", "size"), listed)
    sums = _html_table(_SUM_HEAD, _sums(frames))
    return f"{title}{sums}<details><summary>dataframes</summary>{per_frame}{more}</details>"


def frame_text(frame: "Frame") -> str:
    """Return one line per table of a dataframe."""
    return "\n".join([f"{frame.label}: {_counted(len(frame.tables), 'table')}", *_columns(_tables_of(frame))])


def frame_html(frame: "Frame") -> str:
    """Return the tables of a dataframe as an HTML table."""
    return f"<b>{escape(frame.label)}</b>{_html_table(_TABLE_HEAD, _tables_of(frame))}"


def table_html(table: "Table") -> str:
    """Return the getters of a table, with their first lines, as an HTML table."""
    rows = [
        (f"{name}({', '.join(getter.arguments)})", getter.tree, getter.text.split("\n", 1)[0])
        for name, getter in table.getters.items()
    ]
    body = _html_table(("getter", "from", "what"), rows)
    return f"{escape(repr(table))}<details><summary>{len(rows)} getters</summary>{body}</details>"


class Preview:
    """The first rows of a table with some of their values: text in a terminal, a table to scroll through in Jupyter."""

    def __init__(self, title: str, names: Sequence[str], rows: Sequence[Sequence[str]], n_more: int) -> None:
        self.title, self.names, self.rows, self.n_more = title, tuple(names), rows, n_more

    def __repr__(self) -> str:
        lines = [self.names, *self.rows]
        widths = [max(len(line[i]) for line in lines) for i in range(len(self.names))]
        text = ["  ".join(f"{cell:>{width}}" for cell, width in zip(line, widths, strict=True)) for line in lines]
        return "\n".join([self.title, *text, *self._more()])

    def _repr_html_(self) -> str:
        body = f'<div style="max-height: 26em; overflow: auto">{_html_table(self.names, self.rows)}</div>'
        return f"{escape(self.title)}{body}{''.join(self._more())}"

    def _more(self) -> list[str]:
        return [f"... and {self.n_more:,} more"] if self.n_more else []


def preview(table: "Table", names: Sequence[str], n: int) -> Preview:
    """Return the first n rows of a table with the named getters; default: its stored columns that are one number."""
    first = table[:n]
    chosen = names or [g.name for g in table.getters.values() if g.kind == "stored"]
    columns = {name: _values(first, name) for name in chosen}
    if not names:
        columns = {name: values for name, values in columns.items() if not any(isinstance(v, list) for v in values)}
    numbers = [str(i) for i in range(len(first))]
    cells = [[_cell(value) for value in values] for values in columns.values()]
    return Preview(repr(table), ["", *columns], list(zip(numbers, *cells, strict=True)), len(table) - len(first))


def row_html(row: "Row") -> str:
    """Return the values of a row, each with the first line of its text, as an HTML table."""
    getters = {name: g for name, g in row._table.getters.items() if g.kind in ("stored", "formula") and not g.arguments}
    told = [
        (name, _cell(_values(row._table, name)[0]), getter.text.split("\n", 1)[0]) for name, getter in getters.items()
    ]
    body = _html_table(("getter", "value", "what"), told)
    return f'{escape(repr(row))}<div style="max-height: 26em; overflow: auto">{body}</div>'


def _values(table: "Table", name: str) -> list[Any]:
    values = table[name] if name[:1] == "f" and name[1:2].isupper() else getattr(table, name)()
    listed: list[Any] = values.tolist()
    return listed


def _cell(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_cell, value[:6]))}{', ...' if len(value) > 6 else ''}]"
    if value is None:
        return "-"
    return f"{value:.5g}" if isinstance(value, float) else str(value)


_TABLE_HEAD = ("name", "table", "rows", "columns")
_SUM_HEAD = ("name", "table", "rows", "size")


def _tables_of(frame: "Frame") -> list[tuple[str, str, str, str]]:
    names = {frame.group(name).trees[0]: name for name in reversed(frame.group_names)}
    return [
        (names.get(tree, ""), tree, f"{frame.n_rows(tree):,}", str(len(frame.columns(tree)))) for tree in frame.tables
    ]


def _sums(frames: "Sequence[Dataframe]") -> list[tuple[str, str, str, str]]:
    rows: dict[str, int] = {}
    sizes: dict[str, int] = {}
    names: dict[str, str] = {}
    for frame in frames:
        names |= {frame.group(name).trees[0]: name for name in reversed(frame.group_names)}
        for tree in frame.tables:
            rows[tree] = rows.get(tree, 0) + frame.n_rows(tree)
            sizes[tree] = sizes.get(tree, 0) + frame.n_bytes(tree)
    return [(names.get(tree, ""), tree, f"{n:,}", _size(sizes[tree])) for tree, n in rows.items()]


def _dataframe_row(i: int, frame: "Dataframe") -> tuple[str, ...]:
    stored = frame.stored
    n_rows = sum(frame.n_rows(tree) for tree in frame.tables)
    run = (str(stored.run), str(stored.first_orbit))
    return (str(i), frame.label, *run, str(len(frame.tables)), f"{n_rows:,}", _size(_n_bytes(frame)))


def _n_bytes(frame: "Frame") -> int:
    return sum(frame.n_bytes(tree) for tree in frame.tables)


def _counted(n: int, what: str) -> str:
    return f"{n} {what}{'' if n == 1 else 's'}"


def _size(n_bytes: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if n_bytes < 999.5:
            return f"{n_bytes:.3g} {unit}"
        n_bytes /= 1000
    return f"{n_bytes:.3g} TB"


def _columns(rows: Iterable[tuple[str, ...]]) -> list[str]:
    """Return rows as lines of text, names to the left, numbers to the right."""
    rows = list(rows)
    widths = [max((len(row[i]) for row in rows), default=0) for i in range(4)]
    return [f"  {a:<{widths[0]}}  {b:<{widths[1]}}  {c:>{widths[2]}}  {d:>{widths[3]}}" for a, b, c, d in rows]


def _html_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    titles = "".join(f"<th>{escape(title)}</th>" for title in head)
    body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table><thead><tr>{titles}</tr></thead><tbody>{body}</tbody></table>"
