"""The folder: what survives crashes, several processes, and damage; cleaning."""

import json
import logging
import multiprocessing
import os
import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from o2dask.conditions import ConditionError, ConditionNotFoundError, LocalStore
from o2dask.conditions.index import Index
from o2dask.errors import CommitError, ConfigError


def files(store, pattern):
    return sorted(Path(store.folder).rglob(pattern))


def test_the_index_is_made_anew_from_the_files_when_it_is_lost(store):
    for i in range(3):
        store.put("A/B", {"i": i}, 0, 10, created=5, metadata={"k": str(i)})
    store.put("A/C", {"x": np.ones(2)}, 5, 6)
    before = store.list()
    Path(store.folder, "index.sqlite").unlink()
    assert store.list() == before
    assert store.get("A/B", 0).content == {"i": 2}
    assert store.rebuild() == 4
    assert store.list() == before


def test_a_damaged_index_is_named_with_the_remedy_and_the_remedy_works(store):
    store.put("A/B", 1, 0, 10)
    index = Path(store.folder, "index.sqlite")
    index.write_bytes(b"not a database, and long enough to be looked at" * 100)
    with pytest.raises(ConditionError, match=r"index\.sqlite: damaged.*o2dask conditions rebuild"):
        store.get("A/B", 0)
    with pytest.raises(ConditionError, match=r"index\.sqlite"):
        store.put("A/B", 2, 0, 10)
    assert store.rebuild() == 1
    assert store.get("A/B", 0).content == 1


def test_an_index_of_another_version_is_refused(store):
    store.put("A/B", 1, 0, 10)
    with sqlite3.connect(Path(store.folder, "index.sqlite")) as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(ConditionError, match="not an index of version 1"):
        store.get("A/B", 0)


@pytest.mark.parametrize("damage", ["cut", "changed", "lost"])
def test_a_damaged_object_is_an_error_that_names_its_file(store, damage):
    store.put("A/B", {"i": 1}, 0, 10)
    (file,) = (f for f in files(store, "*.json") if "header" not in f.name)
    if damage == "lost":
        file.unlink()
    else:
        content = file.read_bytes()
        file.write_bytes(content[:-1] if damage == "cut" else content.replace(b"1", b"2"))
    wanted = {"cut": "want 8 bytes", "changed": "want MD5", "lost": "is lost"}[damage]
    with pytest.raises(ConditionError, match=wanted) as caught:
        store.get("A/B", 0)
    assert str(file) in str(caught.value)


def test_a_damaged_header_costs_its_own_object_only_and_is_told(store, caplog):
    store.put("A/B", 1, 0, 10)
    store.put("A/C", 2, 0, 10)
    files(store, "A/B/*.header.json")[0].write_text('{"path": "A/B"}')
    with caplog.at_level(logging.WARNING):
        assert store.rebuild() == 1
    assert "A/B" in caplog.text
    assert store.get("A/C", 0).content == 2


def test_a_header_that_lies_where_it_does_not_belong_is_left_out(store, caplog):
    store.put("A/B", 1, 0, 10)
    (header,) = files(store, "*.header.json")
    header.with_name("0_20_other.header.json").write_text(header.read_text())
    moved = json.loads(header.read_text()) | {"path": "../../elsewhere"}
    header.with_name("0_30_other.header.json").write_text(json.dumps(moved))
    assert store.rebuild() == 1


def test_what_was_deleted_does_not_come_back(store):
    store.put("A/B", "old", 0, 10, created=1)
    new = store.put("A/B", "new", 0, 10, created=2)
    assert store.delete("A/B", 5) == new
    assert store.get("A/B", 5).content == "old"
    assert store.rebuild() == 1
    assert store.delete("A/B", etag=store.list()[0].etag).created == 1
    with pytest.raises(ConditionNotFoundError, match="it has none"):
        store.get("A/B", 5)
    assert not files(store, "*.json")
    with pytest.raises(ConditionNotFoundError, match="has no object"):
        store.delete("A/B", etag=new.etag)
    with pytest.raises(ConfigError, match="one of timestamp and etag"):
        store.delete("A/B")


def test_cleaning_takes_what_is_old_and_nothing_else(store):
    for path in ("TPC/A", "TPC/B", "ITS/A"):
        for created in (1, 5):
            store.put(path, 0, 0, created * 10, created=created)
    gone = store.truncate("TPC/*", created_before=5)
    assert {(h.path, h.created) for h in gone} == {("TPC/A", 1), ("TPC/B", 1)}
    assert len(store.truncate("*", valid_before=10)) == 1
    assert {(h.path, h.created) for h in store.list()} == {("TPC/A", 5), ("TPC/B", 5), ("ITS/A", 5)}


@pytest.mark.parametrize("n_written", [0, 1])
def test_a_full_disk_leaves_the_store_as_it_was(store, monkeypatch, n_written):
    store.put("A/B", "old", 0, 10)
    before = files(store, "*")
    left = iter(range(n_written))

    def full(fd):
        if next(left, None) is None:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CommitError, match="No space left"):
        store.put("A/B", "new", 0, 10)
    monkeypatch.undo()
    assert store.get("A/B", 0).content == "old"
    assert files(store, "*") == before
    assert store.rebuild() == 1


def test_an_index_that_cannot_be_committed_leaves_no_files_to_come_back(store, monkeypatch):
    store.put("A/B", "old", 0, 10)
    before = files(store, "*")

    def fail(self, db, header):
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(Index, "add", fail)
    with pytest.raises(CommitError, match="disk full"):
        store.put("A/B", "new", 0, 10)
    monkeypatch.undo()
    assert files(store, "*") == before


def test_a_folder_that_cannot_be_written_is_read(store, monkeypatch):
    store.put("A/B", "old", 0, 10)
    monkeypatch.setattr(Index, "writing", None)
    folder = Path(store.folder)
    for made in (folder / "index.sqlite", folder):
        made.chmod(0o555 if made.is_dir() else 0o444)
    try:
        assert store.get("A/B", 0).content == "old"
    finally:
        folder.chmod(0o755)


def test_a_writer_that_keeps_the_index_is_waited_for_and_then_named(store, monkeypatch):
    store.put("A/B", "old", 0, 10)
    monkeypatch.setattr("o2dask.conditions.index._BUSY_S", 0.1)
    with closing(sqlite3.connect(Path(store.folder, "index.sqlite"), isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert store.get("A/B", 0).content == "old"
        with pytest.raises(CommitError, match="another process has been writing"):
            store.put("A/B", "new", 0, 10)
        other.execute("ROLLBACK")
    store.put("A/B", "new", 0, 10)
    assert store.get("A/B", 0).content == "new"


def test_a_folder_that_is_not_there_is_named_and_not_made_by_reading(store):
    with pytest.raises(ConfigError, match="no such folder"):
        store.get("A/B", 0)
    assert not Path(store.folder).exists()
    Path(store.folder).mkdir()
    assert store.list() == ()
    assert not list(Path(store.folder).iterdir())


def test_an_object_of_another_store_is_taken_as_it_is_and_once(store, tmp_path):
    store.put("A/B", {"x": np.arange(3)}, 0, 10, created=7, metadata={"k": "v"})
    other = LocalStore(tmp_path / "other")
    for _ in range(2):
        other.adopt(store.get("A/B", 0))
    assert [(h.etag, h.created, h.metadata) for h in other.list()] == [
        (h.etag, h.created, h.metadata) for h in store.list()
    ]


def write_many(folder, name, n):
    for i in range(n):
        LocalStore(folder).put(f"A/{name}", {"i": i, "fill": "x" * 1000}, 0, 10)


def test_processes_read_while_others_write(store):
    store.put("A/first", {"i": -1}, 0, 10)
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=write_many, args=(store.folder, name, 15)) for name in ("first", "second")]
    for w in writers:
        w.start()
    seen = []
    while any(w.is_alive() for w in writers) or not seen:
        seen.append(store.get("A/first", 5).content["i"])
    for w in writers:
        w.join()
    assert [w.exitcode for w in writers] == [0, 0]
    assert seen == sorted(seen)
    assert len(store.list()) == 31
    assert len({h.sequence for h in store.list()}) == 31
    before = store.list()
    store.rebuild()
    assert store.list() == before
