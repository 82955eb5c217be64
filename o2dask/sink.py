"""Where results go: the contract of a sink, and the receipt that comes back from it. Knows no file format, no Dask.

The laws of a sink
------------------
1. `commit` is atomic: after a crash at any instruction the timeframe is either wholly there or not there.
2. `commit` is idempotent: a second commit of the same timeframe, even at the same time on another worker (Dask repeats
   what a dead worker had done), leaves the same bytes and returns the same receipt.
3. `is_committed` tells the truth from the storage alone, in any process, at any time, cheaply.
4. A worker may be killed within `commit`: what it leaves half written is no part of the output, and `prepare` and
   `finalize` clear it.
5. A sink is pickled once per run to every worker: it holds paths and settings, no open file.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from o2dask.columns import Columns
from o2dask.specs import DataRef
from o2dask.timeframe import TimeframeId, TimeframeRef

__all__ = ["Receipt", "Sink"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """What one commit wrote: small, travels to the driver and into the journal instead of the data.

    Attributes
    ----------
    timeframe : TimeframeId
        Which timeframe.
    files : tuple of str
        What was written, relative to the sink's own folder where it has one.
    n_bytes : int
        Size of these files [bytes].
    rows : dict of str to int
        Rows by table or datum.
    """

    timeframe: TimeframeId
    files: tuple[str, ...] = ()
    n_bytes: int = 0
    rows: dict[str, int] = field(default_factory=dict, hash=False)

    def to_json(self) -> dict[str, Any]:
        """Return the receipt without its timeframe as JSON values."""
        return {"files": list(self.files), "n_bytes": self.n_bytes, "rows": dict(self.rows)}

    @classmethod
    def from_json(cls, timeframe: TimeframeId, values: Mapping[str, Any]) -> "Receipt":
        """Return the receipt of `timeframe` written by `to_json`."""
        rows = {str(name): int(n) for name, n in values.get("rows", {}).items()}
        return cls(
            timeframe=timeframe, files=tuple(values.get("files", ())), n_bytes=values.get("n_bytes", 0), rows=rows
        )


@runtime_checkable
class Sink(Protocol):
    """What a runner hands the kept outputs of a timeframe to; the laws are at the head of this module.

    Attributes
    ----------
    patterns : tuple of str
        Which data it wants: `fnmatch` patterns as `Topology.select` takes them, such as ``"AOD/*"``.
    """

    @property
    def patterns(self) -> tuple[str, ...]:
        """Which data it wants."""
        ...

    def prepare(self) -> None:
        """Make ready on the driver, before the first timeframe; raises ConfigError if it cannot work."""
        ...

    def commit(self, ref: TimeframeRef, outputs: Mapping[DataRef, Columns]) -> Receipt:
        """Write one timeframe, on a worker; raises CommitError if the storage refuses."""
        ...

    def is_committed(self, ref: TimeframeRef) -> bool:
        """Return whether the timeframe is wholly there."""
        ...

    def finalize(self, refs: Sequence[TimeframeRef]) -> None:
        """Finish on the driver, with every committed timeframe in order; may be called again after a resumed run."""
        ...
