"""What workers that are killed within a commit leave behind, and who clears it: every sink, with real kills."""

import multiprocessing
import os
import signal
import time
from pathlib import Path

import pytest
from runner_flows import timeframes

from o2dask.aod.sink import AodSink
from o2dask.ctf import CtfSink
from o2dask.runners.folder import FolderSink
from o2dask.sink import Sink

KINDS = ("folder", "aod", "ctf")
REFS = timeframes(3)


def sink_of(kind: str, folder: Path) -> Sink:
    out = folder / "out"
    if kind == "ctf":
        return CtfSink(str(folder / "tf.ctf"))
    return FolderSink(str(out)) if kind == "folder" else AodSink(out)


def commit_and_die(kind: str, folder: Path, index: int) -> None:
    """Be killed when the timeframe is written and about to be put in its place."""

    def die(self: Path, target: object) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    Path.rename = Path.replace = die
    sink_of(kind, folder).commit(REFS[index], {})


CONTEXT = multiprocessing.get_context("forkserver")  # imports once what six processes need
CONTEXT.set_forkserver_preload(["o2dask.aod.sink", "o2dask.ctf", "o2dask.runners.folder", "pytest"])


def kill_within_commit(kind: str, folder: Path, index: int) -> None:
    process = CONTEXT.Process(target=commit_and_die, args=(kind, folder, index))
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    process.close()


def left(folder: Path) -> list[str]:
    """Return what lies there half written."""
    found = [p.name for p in folder.rglob("*")]
    return [name for name in found if name.startswith((".aside", ".tmp-DF", "TF_")) and not name.endswith(".ctf")]


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_killed_worker_left_half_written_is_no_output_and_is_cleared_at_the_end(kind, tmp_path: Path) -> None:
    sink = sink_of(kind, tmp_path)
    sink.prepare()
    sink.commit(REFS[0], {})
    kill_within_commit(kind, tmp_path, 1)
    assert len(left(tmp_path)) == 1
    assert [sink.is_committed(ref) for ref in REFS] == [True, False, False]
    sink.commit(REFS[1], {})  # another worker does it again
    sink.finalize(REFS[:2])
    assert not left(tmp_path)
    assert [sink.is_committed(ref) for ref in REFS] == [True, True, False]


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_that_is_resumed_clears_what_the_one_before_left(kind, tmp_path: Path) -> None:
    sink = sink_of(kind, tmp_path)
    sink.prepare()
    sink.commit(REFS[0], {})
    kill_within_commit(kind, tmp_path, 1)
    (name,) = left(tmp_path)
    for path in tmp_path.rglob(name):  # another job may be at work in a folder of dataframes: what is new there stays
        os.utime(path, (time.time() - 7200,) * 2)
    sink_of(kind, tmp_path).prepare()
    assert not left(tmp_path)
    assert [sink.is_committed(ref) for ref in REFS] == [True, False, False]
