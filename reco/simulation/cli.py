"""``o2dask simulate``: collisions into compressed timeframes."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from o2dask.cli.parameters import HOW, Conditions, ConditionsNotAfter, LogJson, Options, Resume
from o2dask.errors import ConfigError

if TYPE_CHECKING:
    from o2dask.reco.simulation.timeframes import TimeframeParams

__all__ = ["simulate"]

WHAT = "What happens in a timeframe"


_SYSTEM = typer.Option(help="Collision system: pbpb or pp.", rich_help_panel=WHAT)
_EVENTS = typer.Option(
    metavar="FILE",
    help="Generator events, Parquet or HepMC3; default: a small sample of real ones.",
    rich_help_panel=WHAT,
)
_RATE = typer.Option(
    help="Interaction rate, 50kHz or 500 kHz or 50000; default: that of the system.", rich_help_panel=WHAT
)
_COLLISIONS = typer.Option(min=0, help="Collisions per timeframe, whatever the rate.", rich_help_panel=WHAT)
_SEED = typer.Option(min=0, help="Same seed, same bytes.", rich_help_panel=WHAT)
_TIMEFRAMES = typer.Option(min=1, help="How many timeframes of 32 orbits.", rich_help_panel=HOW)
_FIRST = typer.Option(
    min=0, help="Number of the first timeframe: jobs of one run take one range each.", rich_help_panel=HOW
)
_RUN = typer.Option(min=0, help="Run number.", rich_help_panel=HOW)
_WORKFLOW = typer.Option(help="Name, module:function or file.py:function.", rich_help_panel=HOW)
_WORKERS = typer.Option(min=0, help="Worker processes; 0: in this process, which uses all cores.", rich_help_panel=HOW)
_OVERWRITE = typer.Option("--overwrite", help="Replace FILE if it exists.", rich_help_panel=HOW)


def simulate(
    out: Annotated[Path, typer.Option(metavar="FILE", help="The CTF file to make.")],
    system: Annotated[str, _SYSTEM] = "pbpb",
    events: Annotated[str, _EVENTS] = "",
    rate: Annotated[str, _RATE] = "",
    collisions: Annotated[int | None, _COLLISIONS] = None,
    seed: Annotated[int, _SEED] = 1,
    timeframes: Annotated[int, _TIMEFRAMES] = 1,
    first: Annotated[int, _FIRST] = 0,
    run: Annotated[int, _RUN] = 300000,
    workflow: Annotated[str, _WORKFLOW] = "sim",
    option: Options = [],  # noqa: B006 - typer wants a list
    conditions: Conditions = None,
    conditions_not_after: ConditionsNotAfter = None,
    workers: Annotated[int, _WORKERS] = 0,
    resume: Resume = False,
    overwrite: Annotated[bool, _OVERWRITE] = False,
    log_json: LogJson = False,
) -> None:
    """Simulate timeframes of continuous readout and write them compressed.

    Collisions are placed in the bunch crossings of the timeframe; tracks of different collisions overlap in the TPC.
    The file holds the compressed clusters and, for closure tests, the truth. Field, drift velocity, beam spot, gain and
    distortions are those of --conditions, or the defaults.

    [b]Examples[/b]

    \b
    o2dask simulate --system pbpb --collisions 8 --timeframes 8 --seed 1 --out tf.ctf
    o2dask simulate --system pp --rate 500kHz --timeframes 2 --out pp.ctf
    o2dask simulate --system pbpb --rate 50kHz --events events.parquet --out full.ctf --workers 4
    o2dask simulate --system pp --timeframes 2 --out half_field.ctf --conditions conditions/
    """
    from o2dask.cli.conditions import open_conditions
    from o2dask.cli.running import carry_out, parse_options
    from o2dask.ctf import CtfSink
    from o2dask.reco.simulation.timeframes import timeframe_refs
    from o2dask.runners.settings import BatchSettings
    from o2dask.workflow import compile_workflow, load_workflow

    if rate and collisions is not None:
        raise ConfigError("--rate and --collisions: --collisions fixes the number whatever the rate; leave one out")
    journal = out.with_name(out.name + ".journal")
    params = _params(system=system, events=events, rate=rate, collisions=collisions, seed=seed, run=run)
    own = {"system": system, "events": events, "rate": rate, "seed": seed}
    own |= {} if collisions is None else {"collisions": collisions}
    options = parse_options(option)
    options["event-generator"] = {**own, **options.get("event-generator", {})}  # type: ignore[dict-item]
    fetcher = open_conditions(conditions, conditions_not_after)
    topology = compile_workflow(load_workflow(workflow), options, conditions=fetcher)
    refs = timeframe_refs(params, first + timeframes)[first:]
    _make_room(out, journal, resume=resume, overwrite=overwrite)
    settings = BatchSettings(workers=workers or None, journal=journal, resume=resume)
    status = carry_out(
        topology, refs, CtfSink(str(out)), settings, where=str(out), inline=not workers, log_json=log_json
    )
    if status == 0:
        _remove(journal)  # the file is whole: there is nothing to go on with
    raise typer.Exit(status)


def _params(*, system: str, events: str, rate: str, collisions: int | None, seed: int, run: int) -> "TimeframeParams":
    """Return the parameters, checked before anything runs, the events file read once."""
    from o2dask.reco.simulation.filling import parse_rate
    from o2dask.reco.simulation.timeframes import TimeframeParams, load_sample

    params = TimeframeParams(
        system=system,
        events=events or None,
        rate_hz=parse_rate(rate) if rate else None,
        collisions=collisions,
        seed=seed,
        run=run,
    )
    if events:
        load_sample(params)
    return params


def _make_room(out: Path, journal: Path, *, resume: bool, overwrite: bool) -> None:
    if overwrite and not resume and not out.is_dir():
        for path in (out, out.with_name(out.name + ".parts"), journal):
            _remove(path)
    if out.is_file() and not journal.exists():
        raise ConfigError(f"{out}: exists and is whole; --overwrite replaces it, or choose another --out")


def _remove(path: Path) -> None:
    import shutil

    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
