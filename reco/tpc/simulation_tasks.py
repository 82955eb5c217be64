"""The processor of the TPC simulation: options and payloads in, payloads out; no physics."""

import numpy as np

from o2dask.context import ProcessingContext
from o2dask.reco.tpc.schema import TPC_SCHEMAS
from o2dask.specs import ConfigParamSpec, DataProcessorSpec, parse_outputs

__all__ = ["run_tpc_simulation", "tpc_simulation"]


def run_tpc_simulation(ctx: ProcessingContext) -> None:
    """Simulate the TPC for the collisions and particles of one timeframe."""
    from o2dask.reco.tpc.simulation import simulate_tpc
    from o2dask.reco.tpc.simulation_params import TpcSimParams

    options = ctx.options
    params = TpcSimParams(noise_rate=options["noise_rate"], material_scale=options["material"])
    # One seed per timeframe, or every timeframe would repeat the same fluctuations for its n-th particle.
    words = [options["seed"], ctx.timeframe.run, ctx.timeframe.first_orbit]
    seed = int(np.random.SeedSequence(words).generate_state(1, np.uint64)[0])
    result = simulate_tpc(ctx.inputs["collisions"], ctx.inputs["particles"], params, seed, n_bcs=ctx.timeframe.n_bcs)
    for name, columns in result.payloads.items():
        ctx.outputs.make(name, columns)
    for name, count in result.counters.items():
        ctx.counters[name] = ctx.counters.get(name, 0) + count


def tpc_simulation() -> DataProcessorSpec:
    """Return the processor ``tpc-simulation``: generated particles to native clusters with labels."""
    return DataProcessorSpec(
        name="tpc-simulation",
        inputs="collisions:MC/COLLISIONS;particles:MC/PARTICLES",
        outputs=parse_outputs("TPC/CLUSTERNATIVE;TPC/CLUSTERLABEL;MC/TPCREFS", TPC_SCHEMAS),
        algorithm=run_tpc_simulation,
        options=(
            ConfigParamSpec(name="seed", default=1, help="seed of transport and response; same seed, same bytes"),
            ConfigParamSpec(name="noise_rate", default=1e-4, help="noise clusters per pad row and time bin"),
            ConfigParamSpec(name="material", default=1.0, help="weight of walls and gas, 1 is nature"),
        ),
        cost_ms=5000.0,
    )
