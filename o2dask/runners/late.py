"""What the sink keeps of ordered processors: a commit in two halves, because these run beside the graph.

The graph of a timeframe leaves what else the sink keeps in a file; the ordered processors leave theirs when its turn
has come; then one more task commits all of it at once, as if the graph had made it. Until then nothing of the timeframe
is in the output: a run that resumes does it again, and no snapshot may include it yet (`BesideKeeper` sees to that).

Knows files and timeframes; no Dask and no process.
"""

import shutil
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from o2dask.columns import Columns
from o2dask.errors import CommitError
from o2dask.runners.beside_child import file_of, read_file, write_file
from o2dask.runners.beside_plan import BesideUnit
from o2dask.specs import DataRef
from o2dask.timeframe import TimeframeId, TimeframeRef

__all__ = ["LateBook", "gather", "leave_rest", "made_file"]


def made_file(folder: str, unit: BesideUnit, timeframe: TimeframeId) -> str:
    """Return where an ordered processor leaves what the sink keeps of it."""
    return file_of(f"{folder}/{unit.name}/made", timeframe)


def _rest_file(folder: str, late: tuple[BesideUnit, ...], timeframe: TimeframeId) -> str:
    return file_of(f"{folder}/{late[0].name}/rest", timeframe)


def leave_rest(
    folder: str, late: tuple[BesideUnit, ...], ref: TimeframeRef, outputs: Mapping[DataRef, Columns]
) -> None:
    """Leave what the sink keeps of the graph, on a worker; CommitError if it cannot be written."""
    path = _rest_file(folder, late, ref.id)
    try:
        write_file(path, ref.id, outputs)
    except OSError as error:
        raise CommitError(f"{path}: cannot write: {error.strerror or error}") from error


def gather(folder: str, late: tuple[BesideUnit, ...], ref: TimeframeRef) -> dict[DataRef, Columns]:
    """Return all that the sink keeps of a timeframe, in order, on a worker; CommitError if it cannot be read."""
    found: dict[DataRef, Columns] = {}
    paths = [(_rest_file(folder, late, ref.id), False)]
    paths += [(made_file(folder, unit, ref.id), unit.is_expendable) for unit in late]
    for path, may_lack in paths:
        if may_lack and not Path(path).exists():
            continue
        try:
            found |= read_file(path)
        except OSError as error:
            raise CommitError(f"{path}: cannot read: {error.strerror or error}") from error
    return dict(sorted(found.items()))


class LateBook:
    """Which timeframes wait for which ordered processors before they can be committed; for the driver.

    Parameters
    ----------
    folder : str
        That of what runs beside the graph.
    units : iterable of BesideUnit
        All that run there; those count of which the sink keeps anything.
    conclude : callable
        Called with the name of a unit and a timeframe that is committed or set aside.

    Attributes
    ----------
    units : tuple of BesideUnit
        Those of which the sink keeps anything.
    """

    def __init__(self, folder: str, units: Iterable[BesideUnit], conclude: Callable[[str, TimeframeId], None]) -> None:
        self.units = tuple(unit for unit in units if unit.kept)
        self._folder, self._conclude = folder, conclude
        self._names = {unit.name for unit in self.units}
        self._told: deque[tuple[str, TimeframeId, Exception | None]] = deque()
        self._awaited: dict[TimeframeId, tuple[TimeframeRef, set[str]]] = {}
        self._errors: dict[TimeframeId, Exception] = {}
        self.wake: Callable[[], None] = lambda: None
        for unit in self.units:  # what an earlier run left is made again
            for name in ("made", "rest"):
                shutil.rmtree(Path(folder) / unit.name / name, ignore_errors=True)
                (Path(folder) / unit.name / name).mkdir(parents=True, exist_ok=True)

    @property
    def n_awaited(self) -> int:
        """How many timeframes ordered processors have been given, that are not yet committed or set aside."""
        return len(self._awaited)

    def given(self, name: str, ref: TimeframeRef) -> None:
        """Note that a unit is given a timeframe of this run."""
        if name in self._names:
            self._awaited.setdefault(ref.id, (ref, set()))[1].add(name)

    def made(self, name: str, timeframe: TimeframeId, error: Exception | None) -> None:
        """Note, in any thread, that a unit has left what it makes of a timeframe, or failed.

        Of one that an earlier run has committed nobody needs it: the unit only gets its state again.
        """
        if name not in self._names:
            return
        if timeframe in self._awaited:
            self._told.append((name, timeframe, error))
            self.wake()
        else:
            self._forget(timeframe)

    def take(self) -> Iterator[tuple[TimeframeRef, Exception | None]]:
        """Yield timeframes that wait for their commit only, or the error that one of the units has met."""
        while self._told:
            name, id_, error = self._told.popleft()
            ref, names = self._awaited[id_]
            names.discard(name)
            if error is not None:
                self._errors.setdefault(id_, error)
            if not names:
                yield ref, self._errors.pop(id_, None)

    def concluded(self, ref: TimeframeRef) -> None:
        """Note that a timeframe is committed or set aside."""
        if self._awaited.pop(ref.id, None) is not None:
            self._forget(ref.id)
            for name in self._names:
                self._conclude(name, ref.id)

    def _forget(self, id_: TimeframeId) -> None:
        for unit in self.units:
            Path(made_file(self._folder, unit, id_)).unlink(missing_ok=True)
        Path(_rest_file(self._folder, self.units, id_)).unlink(missing_ok=True)
