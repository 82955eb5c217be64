"""The event generator as a processor: the source of simulated timeframes. No physics here."""

from o2dask.context import ProcessingContext
from o2dask.reco.calibration.inputs import calibration, condition_inputs, uniform_field
from o2dask.reco.simulation.filling import parse_rate
from o2dask.reco.simulation.schema import MC_SCHEMAS
from o2dask.reco.simulation.timeframes import TimeframeParams, build_timeframe, load_sample
from o2dask.specs import ConfigParamSpec, DataProcessorSpec, parse_outputs

__all__ = ["event_generator", "params_from_options"]

_DEFAULT = TimeframeParams()
_OPTIONS = (
    ConfigParamSpec(name="system", default=_DEFAULT.system, help="pbpb or pp"),
    ConfigParamSpec(name="rate", default="", help="interaction rate, such as 50kHz; empty: 50kHz Pb-Pb, 500kHz pp"),
    ConfigParamSpec(name="collisions", default=-1, help="collisions per timeframe; -1: as the rate gives"),
    ConfigParamSpec(name="events", default="", help="file of generator events; empty: the sample that comes along"),
    ConfigParamSpec(name="generator", default=_DEFAULT.generator, help="sample, or builtin for made-up events"),
    ConfigParamSpec(name="seed", default=_DEFAULT.seed, help="same seed, same bytes"),
    ConfigParamSpec(name="eta-max", default=_DEFAULT.eta_max, help="generator particles within |eta| below this"),
    ConfigParamSpec(name="filling", default="", help="filling scheme, such as 0:56x2*6+148*4+891; empty: the system's"),
    ConfigParamSpec(name="sigma-t", default=_DEFAULT.sigma_t, help="spread of the collision time [ns]"),
    ConfigParamSpec(name="conversions", default=_DEFAULT.conversions, help="photons convert to e+ e-"),
    ConfigParamSpec(name="flow", default=_DEFAULT.flow, help="elliptic flow in Pb-Pb events of the built-in generator"),
)


def event_generator() -> DataProcessorSpec:
    """Return the source of simulated timeframes: MC/COLLISIONS and MC/PARTICLES."""
    return DataProcessorSpec(
        name="event-generator",
        inputs=condition_inputs("field", "beam"),
        outputs=parse_outputs("collisions:MC/COLLISIONS/0; particles:MC/PARTICLES/0", MC_SCHEMAS),
        algorithm=_generate_timeframe,
        options=_OPTIONS,
        cost_ms=500.0,
    )


def params_from_options(ctx: ProcessingContext) -> TimeframeParams:
    """Return the parameters that options and conditions of the processor spell, for the context's timeframe."""
    options, beam = ctx.options, calibration(ctx, "beam")
    return TimeframeParams(
        system=options["system"],
        rate_hz=parse_rate(options["rate"]) if options["rate"] else None,
        collisions=options["collisions"] if options["collisions"] >= 0 else None,
        events=options["events"] or None,
        generator=options["generator"],
        seed=options["seed"],
        eta_max=options["eta-max"],
        n_orbits=ctx.timeframe.n_orbits,
        run=ctx.timeframe.run,
        filling=options["filling"],
        bz_kg=uniform_field(ctx),
        beam=beam,
        sigma_t=options["sigma-t"],
        conversions=options["conversions"],
        flow=options["flow"],
    )


def _generate_timeframe(ctx: ProcessingContext) -> None:
    params = params_from_options(ctx)
    key = ("event-sample", params.generator, params.system, params.events, params.eta_max)
    sample = ctx.state.get(key, lambda: load_sample(params))
    made = build_timeframe(params, ctx.timeframe.tf_counter, sample)
    for name, columns in made.items():
        ctx.outputs.make(name, columns)
    ctx.counters["collisions"] = made["MC/COLLISIONS"].n_rows
    ctx.counters["particles"] = made["MC/PARTICLES"].n_rows
