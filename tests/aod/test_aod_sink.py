"""The sink: whole or not at all, once, after kill -9, on a full disk, on object stores, and never mixed settings."""

import errno
import json
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
import uuid
from pathlib import Path

import numpy as np
import pytest

from o2dask.aod import store as store_module
from o2dask.aod.model import tables
from o2dask.aod.reader import open_dataframes
from o2dask.aod.sink import AodSink
from o2dask.aod.store import MANIFEST
from o2dask.columns import Columns
from o2dask.errors import CommitError, ConfigError, DataError
from o2dask.sink import Sink
from o2dask.specs import DataRef

COMMITTER = Path(__file__).parent / "aod_committer.py"
CONFIG = {"workflow": "async", "options": {"tpc-tracker": {"min-clusters": 60}}}


@pytest.fixture(params=["folder", "object store"])
def out(request, tmp_path):
    if request.param == "folder":
        yield str(tmp_path / "aod")
    else:
        import fsspec

        name = f"/{uuid.uuid4().hex}"
        yield f"memory:/{name}/aod"
        fsspec.filesystem("memory").rm(name, recursive=True)


@pytest.fixture
def sink(out):
    made = AodSink(out, CONFIG)
    made.prepare()
    return made


def content_of(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in Path(folder).rglob("*") if path.is_file()}


def check_whole(folder):
    """Assert that every dataframe in a folder is readable to its last column; return their numbers."""
    dataframes = open_dataframes(folder)
    for dataframe in dataframes:
        manifest = json.loads((Path(folder) / f"DF_{dataframe.number}" / MANIFEST).read_text())
        for tree in dataframe.tables:
            assert dataframe.table(tree).n_rows == manifest["tables"][tree]["rows"]
    return [dataframe.number for dataframe in dataframes]


def test_what_is_committed_is_read_back(sink, out, make_outputs, make_ref):
    outputs = make_outputs()
    receipt = sink.commit(make_ref(), outputs)
    (dataframe,) = open_dataframes(out)
    assert dataframe.number == make_ref().id.df_number
    assert (dataframe.run, dataframe.first_orbit) == (544122, 1000)
    assert set(dataframe.tables) == {tables()[tree].tree for tree in receipt.rows}
    for ref, columns in outputs.items():
        tree = next(t.tree for t in tables().values() if t.ref == ref)
        assert dataframe.table(tree).equals(columns)
        assert receipt.rows[tree] == columns.n_rows
    assert receipt.timeframe == make_ref().id
    assert receipt.n_bytes == sum(dataframe.n_bytes(tree) for tree in dataframe.tables) > 0
    assert f"DF_{dataframe.number}/O2track_iu.parquet" in receipt.files


def test_it_is_a_sink_that_travels_to_workers(sink, make_ref, make_outputs):
    assert isinstance(sink, Sink)
    there = pickle.loads(pickle.dumps(sink))
    assert not there.is_committed(make_ref())
    there.commit(make_ref(), make_outputs())
    assert sink.is_committed(make_ref())
    assert not sink.is_committed(make_ref(1))


def test_only_aod_tables_are_kept(sink, make_ref, make_outputs):
    receipt = sink.commit(make_ref(), {**make_outputs(), DataRef("TPC", "TRACKS"): tables()["O2bc"].schema.empty()})
    assert all(file.split("/")[1].startswith("O2") for file in receipt.files)


def test_a_second_commit_leaves_the_first_and_returns_its_receipt(tmp_path, make_ref, make_outputs):
    sink = AodSink(tmp_path, CONFIG)
    sink.prepare()
    first = sink.commit(make_ref(), make_outputs())
    before = content_of(tmp_path)
    assert sink.commit(make_ref(), make_outputs(seed=2)) == first
    assert content_of(tmp_path) == before


def test_the_same_timeframe_gives_the_same_bytes(tmp_path, make_ref, make_outputs):
    for name in "ab":
        AodSink(tmp_path / name, CONFIG).commit(make_ref(), make_outputs())
    assert content_of(tmp_path / "a") == content_of(tmp_path / "b")


def test_two_workers_that_commit_one_timeframe_at_once_leave_one_copy(tmp_path, make_ref, make_outputs, monkeypatch):
    sink, outputs, receipts = AodSink(tmp_path, CONFIG), make_outputs(), []
    both = threading.Barrier(2)
    monkeypatch.setattr(store_module.Store, "has", _meets(store_module.Store.has, both))
    workers = [threading.Thread(target=lambda: receipts.append(sink.commit(make_ref(), outputs))) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(receipts) == 2
    assert receipts[0] == receipts[1]
    assert [path.name for path in tmp_path.iterdir()] == [f"DF_{make_ref().id.df_number}"]


def _meets(has, barrier):
    """Return `has` made to wait, once per thread, until both threads saw that nothing is there yet."""
    seen = threading.local()

    def wrapped(self, number):
        answer = has(self, number)
        if not getattr(seen, "done", False):
            seen.done = True
            barrier.wait(timeout=120)
        return answer

    return wrapped


def test_a_timeframe_without_tables_and_one_with_empty_tables_are_dataframes(sink, out, make_ref):
    sink.commit(make_ref(0), {})
    sink.commit(make_ref(1), {table.ref: table.schema.empty() for table in tables().values() if table.is_produced})
    none, empty = open_dataframes(out)
    assert none.tables == ()
    assert len(empty.tables) == 39
    assert all(empty.n_rows(tree) == 0 and empty.columns(tree) for tree in empty.tables)


def test_broken_relations_are_not_committed(sink, make_ref, make_dataframe):
    whole = make_dataframe()
    groups = whole["O2track_iu"]["fIndexCollisions"][::-1].copy()
    broken = Columns(whole["O2track_iu"].schema, {**whole["O2track_iu"], "fIndexCollisions": groups})
    outputs = {tables()[tree].ref: columns for tree, columns in {**whole, "O2track_iu": broken}.items()}
    with pytest.raises(DataError, match=r"O2track_iu\.fIndexCollisions"):
        sink.commit(make_ref(), outputs)
    assert not sink.is_committed(make_ref())


def committer(*args):
    paths = os.pathsep.join([str(Path(__file__).parent), str(Path(__file__).parents[2])])
    command = [sys.executable, "-W", "error", str(COMMITTER), *map(str, args)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": paths})


def test_kill_9_in_the_middle_of_commits_leaves_only_whole_dataframes(tmp_path, make_ref, make_outputs):
    out = tmp_path / "aod"
    told = set()
    for i_kill, pause in enumerate((0.013, 0.021, 0.029)):
        with committer(out, 500, 10_000) as child:
            for _ in range(3 + 8 * i_kill):
                told.add(int(child.stdout.readline()))
            time.sleep(pause)
            child.send_signal(signal.SIGKILL)
            told.update(map(int, child.stdout.read().split()))
        there = check_whole(out)
        assert told <= set(there), "a dataframe that was reported as committed is gone"
        assert len(there) <= len(told) + i_kill + 1, "at most the one under way was not reported"
    sink = AodSink(out, {"workflow": "async"})
    sink.prepare()
    refs = [make_ref(i) for i in range(len(there) + 2)]
    for ref in refs:
        sink.commit(ref, make_outputs(n_tracks=500))
    sink.finalize(refs)
    assert check_whole(out) == [ref.id.df_number for ref in refs]
    assert not [path for path in out.iterdir() if path.name.startswith(".tmp")]


def test_a_file_that_cannot_grow_fails_the_commit_and_loses_nothing(tmp_path):
    with committer(tmp_path, 50, 3, 30_000) as child:
        lines = child.stdout.read().splitlines()
    assert child.returncode == 3
    assert len(lines) == 2
    assert "cannot be written: the file would exceed the allowed size" in lines[1]
    assert check_whole(tmp_path) == [int(lines[0])]
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"DF_{lines[0]}", "_o2dask.json"]


@pytest.fixture
def small_disk(tmp_path, monkeypatch):
    """Return a folder on a disk of 512 kB; where mounting is not permitted, one whose writes fail as on a full disk."""
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=512k", "none", str(disk)]
    try:
        is_mounted = subprocess.run(command, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        is_mounted = False
    if is_mounted:
        yield disk
        subprocess.run(["umount", "-l", str(disk)], check=True)
        return
    write = store_module.write_table

    def write_until_full(file, columns):
        if sum(path.stat().st_size for path in disk.rglob("*.parquet")) + columns.nbytes > 512_000:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write(file, columns)

    monkeypatch.setattr(store_module, "write_table", write_until_full)
    yield disk


def test_a_full_disk_fails_the_commit_says_so_and_loses_nothing(small_disk, make_ref, make_outputs):
    sink = AodSink(small_disk / "aod", CONFIG)
    sink.prepare()
    sink.commit(make_ref(0), make_outputs())
    with pytest.raises(CommitError, match=r"DF_\d+: cannot be written: disk full; free some space"):
        sink.commit(make_ref(1), make_outputs(n_tracks=30_000))
    assert check_whole(small_disk / "aod") == [make_ref(0).id.df_number]
    assert not [path for path in (small_disk / "aod").iterdir() if path.name.startswith(".tmp")]
    sink.commit(make_ref(2), make_outputs())  # what the failed one took is free again


def test_a_name_that_is_taken_by_something_else_fails_the_commit(tmp_path, make_ref, make_outputs):
    sink = AodSink(tmp_path, CONFIG)
    sink.prepare()
    foreign = tmp_path / f"DF_{make_ref().id.df_number}"
    foreign.mkdir()
    (foreign / "notes.txt").write_text("mine")
    with pytest.raises(CommitError, match=r"DF_\d+: cannot be written: Directory not empty"):
        sink.commit(make_ref(), make_outputs())
    assert (foreign / "notes.txt").read_text() == "mine"


def test_an_unfinished_dataframe_on_an_object_store_does_not_exist(make_ref, make_outputs, monkeypatch):
    out = f"memory://{uuid.uuid4().hex}/aod"
    sink = AodSink(out, CONFIG)
    sink.prepare()
    sink.commit(make_ref(0), make_outputs())
    with monkeypatch.context() as patch:
        patch.setattr(store_module.Manifest, "to_bytes", _die)
        with pytest.raises(KeyboardInterrupt):
            sink.commit(make_ref(1), make_outputs())
    assert not sink.is_committed(make_ref(1))
    assert [d.number for d in open_dataframes(out)] == [make_ref(0).id.df_number]
    sink.commit(make_ref(1), make_outputs())
    assert len(open_dataframes(out)) == 2


def _die(self):
    raise KeyboardInterrupt


def test_an_interrupted_commit_leaves_nothing_aside(tmp_path, make_ref, make_outputs, monkeypatch):
    sink = AodSink(tmp_path, CONFIG)
    monkeypatch.setattr(store_module.Manifest, "to_bytes", _die)
    with pytest.raises(KeyboardInterrupt):
        sink.commit(make_ref(), make_outputs())
    assert list(tmp_path.iterdir()) == []


def test_finalize_removes_leftovers_but_not_what_is_under_way(tmp_path, make_ref, make_outputs):
    sink = AodSink(tmp_path, CONFIG)
    sink.prepare()
    sink.commit(make_ref(0), make_outputs())
    done, open_, old = (tmp_path / f".tmp-DF_{make_ref(i).id.df_number}-{uuid.uuid4().hex}" for i in range(3))
    for folder in (done, open_, old):
        folder.mkdir()
        (folder / "O2bc_001.parquet").write_bytes(b"half")
    os.utime(old, (0, 0))
    sink.finalize([make_ref(0)])
    assert [folder.exists() for folder in (done, open_, old)] == [False, True, False]


def test_a_folder_of_the_same_configuration_is_taken_up_again(sink, out, make_ref, make_outputs):
    sink.commit(make_ref(), make_outputs())
    AodSink(out, json.loads(json.dumps(CONFIG))).prepare()
    assert sink.is_committed(make_ref())


def test_a_folder_of_another_configuration_is_refused_naming_what_differs(sink, out):
    other = {"workflow": "async", "options": {"tpc-tracker": {"min-clusters": 50}, "seed": 1}}
    with pytest.raises(ConfigError) as caught:
        AodSink(out, other).prepare()
    message = str(caught.value)
    assert "options.seed was not set, is 1; options.tpc-tracker.min-clusters was 60, is 50" in message
    assert message.endswith("give another --out or the same settings")


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "aod").write_text("")
    with pytest.raises(ConfigError, match=r"is a file; want a folder .* give another --out"):
        AodSink(tmp_path / "aod", CONFIG).prepare()
    with pytest.raises(ConfigError, match=r"cannot be made: .*; give another --out"):
        AodSink(tmp_path / "aod" / "below", CONFIG).prepare()


def test_dataframes_of_somebody_else_are_not_mixed_with_ours(tmp_path):
    (tmp_path / "DF_1").mkdir()
    with pytest.raises(ConfigError, match=r"holds dataframes but no _o2dask\.json"):
        AodSink(tmp_path, CONFIG).prepare()


def test_a_damaged_note_of_the_configuration_is_refused(tmp_path):
    (tmp_path / "_o2dask.json").write_text('{"config": ')
    with pytest.raises(ConfigError, match=r"_o2dask\.json: damaged"):
        AodSink(tmp_path, CONFIG).prepare()


def test_another_version_of_the_program_goes_on_with_a_warning(tmp_path, caplog):
    AodSink(tmp_path, CONFIG).prepare()
    note = json.loads((tmp_path / "_o2dask.json").read_text())
    note["versions"]["o2dask"] = "0.0.1"
    (tmp_path / "_o2dask.json").write_text(json.dumps(note))
    AodSink(tmp_path, CONFIG).prepare()
    assert "begun with o2dask 0.0.1" in caplog.text


def test_a_configuration_that_is_not_json_is_refused():
    with pytest.raises(ConfigError, match="want JSON values"):
        AodSink("x", {"array": np.zeros(3)})
