"""How long a process takes to its first tracks; `tpc_tracking.py` runs it with an empty cache and a full one.

Tracks a few straight tracks as native clusters (pad, time) and as x, y, z with the field of O2's events: both ways into
the tracker, hence every kernel of either. Prints wall and CPU seconds since the process began as JSON.
"""

import json
import time

import numpy as np
import psutil


def straight_tracks(n: int = 6) -> dict[str, np.ndarray]:
    """Return TPC/CLUSTERNATIVE columns of straight tracks along the middle of sectors, one cluster a row."""
    from o2dask.reco.geometry.tpc import N_ROWS, pad_rows
    from o2dask.reco.tpc.schema import PAD_SCALE, TIME_SCALE

    row = np.tile(np.arange(N_ROWS), n)
    sector = np.repeat(3 * np.arange(n), N_ROWS)
    middle = 0.5 * (pad_rows().n_pads[row] - 1)
    time_bin = 450.0 - 1.2 * pad_rows().x[row]
    columns = {"sector": sector, "pad_row": row, "time": time_bin * TIME_SCALE, "pad": middle * PAD_SCALE}
    columns |= {"sigma_pad": 20, "sigma_time": 25, "q_max": 60, "q_tot": 200, "flags": 0}
    return {name: np.broadcast_to(values, row.shape) for name, values in columns.items()}


def main() -> None:
    """Track, print the times."""
    from o2dask.columns import Columns
    from o2dask.reco.tpc.field import O2_FIELD_5KG
    from o2dask.reco.tpc.params import reference_params
    from o2dask.reco.tpc.reconstruct import cluster_positions, reconstruct
    from o2dask.reco.tpc.schema import CLUSTERNATIVE
    from o2dask.reco.tpc.tracking import track_clusters

    values = straight_tracks()
    clusters = Columns(CLUSTERNATIVE, {c.name: values[c.name].astype(c.dtype) for c in CLUSTERNATIVE.columns})
    tracks, _, _ = reconstruct(clusters)
    y, z, _ = cluster_positions(clusters)
    found = track_clusters(clusters["sector"], clusters["pad_row"], y, z, reference_params(), O2_FIELD_5KG)
    cpu = time.process_time()
    wall = time.time() - psutil.Process().create_time()
    print(json.dumps({"wall_s": wall, "cpu_s": cpu, "tracks": tracks.n_rows, "tracks_xyz": len(found.par)}))
