"""Where the tables that tasks make, or that are kept, are written: a folder of Parquet, or one derived AO2D.root.

Knows names and storage. Workers commit dataframes to a folder; a ROOT file is made of it when all are there, so that
it appears whole or not at all.
"""

import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from o2dask.analysis.keeping import Kept, Wanted, chosen, read_keep
from o2dask.analysis.task import AnalysisTask
from o2dask.analysis.train import products
from o2dask.aod.store import Store
from o2dask.errors import ConfigError

__all__ = ["Saving"]


class Saving:
    """One target; a context that leaves nothing behind if the run fails."""

    def __init__(self, target: str, folder: str, trees: tuple[Kept, ...]) -> None:
        self.target, self.folder, self.trees = target, folder, trees

    @classmethod
    def of(
        cls,
        save: "str | os.PathLike[str]",
        tasks: Sequence[AnalysisTask],
        keep: Sequence[str] | None,
        stored: Sequence[str] = (),
    ) -> "Saving":
        """Return where the trees made by tasks, or stored in the AOD, go; ConfigError if that cannot work."""
        wanted, named = read_keep(keep)
        target = os.fspath(save) or named
        if not target:
            if keep:
                raise ConfigError("keep: says which tables to save, but not where; give save='folder'")
            return cls("", "", ())
        made = products(tasks)
        if wanted is None and not made:
            raise ConfigError(
                "save: no task makes a table (Produces, Spawns, Builds); say which in keep, or leave it out"
            )
        trees = chosen([Wanted(name=t, text=t) for t in made] if wanted is None else wanted, made, stored)
        if not target.endswith(".root"):
            if there := Store(target).names():
                raise ConfigError(f"{target}: exists and holds {there[0]}; give another folder for the tables")
            return cls(target, target, trees)
        path = Path(target)
        if "://" in target or not path.parent.is_dir():
            raise ConfigError(f"{target}: want a file in a local folder that exists")
        if path.exists():
            raise ConfigError(f"{target}: exists; give another name for the tables")
        return cls(target, tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent), trees)

    @property
    def _is_root(self) -> bool:
        return self.target != self.folder

    def finish(self, n_written: int) -> None:
        """Make the ROOT file, if that is what is wanted."""
        if self._is_root and n_written:
            from o2dask.aod.conversion import convert

            convert(self.folder, self.target)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._is_root:
            shutil.rmtree(self.folder, ignore_errors=True)
