"""Which tables a run writes: made ones and stored ones, by tree, by table, by O2's words, by O2's JSON file."""

import json

import numpy as np
import pytest
from task_samples import MakesDca, Spectra, run

import o2dask as o2
from o2dask.analysis.keeping import Kept, chosen, read_keep
from o2dask.errors import ConfigError, O2DaskError

THERE = ("O2v0core", "O2track_iu", "O2bc", "O2bc_001", "O2collision_001", "O2trackextra_001")


@pytest.mark.parametrize(
    ("word", "kept"),
    [
        ("O2v0core", [Kept(tree="O2v0core", stored_as="O2v0core")]),
        ("V0Cores", [Kept(tree="O2v0core", stored_as="O2v0core")]),
        ("TracksIU", [Kept(tree="O2track_iu", stored_as="O2track_iu")]),
        ("BCs", [Kept(tree="O2bc_001", stored_as="O2bc_001")]),
        ("O2bc", [Kept(tree="O2bc", stored_as="O2bc")]),
        ("AOD/BC/1", [Kept(tree="O2bc_001", stored_as="O2bc_001")]),
        ("AOD/TRACK_IU/0", [Kept(tree="O2track_iu", stored_as="O2track_iu")]),
        ("AOD/V0CORE/0:mine", [Kept(tree="O2v0core", stored_as="mine")]),
        ("AOD/V0CORE/0::fX/fY", [Kept(tree="O2v0core", stored_as="O2v0core", columns=("fX", "fY"))]),
        ("V0Cores, collisions", [Kept(tree=t, stored_as=t) for t in ("O2v0core", "O2collision_001")]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_words_mean_tables(word, kept):
    wanted, target = read_keep([word])
    assert list(chosen(wanted, THERE[:1], THERE[1:])) == kept and target == ""


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("", "want a table"),
        ("dangling", "no task makes 'dangling'"),
        ("AOD/V0CORE", "want AOD/<description>/<version>, got 'AOD/V0CORE'"),
        ("AOD/V0CORE/x", "want AOD/<description>/<version>"),
        ("TPC/CLUSTERS/0", "want origin AOD"),
        ("O2v0cor", "no task makes 'O2v0cor' and the AOD does not store it; did you mean O2v0core"),
        ("V0Cores,O2v0core", "O2v0core is asked for twice"),
        ("a:b:c:d", "want a table"),
        ("nowhere.json", "nowhere.json: cannot be read"),
    ],
    ids=lambda value: value,
)
def test_words_that_mean_none_are_told(word, told):
    with pytest.raises(O2DaskError, match=told):
        chosen(read_keep([word])[0] or [], THERE[:1], THERE[1:])


def test_stored_tables_are_kept_beside_made_ones_under_names_and_columns_of_choice(many, tmp_path):
    aod = o2.open_aod(many)[:3]
    keep = ["O2tracksdca", "collisions", "AOD/TRACK_IU/0:O2short:fX/fIndexCollisions"]
    result = run(aod, MakesDca(), save=tmp_path / "kept", keep=keep)
    assert result.ok
    kept = o2.open_aod(tmp_path / "kept")
    assert set(kept.tables) == {"O2tracksdca", "O2collision_001", "O2short"}
    for was, now in zip(aod, kept, strict=True):
        assert now.columns("O2short") == ("fX", "fIndexCollisions")
        np.testing.assert_array_equal(now["O2short"]["fX"], was.tracks.x())
        np.testing.assert_array_equal(now.collisions.posZ(), was.collisions.posZ())
        np.testing.assert_array_equal(now["O2tracksdca"]["fDcaXY"], was.tracks.y())


def test_tasks_that_make_nothing_may_keep_what_is_stored(many, tmp_path):
    aod = o2.open_aod(many)[:2]
    run(aod, Spectra(), save=tmp_path / "kept.root", keep=["BCs"])
    assert o2.open_aod(tmp_path / "kept.root").tables == ("O2bc_001",)


def writer(path, **director):
    path.write_text(json.dumps({"OutputDirector": director}))
    return str(path)


def test_the_file_of_the_aod_writer_says_what_and_where(many, tmp_path):
    aod = o2.open_aod(many)[:2]
    entries = [{"table": "AOD/TRACKSDCA/0", "treename": "dca", "columns": ["fDcaXY"]}, {"table": "AOD/BC/1"}]
    told = writer(tmp_path / "writer.json", resfile=str(tmp_path / "AO2D"), ntfmerge=1, OutputDescriptors=entries)
    result = run(aod, MakesDca(), keep=[f"json://{told}"])
    assert result.saved == str(tmp_path / "AO2D.root")
    kept = o2.open_aod(result.saved)
    assert set(kept.tables) == {"dca", "O2bc_001"} and kept[0].columns("dca") == ("fDcaXY",)
    np.testing.assert_array_equal(kept[1]["dca"]["fDcaXY"], aod[1].tracks.y())


@pytest.mark.parametrize(
    "content", ["{", "[]", '{"OutputDirector": {}}', '{"OutputDirector": {"OutputDescriptors": 1}}']
)
def test_a_file_that_is_no_output_director_is_told(tmp_path, content):
    (tmp_path / "w.json").write_text(content)
    with pytest.raises(ConfigError, match=r"w\.json: want O2's OutputDirector"):
        read_keep([str(tmp_path / "w.json")])


def test_a_column_that_is_not_there_fails_the_dataframe_and_says_which(many, tmp_path):
    result = run(o2.open_aod(many)[:2], MakesDca(), save=tmp_path / "kept", keep=["O2tracksdca::fNothing"])
    assert not result.ok and "no column 'fNothing'" in result.failed[0].reason
