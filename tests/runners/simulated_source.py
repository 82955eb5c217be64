"""A source of a stream that holds nothing: three timeframes for the simulation, which makes up what is in them."""

from collections.abc import Iterator, Mapping

from o2dask.columns import Columns
from o2dask.reco.simulation.timeframes import TimeframeParams, timeframe_refs
from o2dask.specs import DataRef
from o2dask.timeframe import TimeframeId

__all__ = ["timeframes"]


def timeframes(readout: int, n_readouts: int) -> Iterator[tuple[TimeframeId, Mapping[DataRef, Columns]]]:
    """Give the timeframes that the contract of the simulation runs over."""
    for ref in timeframe_refs(TimeframeParams(system="pp", collisions=2), 3):
        yield ref.id, {}
