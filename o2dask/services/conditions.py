"""Objects of the store of conditions, for a processor that learns only while it runs which one it needs."""

import re
from typing import TYPE_CHECKING, Any

from o2dask.dataspecs import DataRef
from o2dask.errors import ConfigError
from o2dask.services.registry import service

if TYPE_CHECKING:
    from o2dask.context import ProcessingContext

__all__ = ["Conditions"]

_DATUM = re.compile(r"^[A-Z0-9]{1,4}/[A-Za-z0-9_]{1,16}$")
_BY_PATH = DataRef("CCDB", "OBJECT")
"""What an object that is asked for by its path alone is called in messages."""


@service(per="timeframe")
class Conditions:
    """Gives objects valid for the timeframe: ``ctx.services[Conditions].get("TPC/Calib/VDrift")``.

    What is known before is better an input, ``?lifetime=condition``: then it is in the graph, and checked.
    """

    def __init__(self, ctx: "ProcessingContext") -> None:
        self._ctx = ctx

    @classmethod
    def create(cls, ctx: "ProcessingContext") -> "Conditions":
        """Return the service for one processor on one timeframe."""
        return cls(ctx)

    def get(self, path: str) -> Any:
        """Return the content of the object at `path`; kept on the worker, so read-only."""
        fetcher = self._ctx.conditions
        if fetcher is None:
            raise ConfigError(f"condition {path!r}: there is no store of conditions; give one (--conditions)")
        if _DATUM.match(path):  # the address of a datum, for which the user may have named another path
            return fetcher.fetch(DataRef.parse(path), self._ctx.timeframe, self._ctx.state)
        return fetcher.fetch(_BY_PATH, self._ctx.timeframe, self._ctx.state, path=path)
