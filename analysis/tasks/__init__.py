"""Tasks that nearly every analysis runs before its own, as O2Physics' Common tasks, and the tables that they make.

``aod.run(TrackPropagation(), PidTpc(), MySpectra())``, or on the command line
``o2dask analysis o2dask.analysis.tasks:TrackPropagation spectra.py:MySpectra --aod aod/``. Thin: settings and tables;
the physics is in `o2dask.analysis.physics`.
"""

from o2dask.analysis.tasks.events import Centrality, EventSelector, TimestampMaker
from o2dask.analysis.tasks.pid import PidTof, PidTpc
from o2dask.analysis.tasks.tables import (
    Centralities,
    CollisionSelections,
    TracksDca,
    TrackSelections,
    TracksPidTof,
    TracksPidTpc,
    V0Cores,
)
from o2dask.analysis.tasks.tracks import TrackPropagation, TrackSelector
from o2dask.analysis.tasks.v0 import V0Builder

__all__ = [
    "Centralities",
    "Centrality",
    "CollisionSelections",
    "EventSelector",
    "PidTof",
    "PidTpc",
    "TimestampMaker",
    "TrackPropagation",
    "TrackSelections",
    "TrackSelector",
    "TracksDca",
    "TracksPidTof",
    "TracksPidTpc",
    "V0Builder",
    "V0Cores",
]
