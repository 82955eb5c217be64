"""What every runner promises about every workflow, as a test class to inherit. Knows no particular workflow.

    class TestMyWorkflow(StreamContract):
        def topology(self): return compile_workflow(my_workflow)
        def timeframes(self, folder): return my_timeframes(folder)
        def patterns(self): return ("AOD/*",)

It needs a fixture `scheduler_address` of a Dask scheduler with at least one worker; `workers` makes one.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from o2dask.runners.folder import FolderSink
from o2dask.runners.inline import run_inline
from o2dask.runners.settings import BatchSettings
from o2dask.timeframe import TimeframeRef
from o2dask.workflow.topology import Topology

__all__ = ["RunnerContract", "StreamContract", "contents", "workers"]


def contents(folder: "Path | str") -> dict[str, bytes]:
    """Return every file below a folder with its bytes."""
    root = Path(folder)
    return {str(p.relative_to(root)): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}


@contextmanager
def workers(n_workers: int = 2, memory: str = "8GiB", resources: Mapping[str, float] | None = None) -> Iterator[Any]:
    """Give a cluster of worker processes as a batch run would start it, to be shared by many tests."""
    import dask

    from o2dask.runners.local import close_cluster, quiet_dask, start_cpu, worker_config

    settings = BatchSettings(workers=n_workers, memory=memory, resources=resources or {})
    with dask.config.set(worker_config(n_workers)), quiet_dask():
        cluster = start_cpu(settings, n_workers, int(settings.memory or 0) // n_workers)
        try:
            yield cluster
        finally:
            close_cluster(cluster)


def _without(counters: Mapping[str, int], names: tuple[str, ...]) -> dict[str, int]:
    return {name: n for name, n in counters.items() if name.rpartition(".")[2] not in names}


class RunnerContract(ABC):
    """Same timeframes in, same bytes out, on any runner and in any order."""

    @abstractmethod
    def topology(self) -> Topology:
        """Return the workflow to test."""

    @abstractmethod
    def timeframes(self, folder: Path) -> Sequence[TimeframeRef]:
        """Return at least three timeframes, which may be made in `folder`."""

    def patterns(self) -> tuple[str, ...]:
        """Return which data to compare."""
        return ("*",)

    def test_batch_commits_the_same_bytes_as_inline(self, tmp_path: Path, scheduler_address: str) -> None:
        from o2dask.runners.batch import run_batch

        topology, refs = self.topology(), self.timeframes(tmp_path)
        inline, batch = (FolderSink(str(tmp_path / name), self.patterns()) for name in ("inline", "batch"))
        first = run_inline(topology, refs, inline)
        second = run_batch(topology, refs, batch, settings=BatchSettings(scheduler=scheduler_address))
        assert first.ok, first
        assert second.ok, second
        want = contents(inline.folder)
        assert want and contents(batch.folder) == want
        assert first.committed == second.committed
        assert first.counters == second.counters

    def test_a_timeframe_alone_gives_the_same_bytes_as_among_others(self, tmp_path: Path) -> None:
        topology, refs = self.topology(), self.timeframes(tmp_path)
        among, alone = (FolderSink(str(tmp_path / name), self.patterns()) for name in ("among", "alone"))
        assert run_inline(topology, refs, among).ok
        assert run_inline(topology, [refs[-1]], alone).ok
        want = contents(among.folder)
        got = contents(alone.folder)
        assert got and got == {name: want[name] for name in got}


class StreamContract(RunnerContract):
    """And as a stream, from three readouts: for workflows whose timeframes a source can give."""

    def source(self, folder: Path) -> str:
        """Return the source that gives the timeframes of `timeframes` to a stream."""
        return f"replay:{','.join(dict.fromkeys(ref.url for ref in self.timeframes(folder)))}"

    def test_stream_commits_the_same_bytes_as_inline(self, tmp_path: Path, scheduler_address: str) -> None:
        from o2dask.runners.stream import run_stream
        from o2dask.stream.settings import StreamSettings

        topology, refs = self.topology(), self.timeframes(tmp_path)
        inline, stream = (FolderSink(str(tmp_path / name), self.patterns()) for name in ("inline", "stream"))
        (tmp_path / "spool").mkdir()
        source = StreamSettings(
            source=self.source(tmp_path), n_readouts=3, base=str(tmp_path / "spool"), timeout_s=120.0
        )
        first = run_inline(topology, refs, inline)
        second = run_stream(topology, source, stream, settings=BatchSettings(scheduler=scheduler_address))
        assert first.ok, first
        assert second.ok, second
        want = contents(inline.folder)
        assert want and contents(stream.folder) == want
        assert sorted(r.timeframe for r in second.committed) == sorted(ref.id for ref in refs)
        counted = ("ctf_bytes",)  # what is stored is more where it is stored in parts
        assert _without(second.counters, counted) == _without(first.counters, counted)
