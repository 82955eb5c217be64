"""Where a batch run gets its workers: processes on this machine, its GPUs, or a scheduler that runs elsewhere.

Knows Dask and settings; no timeframe, no sink.
"""

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from typing import Any

import dask
from dask.system import CPU_COUNT
from distributed import Client, Future
from distributed.system import MEMORY_LIMIT

from o2dask.errors import ConfigError
from o2dask.runners.local import STUCK_AFTER_S, close_cluster, quiet_dask, start_cpu, start_gpu, worker_config
from o2dask.runners.memory import held_by_children
from o2dask.runners.settings import BatchSettings, payload_budget

__all__ = ["Backend", "open_backend"]

log = logging.getLogger(__name__)

GIVEN_UP_AFTER_S = 3.0
"""A nanny whose worker process is gone for longer has given up and is replaced [s]; it starts another within 1 s."""
CHECK_EVERY_S = 1.0


@dataclass(slots=True, kw_only=True)
class Backend:
    """A client, and what its workers offer.

    Attributes
    ----------
    client : Client
        Connected.
    name : str
        What the workers are, for the report.
    n_workers : int
        Tasks that can run at once.
    budget : int
        What timeframes in flight may take together [bytes].
    memory : int
        What the workers may take together [bytes]; more than `budget` by what they need for themselves.
    worker_limit : int
        What one worker may take before its nanny kills it [bytes]; 0: no limit.
    without : frozenset of str
        Resources that tasks may ask for and that are not there, to be left out.
    cluster : LocalCluster, optional
        Ours, to be supervised; None for an external scheduler.
    notices : list of str
        What the user should know.
    """

    client: Client
    name: str
    n_workers: int
    budget: int
    memory: int
    worker_limit: int = 0
    without: frozenset[str] = frozenset()
    cluster: Any = None
    patience_s: float = 120.0
    notices: list[str] = field(default_factory=list)
    _where: str = "(closed)"
    _checked: float = 0.0
    _alone_since: float = 0.0
    _addresses: dict[Any, str] = field(default_factory=dict)
    _missing: dict[Any, float] = field(default_factory=dict)

    @property
    def is_connected(self) -> bool:
        """Whether the scheduler is there."""
        return self.client.status == "running"

    @property
    def address(self) -> str:
        """Address of the scheduler."""
        if self.client.scheduler:
            self._where = str(self.client.scheduler.address)
        return self._where

    @property
    def loss(self) -> str:
        """What to say when the scheduler is gone: with it went all that was in flight, even if it comes back."""
        return (
            f"lost the scheduler at {self.address}; what is committed is safe: start it again and go on with --resume"
        )

    def measure(self) -> int:
        """Return what the workers and their children hold now [bytes], -1 if nobody can tell; may take a while."""
        if self.cluster is not None:
            return held_by_children()
        if not self.is_connected:
            return -1
        try:
            scheduler: Any = self.client.scheduler
            workers = self.client.sync(scheduler.identity, n_workers=-1, callback_timeout=2)["workers"]
        except (OSError, ValueError, AttributeError):
            return -1
        return sum(int(worker["metrics"].get("memory", 0)) for worker in workers.values())

    def supervise(self, *, now_please: bool = False) -> str:
        """Replace what died for good; return why the run cannot go on, or "". Cheap: looks once a second only.

        A nanny restarts its worker by itself, but gives up when the worker dies while it starts (3 of 6 crash runs).
        """
        if not self.is_connected:
            return self.loss
        now = time.monotonic()
        if now - self._checked < CHECK_EVERY_S and not now_please:
            return ""
        self._checked = now
        if self.cluster is not None:
            self._replace_lost(now)
        if self._n_alive():
            self._alone_since = now
        elif self._alone_since and now - self._alone_since > self.patience_s:
            return f"no worker at {self.address} for {self.patience_s:.0f} s; start workers, then go on with --resume"
        return ""

    def withdraw(self, futures: Sequence["Future[Any]"], topic: str, plugin: str) -> str:
        """Take back what a run has sent there and set up; without a scheduler there is nothing to take back.

        Returns what the user should know, "" if nothing.
        """
        if not self.is_connected:
            return ""
        try:
            if futures:
                self.client.cancel(futures, force=True)
            self.client.unsubscribe_topic(topic)
            self.client.unregister_worker_plugin(plugin)
        except OSError as error:
            return f"the scheduler left before the run was withdrawn from it: {error}"
        return ""

    def _n_alive(self) -> int:
        if self.cluster is not None:
            return len(self.cluster.scheduler_info["workers"])
        try:
            scheduler: Any = self.client.scheduler
            return len(self.client.sync(scheduler.ncores, callback_timeout=2))
        except (OSError, ValueError, AttributeError):  # the scheduler is going; the connection will tell
            return 1

    def _replace_lost(self, now: float) -> None:
        alive = {worker["name"]: address for address, worker in self.cluster.scheduler_info["workers"].items()}
        lost = [name for name in self.cluster.worker_spec if name not in alive]
        for name, address in self._addresses.items():
            if alive.get(name) != address and name not in self._missing:
                self.notices.append(f"worker {name} died and is replaced")
        self._addresses |= alive
        self._missing = {name: self._missing.get(name, now) for name in lost}
        given_up = [name for name, since in self._missing.items() if now - since > self._patience_with(name)]
        if given_up:
            self.cluster.sync(self.cluster.scale_down, given_up)
            for name in given_up:
                self._missing.pop(name), self._addresses.pop(name, None)
            self.notices.append(f"worker {', '.join(map(str, given_up))} did not come back; starting another")
        if given_up or len(self.cluster.workers) < self.n_workers:
            self.cluster.scale(self.n_workers)

    def _patience_with(self, name: Any) -> float:
        nanny = self.cluster.workers.get(name)
        is_alive = nanny is not None and getattr(nanny, "is_alive", lambda: True)()
        return STUCK_AFTER_S if is_alive else GIVEN_UP_AFTER_S


@contextmanager
def open_backend(settings: BatchSettings, wanted: frozenset[str]) -> Iterator[Backend]:
    """Give the workers that `settings` ask for; they go when the block ends, those of an external scheduler stay.

    Parameters
    ----------
    settings : BatchSettings
        Which workers.
    wanted : frozenset of str
        Resources that some task of the run asks for.

    Raises
    ------
    ConfigError
        If the scheduler does not answer, has no workers or not the resources, or if the memory cannot do.
    """
    with ExitStack() as stack:
        if settings.scheduler:
            backend = _connect(settings, wanted, stack)
        else:
            backend = _start(settings, wanted, stack)
        yield backend


def _start(settings: BatchSettings, wanted: frozenset[str], stack: ExitStack) -> Backend:
    n = settings.workers or CPU_COUNT
    memory = settings.memory_bytes or int(0.8 * MEMORY_LIMIT)
    payload_budget(memory, n)
    stack.enter_context(dask.config.set(worker_config(n)))
    stack.enter_context(quiet_dask())
    notices: list[str] = []
    cluster, name = None, ""
    if settings.gpu or (settings.gpu is None and "GPU" in wanted):
        cluster, note = start_gpu(settings, memory)
        notices.append(note)
        name = "LocalCUDACluster"
    if cluster is None:
        cluster, name = start_cpu(settings, n, memory // n), "LocalCluster"
    stack.callback(close_cluster, cluster)
    n = len(cluster.worker_spec)
    client = stack.enter_context(closing(Client(cluster, set_as_default=False)))
    client.wait_for_workers(n, timeout=120)
    return Backend(
        client=client,
        name=name,
        n_workers=n,
        budget=payload_budget(memory, n),
        memory=memory,
        worker_limit=memory // n,
        without=wanted & {"GPU"} if name == "LocalCluster" else frozenset(),
        cluster=cluster,
        patience_s=settings.patience_s,
        notices=notices,
    )


def _connect(settings: BatchSettings, wanted: frozenset[str], stack: ExitStack) -> Backend:
    where, limit = settings.scheduler, settings.connect_timeout_s
    try:
        client = Client(where, timeout=limit, set_as_default=False)
    except (OSError, ValueError, TimeoutError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ConfigError(
            f"no scheduler at {where}: {reason}; start one (dask scheduler) or leave out --scheduler"
        ) from None
    stack.enter_context(closing(client))
    try:
        client.wait_for_workers(1, timeout=limit)
    except TimeoutError:
        raise ConfigError(f"scheduler {where} has no workers; start some: dask worker {where} --nthreads 1") from None
    workers = client.scheduler_info(n_workers=-1)["workers"].values()
    offered = {name for worker in workers for name in worker["resources"]}
    if lacking := wanted - offered - {"GPU"}:
        raise ConfigError(
            f"no worker at {where} has the resource {', '.join(sorted(lacking))}; "
            f'start one: dask worker {where} --resources "{sorted(lacking)[0]}=1"'
        )
    slots = sum(worker["nthreads"] for worker in workers)
    limits = [worker["memory_limit"] or 0 for worker in workers]
    memory = settings.memory_bytes or (sum(limits) if all(limits) else int(0.8 * MEMORY_LIMIT))
    notices = []
    if "GPU" in wanted - offered:
        notices.append(f"no worker at {where} has the resource GPU; running on CPUs")
    return Backend(
        client=client,
        name=where,
        n_workers=slots,
        budget=payload_budget(memory, len(workers)),
        memory=memory,
        worker_limit=min(limits, default=0),
        without=(wanted - offered) & {"GPU"},
        patience_s=settings.patience_s,
        notices=notices,
    )
