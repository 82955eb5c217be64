"""Feedback: a calibration that goes back to the processor before it, declared so that it is no loop.

Where timeframes stand alone, as in batch, nothing comes back within one: the tracker takes its default.

    o2dask run examples/workflows/feedback.py:workflow --timeframes 3
    o2dask workflow show examples/workflows/feedback.py:workflow
"""

import numpy as np

import o2dask as o2

DRIFT = 2.58
"""Drift velocity to begin with [cm/us]."""


def track(ctx):
    """Turn drift times into lengths with the velocity known so far."""
    known = ctx.inputs["drift"]
    velocity = DRIFT if known is None else known["velocity"][0]
    ctx.counters["with_default"] = int(known is None)
    ctx.outputs.make("tracks", {"z": velocity * ctx.rng.uniform(0, 97, 100)})


def calibrate(ctx):
    """The longest drift is that from the central electrode, 250 cm away."""
    ctx.outputs.make("drift", {"velocity": np.array([DRIFT * 250 / ctx.inputs["tracks"]["z"].max()])})


def workflow():
    back = "drift:TPC/DRIFT?lifetime=optional&feedback=true"
    return [
        o2.DataProcessorSpec("tracker", inputs=back, outputs="tracks:TPC/TRACKS", algorithm=track),
        o2.DataProcessorSpec("calibrator", inputs="tracks:TPC/TRACKS", outputs="drift:TPC/DRIFT", algorithm=calibrate),
    ]
