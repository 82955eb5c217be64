"""Workers on this machine: how they are started, with what configuration, and how they end.

Knows Dask's clusters and settings; no timeframe, no run.
"""

import logging
import os
import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import dask
from dask.system import CPU_COUNT
from distributed import LocalCluster, Nanny
from distributed.core import Status

from o2dask.errors import ConfigError
from o2dask.runners.settings import BatchSettings

__all__ = ["STUCK_AFTER_S", "close_cluster", "common_options", "quiet_dask", "start_cpu", "start_gpu", "worker_config"]

log = logging.getLogger(__name__)

ALLOWED_FAILURES = 1
"""Deaths of workers that a task may cause and be tried again. 0, and one unlucky worker costs a timeframe; the default
of Dask, 3, lets a timeframe that crashes take four workers with it."""
STUCK_AFTER_S = 90.0
"""A worker that did not come back for longer, though its process lives, is replaced [s]; a start takes 1 to 4 s, and
20 s were seen on a machine with four times more to do than cores."""

CLOSE_S = 20.0
"""Time for a cluster to close [s]: seen to wait for ever, all its workers gone, on a machine with eight times more to
do than cores (distributed 2026.7.1)."""


class SharingCluster(LocalCluster):
    """A cluster of worker processes that share some resources out among them, one to a worker as long as they last.

    A task that asks for a resource goes to a worker that has it, and waits for the task before it there: so no more run
    at once than there is of it. A worker that replaces another takes over its share.
    """

    def __init__(self, shared: Mapping[str, float], n_workers: int, **options: Any) -> None:
        self._shared = dict(shared)
        super().__init__(n_workers=0, **options)  # type: ignore[no-untyped-call]
        self.scale(n_workers)  # type: ignore[no-untyped-call]

    def new_worker_spec(self) -> dict[Any, dict[str, Any]]:
        """Return the next worker, with its share of what the others have not got."""
        (name, spec), *_ = super().new_worker_spec().items()  # type: ignore[no-untyped-call]
        taken = [worker["options"].get("resources") or {} for worker in self.worker_spec.values()]
        left = {what: n - sum(share.get(what, 0.0) for share in taken) for what, n in self._shared.items()}
        share = {what: min(1.0, n) for what, n in left.items() if n > 0}
        return {name: {**spec, "options": {**spec["options"], "resources": share}}}


class QuietNanny(Nanny):
    """Keeps Dask's log of its worker process off the terminal, and leaves the handlers of this process alone.

    Dask's own ``silence_logs`` raises the level of every StreamHandler at the logger ``distributed``, users' as well.
    """

    def __init__(self, scheduler: str, **options: Any) -> None:
        super().__init__(scheduler, **{**options, "silence_logs": None})
        self.silence_logs = logging.CRITICAL  # is passed on to the process


@contextmanager
def quiet_dask() -> Iterator[None]:
    """Keep Dask's log off the terminal: what fails is in the report, with more than Dask knows.

    Only the handler that Dask makes for itself is silenced. It makes none where the user has set up logging.
    """
    form = dask.config.get("distributed.admin.log-format")
    found = [handler for name in ("distributed", "bokeh", "tornado") for handler in logging.getLogger(name).handlers]
    levels = {h: h.level for h in found if getattr(h.formatter, "_fmt", None) == form}
    for handler in levels:
        handler.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for handler, level in levels.items():
            handler.setLevel(level)


def start_cpu(settings: BatchSettings, n: int, limit: int) -> LocalCluster:
    """Return a started cluster of `n` workers with `limit` bytes each; ConfigError if they do not start."""
    options = {"threads_per_worker": 1, "memory_limit": limit, **common_options(settings), "silence_logs": False}
    options["worker_class"] = QuietNanny
    for is_last in (False, False, True):
        try:
            if settings.resources:
                return SharingCluster(settings.resources, n, **options)
            return LocalCluster(n_workers=n, **options)
        except RuntimeError as error:  # of Dask: one worker that is killed while it starts takes the cluster with it
            cause = error.__cause__ or error
            if is_last:
                raise ConfigError(
                    f"workers die while they start: {cause}; look for a memory limit, or what else kills processes"
                ) from error
            log.warning("a worker died while it started (%s); starting again", cause)
    raise AssertionError("not reached")


def start_gpu(settings: BatchSettings, memory: int) -> tuple[Any, str]:
    """Return a cluster of one worker per GPU, or None, and what to tell the user."""
    if settings.resources:
        raise ConfigError("resources: not for workers on GPUs, which have no share but their GPU; give --no-gpu")
    try:
        from dask_cuda import LocalCUDACluster
    except ImportError:
        return None, "GPUs are not used: dask-cuda is not installed (pip install 'o2dask[gpu]'); running on CPUs"
    try:
        cluster = LocalCUDACluster(threads_per_worker=1, resources={"GPU": 1}, **common_options(settings))
    except Exception as error:  # noqa: BLE001 - NVML, driver and CUDA have each their own, none importable without a GPU
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        return None, f"GPUs are not used: {type(error).__name__}: {reason}; running on CPUs"
    return cluster, f"running on {len(cluster.worker_spec)} GPUs"


def close_cluster(cluster: Any) -> None:
    """Close a cluster of ours; workers that do not go within Dask's 5 s (a busy machine, a kernel) are killed.

    Dask would raise TimeoutError here, after all results are safe, or wait for ever: so it closes in a thread, which is
    left alone when that takes too long.
    """
    pids = [nanny.pid for nanny in cluster.workers.values() if getattr(nanny, "pid", None)]
    if _closes(cluster, CLOSE_S):
        return
    log.warning("workers did not close in time and are killed")
    for pid in pids:
        with suppress(OSError):
            os.kill(pid, signal.SIGKILL)
    if not _closes(cluster, CLOSE_S / 4):
        cluster.status = Status.closed  # or Dask tries it again when this process ends


def _closes(cluster: Any, limit_s: float) -> bool:
    """Close a cluster; return whether it did within `limit_s` [s]."""
    done: list[bool] = []

    def close() -> None:
        with suppress(TimeoutError, OSError, AssertionError):
            cluster.close()
            done.append(True)

    thread = threading.Thread(target=close, name="o2dask-close", daemon=True)
    thread.start()
    thread.join(limit_s)
    return bool(done)


def common_options(settings: BatchSettings) -> dict[str, Any]:
    """Return what clusters on this machine are started with: reachable from this machine only, and quiet."""
    return {
        "processes": True,
        # None would open Dask's own page to all the world on port 8787; 0 is any port.
        "dashboard_address": f"127.0.0.1:{settings.dashboard or 0}",
        "worker_dashboard_address": "127.0.0.1:0",
        "scheduler_kwargs": {"dashboard": settings.dashboard is not None},
        "silence_logs": logging.CRITICAL,
        "host": "127.0.0.1",
    } | ({"local_directory": settings.scratch} if settings.scratch else {})


def worker_config(n: int) -> dict[str, Any]:
    """Return the Dask configuration for `n` workers; to be set before they start and as long as they may restart."""
    threads = max(1, CPU_COUNT // n)
    # A nanny writes what is set before the spawn into this process as well, for good: only malloc needs it so early,
    # and numba, running here too, refuses to see its own number of threads change.
    early, late = {"MALLOC_ARENA_MAX": 2}, {"NUMBA_NUM_THREADS": threads}
    return {
        "distributed.nanny.pre-spawn-environ": dask.config.get("distributed.nanny.pre-spawn-environ", {}) | early,
        "distributed.nanny.environ": dask.config.get("distributed.nanny.environ", {}) | late,
        "distributed.scheduler.allowed-failures": ALLOWED_FAILURES,
        # Each stream of messages keeps its last 1000 by default: 10 KiB per timeframe until there are so many.
        "distributed.admin.low-level-log-length": 100,
        "distributed.deploy.lost-worker-timeout": f"{STUCK_AFTER_S:.0f}s",
        "optimization.fuse.delayed": False,
        # Every server looks at its loop 50 times a second by default, and every worker at its stacks 100 times: a
        # twentieth of a core that nobody reads here.
        "distributed.admin.tick.interval": "500ms",
        "distributed.worker.profile.enabled": False,
        # A worker without work looks for some this often; the default of 1 s leaves it idle for several tasks.
        "distributed.scheduler.work-stealing-interval": "50ms",
        # Each server samples the disks of the machine, and each nanny and worker its memory ten times a second.
        "distributed.admin.system-monitor.disk": False,
        "distributed.admin.system-monitor.interval": "5s",
        "distributed.worker.memory.monitor-interval": "500ms",
        "distributed.scheduler.bandwidth": 400_000_000,  # bytes/s of numpy over loopback, 300 to 660 MB/s measured
    }
