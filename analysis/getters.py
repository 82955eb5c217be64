"""Getters: what can be asked of one stored table, by O2's names, with the text that explains it.

Knows the data model, the formulas and the names of stored columns; reads nothing. A tree that the model does not know,
or knows in an older version only, gets its getters from `naming`, and the formulas whose inputs it stores.
"""

import inspect
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import Literal

from o2dask.analysis import naming
from o2dask.analysis.dynamic import formulas_of, generation
from o2dask.analysis.formulas import FORMULAS, Formula
from o2dask.aod.model import ColumnModel, TableModel, tables

__all__ = ["Getter", "getters_of", "model_of"]

Kind = Literal["stored", "formula", "follow", "has", "row"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Getter:
    """One accessor of a table.

    "stored": the column; "formula": computed from columns; "follow": the rows that an index column points to; "has":
    whether there are any; "row": the row number, O2's globalIndex. `target` is the tree or table label that an index
    points to ("" the same table), `index` its kind ("index", "slice_index" or "array_index").
    """

    name: str
    kind: Kind
    tree: str
    column: str = ""
    formula: Formula | None = None
    target: str = ""
    index: str = ""
    text: str = ""

    @property
    def inputs(self) -> tuple[str, ...]:
        """The getters that a formula reads."""
        return self.formula.inputs if self.formula else ()

    @property
    def arguments(self) -> tuple[str, ...]:
        """What the caller has to give."""
        return self.formula.arguments if self.formula else ()

    @property
    def signature(self) -> inspect.Signature:
        """Signature of the accessor, for `help` and completion."""
        return _signature(self.arguments)


@cache
def _signature(arguments: tuple[str, ...]) -> inspect.Signature:
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    return inspect.Signature([inspect.Parameter(name, kind) for name in arguments])


@cache
def model_of(tree: str) -> TableModel | None:
    """Return the model of a tree, of the nearest older version if this one is newer than the model, else None."""
    if tree in tables():
        return tables()[tree]
    stem, version = naming.stem(tree), naming.version(tree)
    older = [t for t in tables().values() if naming.stem(t.tree) == stem and t.version < version]
    return max(older, key=lambda t: t.version, default=None)


def getters_of(tree: str, columns: tuple[str, ...]) -> dict[str, Getter]:
    """Return the getters of a tree that stores `columns`, by name, those that users declared included."""
    return _getters_of(tree, columns, generation())


@cache
def _getters_of(tree: str, columns: tuple[str, ...], generation: int) -> dict[str, Getter]:
    model = model_of(tree)
    known = {c.name: c for c in model.columns} if model else {}
    found: dict[str, Getter] = {}
    for name in columns:
        found.update((g.name, g) for g in _of_column(tree, name, known.get(name)))
    found |= {g.name: g for g in _of_formulas(tree, model, found)}
    return found | {g.name: g for g in _of_user(tree, found)}


def _of_column(tree: str, name: str, model: ColumnModel | None) -> Iterable[Getter]:
    text = f"{model.column.text or 'Stored column'}{_unit(model.column.unit)}" if model else "Stored column"
    where = f"Column {name} of {tree}."
    getter, kind, target = _naming_of(name, model)
    if not kind:
        yield Getter(name=getter, kind="stored", tree=tree, column=name, text=f"{_sentence(text)}\n\n{where}")
        return
    yield Getter(name=getter, kind="stored", tree=tree, column=name, text=f"{_sentence(text)}\n\n-1 is none. {where}")
    follow = getter.removesuffix("s").removesuffix("Id")
    label = f"rows of {target}" if target else "rows of this table"
    yield Getter(
        name=follow,
        kind="follow",
        tree=tree,
        column=name,
        target=target,
        index=kind,
        text=f"Return the {label} that {getter} points to: None (missing) where there is none.\n\n{where}",
    )
    yield Getter(
        name=f"has_{follow}",
        kind="has",
        tree=tree,
        column=name,
        index=kind,
        text=f"Return whether {getter} points to something.\n\n{where}",
    )


def _naming_of(name: str, model: ColumnModel | None) -> tuple[str, str, str]:
    """Return getter, kind of index ("" for a plain column) and its target ("" the same table)."""
    if model:
        is_self = model.kind.startswith("self_")
        return model.getter, model.kind.removeprefix("self_"), "" if is_self else model.target
    if index := naming.index_name(name):
        return index.getter, index.kind, index.label
    return naming.getter_of(name), "", ""


def _of_formulas(tree: str, model: TableModel | None, stored: dict[str, Getter]) -> Iterable[Getter]:
    if model is None:
        return
    in_words = {d.getter: d.formula for d in (*model.dynamic, *model.expression)}
    formulas = {getter: f for (name, getter), f in FORMULAS.items() if name == model.tree}
    for getter, formula in formulas.items():
        if getter in stored or not _is_possible(formula, formulas, stored):
            continue
        text = f"{_with_unit(formula)}\n\nFormula of {tree}: {in_words.get(getter, 'see the text')}."
        yield Getter(name=getter, kind="formula", tree=tree, formula=formula, text=text)


def _of_user(tree: str, there: dict[str, Getter]) -> Iterable[Getter]:
    formulas = formulas_of(tree)
    for name, each in formulas.items():
        if name not in there and _is_possible(each, formulas, there):
            text = f"{_with_unit(each)}\n\nComputed from {', '.join(each.inputs) or 'nothing'} of {tree}."
            yield Getter(name=name, kind="formula", tree=tree, formula=each, text=text)


def _is_possible(formula: Formula, formulas: dict[str, Formula], stored: dict[str, Getter]) -> bool:
    """Return whether all columns that a formula reads, itself or through others, are stored."""
    return all(
        name in stored or (name in formulas and _is_possible(formulas[name], formulas, stored))
        for name in formula.inputs
    )


def _with_unit(formula: Formula) -> str:
    first, *rest = formula.text.split("\n", 1)
    return "\n".join([first.removesuffix(".") + _unit(formula.unit) + ".", *rest])


def _unit(unit: str) -> str:
    return f" [{unit}]" if unit else ""


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:].removesuffix(".") + "."
