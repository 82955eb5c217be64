"""open_aod: a list of dataframes from files and folders, and all of them as one.

Knows lists and names; reading is `o2dask.aod.reader`'s business, tables are `frames`'.
"""

import os
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, overload

from o2dask.analysis.dataframes import Dataframes
from o2dask.analysis.errors import RowError
from o2dask.analysis.frames import Dataframe
from o2dask.analysis.table import Table

if TYPE_CHECKING:
    from o2dask.analysis.result import Result
    from o2dask.analysis.task import AnalysisTask
    from o2dask.aod.dataframe import DataFrameSource

__all__ = ["Aod", "open_aod"]

KEPT = 4
"""Dataframes that keep their columns after use; older ones read again, so that memory stays flat over a long list."""


class Aod(Sequence[Dataframe]):
    """Dataframes in order: ``aod[0].tracks`` of one, ``aod.tracks`` of all, ``for df in aod``, ``aod[2:5]``."""

    def __init__(self, stored: "Sequence[DataFrameSource]") -> None:
        self._stored = tuple(stored)
        self._opened: OrderedDict[int, Dataframe] = OrderedDict()

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle where the dataframes are, not what was read of them."""
        return Aod, (self._stored,)

    def __len__(self) -> int:
        return len(self._stored)

    @overload
    def __getitem__(self, item: int) -> Dataframe: ...
    @overload
    def __getitem__(self, item: slice) -> "Aod": ...
    @overload
    def __getitem__(self, item: str) -> Table: ...
    def __getitem__(self, item: int | slice | str) -> "Dataframe | Aod | Table":
        """Return one dataframe (by number), an AOD of some (slice), or one stored tree of all (by its name)."""
        if isinstance(item, str):
            return self.all[item]
        if isinstance(item, slice):
            return Aod(self._stored[item])
        if not -len(self) <= item < len(self):
            raise RowError(f"dataframe {item}: this AOD has {len(self)}")
        return self._dataframe(item % len(self))

    def __iter__(self) -> Iterator[Dataframe]:
        return (self._dataframe(i) for i in range(len(self)))

    def _dataframe(self, i: int) -> Dataframe:
        frame = self._opened.pop(i, None) or Dataframe(self._stored[i].fresh())
        self._opened[i] = frame
        if len(self._opened) > KEPT:
            self._opened.popitem(last=False)[1].forget()
        return frame

    @cached_property
    def all(self) -> Dataframes:
        """All dataframes as one, end to end; nothing is read before it is used."""
        return Dataframes([Dataframe(stored) for stored in self._stored])

    @property
    def tables(self) -> tuple[str, ...]:
        """The trees stored in any dataframe."""
        return self.all.tables

    def join(self, *trees: str) -> Table:
        """Return trees of all dataframes that share the row number as one table: ``aod.join("O2udtrack", ...)``."""
        return self.all.join(*trees)

    @property
    def stored(self) -> "tuple[DataFrameSource, ...]":
        """Where the dataframes are stored."""
        return self._stored

    def run(self, *tasks: "AnalysisTask", **options: Any) -> "Result":
        """Return what tasks make of all dataframes, in one pass: ``aod.run(Spectra(eta_max=0.5)).h_pt.plot()``.

        Options are those of `o2dask.analysis.running.run_tasks`: scheduler, workers, progress, save, keep, conditions,
        retries, on_error.
        """
        from o2dask.analysis.running import run_tasks

        return run_tasks(tasks, self, **options)

    def __getattr__(self, name: str) -> Table:
        if name.startswith("_"):
            raise AttributeError(name)
        return self.all.__getattr__(name)

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *self.all.group_names})

    def __repr__(self) -> str:
        from o2dask.analysis.show import aod_text

        return aod_text(self)

    def _repr_html_(self) -> str:
        from o2dask.analysis.show import aod_html

        return aod_html(self)


def open_aod(
    source: "str | os.PathLike[str] | Iterable[str | os.PathLike[str]]", *, parents: int = 0, parent_path: str = ""
) -> Aod:
    """Return the dataframes of an AOD; their tables are read when first used.

    Parameters
    ----------
    source : str, path, or several
        A folder of ``DF_<id>/<tree>.parquet``, AO2D.root files, a glob, ``@list.txt`` with one of these a line, any
        URL that fsspec opens, or a list of them.
    parents : int
        Of derived data: 1 gives the tables of the dataframes that they were made from as well, 2 those of their
        parents too; indices then lead there. O2's ``--aod-parent-access-level``.
    parent_path : str
        ``"old;new"``: where parents are now, whose names begin with old.

    Raises
    ------
    O2DaskError
        If something is missing, damaged or no AOD, naming it.

    Examples
    --------
    >>> import o2dask as o2
    >>> aod = o2.open_aod("aod/")  # doctest: +SKIP
    >>> tracks = aod[0].tracks  # doctest: +SKIP
    >>> tracks.pt()[abs(tracks.eta()) < 0.8].mean()  # doctest: +SKIP
    """
    from o2dask.aod.parents import Parents
    from o2dask.aod.reader import open_dataframes

    return Aod(Parents(levels=parents, path=parent_path).of(open_dataframes(source)))
