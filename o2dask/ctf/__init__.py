"""Compressed timeframes at rest: write a mapping of `DataRef` to `Columns`, read it back.

Knows nothing of what the columns mean. Entropy coding: `o2dask.ctf.blocks` and below it; the file: `writer`, `reader`.
"""

from o2dask.ctf.batch import decode_timeframe, encode_timeframe
from o2dask.ctf.errors import CtfError
from o2dask.ctf.info import CtfInfo, FieldInfo, TimeframeInfo, ctf_info
from o2dask.ctf.listing import list_timeframes, read_timeframe
from o2dask.ctf.reader import CtfReader, Damage
from o2dask.ctf.sink import CtfSink
from o2dask.ctf.source import ctf_reader
from o2dask.ctf.writer import CtfWriter

__all__ = [
    "CtfError",
    "CtfInfo",
    "CtfReader",
    "CtfSink",
    "CtfWriter",
    "Damage",
    "FieldInfo",
    "TimeframeInfo",
    "ctf_info",
    "ctf_reader",
    "decode_timeframe",
    "encode_timeframe",
    "list_timeframes",
    "read_timeframe",
]
