"""Time as the experiment counts it: bunch crossings, orbits, timeframes.

Knows numbers only, no detector and no file. Laws of the timeframe: half-open in BC; every record lies in exactly one
timeframe; ids only grow within a stream; an empty timeframe is valid everywhere.
"""

from dataclasses import dataclass

from o2dask.errors import SpecError

__all__ = [
    "BCS_PER_ORBIT",
    "BC_NS",
    "ORBITS_PER_TIMEFRAME",
    "ORBIT_NS",
    "InteractionRecord",
    "TimeframeId",
    "TimeframeRef",
    "enumerated",
]

BCS_PER_ORBIT = 3564
"""Bunch crossings per LHC orbit (Common/Constants/include/CommonConstants/LHCConstants.h)."""
BC_NS = 10e9 / 400.789e6
"""Length of a bunch crossing [ns]: ten periods of the 400.789 MHz radio frequency."""
ORBIT_NS = BCS_PER_ORBIT * BC_NS
"""Length of an orbit [ns]."""
ORBITS_PER_TIMEFRAME = 32
"""Orbits per timeframe since 2023 (128 before)."""


@dataclass(frozen=True, slots=True, order=True)
class InteractionRecord:
    """A bunch crossing of the run: orbit and BC within the orbit."""

    orbit: int
    bc: int

    def __post_init__(self) -> None:
        if not 0 <= self.bc < BCS_PER_ORBIT or self.orbit < 0:
            raise SpecError(f"interaction record: want orbit >= 0 and 0 <= bc < {BCS_PER_ORBIT}, got {self}")

    @classmethod
    def from_global_bc(cls, global_bc: int) -> "InteractionRecord":
        """Return the record of a BC counted from orbit 0 of the run."""
        return cls(*divmod(int(global_bc), BCS_PER_ORBIT))

    @property
    def global_bc(self) -> int:
        """BC counted from orbit 0 of the run."""
        return self.orbit * BCS_PER_ORBIT + self.bc

    def __str__(self) -> str:
        return f"{self.orbit}:{self.bc}"


@dataclass(frozen=True, slots=True, order=True, kw_only=True)
class TimeframeId:
    """Which timeframe: run, counter in the run, first orbit, length [orbits]."""

    run: int
    tf_counter: int
    first_orbit: int
    n_orbits: int = ORBITS_PER_TIMEFRAME

    def __post_init__(self) -> None:
        if not 0 <= self.run < 1 << 31 or self.tf_counter < 0 or not 0 <= self.first_orbit < 1 << 32:
            raise SpecError(f"timeframe id: want 0 <= run < 2^31, counter >= 0, 0 <= orbit < 2^32, got {self}")
        if self.n_orbits < 1:
            raise SpecError(f"timeframe id: want n_orbits >= 1, got {self.n_orbits}")

    @property
    def df_number(self) -> int:
        """Number of the AOD folder ``DF_<number>``: ``(run << 32) + first_orbit``."""
        return (self.run << 32) + self.first_orbit

    @property
    def first_bc(self) -> int:
        """First global BC of the timeframe."""
        return self.first_orbit * BCS_PER_ORBIT

    @property
    def n_bcs(self) -> int:
        """Length of the timeframe [BC]."""
        return self.n_orbits * BCS_PER_ORBIT

    def __contains__(self, record: InteractionRecord) -> bool:
        return self.first_bc <= record.global_bc < self.first_bc + self.n_bcs

    def __str__(self) -> str:
        return f"run {self.run} TF {self.tf_counter} orbit {self.first_orbit}"


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeframeRef:
    """Where the bytes of a timeframe are: what travels in a graph instead of the bytes.

    `n_bytes` is the size of the stored timeframe, the runner's measure of memory before it runs. `missing` are the
    readouts whose part of it never came, when it was passed on without them.
    """

    id: TimeframeId
    url: str
    index: int
    n_bytes: int = 0
    missing: tuple[int, ...] = ()

    def __str__(self) -> str:
        return f"{self.id} ({self.url}#{self.index})"


ENUMERATED = "enumerate:"
"""Url of timeframes that are stored nowhere."""


def enumerated(n: int, *, first: int = 0, run: int = 0) -> list[TimeframeRef]:
    """Return `n` consecutive timeframes that hold nothing: for workflows whose sources make up their data.

    >>> [str(ref.id) for ref in enumerated(2, first=5, run=7)]
    ['run 7 TF 5 orbit 160', 'run 7 TF 6 orbit 192']
    """
    counters = range(first, first + n)
    ids = [TimeframeId(run=run, tf_counter=i, first_orbit=i * ORBITS_PER_TIMEFRAME) for i in counters]
    return [TimeframeRef(id=id_, url=ENUMERATED, index=id_.tf_counter) for id_ in ids]
