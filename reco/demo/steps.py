"""The steps of the demo, each what a user would do with one command; results are values, nothing is printed."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from o2dask.reco.qc.performance import Performance

if TYPE_CHECKING:
    from o2dask.runners.report import RunReport

__all__ = ["DemoSettings", "judge", "picture", "reconstruct", "simulate"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoSettings:
    """What the demo makes: `timeframes` of `collisions` each of `system` (pbpb or pp), on `workers` processes.

    With `stream` they are reconstructed as they are read out, instead of from a list.
    """

    system: str = "pbpb"
    collisions: int = 8
    timeframes: int = 4
    seed: int = 1
    workers: int = 0
    stream: bool = False


def simulate(settings: DemoSettings, path: Path, progress: Callable[[Any], None] | None = None) -> "RunReport":
    """Simulate timeframes into the CTF file `path`; return the runner's report."""
    from o2dask.ctf import CtfSink
    from o2dask.reco.simulation.timeframes import TimeframeParams, timeframe_refs
    from o2dask.runners.inline import run_inline
    from o2dask.workflow import compile_workflow, load_workflow

    chosen: dict[str, Any] = {
        "system": settings.system,
        "collisions": settings.collisions,
        "seed": settings.seed,
    }
    topology = compile_workflow(load_workflow("sim"), {"event-generator": chosen})
    refs = timeframe_refs(TimeframeParams(**chosen), settings.timeframes)
    return run_inline(topology, refs, CtfSink(str(path)), progress=progress)


def reconstruct(
    settings: DemoSettings, ctf: Path, out: Path, progress: Callable[[Any], None] | None = None
) -> "RunReport":
    """Reconstruct every timeframe of `ctf` into the AOD folder `out` on Dask; return the runner's report."""
    from o2dask.aod import AodSink
    from o2dask.ctf import list_timeframes
    from o2dask.runners.batch import run_batch
    from o2dask.runners.settings import BatchSettings
    from o2dask.workflow import compile_workflow, load_workflow

    topology = compile_workflow(load_workflow("async"))
    sink = AodSink(str(out), {"workflow": topology.name, "fingerprint": topology.fingerprint})
    chosen = BatchSettings(workers=settings.workers) if settings.workers else BatchSettings()
    if settings.stream:
        from o2dask.runners.stream import run_stream
        from o2dask.stream.settings import StreamSettings

        source = StreamSettings(source=f"replay:{ctf}", n_readouts=2)
        return run_stream(topology, source, sink, settings=chosen, progress=progress)
    return run_batch(topology, list_timeframes([str(ctf)]), sink, settings=chosen, progress=progress)


def judge(ctf: Path, aod: Path) -> Performance:
    """Return the performance of all dataframes of `aod` against the truth in `ctf`."""
    from o2dask.aod import open_dataframes
    from o2dask.ctf import list_timeframes, read_timeframe
    from o2dask.specs import DataRef

    refs = {ref.id.df_number: ref for ref in list_timeframes([str(ctf)])}
    total = Performance()
    for dataframe in open_dataframes(str(aod)):
        truth = read_timeframe(refs[dataframe.number], ["MC/TPCREFS/*"])
        tables = {tree: dataframe.read(tree) for tree in dataframe.tables}
        total.fill(tables, truth[DataRef("MC", "TPCREFS")])
    return total


def picture(ctf: Path, path: Path) -> Path:
    """Draw the clusters and tracks of the first timeframe of `ctf` into the PNG file `path`."""
    import numpy as np

    from o2dask.ctf import list_timeframes, read_timeframe
    from o2dask.reco.geometry.tpc import TIME_BIN_BC, pad_rows, sector_alpha
    from o2dask.reco.qc.plots import plot_timeframe
    from o2dask.reco.tpc.codec import decompress_clusters
    from o2dask.reco.tpc.reconstruct import reconstruct as find_tracks
    from o2dask.reco.tpc.schema import PAD_SCALE, TIME_SCALE
    from o2dask.specs import DataRef
    from o2dask.timeframe import BC_NS

    payloads = read_timeframe(list_timeframes([str(ctf)])[0], ["TPC/COMP*"])
    clusters = decompress_clusters(payloads[DataRef("TPC", "COMPCLUSTERS")], payloads[DataRef("TPC", "COMPROWS")])
    tracks, members, _ = find_tracks(clusters)
    rows = pad_rows()
    row, sector = clusters["pad_row"], clusters["sector"]
    y = (clusters["pad"] / PAD_SCALE - (rows.n_pads[row] - 1) / 2) * rows.pad_width[row]
    y = np.where(sector >= 18, -y, y)
    alpha, x = sector_alpha(sector), rows.x[row]
    drawn: Mapping[str, Any] = {
        "x": x * np.cos(alpha) - y * np.sin(alpha),
        "y": x * np.sin(alpha) + y * np.cos(alpha),
        "time": clusters["time"] / TIME_SCALE * TIME_BIN_BC * BC_NS / 1e3,
    }
    on_track = {"cluster": members["cluster"], "track": np.repeat(np.arange(tracks.n_rows), tracks["n_clusters"])}
    return plot_timeframe(drawn, on_track, path)
