"""What can go wrong with conditions: none is valid, one is damaged, the server does not answer."""

from o2dask.errors import DataError, O2DaskError

__all__ = ["ConditionError", "ConditionNotFoundError", "ConditionServerError"]


class ConditionError(DataError):
    """A stored object, or the index of a store, is damaged or not what it says it is; the message names the file."""


class ConditionNotFoundError(O2DaskError, LookupError):
    """No object of a path is valid at a time, under the limits that were asked for."""


class ConditionServerError(O2DaskError, ConnectionError):
    """A server of conditions is down, too slow, or answers nonsense."""
