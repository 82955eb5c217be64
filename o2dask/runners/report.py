"""What a run came to. Knows no Dask and no journal."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from o2dask.monitoring.events import OutputLost, ProcessorRestarted
from o2dask.runners.timeline import History
from o2dask.sink import Receipt
from o2dask.timeframe import TimeframeRef

__all__ = ["Losses", "Quarantined", "RunReport", "Unlisted"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Quarantined:
    """A timeframe that was set aside: why in one line, the file with the whole story, and the story itself.

    One that `is_skipped` failed in a processor, or a workflow, that takes this lightly (``on_error="skip"``).
    """

    ref: TimeframeRef
    reason: str
    file: str = ""
    text: str = field(default="", repr=False)
    is_skipped: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Losses:
    """What an expendable processor did not deliver.

    Attributes
    ----------
    causes : dict of str to int
        Timeframes without its outputs, by cause (see `OutputLost`).
    n_restarts : int
        How often its process was started again.
    text : str
        The story of the first loss.
    """

    causes: Mapping[str, int] = field(default_factory=dict)
    n_restarts: int = 0
    text: str = field(default="", repr=False)

    @property
    def n_outputs(self) -> int:
        """Timeframes without its outputs."""
        return sum(self.causes.values())

    def after(self, event: OutputLost | ProcessorRestarted) -> "Losses":
        """Return the losses with one more."""
        if isinstance(event, ProcessorRestarted):
            return replace(self, n_restarts=self.n_restarts + 1)
        causes = {**self.causes, event.cause: self.causes.get(event.cause, 0) + 1}
        return replace(self, causes=causes, text=self.text or event.text)

    def __str__(self) -> str:
        by_cause = ", ".join(f"{cause} {n}" for cause, n in sorted(self.causes.items()))
        restarts = f"; {self.n_restarts} restart{'s' if self.n_restarts > 1 else ''}" * bool(self.n_restarts)
        return f"{self.n_outputs} lost ({by_cause}){restarts}" if by_cause else f"none lost{restarts}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Unlisted:
    """Timeframes of a stream that the report counts and does not list: it lists the last ones of each kind only.

    `n_files` and `n_bytes` [bytes] are what those committed have written.
    """

    n_committed: int = 0
    n_already_done: int = 0
    n_quarantined: int = 0
    n_skipped: int = 0
    n_files: int = 0
    n_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class RunReport:
    """What a run did with every timeframe it was given; each one is in exactly one of the first four.

    Attributes
    ----------
    committed : tuple of Receipt
        Committed by this run, in the order of the timeframes given.
    already_done : tuple of TimeframeRef
        Committed by an earlier run.
    quarantined : tuple of Quarantined
        Corrupt or crashing; the others were not touched by it.
    abandoned : tuple of TimeframeRef
        Neither committed nor found bad: the run ended before. `--resume` takes them up.
    counters : dict of str to int
        What the processors counted, added up over the timeframes of this run.
    seconds : dict of str to float
        Time inside each processor, added up [s].
    losses : dict of str to Losses
        What expendable processors did not deliver, in timeframes that are committed all the same.
    wall_s : float
        Time from the first timeframe to the last commit [s].
    peak_in_flight, peak_bytes : int
        Most timeframes at once, and the most memory they were thought to take [bytes].
    budget_bytes, memory_bytes : int
        Most memory that timeframes in flight may be thought to take, and that the workers may hold [bytes]; 0: any.
    history : History
        Timeframes in flight, memory and busy workers over time.
    worker_s : float
        Time that workers spent on tasks, processors and all around them [s].
    n_workers, backend : int, str
        What it ran on.
    interrupted : bool
        A stop was asked for and obeyed.
    ended : bool
        A processor has ended the run (`ControlService`); what was abandoned is not to be done.
    failure : str
        What stopped the run and what to do about it; "" if nothing did.
    unlisted : Unlisted
        How many more there were of each kind, in a stream that has no end.
    lost : tuple of str
        What never reached the run, a line each: timeframes dropped or incomplete before it.
    source : mapping of str to int
        What the source and the queues of a stream counted.
    """

    committed: tuple[Receipt, ...] = ()
    already_done: tuple[TimeframeRef, ...] = ()
    quarantined: tuple[Quarantined, ...] = ()
    abandoned: tuple[TimeframeRef, ...] = ()
    counters: Mapping[str, int] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)
    losses: Mapping[str, Losses] = field(default_factory=dict)
    wall_s: float = 0.0
    peak_in_flight: int = 0
    peak_bytes: int = 0
    budget_bytes: int = 0
    memory_bytes: int = 0
    history: History = field(default_factory=History)
    worker_s: float = 0.0
    n_workers: int = 1
    backend: str = "inline"
    interrupted: bool = False
    ended: bool = False
    failure: str = ""
    unlisted: Unlisted = field(default_factory=Unlisted)
    lost: tuple[str, ...] = ()
    source: Mapping[str, int] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Whether every timeframe that was to be done is committed and the output is finished."""
        left = self.abandoned and not self.ended
        n_bad = self.n_quarantined - self.n_skipped
        return not (n_bad or left or self.failure or self.interrupted or self.lost)

    @property
    def n_committed(self) -> int:
        """How many timeframes this run has committed, listed or not."""
        return len(self.committed) + self.unlisted.n_committed

    @property
    def n_already_done(self) -> int:
        """How many were committed before, listed or not."""
        return len(self.already_done) + self.unlisted.n_already_done

    @property
    def n_quarantined(self) -> int:
        """How many were set aside or skipped, listed or not."""
        return len(self.quarantined) + self.unlisted.n_quarantined

    @property
    def n_skipped(self) -> int:
        """How many of these were taken lightly."""
        return sum(q.is_skipped for q in self.quarantined) + self.unlisted.n_skipped

    @property
    def n_files(self) -> int:
        """How many files this run has written."""
        return sum(len(r.files) for r in self.committed) + self.unlisted.n_files

    @property
    def n_bytes(self) -> int:
        """Size of what this run has written [bytes]."""
        return sum(r.n_bytes for r in self.committed) + self.unlisted.n_bytes

    @property
    def n_timeframes(self) -> int:
        """How many timeframes the run was given."""
        return self.n_committed + self.n_already_done + self.n_quarantined + len(self.abandoned)

    @property
    def busy_fraction(self) -> float:
        """Share of the workers' time spent on tasks."""
        return self.worker_s / (self.wall_s * self.n_workers) if self.wall_s else 0.0

    @property
    def overhead_fraction(self) -> float:
        """Share of the workers' time spent outside processors."""
        total = self.wall_s * self.n_workers
        return max(0.0, 1.0 - sum(self.seconds.values()) / total) if total else 0.0

    def __str__(self) -> str:
        parts = [f"{self.n_committed} of {self.n_timeframes} timeframes committed in {self.wall_s:.1f} s"]
        if self.n_already_done:
            parts.append(f"{self.n_already_done} already done")
        if self.n_quarantined:
            parts.append(f"{self.n_quarantined} quarantined")
        parts += self.lost
        if self.abandoned:
            parts.append(f"{len(self.abandoned)} left for --resume")
        parts += [f"{name}: {losses}" for name, losses in self.losses.items()]
        if self.failure:
            parts.append(f"stopped: {self.failure}")
        return "; ".join(parts)
