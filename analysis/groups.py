"""Groups: stored trees that share the row number, seen as one table, and how such tables point to each other.

Knows names, getters and links; holds no rows of its own. The first tree of a group is its head: ``tracks`` is
O2track_iu (or O2track) with its covariance, detector information and labels.
"""

from functools import cache, cached_property, lru_cache
from typing import TYPE_CHECKING

from o2dask.analysis import naming
from o2dask.analysis.dynamic import formulas_of, generation
from o2dask.analysis.errors import UnknownNameError, close_to
from o2dask.analysis.getters import Getter, getters_of
from o2dask.analysis.hints import maker_of
from o2dask.analysis.indices import Grouping, Rows, group
from o2dask.aod.model import tables
from o2dask.errors import DataError

if TYPE_CHECKING:
    from o2dask.analysis.frames import Frame

__all__ = ["Group", "aligned_stems", "label_of"]

# Beyond what the model says is row-aligned: made by helper tasks, or newer than the model.
_BARREL = ("track", "track_iu")
_ALSO_ALIGNED = {
    "timestamps": ("bc",),
    "mfttrackcov": ("mfttrack",),
    "trackextra": ("track",),
    "mctracklabel": ("track",),
    "trackdca": ("track",),
    **dict.fromkeys(("trackselection", "trackpidtpc", "trackpidtof"), _BARREL),
    **dict.fromkeys(("collselection", "centrality"), ("collision",)),
    "v0core": ("v0",),
}


@cache
def aligned_stems(head: str) -> frozenset[str]:
    """Return the stems of the trees that share rows with the head: trackcov_iu and others for track_iu."""
    by_model = {naming.stem(t.tree) for t in tables().values() if naming.stem(t.row_aligned_with or t.tree) == head}
    return frozenset(by_model | {stem for stem, heads in _ALSO_ALIGNED.items() if head in heads}) - {head}


@lru_cache(maxsize=4096)
def label_of(tree: str) -> str:
    """Return what a table is called on a dataframe: tracksIU for O2track_iu, udtrack for an unknown O2udtrack."""
    stem = naming.stem(tree)
    model = next((t for t in tables().values() if naming.stem(t.tree) == stem), None)
    return naming.lower_first(naming.stem(model.table.removeprefix("Stored"))) if model else stem


@lru_cache(maxsize=4096)
def _stored_inputs(tree: str, columns: tuple[str, ...], inputs: tuple[str, ...], generation: int) -> tuple[str, ...]:
    found: dict[str, None] = {}
    for name in inputs:
        inner = getters_of(tree, columns)[name]
        is_stored = inner.kind == "stored"
        deeper = [inner.column] if is_stored else _stored_inputs(tree, columns, inner.inputs, generation)
        found.update(dict.fromkeys(deeper))
    return tuple(found)


@lru_cache(maxsize=1024)
def _getters_of_all(name: str, trees: tuple[tuple[str, tuple[str, ...]], ...], generation: int) -> dict[str, Getter]:
    """Return the getters of trees that store these columns; the same are asked for in every dataframe."""
    found: dict[str, Getter] = {}
    for tree, columns in reversed(trees):
        found.update(getters_of(tree, columns))
    text = f"Return the row number in {name} of the dataframe, counting from 0."
    found["globalIndex"] = Getter(name="globalIndex", kind="row", tree=trees[0][0], text=text)
    return dict(sorted(found.items()))


class Group:
    """Trees of one frame that share the row number; `absent` are those that should but do not, with the reason."""

    def __init__(self, frame: "Frame", name: str, trees: tuple[str, ...], absent: dict[str, str] | None = None) -> None:
        self.frame = frame
        self.name = name
        self.trees = trees
        self.absent = absent or {}
        self._checked: set[str] = set()
        self._getters: tuple[int, dict[str, Getter]] | None = None

    def __reduce__(self) -> tuple[object, ...]:
        return Group, (self.frame, self.name, self.trees, self.absent)

    @cached_property
    def n_rows(self) -> int:
        """Number of rows."""
        return self.frame.n_rows(self.trees[0])

    @property
    def rows(self) -> Rows:
        """All rows."""
        return slice(0, self.n_rows)

    @property
    def getters(self) -> dict[str, Getter]:
        """The getters of all trees; where two have the same name the earlier tree's is meant."""
        if self._getters is None or self._getters[0] != generation():
            trees = tuple((tree, self.frame.columns(tree)) for tree in self.trees)
            self._getters = generation(), _getters_of_all(self.name, trees, generation())
        return self._getters[1]

    def input_of(self, tree: str, name: str) -> Getter:
        """Return the getter that a formula of `tree` reads as `name`."""
        return getters_of(tree, self.frame.columns(tree))[name]

    def check_types(self, getter: Getter) -> None:
        """Raise DataError unless what a getter reads is stored as the data model declares it."""
        if getter.name not in self._checked:
            names = (getter.column,) if getter.column else self.stored_inputs(getter)
            self.frame.check_types(getter.tree, names)
            self._checked.add(getter.name)

    def stored_inputs(self, getter: Getter) -> tuple[str, ...]:
        """Return the stored columns that a formula reads, itself or through others."""
        return _stored_inputs(getter.tree, self.frame.columns(getter.tree), getter.inputs, generation())

    @cached_property
    def links(self) -> dict[str, tuple["Group", tuple[str, str]]]:
        """The tables that point to this one, by name: the group, and tree and name of its index column."""
        found = {}
        for name in self.frame.group_names:
            child = self.frame.group(name)
            for getter in child.getters.values():
                if self._is_parent_of(child, getter) and name not in self.getters:
                    found[name] = (child, (getter.tree, getter.column))
        return found

    def link(self, name: str) -> tuple["Group", tuple[str, str]] | None:
        """Return the table of that name, in any spelling, that points to this one, and its index column."""
        return self.links.get(name) or self.links.get(self.frame.resolve(name) or "")

    def _is_parent_of(self, child: "Group", getter: Getter) -> bool:
        """Return whether the index says "belongs to one of these": collisionId of tracks does, bachelorId does not."""
        if getter.kind != "follow" or getter.index != "index" or not getter.target:
            return False
        label = naming.index_name(getter.column)
        is_plain = label is not None and naming.fold(f"{getter.name}s") == naming.fold(label.label)
        return is_plain and self.frame.resolve_target(getter.target) == self.name and child.name != self.name

    def grouping(self, child: "Group", column: tuple[str, str]) -> Grouping:
        """Return the rows of `child` by the row of this table that its index column points to."""
        return self.frame.cached(("grouping", self.name, column), lambda: self._group_rows(child, column))

    def _group_rows(self, child: "Group", column: tuple[str, str]) -> Grouping:
        child.frame.check_types(column[0], (column[1],))
        (ids,) = child.frame.load(column[0], [column[1]])
        if len(ids) and ids.max() >= self.n_rows:
            where = f"{'.'.join(column)} in {self.frame.label}"
            raise DataError(f"{where}: want rows of {self.name} below {self.n_rows}, got {ids.max()}")
        return group(ids, self.n_rows)

    def target(self, getter: Getter) -> "Group":
        """Return the group that an index getter points to.

        Raises
        ------
        DataError
            If the dataframe does not store it (a derived file may point into its parent file).
        """
        if not getter.target:
            return self
        name = self.frame.resolve_target(getter.target)
        if name is None:
            raise DataError(
                f"{getter.tree}.{getter.column} points to {getter.target}, which {self.frame.label} does not store; "
                f"it stores {', '.join(self.frame.tables)}"
            )
        return self.frame.group(name)

    def unknown(self, name: str) -> Exception:
        """Return the error for a name that this table does not have, with the reason if one is known."""
        for tree, reason in self.absent.items():
            model = getters_of(tree, self.frame.columns(tree))
            if name in model:
                return DataError(f"{self.name}.{name}: {reason}")
        for tree in self.trees:
            if formula := formulas_of(tree).get(name):
                lacking = [each for each in formula.inputs if each not in self.getters]
                return DataError(f"{self.name}.{name}: reads {', '.join(lacking)}, which {tree} does not have")
        hint = close_to(name, [*self.getters, *self.links])
        where = f"{self.name} of {self.frame.label} ({', '.join(self.trees)})"
        return UnknownNameError(f"{where} has no {name!r}; {maker_of(name).removeprefix('; ') or hint}")
