"""Who makes what O2's users look for and an AOD does not store: told where a getter or a table is not there.

Knows names only.
"""

import re

__all__ = ["maker_of"]

_TASKS = "o2dask.analysis.tasks."
_PHYSICS = "o2dask.analysis.physics."
_MAKERS = {
    r"dcaXY|dcaZ": (f"{_TASKS}TrackPropagation makes TracksDCA", f"{_PHYSICS}propagation.with_tracks_at_dca(df)"),
    r"tpcNSigma\w+": (f"{_TASKS}PidTpc makes TracksPidTpc", f"{_PHYSICS}pid_tpc.tpc_n_sigma(tracks, 'Pi')"),
    r"tofNSigma\w+|beta": (f"{_TASKS}PidTof makes TracksPidTof", f"{_PHYSICS}pid_tof.tof_n_sigma(tracks, 'Pi')"),
    r"timestamp": (f"{_TASKS}TimestampMaker makes Timestamps", ""),
    r"isGlobalTrack\w*|isQualityTrack": (
        f"{_TASKS}TrackSelector makes TrackSelections",
        f"{_PHYSICS}selection.global_track_selection().mask(tracks)",
    ),
    r"sel7|sel8|selection_\w+": (f"{_TASKS}EventSelector makes CollisionSelections", f"{_PHYSICS}selection"),
    r"cent[A-Z]\w+|mult[A-Z]\w+": (f"{_TASKS}Centrality makes Centralities", f"{_PHYSICS}centrality"),
    r"v0s?": (f"{_TASKS}V0Builder makes V0s", f"{_PHYSICS}v0.with_v0s(df)"),
    r"mK0Short|mLambda|mAntiLambda|v0radius|v0cosPA": (
        f"{_TASKS}V0Builder makes V0Cores",
        f"{_PHYSICS}v0.with_v0s(df)",
    ),
}


def maker_of(name: str) -> str:
    """Return what makes a getter or table of O2's helper tasks, as the end of a message; "" if it is none.

    >>> maker_of("dcaXY")[:59]
    '; o2dask.analysis.tasks.TrackPropagation makes TracksDCA; i'
    >>> maker_of("pt")
    ''
    """
    for pattern, (task, function) in _MAKERS.items():
        if re.fullmatch(pattern, name):
            return f"; {task}" + (f"; in a notebook {function}" if function else "")
    return ""
