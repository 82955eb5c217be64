"""The batch runner: a bounded window of Dask graphs over a list of timeframes, results committed exactly once.

One graph per timeframe, older ones first; the last task of each commits through the sink on a worker and returns a
receipt. What fails costs its own timeframe; what would hit all of them (no disk, no scheduler) ends the run in good
order. Exactly once follows from an idempotent sink and the journal; see `o2dask.sink` for the laws.
"""

from collections.abc import Sequence
from pathlib import Path

from o2dask.errors import ConfigError
from o2dask.monitoring.events import Progress
from o2dask.runners.beside import Beside
from o2dask.runners.beside_plan import split
from o2dask.runners.cluster import open_backend
from o2dask.runners.driver import Driver
from o2dask.runners.feed import ListFeed
from o2dask.runners.ledger import Ledger, StopToken
from o2dask.runners.plugin import RunPlugin, plan_run
from o2dask.runners.report import RunReport
from o2dask.runners.settings import BatchSettings
from o2dask.sink import Sink
from o2dask.timeframe import TimeframeRef
from o2dask.workflow.topology import Topology

__all__ = ["check_resources", "run_batch"]


def run_batch(
    topology: Topology,
    refs: Sequence[TimeframeRef],
    sink: Sink,
    *,
    settings: BatchSettings | None = None,
    progress: Progress | None = None,
    stop: StopToken | None = None,
) -> RunReport:
    """Return the report of a run of `topology` over all timeframes on Dask workers.

    Parameters
    ----------
    topology : Topology
        From `compile_workflow`.
    refs : sequence of TimeframeRef
        Where the timeframes are, in the order of their priority; each id once.
    sink : Sink
        Where the results go.
    settings : BatchSettings
        Workers, window, memory, journal.
    progress : callable, optional
        Is told of every event, in this thread.
    stop : StopToken, optional
        When set, what is in flight is finished and committed, and nothing new begun.

    Returns
    -------
    RunReport
        Also when the run was stopped by a full disk or a lost scheduler: then `failure` says so.

    Raises
    ------
    ConfigError
        Before the first timeframe, if the run cannot work.
    """
    settings = settings or BatchSettings()
    graph, units = split(topology, sink.patterns)
    tasks = plan_run(graph, sink, units)
    wanted = frozenset(name for task in tasks for name, _ in task.resources)
    check_resources(graph, settings)
    with Ledger(topology, refs, sink, journal=settings.journal, resume=settings.resume, progress=progress) as ledger:
        folder = Path(settings.journal) / "beside" if settings.journal and units else None
        with Beside(topology, units, folder, resume=settings.resume) as beside:
            beside.begin(ledger.todo, sink.is_committed)
            if not ledger.todo and not beside.n_left:
                ledger.begin(0, "nothing to do")
                return ledger.finish()
            run = RunPlugin(graph, tasks, sink, settings.deadline_s, settings.isolate, units, beside.folder)
            with open_backend(settings, wanted) as backend:
                return Driver(ListFeed(ledger.todo), ledger, backend, run, settings, stop, beside).run()


def check_resources(topology: Topology, settings: BatchSettings) -> None:
    """Raise ConfigError if a processor asks for a resource that workers of this machine cannot have."""
    most = {name: min(1.0, amount) for name, amount in settings.resources.items()} | {"GPU": float("inf")}
    for processor in () if settings.scheduler else topology.processors:
        lacking = [(name, amount) for name, amount in processor.resources.items() if amount > most.get(name, 0.0)]
        for name, amount in lacking:
            raise ConfigError(
                f"processor {processor.name!r} asks for {amount:g} of the resource {name}, not to be had on this "
                f"machine; say how many tasks at once may have it, --resource {name}=1, or start workers that have it, "
                f'dask worker ADDRESS --resources "{name}={amount:g}", and give --scheduler'
            )
