"""Memory stays flat over a list of dataframes."""

import gc
import subprocess
import sys
import textwrap
import weakref

from o2dask.analysis import open_aod

MEMORY = """
    import sys, psutil, numpy as np, o2dask as o2
    from o2dask.aod.model import tables
    from o2dask.aod.store import Store, commit_dataframe
    from o2dask.columns import Columns

    class Spectra(o2.AnalysisTask):
        h_pt = o2.Hist.new.Reg(50, 0, 10).Double()
        rss = o2.Output([])
        def process(self, tracks: o2.Tracks):
            self.h_pt.fill(tracks.pt())
            sum(len(tracks[name]) for name in tracks._group.frame.columns("O2track_iu"))
            self.rss += [psutil.Process().memory_info().rss]

    schema, n = tables()["O2track_iu"].schema, 250_000
    rng = np.random.default_rng(1)
    columns = Columns(schema, {c.name: (rng.normal(size=n) * 100).astype(c.dtype) for c in schema.columns})
    for i in range(40):
        commit_dataframe(Store(sys.argv[1]), i, {"O2track_iu": columns}, {})
    result = o2.open_aod(sys.argv[1]).run(Spectra(), scheduler="inline", progress=False)
    assert result.ok and result.n_dataframes == 40
    print(max(result.rss[6:10]), max(result.rss[-4:]), columns.nbytes)
"""


def test_memory_stays_flat_over_a_list_of_dataframes(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(MEMORY), str(tmp_path)], capture_output=True, text=True, check=True
    )
    early, late, per_dataframe = map(int, done.stdout.split())
    assert late - early < 6 * per_dataframe  # 30 dataframes later, and the allocator breathes; kept, it would be 30
    assert early < 60 * per_dataframe


def test_dataframes_that_were_gone_through_are_let_go(aod_folder):
    aod = open_aod([aod_folder] * 4)
    frames = []
    for frame in aod:
        frame.tracks.pt()
        frames.append(weakref.ref(frame))
    del frame
    gc.collect()
    assert sum(ref() is not None for ref in frames) == 4
    assert len(frames) == 12
