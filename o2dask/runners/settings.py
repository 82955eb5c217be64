"""How a batch run is to be run: what a user may choose, checked once. Knows no Dask."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from o2dask.errors import ConfigError

__all__ = ["BatchSettings", "parse_size"]

MIB = 1 << 20

WORKER_BASE_BYTES = 400 * MIB
"""What a worker process takes before its first timeframe, numba and pyarrow imported and kernels compiled (measured
250 to 400 MiB). Too low, and timeframes are promised memory that is not there; too high, and memory lies idle."""

_UNITS = {"": 1, "B": 1} | {
    prefix + tail: base**power
    for power, prefix in enumerate("KMGT", start=1)
    for tail, base in (("", 1024), ("B", 1000), ("iB", 1024))
}


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchSettings:
    """Choices for one batch run.

    Attributes
    ----------
    workers : int, optional
        Worker processes of one thread each; default: one per core. More workers than cores gain nothing; fewer leave
        cores to the kernels' own threads. Not for an external scheduler.
    memory : int or str, optional
        What all workers together may take, ``"8GiB"`` or bytes; default: 80 % of the machine, or what an external
        scheduler's workers have. Too low, and timeframes run one by one; too high, and the system kills workers.
    window : int, optional
        Most timeframes in flight, a group of small ones counting as one: they are in memory one after the other.
        Default: 2 per worker, at least 4. One per worker leaves workers idle between timeframes; many only hold memory.
    group : int
        Most small timeframes, of under 20 ms, that travel together. 1: each alone, and a worker that needs 1 ms for one
        waits several for the next; many cost nothing but that a worker that dies has more of them done again.
    scheduler : str
        Address of a running scheduler (``tcp://host:8786``); "": workers on this machine.
    journal : Path, optional
        Folder of the journal and the quarantine; without it a run cannot be resumed safely.
    resume : bool
        Go on after an earlier run into the same output.
    deadline_s : float, optional
        Longest time in the processors of one timeframe [s]; over it the worker is killed and the timeframe set aside.
        Default: none.
    isolate : bool
        Whether expendable processors run in processes of their own. Without it a crash in one costs its timeframe.
    resources : mapping of str to float
        How many tasks that ask for a resource may run at once on this machine, ``{"TAPE": 1}``; each asks for 1 or
        less. Not for an external scheduler, whose workers say what they have.
    gpu : bool, optional
        Workers on GPUs, one each. Default: if a processor asks for the resource ``GPU`` and there is one.
    dashboard : int, optional
        Port of Dask's dashboard on the loopback interface; default: off.
    scratch : str
        Folder for what workers spill to disk; "": Dask's default.
    expansion : float
        First guess of the memory that a timeframe takes, in units of its stored size; replaced by what is measured.
        Too low, and the first timeframes may take more than `memory`; too high, and the run starts slowly.
    connect_timeout_s, patience_s : float
        How long to wait for an external scheduler to answer [s], and for lost workers to come back [s].
    """

    workers: int | None = None
    memory: int | str | None = None
    window: int | None = None
    group: int = 256
    scheduler: str = ""
    journal: Path | str | None = None
    resume: bool = False
    deadline_s: float | None = None
    isolate: bool = True
    resources: Mapping[str, float] = field(default_factory=dict, hash=False)
    gpu: bool | None = None
    dashboard: int | None = None
    scratch: str = ""
    expansion: float = 16.0
    connect_timeout_s: float = 5.0
    patience_s: float = 120.0

    def __post_init__(self) -> None:
        for name in ("workers", "window", "group"):
            value = getattr(self, name)
            if value is not None and (not isinstance(value, int) or value < 1):
                raise ConfigError(f"{name}: want 1 or more, got {value!r}")
        for name in ("deadline_s", "expansion", "connect_timeout_s", "patience_s"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ConfigError(f"{name}: want more than 0, got {value!r}")
        for name, amount in self.resources.items():
            if not amount > 0:
                raise ConfigError(f"resources: want more than 0 of {name}, got {amount!r}")
        if self.scheduler and self.resources:
            raise ConfigError("resources: the workers of a running scheduler say what they have; leave out --resource")
        if self.memory is not None:
            object.__setattr__(self, "memory", parse_size(self.memory))
        if self.scheduler and self.workers is not None:
            raise ConfigError("workers: a running scheduler has its own; leave out one of --workers and --scheduler")

    @property
    def memory_bytes(self) -> int | None:
        """`memory` in bytes."""
        return None if self.memory is None else int(self.memory)


def parse_size(size: int | str) -> int:
    """Return a size such as ``8GiB``, ``500 MB`` or ``1024`` in bytes.

    >>> parse_size("1.5 GiB"), parse_size("2k"), parse_size(17)
    (1610612736, 2048, 17)
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGTkmgt]?)(i?[Bb])?\s*", str(size))
    if match:
        tail = (match[3] or "").replace("b", "B")
        unit = match[2].upper() + (tail if match[2] else tail.replace("i", ""))
        if n_bytes := int(float(match[1]) * _UNITS[unit]):
            return n_bytes
    raise ConfigError(f"memory: want a size such as 8GiB or 500MB, got {size!r}")


def payload_budget(memory: int, n_workers: int) -> int:
    """Return what timeframes may take out of `memory` [bytes]: all but the workers' own needs."""
    if memory < n_workers * WORKER_BASE_BYTES * 5 // 4:
        raise ConfigError(
            f"memory: want at least {WORKER_BASE_BYTES * 5 // 4 / MIB:.0f} MiB per worker, "
            f"got {memory / MIB:.0f} MiB for {n_workers}; give more --memory or fewer --workers"
        )
    return memory - n_workers * WORKER_BASE_BYTES
