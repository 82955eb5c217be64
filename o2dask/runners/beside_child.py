"""What runs in the process of processors beside the graph: `run_task` on what timeframes have left in files for them.

State that a `Task` gives as ``snapshot()``, a dict of arrays, is written aside and renamed, in one file with the set of
timeframes that it includes; ``restore(arrays)`` of a new process begins from there. So a contribution is neither lost
nor made twice, whenever the process is killed.
"""

import logging
import os
import socket
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np

from o2dask.columns import Columns
from o2dask.context import WorkerState
from o2dask.ctf import CtfReader
from o2dask.ctf.batch import encode_timeframe
from o2dask.ctf.parts import write_part
from o2dask.dataspecs import DataRef
from o2dask.runners.beside_plan import BesideUnit
from o2dask.runners.child import BEGUN, Told, open_socket, portable
from o2dask.runners.payload import receive, send
from o2dask.stream.descriptor import key_of
from o2dask.stream.ids import IdSet
from o2dask.timeframe import TimeframeId, TimeframeRef
from o2dask.workflow.execute import run_task
from o2dask.workflow.lifecycle import finish, instance_of
from o2dask.workflow.planner import PhysicalTask
from o2dask.workflow.topology import Topology

__all__ = ["COMMAND", "file_of", "included", "main", "read_file", "timeframe_of", "write_file"]

COMMAND = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from o2dask.runners.beside_child import main; main()"
)
_INCLUDED = "timeframes"


def file_of(folder: str, timeframe: TimeframeId) -> str:
    """Return where a timeframe leaves what the processors in `folder` need of it."""
    t = timeframe
    return f"{folder}/TF_{t.run}_{t.tf_counter}_{t.first_orbit}_{t.n_orbits}.ctf"


def timeframe_of(path: str) -> TimeframeId:
    """Return the timeframe of a file named by `file_of`."""
    run, tf_counter, first_orbit, n_orbits = map(int, Path(path).stem.split("_")[1:])
    return TimeframeId(run=run, tf_counter=tf_counter, first_orbit=first_orbit, n_orbits=n_orbits)


def write_file(path: str, timeframe: TimeframeId, payloads: Mapping[DataRef, Columns]) -> None:
    """Write data to a file, whole or not at all; OSError if it cannot be written."""
    aside = f"{path}.{os.getpid()}"
    try:
        write_part(aside, timeframe, encode_timeframe(payloads, raw=True))
        Path(aside).replace(path)
    except OSError:
        Path(aside).unlink(missing_ok=True)
        raise


def read_file(path: str) -> dict[DataRef, Columns]:
    """Return what `write_file` wrote, memory-mapped and read-only."""
    return {ref: columns.freeze() for ref, columns in CtfReader(path).read(0).items()}


def included(snapshot: str) -> IdSet:
    """Return the timeframes that a snapshot includes; none if there is no snapshot."""
    if not Path(snapshot).exists():
        return IdSet()
    with np.load(snapshot, allow_pickle=False) as stored:
        return IdSet.from_rows(stored[_INCLUDED].tolist())


def main() -> None:
    """Serve until the runner goes or sends None."""
    sock, _ = open_socket()
    with sock, suppress(EOFError, ConnectionError):
        data, unit, snapshot = receive(sock)
        try:
            topology: Topology = cloudpickle.loads(data)
        except Exception as error:  # noqa: BLE001 - modules of the user are imported here
            receive(sock)
            send(sock, f"{type(error).__name__}: {error}")
            return
        _Server(sock, topology, unit, snapshot).serve()


class _Server:
    """Answers one message after the other."""

    def __init__(self, sock: socket.socket, topology: Topology, unit: BesideUnit, snapshot: str) -> None:
        self._sock, self._topology, self._unit, self._snapshot = sock, topology, unit, snapshot
        self._state, self._told = WorkerState(), Told()
        self._included = included(snapshot)
        self._is_restored = False
        outputs = tuple(dict.fromkeys((*unit.outputs, *unit.kept)))
        self._task = PhysicalTask(name=unit.name, processors=unit.processors, inputs=unit.inputs, outputs=outputs)

    def serve(self) -> None:
        """Serve until the end of the stream."""
        logging.getLogger().addHandler(self._told)
        while (message := receive(self._sock)) is not None:
            word, source, path, feedback = message
            answer: Any
            try:
                if word in ("run", "restore"):
                    self._restore(source)
            except Exception as error:  # noqa: BLE001 - without its state it must not go on
                send(self._sock, f"processor {self._unit.name!r} cannot take up its snapshot: {error!r}")
                return
            send(self._sock, BEGUN)
            try:
                if word == "run":
                    answer = self._run(source, path, feedback)
                elif word == "skip":
                    answer = self._included.add(key_of(source.id))
                else:
                    answer = self._save() if word == "save" else True
            except Exception as error:  # noqa: BLE001 - whatever it is, it is the runner's to judge
                if word == "run":
                    self._included.add(key_of(source.id))
                answer = portable(error)
            send(self._sock, (answer, self._told.take()))
        finish(self._topology, self._state)
        send(self._sock, self._told.take())

    def _run(self, source: TimeframeRef, path: str, feedback: tuple[str, ...]) -> Any:
        own = self._state.get(("feedback", self._topology.fingerprint), dict[DataRef, Columns])
        for published in feedback:
            with suppress(FileNotFoundError):  # removed since, for there is newer; then that of before is as good
                own |= read_file(published)
        answer = run_task(self._topology, self._task, source, read_file(path), self._state)
        self._included.add(key_of(source.id))
        fed_back = set(self._unit.outputs)
        own |= {ref: columns for ref, columns in answer.outputs.items() if ref.is_in(fed_back)}
        return answer

    def _instances(self, source: TimeframeRef) -> dict[str, Any]:
        """Return the object behind each processor, made and initialised."""
        made = {n: instance_of(self._topology, self._topology[n], source, self._state) for n in self._unit.processors}
        return {name: getattr(instance.run, "__self__", None) for name, instance in made.items()}

    def _restore(self, source: TimeframeRef) -> None:
        """Begin with the state of the snapshot, before the first timeframe."""
        if self._is_restored:
            return
        self._source = source
        objects = self._instances(source)
        if Path(self._snapshot).exists():
            with np.load(self._snapshot, allow_pickle=False) as stored:
                for name, one in objects.items():
                    prefix = f"{name}/"
                    arrays = {k.removeprefix(prefix): stored[k] for k in stored.files if k.startswith(prefix)}
                    if hasattr(one, "restore") and f"{name}/" in stored.files:
                        one.restore({k: v for k, v in arrays.items() if k})
        self._is_restored = True

    def _save(self) -> bool:
        """Write the snapshot, if any processor gives one; return whether one did."""
        if not self._is_restored:
            return Path(self._snapshot).exists()
        arrays: dict[str, np.ndarray] = {}
        for name, one in self._instances(self._source).items():
            if hasattr(one, "snapshot"):
                arrays[f"{name}/"] = np.zeros(0)
                arrays |= {f"{name}/{key}": np.asarray(value) for key, value in one.snapshot().items()}
        if not arrays:
            return False
        if any(value.dtype.hasobject for value in arrays.values()):
            raise TypeError("snapshot: want a dict of arrays of numbers")
        arrays[_INCLUDED] = np.array(self._included.rows(), np.int64).reshape(-1, 5)
        aside = f"{self._snapshot}.aside"
        with Path(aside).open("wb") as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]
            file.flush()
            os.fsync(file.fileno())
        Path(aside).replace(self._snapshot)
        return True
