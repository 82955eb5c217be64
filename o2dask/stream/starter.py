"""Starts the processes of a stream by forking one that has imported what they need: 20 ms instead of 2 s of CPU.

Two halves. `Starter` lives in the supervisor; `main` is the process that forks, single-threaded, knowing nothing of the
stream. They talk over a socket: a request is a line of JSON with three descriptors for standard input, output and
error; answers are lines ``{"started": pid}`` and ``{"ended": pid, "status": n}``. When the socket closes, the process
goes.
"""

import array
import gc
import json
import os
import random
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

__all__ = ["Forked", "Starter", "acquire", "main", "release"]

PRELOAD = ("distributed", "pyarrow", "o2dask.ctf", "o2dask.stream.readout", "o2dask.stream.builder")
TURN_S = 0.05
"""How long one thread listens before another has its turn [s]."""
START_S = 60.0
"""Time for the process that forks to import what it is to hold [s]; 1 to 5 s are usual."""
_IMPORTS = "import json, sys; sys.path[:] = json.loads(sys.argv[1])"
_COMMAND = f"{_IMPORTS}; from o2dask.stream.starter import main; main(*sys.argv[2:])"


class Forked:
    """A process that was started: its number, and the ends of its pipes that are ours."""

    def __init__(self, pid: int, stdin: int, stdout: int, stderr: int) -> None:
        self.pid, self.stdin, self.stdout, self.stderr = pid, stdin, stdout, stderr

    def write(self, text: str) -> None:
        """Write to its standard input; OSError if it is gone."""
        os.write(self.stdin, text.encode())

    def close(self) -> None:
        """Close our ends: a process that reads its standard input goes."""
        self.close_input()
        for fd in (self.stdout, self.stderr):
            with suppress(OSError):
                os.close(fd)
        self.stdout = self.stderr = -1

    def close_input(self) -> None:
        """Close its standard input."""
        if self.stdin >= 0:
            os.close(self.stdin)
            self.stdin = -1


class Starter:
    """Starts processes and learns how they end, for any thread. Is itself started when first needed, or again."""

    def __init__(self, preload: Sequence[str] = PRELOAD) -> None:
        self._preload = ",".join(preload)
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._sock: socket.socket | None = None
        self._rest = b""
        self._statuses: dict[int, int] = {}

    def start(self, module: str, settings: Mapping[str, Any]) -> Forked:
        """Return a new process that runs ``start()`` of `module` with `settings`; OSError if that fails."""
        pipes = [os.pipe() for _ in range(3)]
        (in_read, in_write), (out_read, out_write), (err_read, err_write) = pipes
        try:
            where = {"path": sys.path, "folder": str(Path.cwd()), "environment": dict(os.environ)}
            request = json.dumps([module, dict(settings), where]).encode() + b"\n"
            with self._lock:
                pid = self._request(request, (in_read, out_write, err_write))
        except BaseException:
            for fd in (in_write, out_read, err_read):
                os.close(fd)
            raise
        finally:
            for fd in (in_read, out_write, err_write):
                os.close(fd)
        return Forked(pid, in_write, out_read, err_read)

    def _request(self, request: bytes, fds: tuple[int, int, int]) -> int:
        for attempt in range(2):
            sock = self._connected()
            try:
                socket.send_fds(sock, [request[:1]], list(fds))
                sock.sendall(request[1:])
                while True:
                    answer = self._answer(START_S)
                    if "started" in answer:
                        return int(answer["started"])
            except (OSError, EOFError, TimeoutError) as error:
                self._drop()
                if attempt:
                    raise OSError(f"the process that starts others does not answer: {error}") from error
        raise AssertionError

    def status(self, pid: int, timeout_s: float) -> int | None:
        """Return how a process ended, as `subprocess` says it; None if nobody can tell."""
        end = time.monotonic() + timeout_s
        while True:
            with self._lock:
                with suppress(TimeoutError):
                    try:
                        while pid not in self._statuses and self._sock is not None:
                            self._answer(TURN_S)
                    except (OSError, EOFError) as error:
                        if isinstance(error, TimeoutError):
                            raise
                        self._drop()
                if pid in self._statuses or self._sock is None or time.monotonic() > end:
                    return self._statuses.pop(pid, None)

    def close(self) -> None:
        """End the process that starts others; those it started are not touched."""
        with self._lock:
            self._drop()

    def _connected(self) -> socket.socket:
        if self._sock is None:
            self._sock, theirs = socket.socketpair()
            words = [sys.executable, "-c", _COMMAND, json.dumps(sys.path), str(theirs.fileno()), self._preload]
            threads = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
            try:
                self._process = subprocess.Popen(
                    words,
                    pass_fds=(theirs.fileno(),),
                    stdin=subprocess.DEVNULL,
                    start_new_session=True,  # Ctrl-C is for the driver
                    env={**dict.fromkeys(threads, "1"), **os.environ},
                )
            finally:
                theirs.close()
            self._rest = b""
        return self._sock

    def _answer(self, timeout_s: float) -> dict[str, int]:
        """Return the next answer, noted if it tells of an end."""
        assert self._sock is not None
        while b"\n" not in self._rest:
            self._sock.settimeout(max(timeout_s, 0.001))
            text = self._sock.recv(1 << 16)
            if not text:
                raise EOFError("it has ended")
            self._rest += text
        line, _, self._rest = self._rest.partition(b"\n")
        answer: dict[str, int] = json.loads(line)
        if "ended" in answer:
            self._statuses[answer["ended"]] = answer["status"]
        return answer

    def _drop(self) -> None:
        if self._sock is not None:
            self._sock.close()
            self._sock = None
        if self._process is not None:
            try:
                self._process.wait(1.0)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None


_lock = threading.Lock()
_shared = Starter()
_users = 0


def acquire() -> Starter:
    """Return the starter of this process, and keep it alive until `release`."""
    global _users
    with _lock:
        _users += 1
        return _shared


def release() -> None:
    """Let the starter end when nobody needs it."""
    global _users
    with _lock:
        _users -= 1
        if not _users:
            _shared.close()


def main(fd: str, preload: str) -> None:
    """Fork on request until the other end of the socket closes; import the modules of `preload` first."""
    for module in preload.split(","):
        import_module(module)
    gc.collect()
    gc.freeze()  # collections in children then leave shared pages alone
    sock = socket.socket(fileno=int(fd))
    os.set_inheritable(sock.fileno(), False)
    wake_read, wake_write = os.pipe()
    os.set_blocking(wake_write, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
    with suppress(OSError):
        while True:
            readable, _, _ = select.select([sock.fileno(), wake_read], [], [])
            if wake_read in readable:
                os.read(wake_read, 4096)
                _reap(sock)
            if sock.fileno() in readable:
                request = _received(sock)
                if request is None:
                    return
                text, fds = request
                pid = os.fork()
                if pid == 0:
                    _become(text, fds, (sock.fileno(), wake_read, wake_write))
                for number in fds:
                    os.close(number)
                sock.sendall(json.dumps({"started": pid}).encode() + b"\n")


def _received(sock: socket.socket) -> tuple[bytes, list[int]] | None:
    fds = array.array("i")
    first, ancillary, _, _ = sock.recvmsg(1, socket.CMSG_LEN(3 * fds.itemsize))
    for _, _, data in ancillary:
        fds.frombytes(data[: len(data) - len(data) % fds.itemsize])
    text = first
    while text and not text.endswith(b"\n"):
        more = sock.recv(1 << 16)
        text = text + more if more else b""
    return (text, list(fds)) if text else None


def _reap(sock: socket.socket) -> None:
    with suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            ended = {"ended": pid, "status": os.waitstatus_to_exitcode(status)}
            sock.sendall(json.dumps(ended).encode() + b"\n")


def _become(text: bytes, fds: list[int], foreign: tuple[int, ...]) -> None:
    """Be the process that was asked for; never returns."""
    status = 1
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for number, fd in enumerate(fds):
            os.dup2(fd, number)
        for fd in {*fds, *foreign} - {0, 1, 2}:
            os.close(fd)
        sys.stdin, sys.stdout, sys.stderr = os.fdopen(0), os.fdopen(1, "w"), os.fdopen(2, "w", buffering=1)
        os.setsid()
        module, settings, where = json.loads(text)
        sys.path[:] = where["path"]
        os.environ.update(where["environment"])
        os.chdir(where["folder"])
        sys.argv[:] = [module, json.dumps(settings)]
        with suppress(OSError):  # as top and ps show it: o2dask-readout, o2dask-builder
            Path("/proc/self/comm").write_text(f"o2dask-{module.rpartition('.')[2]}")
        random.seed()  # or all that are forked would draw the same numbers
        if "numpy" in sys.modules:
            sys.modules["numpy"].random.seed()
        import_module(module).start()
        status = 0
    except BaseException as error:  # noqa: BLE001 - the fork must not go on as the process that forks
        with suppress(BaseException):
            print(f"{type(error).__name__}: {error}", file=sys.stderr)  # noqa: T201
    finally:
        os._exit(status)
