"""What runs in the process of one expendable processor: `run_task` on whatever timeframes come through the socket.

Started by `o2dask.runners.isolation`. It has none of the worker's files and sockets, and goes when the worker goes.
"""

import ctypes
import faulthandler
import logging
import os
import resource
import signal
import socket
import sys
import traceback
from contextlib import suppress
from pathlib import Path
from typing import Any

import cloudpickle

from o2dask.context import WorkerState
from o2dask.errors import O2DaskError, ProcessorError
from o2dask.runners.payload import receive, send
from o2dask.runners.step import packed
from o2dask.specs import DataProcessorSpec
from o2dask.workflow import faults
from o2dask.workflow.execute import run_task
from o2dask.workflow.lifecycle import finish, instance_of
from o2dask.workflow.planner import PhysicalTask
from o2dask.workflow.topology import Topology

__all__ = ["BEGUN", "COMMAND", "Told", "limit_memory", "main", "open_socket", "own_memory", "portable"]

COMMAND = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from o2dask.runners.child import main; main()"
"""For ``python -c``: a child finds modules where its worker does, before it imports the first of them."""
BEGUN = "begun"
"""Is sent when the processor is initialised: from here on its deadline counts."""
SLACK = 1.5
"""The system refuses memory at this multiple of the limit, for leaks too fast for the watch of the worker. Lower, and
address space that is reserved and not used would be refused."""
_PR_SET_PDEATHSIG = 1


def open_socket() -> tuple[socket.socket, int]:
    """Return the connection to the process that has started this one, and the limit of its memory [bytes]."""
    sock_fd, fault_fd, parent, limit = map(int, sys.argv[2:6])
    for fd in (sock_fd, fault_fd):
        os.set_inheritable(fd, False)
    _go_with(parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the driver
    fault = os.fdopen(fault_fd, "wb", buffering=0)
    faulthandler.enable(fault)
    faulthandler.register(signal.SIGUSR1, fault, all_threads=True)
    return socket.socket(fileno=sock_fd), limit


def main() -> None:
    """Serve until the worker sends None or goes."""
    sock, limit = open_socket()
    with sock, suppress(EOFError, ConnectionError):
        data, name = receive(sock)
        try:
            topology: Topology = cloudpickle.loads(data)
        except Exception as error:  # noqa: BLE001 - modules of the user are imported here
            receive(sock)
            send(sock, f"{type(error).__name__}: {error}")
            return
        spec = topology[name]
        task = PhysicalTask(
            name=name,
            processors=(name,),
            inputs=tuple(r.ref for i in spec.inputs for r in topology.routes_to(name, i.binding)),
            outputs=tuple(o.ref for o in spec.outputs),
        )
        if limit:
            limit_memory(limit)
        _serve(sock, topology, spec, task)


def _serve(sock: socket.socket, topology: Topology, spec: DataProcessorSpec, task: PhysicalTask) -> None:
    state, told = WorkerState(), Told()
    logging.getLogger().addHandler(told)
    while (message := receive(sock)) is not None:
        source, inputs = message
        if source is None:
            state.get(("feedback", topology.fingerprint), dict).clear()
            state.get(("feedback", topology.fingerprint), dict).update(inputs)
            continue
        with suppress(Exception):  # `run_task` tries again, and tells
            instance_of(topology, spec, source, state)
        send(sock, BEGUN)
        answer: Any
        try:
            answer = run_task(topology, task, source, inputs, state)
            answer.outputs = {ref: packed(columns) for ref, columns in answer.outputs.items()}
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the worker's to judge
            answer = portable(error)
        send(sock, (answer, told.take()))
        del message, source, inputs, answer  # before the next timeframe comes
    finish(topology, state)
    send(sock, told.take())


def portable(error: Exception) -> Exception:
    """Return the error in a form that the worker can unpickle and raise, with its traceback."""
    told = error if isinstance(error, O2DaskError) else ProcessorError(f"{type(error).__name__}: {error}")
    told.add_note("in a process of its own:\n" + "".join(traceback.format_exception(error)))
    return told


class Told(logging.Handler):
    """Keeps warnings, for the worker to log: nobody listens here."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._records: list[tuple[str, int, str]] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep name, level and text."""
        if record.name != faults.__name__:  # these are events as well
            self._records.append((record.name, record.levelno, record.getMessage()))

    def take(self) -> list[tuple[str, int, str]]:
        """Return what there is, and forget it."""
        records, self._records = self._records, []
        return records


def own_memory(pid: int) -> int:
    """Return what a process holds of memory that is its own, not shared or mapped from files [bytes]; 0 if gone."""
    try:
        fields = Path(f"/proc/{pid}/statm").read_text().split()
        return (int(fields[1]) - int(fields[2])) * resource.getpagesize()
    except (OSError, IndexError):
        pass
    import psutil

    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.Error:
        return 0


def limit_memory(limit: int) -> None:
    """Have the system refuse what is far above the limit, counted from now."""
    try:
        status = Path("/proc/self/status").read_text().splitlines()
        held = next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmData"))
        resource.setrlimit(resource.RLIMIT_DATA, (held + int(SLACK * limit),) * 2)
    except (OSError, ValueError, StopIteration):  # not Linux: the watch alone
        return


def _go_with(parent: int) -> None:
    """Have the system kill this process when the thread that started it ends, which is when the worker ends."""
    with suppress(OSError, AttributeError, TypeError):  # not Linux: then at the next message
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL))
    if os.getppid() != parent:
        sys.exit(0)
