"""Quality control to be watched while it runs: a made-up detector and histograms for whoever connects.

    o2dask stream --workflow examples/workflows/live_qc.py:workflow --source enumerate:1000 --rate 20

and in a notebook, with the address that it prints: `view = o2.connect("tcp://127.0.0.1:...")`, `view.watch(10)`,
`view.plot("mass")`. See `examples/live.ipynb`.
"""

import numpy as np

import o2dask as o2
from o2dask.services import Axis, Histograms

K0S = 0.4976
"""Mass of the K0S [GeV/c2] (PDG)."""
MASS, PT, ETA = Axis("mass", 100, 0.4, 0.6, "GeV/c2"), Axis("pt", 50, 0.0, 5.0, "GeV/c"), Axis("eta", 18, -0.9, 0.9)


def sample(ctx):
    """Make K0S candidates: 200 true ones with a resolution of 5 MeV/c2, 300 chance pairs."""
    mass = np.concatenate([ctx.rng.normal(K0S, 0.005, 200), ctx.rng.uniform(0.4, 0.6, 300)])
    ctx.outputs.make("v0", {"mass": mass, "pt": ctx.rng.exponential(0.8, 500), "eta": ctx.rng.uniform(-1, 1, 500)})


def look(ctx):
    """Fill histograms: they count when the timeframe is committed, once, whatever happened on the way."""
    v0, histograms = ctx.inputs["v0"], ctx.services[Histograms]
    histograms.fill("mass", MASS, v0["mass"])
    histograms.fill("pt_eta", (PT, ETA), v0["pt"], v0["eta"])
    ctx.counters["in_peak"] = int((abs(v0["mass"] - K0S) < 0.015).sum())


def workflow():
    return [
        o2.DataProcessorSpec("sampler", inputs="", outputs="v0:TST/V0", algorithm=sample),
        o2.DataProcessorSpec("qc", inputs="v0:TST/V0", outputs="", algorithm=look, services=(Histograms,)),
    ]
