"""The one error of this room: a compressed timeframe that cannot be read."""

from o2dask.errors import DataError

__all__ = ["CtfError"]


class CtfError(DataError):
    """A CTF file, or one timeframe or block of it, is damaged or alien; the message names all three."""
