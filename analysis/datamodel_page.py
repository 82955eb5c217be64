"""docs/data-model.md: every table of the data model with its columns, getters, units and formulas.

Knows the model, the getters and Markdown. After a change of the model or of a formula:

    python -m o2dask.analysis.datamodel_page docs/data-model.md
"""

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from o2dask.analysis.formulas import FORMULAS
from o2dask.analysis.getters import Getter, getters_of
from o2dask.analysis.groups import label_of
from o2dask.aod.model import ColumnModel, Derived, TableModel, enums, tables

__all__ = ["page"]

HEAD = """# Data model

Written from the model by `python -m o2dask.analysis.datamodel_page docs/data-model.md`; do not edit.

{n_tables} tables, {n_stored} stored columns, {n_dynamic} dynamic and {n_expression} expression columns: AliceO2 as of
October 2024 (`Framework/Core/include/Framework/AnalysisDataModel.h`). On a dataframe a table is found under the
name in its first line, in any spelling, with the tables that share its rows beside it: `df.tracks.tpcNClsFound()`,
`df.mcParticles.mothers()`. `help(df.tracks.tpcNClsFound)` says what is said here. Any stored column is also found by
its name in the file: `df["O2track_iu"]["fX"]`.

- An index column `collisionId` (-1: none) also gives `collision()`, the row itself, and `has_collision()`; the other
  way round is `collisions.tracks`. A slice index holds the first and the last row; an array index a list of rows.
- *dynamic* and *expression* columns are computed from the stored ones when they are asked for; what stands in their
  brackets is given by the caller. They exist as soon as the columns they read are stored.
- Several versions of a table may be stored side by side: `df.tracksExtra` means the newest, `df.tracksExtra_000` the
  first.
"""


def page() -> str:
    """Return the page as Markdown."""
    models = tables()
    counts = {
        "n_tables": len(models),
        "n_stored": sum(len(m.columns) for m in models.values()),
        "n_dynamic": sum(len(m.dynamic) for m in models.values()),
        "n_expression": sum(len(m.expression) for m in models.values()),
    }
    contents = [f"- [{m.tree}](#{m.tree.lower()}): {_label(m)}" for m in models.values()]
    parts = [HEAD.format(**counts), "\n".join(contents) + "\n", *map(_section, models.values()), _enums(enums())]
    return "\n".join(parts)


def _section(model: TableModel) -> str:
    getters = getters_of(model.tree, tuple(c.name for c in model.columns))
    parts = [f"## {model.tree}\n", f"{_about(model)}\n"]
    rows = (_stored(model, column, getters) for column in model.columns)
    parts.append(_table(("column", "type", "unit", "getter", "what it is"), rows))
    for kind, derived in (("dynamic", model.dynamic), ("expression", model.expression)):
        if derived:
            rows = (_derived(model, each) for each in derived)
            parts.append(_table((f"{kind} column", "unit", "what it is", "formula"), rows))
    return "\n".join(parts)


def _label(model: TableModel) -> str:
    number = f"_{model.version:03d}" if _newest(model) != model.version else ""
    return f"`df.{label_of(model.tree)}{number}`"


def _newest(model: TableModel) -> int:
    return max(m.version for m in tables().values() if m.description == model.description)


def _about(model: TableModel) -> str:
    name = model.table.removeprefix("Stored")
    parts = [f"{_label(model)}, O2's `{name}` (`{model.ref}`)"]
    if model.row_aligned_with:
        parts.append(f"row by row beside [{model.row_aligned_with}](#{model.row_aligned_with.lower()})")
    if not model.is_produced:
        parts.append("not written by reconstruction")
    return "; ".join(parts) + "." + (f" {_sentence(model.note)}" if model.note else "")


def _stored(model: TableModel, column: ColumnModel, getters: Mapping[str, Getter]) -> tuple[str, ...]:
    text = column.column.text
    if column.kind:
        follow = next(g for g in getters.values() if g.kind == "follow" and g.column == column.name)
        target = column.target or model.tree
        text = f"{text}; `{follow.name}()` in [{target}](#{target.lower()})"
    return f"`{column.name}`", _type(column), column.column.unit, f"`{column.getter}()`", text


def _type(column: ColumnModel) -> str:
    inner = column.column.dtype
    shape = "".join(f"[{n}]" for n in column.column.shape)
    kind = column.kind.removeprefix("self_").replace("_", " ")
    suffix = "[...]" if column.column.is_jagged else ""
    return f"{inner}{shape}{suffix}" + (f", {kind}" if kind else "")


def _derived(model: TableModel, derived: Derived) -> tuple[str, ...]:
    formula = FORMULAS[model.tree, derived.getter]
    text = " ".join(formula.text.split("\n\n")[0].split()).removeprefix("Return ")
    return (
        f"`{derived.getter}({', '.join(formula.arguments)})`",
        formula.unit,
        text.rstrip("."),
        derived.formula,
    )


def _enums(all_of: Mapping[str, Any]) -> str:
    parts = ["## Enumerations\n", "What the values and bits of flag and type columns mean.\n"]
    rows = ((f"`{name}`", ", ".join(f"{k} = {v}" for k, v in values.items())) for name, values in all_of.items())
    return "\n".join([*parts, _table(("name", "values"), rows)])


def _table(heads: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [" | ".join(heads), " | ".join("---" for _ in heads)]
    lines += [" | ".join(_escaped(cell) for cell in row) for row in rows]
    return "".join(f"| {line} |\n" for line in lines)


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _sentence(text: str) -> str:
    text = text.strip()
    return f"{text[:1].upper()}{text[1:].rstrip('.')}." if text else ""


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(page(), encoding="utf-8")
