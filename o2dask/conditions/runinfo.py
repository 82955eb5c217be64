"""When a timeframe was taken: orbits count from the start of the run, conditions are valid in ms since 1970.

``ms = ceil((orbit_reset_us + first_orbit * orbit) / 1000)``, as O2's fetcher has it
(Framework/Core/src/CCDBHelpers.cxx).
A run is described at `RUN_PATH`, where the *run number* stands for the time, as in CCDB
(CCDB/src/BasicCCDBManager.cxx); metadata ``SOR`` and ``EOR`` are its start and end [ms].
"""

import logging
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from o2dask.conditions.content import JSON
from o2dask.conditions.errors import ConditionError, ConditionNotFoundError
from o2dask.conditions.model import ConditionHeader, ConditionStore, WritableStore
from o2dask.errors import ConfigError
from o2dask.timeframe import ORBIT_NS, TimeframeId

__all__ = ["ORBIT_RESET_PATH", "RUN_PATH", "SIMULATED_START_MS", "RunInfo", "load_run_info", "put_run_info"]

log = logging.getLogger(__name__)

RUN_PATH = "RCT/Info/RunInformation"
ORBIT_RESET_PATH = "CTP/Calib/OrbitReset"
SIMULATED_START_MS = 1_546_300_800_000
"""Start of every run that no store knows: 2019-01-01, before Run 3, so that no conditions of real data fit it."""
_SIMULATED_LENGTH_MS = 48 * 3_600_000


@dataclass(frozen=True, slots=True, kw_only=True)
class RunInfo:
    """A run and its clock.

    Attributes
    ----------
    run : int
        Its number.
    start_ms, end_ms : int
        [start, end) in ms since 1970.
    orbit_reset_us : int
        Time of orbit 0 [us since 1970].
    """

    run: int
    start_ms: int
    end_ms: int
    orbit_reset_us: int

    def __post_init__(self) -> None:
        for name in ("run", "start_ms", "end_ms", "orbit_reset_us"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 0:
                raise ConfigError(f"run information: want {name} as an int of 0 or more, got {value!r}")
        if self.start_ms >= self.end_ms:
            raise ConfigError(f"run {self.run}: want start_ms < end_ms, got [{self.start_ms}, {self.end_ms})")

    @classmethod
    def simulated(cls, run: int) -> "RunInfo":
        """Return what is assumed of a run that no store knows: orbit 0 at its start, 48 h long."""
        start = SIMULATED_START_MS
        return cls(run=run, start_ms=start, end_ms=start + _SIMULATED_LENGTH_MS, orbit_reset_us=start * 1000)

    @property
    def span(self) -> tuple[int, int]:
        """[start, end) in ms."""
        return (self.start_ms, self.end_ms)

    def timestamp(self, timeframe: TimeframeId) -> int:
        """Return when the timeframe began [ms since 1970]."""
        if timeframe.run != self.run:
            raise ConfigError(f"run information of run {self.run}: want a timeframe of that run, got {timeframe}")
        return math.ceil((self.orbit_reset_us + timeframe.first_orbit * ORBIT_NS / 1000) / 1000)

    def to_json(self) -> dict[str, int]:
        """Return the fields, for JSON."""
        return asdict(self)

    @classmethod
    def from_json(cls, described: Mapping[str, Any], where: str = "run information") -> "RunInfo":
        """Return the run that `to_json` gave; ConditionError if it is not one."""
        try:
            return cls(**{name: described[name] for name in ("run", "start_ms", "end_ms", "orbit_reset_us")})
        except (KeyError, TypeError, ConfigError) as error:
            raise ConditionError(f"{where}: not the description of a run: {error}") from None


def put_run_info(store: WritableStore, info: RunInfo) -> ConditionHeader:
    """Store what is known of a run, for `load_run_info`, and return the header of the object."""
    metadata = {"SOR": str(info.start_ms), "EOR": str(info.end_ms)}
    return store.put(RUN_PATH, info.to_json(), info.run, info.run + 1, metadata=metadata)


def load_run_info(store: ConditionStore, run: int, *, created_not_after: int | None = None) -> RunInfo:
    """Return what the store knows of a run: our JSON, or CCDB's metadata and its time of the orbit reset.

    Raises
    ------
    ConditionNotFoundError
        If the store does not know the run.
    ConditionError
        If what it says makes no sense.
    """
    found = store.get(RUN_PATH, run, created_not_after=created_not_after)
    where, told = f"{RUN_PATH} of run {run}", found.header.metadata
    if found.header.content_type == JSON:
        return RunInfo.from_json(found.content, where)
    try:
        start, end = int(told["SOR"]), int(told["EOR"])
    except (KeyError, ValueError):
        raise ConditionError(f"{where}: want metadata SOR and EOR in ms, got {dict(told)!r:.200}") from None
    reset = store.get(ORBIT_RESET_PATH, start, created_not_after=created_not_after)
    try:
        orbit_reset_us = int(reset.as_root()[0])
    except (TypeError, ValueError, IndexError, KeyError) as error:
        raise ConditionError(
            f"{reset.header}: want a vector with the time of orbit 0 [us], got {error!r:.200}"
        ) from None
    return RunInfo(run=run, start_ms=start, end_ms=end, orbit_reset_us=orbit_reset_us)


def run_info_or_simulated(store: ConditionStore, run: int, created_not_after: int | None) -> RunInfo:
    """Return what the store knows of a run, else what is assumed of a simulated one."""
    try:
        return load_run_info(store, run, created_not_after=created_not_after)
    except ConditionNotFoundError:
        info = RunInfo.simulated(run)
        log.info(
            "run %d: %s is not in %s; its orbit 0 is taken to be at %d ms", run, RUN_PATH, store.url, info.start_ms
        )
        return info
