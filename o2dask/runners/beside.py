"""What runs beside the graphs of a run: who gets which timeframe, in which order, and what is fed back.

Used by the driver, in its thread. Knows timeframes, files and keepers; no Dask.
"""

import heapq
import pickle
import shutil
import tempfile
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Self

import cloudpickle

from o2dask.columns import Columns
from o2dask.errors import ConfigError, FatalError
from o2dask.runners.beside_child import file_of, included, read_file, timeframe_of, write_file
from o2dask.runners.beside_plan import BesideUnit
from o2dask.runners.beside_process import BesideKeeper, Told
from o2dask.runners.late import LateBook
from o2dask.specs import DataRef
from o2dask.stream.descriptor import key_of
from o2dask.stream.ids import IdSet
from o2dask.timeframe import TimeframeId, TimeframeRef
from o2dask.workflow.topology import Topology

__all__ = ["Beside", "leave", "read_feedback"]

MOST_WAITING = 256
"""Timeframes that may wait for an ordered processor before the run waits for it: their data are on disk."""


def leave(folder: str, unit: BesideUnit, ref: TimeframeRef, outputs: Mapping[DataRef, Columns]) -> None:
    """Leave what a unit needs of a timeframe in its folder, on a worker, before the timeframe is committed."""
    needed = {r: columns for r, columns in outputs.items() if r.is_in(set(unit.inputs))}
    write_file(file_of(f"{folder}/{unit.name}", ref.id), ref.id, needed)


def read_feedback(paths: Iterable[str]) -> dict[DataRef, Columns]:
    """Return what was published in these files, on a worker."""
    return {ref: columns for path in paths for ref, columns in read_file(path).items()}


class Beside:
    """The processes beside the graphs.

    Parameters
    ----------
    topology : Topology
        The whole workflow.
    units : tuple of BesideUnit
        From `split`.
    folder : Path, optional
        Where timeframes, snapshots and feedback lie, kept for a run that resumes; None: a folder that goes at the end.
    resume : bool
        Whether to begin with the snapshots there; without it, what is there is removed.

    Attributes
    ----------
    feedback : tuple of str
        Files of what was fed back last, for the graphs to be sent.
    late : LateBook
        Which timeframes wait for ordered processors before they can be committed.
    """

    def __init__(
        self, topology: Topology, units: tuple[BesideUnit, ...], folder: Path | None = None, *, resume: bool = False
    ) -> None:
        self.units = units
        self._is_own = folder is None and bool(units)
        self.folder = "" if not units else str((folder or Path(tempfile.mkdtemp(prefix="o2dask-beside-"))).absolute())
        self._latest: dict[str, str] = {}
        self._published: deque[tuple[str, str]] = deque()
        self._replayed: set[TimeframeId] = set()
        self._keepers: dict[str, BesideKeeper] = {}
        self._assigned: dict[str, TimeframeId] = {}
        self._n_skipped: dict[str, int] = {}
        self._waiting: list[TimeframeId] = []
        self._settled: dict[TimeframeId, TimeframeRef | None] = {}
        self._left: set[TimeframeId] = set()
        self._known = IdSet()
        self._mark: TimeframeId | None = None
        self.late = LateBook("", (), lambda name, timeframe: None)
        if not units:
            return
        data = _pickled(topology)
        for unit in units:
            root = Path(self.folder) / unit.name
            if not resume:
                shutil.rmtree(root, ignore_errors=True)
            try:
                (root / "feedback").mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise ConfigError(f"{root}: cannot be made: {error.strerror}; choose another output") from None
            if before := sorted((root / "feedback").glob("*.ctf"), key=lambda p: int(p.stem)):
                self._latest[unit.name] = str(before[-1])
        self.late = LateBook(self.folder, units, lambda name, timeframe: self._keepers[name].conclude(timeframe))
        for unit in units:
            root, reports = Path(self.folder) / unit.name, _Reports(self._published, self._latest, self.late)
            self._keepers[unit.name] = BesideKeeper(data, unit, topology[unit.processors[0]], str(root), reports)

    @property
    def feedback(self) -> tuple[str, ...]:
        """Files of what was fed back last."""
        while self._published:
            unit, path = self._published.popleft()
            self._latest[unit] = path
        return tuple(self._latest.values())

    def begin(self, refs: Iterable[TimeframeRef] | None, is_committed: Callable[[TimeframeRef], bool]) -> None:
        """Take note of timeframes to come, and take up what an earlier run has left behind its snapshots.

        Of a stream nobody knows what will come (None): what was left waits until the stream gets there, for what was in
        flight when the earlier run ended comes again before.
        """
        if not self._has_ordered:
            return
        for ref in refs or ():
            self.taken(ref)
        left: dict[TimeframeId, TimeframeRef] = {}
        for unit in self.units:
            has = included(self._keepers[unit.name].snapshot)
            for path in sorted((Path(self.folder) / unit.name).glob("TF_*.ctf")):
                ref = TimeframeRef(id=timeframe_of(path.name), url=str(path), index=0)
                if key_of(ref.id) in has or not unit.is_ordered:
                    path.unlink(missing_ok=True)
                elif is_committed(ref):
                    left[ref.id] = ref
        for ref in left.values():
            self.taken(ref)
            self._settled[ref.id] = ref
            self._replayed.add(ref.id)
        if refs is None:
            self._left = set(left)
        self._deliver()

    def wait_ready(self) -> None:
        """Return when all processes have been started."""
        for keeper in self._keepers.values():
            keeper.wait_ready()

    @property
    def _has_ordered(self) -> bool:
        return any(unit.is_ordered for unit in self.units)

    def taken(self, ref: TimeframeRef) -> None:
        """Note that a timeframe is to come: later ones wait for it."""
        if self._has_ordered:
            heapq.heappush(self._waiting, ref.id)
            self._known.add(key_of(ref.id))
            self._reached(ref)

    def seen_done(self, ref: TimeframeRef) -> None:
        """Note that a stream has got to a timeframe that is committed already.

        A worker that outlived the driver of an earlier run may have committed it after `begin` looked: then what it
        left is taken up here.
        """
        if self._has_ordered and key_of(ref.id) not in self._known:
            ordered = [unit.name for unit in self.units if unit.is_ordered]
            left = [name for name in ordered if Path(file_of(f"{self.folder}/{name}", ref.id)).exists()]
            if any(key_of(ref.id) not in included(self._keepers[name].snapshot) for name in left):
                self.taken(ref)
                self._settled[ref.id] = ref
                self._replayed.add(ref.id)
        self._reached(ref)
        self._deliver()

    def _reached(self, ref: TimeframeRef) -> None:
        if self._left and (self._mark is None or self._mark < ref.id):
            self._mark = ref.id
            self._deliver()

    def over(self) -> None:
        """Note that nothing more will come."""
        self._left.clear()
        self._deliver()

    def wanted(self, ref: TimeframeRef) -> tuple[str, ...]:
        """Return which units want what this timeframe makes, which is about to be sent."""
        names = []
        for unit in self.units:
            if unit.is_ordered:
                names.append(unit.name)
            elif unit.name not in self._assigned and not self._keepers[unit.name].n_waiting:
                self._assigned[unit.name] = ref.id
                names.append(unit.name)
            else:
                self._n_skipped[unit.name] = self._n_skipped.get(unit.name, 0) + 1
        return tuple(names)

    def settled(self, ref: TimeframeRef, *, is_committed: bool) -> None:
        """Note that a timeframe is committed, or set aside; if the commit is to wait, that its graph is done."""
        for name, assigned in list(self._assigned.items()):
            if assigned == ref.id:
                del self._assigned[name]
                if is_committed:
                    self._give(name, ref)
                else:
                    Path(file_of(f"{self.folder}/{name}", ref.id)).unlink(missing_ok=True)
        if self._has_ordered:
            self._settled[ref.id] = ref if is_committed else None
            self._deliver()

    def _deliver(self) -> None:
        """Hand on what no earlier timeframe is waited for any more."""
        ordered = [unit.name for unit in self.units if unit.is_ordered]
        while self._waiting and self._waiting[0] in self._settled:
            if self._waiting[0] in self._left and (self._mark is None or self._mark < self._waiting[0]):
                return
            id_ = heapq.heappop(self._waiting)
            self._left.discard(id_)
            if self._waiting and self._waiting[0] == id_:  # taken by this run and left by an earlier one
                continue
            ref = self._settled.pop(id_)
            for name in ordered:
                if ref is not None:
                    self._give(name, ref)
                else:
                    Path(file_of(f"{self.folder}/{name}", id_)).unlink(missing_ok=True)
            self._replayed.discard(id_)

    def _give(self, name: str, ref: TimeframeRef) -> None:
        path = file_of(f"{self.folder}/{name}", ref.id)
        if ref.id in self._replayed:
            self._keepers[name].conclude(ref.id)
        else:
            self.late.given(name, ref)
        if Path(path).exists():
            self._keepers[name].give(ref, path)
        else:
            error = FatalError(f"{path}: a worker wrote it and it is not seen here; have workers share this folder")
            self.late.made(name, ref.id, error)

    @property
    def is_behind(self) -> bool:
        """Whether an ordered processor has so much to do that the run should wait."""
        return any(k.unit.is_ordered and k.n_waiting > MOST_WAITING for k in self._keepers.values())

    @property
    def failure(self) -> str:
        """Why one of them cannot go on; "" while all is well."""
        return next((k.failure for k in self._keepers.values() if k.failure), "")

    def take_told(self) -> list[Told]:
        """Return what they have to tell, and what the asynchronous ones have skipped."""
        told = [keeper.take_told() for keeper in self._keepers.values()]
        if self._n_skipped:
            told.append(Told(counters={f"{name}.skipped": n for name, n in self._n_skipped.items()}))
            self._n_skipped = {}
        return told

    def prune(self, in_use: set[str]) -> None:
        """Remove feedback that is neither the last nor used by a graph in flight."""
        keep = in_use | set(self.feedback)
        for unit in self.units if self._latest else ():
            for path in (Path(self.folder) / unit.name / "feedback").glob("*.ctf"):
                if (
                    str(path) not in keep
                    and path.stem.isdigit()
                    and int(path.stem) < _stem(self._latest.get(unit.name))
                ):
                    path.unlink(missing_ok=True)

    def close(self, *, drain: bool = True) -> None:
        """End them: with `drain` after all that was handed on, else as soon as may be."""
        for keeper in self._keepers.values():
            keeper.close(drain=drain)

    @property
    def n_left(self) -> int:
        """How many timeframes wait to be handed on, or are being dealt with, and processors to be ended."""
        keepers = self._keepers.values()
        return len(self._settled) + sum(keeper.n_waiting + (not keeper.has_ended) for keeper in keepers)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close(drain=False)
        if self._is_own:
            shutil.rmtree(self.folder, ignore_errors=True)


class _Reports:
    """Notes what keepers tell, in their threads, for the driver to read."""

    def __init__(self, published: deque[tuple[str, str]], latest: dict[str, str], late: LateBook) -> None:
        self._published, self._latest, self.made = published, latest, late.made

    def feedback(self) -> tuple[str, ...]:
        """Return the files of what was fed back last, as far as the driver knows."""
        return tuple(self._latest.values())

    def published(self, name: str, path: str) -> None:
        """Note a file of new feedback."""
        self._published.append((name, path))


def _stem(path: str | None) -> int:
    return int(Path(path).stem) if path else 0


def _pickled(topology: Topology) -> bytes:
    try:
        return bytes(cloudpickle.dumps(topology))
    except (pickle.PicklingError, TypeError, AttributeError) as error:
        raise ConfigError(
            f"ordered and asynchronous processors run in processes of their own, and the workflow cannot be sent "
            f"there: {error}; keep open files and locks out of algorithms"
        ) from None
