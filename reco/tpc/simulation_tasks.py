"""The processor of the TPC simulation: options and payloads in, payloads out; no physics."""

from typing import TYPE_CHECKING

import numpy as np

from o2dask.context import ProcessingContext
from o2dask.reco.calibration.inputs import condition_inputs, uniform_field
from o2dask.reco.tpc.schema import TPC_SCHEMAS
from o2dask.specs import ConfigParamSpec, DataProcessorSpec, parse_inputs, parse_outputs

if TYPE_CHECKING:
    from o2dask.reco.tpc.simulation import Flaws

__all__ = ["run_tpc_simulation", "tpc_simulation"]


def run_tpc_simulation(ctx: ProcessingContext) -> None:
    """Simulate the TPC for the collisions and particles of one timeframe."""
    from o2dask.reco.calibration.inputs import calibration
    from o2dask.reco.tpc.simulation import simulate_tpc
    from o2dask.reco.tpc.simulation_params import TpcSimParams

    options, drift = ctx.options, calibration(ctx, "drift")
    params = TpcSimParams(
        noise_rate=options["noise_rate"],
        material_scale=options["material"],
        bz_kg=uniform_field(ctx),
        cm_per_time_bin=drift.cm_per_time_bin,
        offset_bins=drift.offset_bins,
    )
    # One seed per timeframe, or every timeframe would repeat the same fluctuations for its n-th particle.
    words = [options["seed"], ctx.timeframe.run, ctx.timeframe.first_orbit]
    seed = int(np.random.SeedSequence(words).generate_state(1, np.uint64)[0])
    truth = ctx.inputs["collisions"], ctx.inputs["particles"]
    result = simulate_tpc(*truth, params, seed, n_bcs=ctx.timeframe.n_bcs, flaws=_flaws(ctx))
    for name, columns in result.payloads.items():
        ctx.outputs.make(name, columns)
    for name, count in result.counters.items():
        ctx.counters[name] = ctx.counters.get(name, 0) + count


def _flaws(ctx: ProcessingContext) -> "Flaws":
    """Return gain and distortions, kept on the worker; what changes nothing is None."""
    from o2dask.reco.calibration.inputs import calibration, once_per_object
    from o2dask.reco.tpc.simulation import Flaws

    gain, corrections = calibration(ctx, "gain"), calibration(ctx, "corrections")
    if not gain.is_null:
        pads = once_per_object(ctx, ("gain",), "gain of every pad", gain.per_pad)
    return Flaws(None if gain.is_null else pads, None if corrections.is_null else corrections)


def tpc_simulation() -> DataProcessorSpec:
    """Return the processor ``tpc-simulation``: generated particles to native clusters with labels."""
    return DataProcessorSpec(
        name="tpc-simulation",
        inputs=(
            *parse_inputs("collisions:MC/COLLISIONS;particles:MC/PARTICLES"),
            *condition_inputs("field", "drift", "gain", "corrections"),
        ),
        outputs=parse_outputs("TPC/CLUSTERNATIVE;TPC/CLUSTERLABEL;MC/TPCREFS", TPC_SCHEMAS),
        algorithm=run_tpc_simulation,
        options=(
            ConfigParamSpec(name="seed", default=1, help="seed of transport and response; same seed, same bytes"),
            ConfigParamSpec(name="noise_rate", default=1e-4, help="noise clusters per pad row and time bin"),
            ConfigParamSpec(name="material", default=1.0, help="weight of walls and gas, 1 is nature"),
        ),
        cost_ms=5000.0,
    )
