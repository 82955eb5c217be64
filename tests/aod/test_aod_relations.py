"""The relations of a dataframe: each is accepted at its edge and refused one step beyond, naming table and column."""

import numpy as np
import pytest

from o2dask.aod.model import tables
from o2dask.aod.relations import check_relations
from o2dask.columns import Column, Columns, Jagged, Schema
from o2dask.errors import DataError


def replaced(dataframe, tree, **arrays):
    return {**dataframe, tree: Columns(dataframe[tree].schema, {**dataframe[tree], **arrays})}


def changed(dataframe, tree, name, row, value):
    array = dataframe[tree][name].copy()
    array[row] = value
    return replaced(dataframe, tree, **{name: array})


def test_a_valid_dataframe_passes(make_dataframe):
    check_relations(make_dataframe())


def test_no_tables_and_empty_tables_pass():
    check_relations({})
    check_relations({tree: table.schema.empty() for tree, table in tables().items() if table.is_produced})


def test_tables_outside_the_model_are_left_alone(make_dataframe):
    mine = Schema("AOD/MINE", (Column(name="fIndexTracks", dtype="int32"),))
    check_relations({**make_dataframe(), "O2mine": Columns(mine, {"fIndexTracks": np.array([10**6], np.int32)})})


@pytest.mark.parametrize("tree", ["O2trackcov_iu", "O2trackextra_001", "O2mctracklabel"])
def test_row_aligned_tables_have_one_length(make_dataframe, tree):
    whole = make_dataframe()
    short = Columns(whole[tree].schema, {name: array[:-1] for name, array in whole[tree].items()})
    with pytest.raises(DataError, match=rf"{tree}: shares the row number with O2track_iu, which has 50 rows; got 49"):
        check_relations({**whole, tree: short})


@pytest.mark.parametrize(
    ("tree", "name", "target"),
    [
        ("O2collision_001", "fIndexBCs", "O2bc_001"),
        ("O2mctracklabel", "fIndexMcParticles", "O2mcparticle_001"),
        ("O2mccollisionlabel", "fIndexMcCollisions", "O2mccollision_001"),
        ("O2ft0", "fIndexBCs", "O2bc_001"),
    ],
)
def test_an_index_counts_rows_of_its_target_from_minus_one_to_the_last(make_dataframe, tree, name, target):
    whole = make_dataframe()
    n = whole[target].n_rows
    for good in (-1, 0, n - 1):
        check_relations(changed(whole, tree, name, 0, good))
    for bad in (-2, n):
        with pytest.raises(DataError, match=rf"{tree}\.{name}: want rows of {target} .*got {bad} \(1 such\)"):
            check_relations(changed(whole, tree, name, 0, bad))


def test_an_index_into_a_table_that_is_elsewhere_is_left_alone(make_dataframe):
    whole = changed(make_dataframe(), "O2collision_001", "fIndexBCs", 0, 10**6)
    del whole["O2bc_001"]
    check_relations(whole)


def test_an_index_holds_for_another_version_of_its_target(make_dataframe):
    whole = changed(make_dataframe(), "O2collision_001", "fIndexBCs", 0, 10**6)
    bcs = whole.pop("O2bc_001")
    old = tables()["O2bc"].schema
    whole["O2bc"] = Columns(old, {name: bcs[name] for name in old.names})
    with pytest.raises(DataError, match=r"O2collision_001\.fIndexBCs: want rows of O2bc "):
        check_relations(whole)


@pytest.mark.parametrize(
    ("pair", "is_good"),
    [((-1, -1), True), ((3, 3), True), ((3, 2), False), ((-1, 3), False), ((0, 30), False), ((-2, -2), False)],
    ids=str,
)
def test_a_slice_runs_from_first_to_last_row_or_is_none(make_dataframe, pair, is_good):
    whole = changed(make_dataframe(), "O2mcparticle_001", "fIndexSlice_Daughters", 5, pair)
    if is_good:
        check_relations(whole)
    else:
        with pytest.raises(DataError, match=r"O2mcparticle_001\.fIndexSlice_Daughters: want "):
            check_relations(whole)


def test_an_array_of_indices_holds_rows_only(make_dataframe):
    whole = make_dataframe()
    mothers = Jagged(np.r_[0, np.ones(30, int)].astype(np.int32), np.array([-1], np.int32))
    with pytest.raises(DataError, match=r"fIndexArray_Mothers: want rows of O2mcparticle_001 \(0 to 29\), got -1"):
        check_relations(replaced(whole, "O2mcparticle_001", fIndexArray_Mothers=mothers))


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        ([-1, -1, 0, 0, 3], None),
        ([0, 0, -1, -1, 3], None),
        ([0, 1, 3, -1, -1], None),
        ([-1, 0, -1, 1, 1], "want the rows without index"),
        ([0, 2, 1, 3, 3], "want rows sorted by it, got 2 before 1"),
        ([2, -1, -1, 1, 3], "want rows sorted by it, got 2 before 1"),
    ],
    ids=str,
)
def test_a_grouping_index_never_decreases_apart_from_one_block_of_none(make_dataframe, groups, message):
    whole = replaced(make_dataframe(n_tracks=5), "O2track_iu", fIndexCollisions=np.array(groups, np.int32))
    if message is None:
        check_relations(whole)
    else:
        with pytest.raises(DataError, match=rf"O2track_iu\.fIndexCollisions: {message}"):
            check_relations(whole)


@pytest.mark.parametrize("step", [0, -1], ids=["twice", "falling"])
def test_bunch_crossings_are_ascending_and_unique(make_dataframe, step):
    whole = make_dataframe()
    bcs = whole["O2bc_001"]["fGlobalBC"]
    with pytest.raises(DataError, match=r"O2bc_001\.fGlobalBC: want it ascending and unique, .* in row 3"):
        check_relations(changed(whole, "O2bc_001", "fGlobalBC", 4, bcs[3] + np.int64(step)))


def test_columns_that_are_not_those_of_the_model_are_named(make_dataframe):
    whole = make_dataframe()
    wrong = {name: array for name, array in whole["O2bc_001"].items() if name != "fTriggerMask"}
    wrong["fOwn"] = whole["O2bc_001"]["fTriggerMask"]
    whole["O2bc_001"] = Columns(Schema.infer("AOD/BC/1", wrong), wrong)
    with pytest.raises(DataError, match=r"O2bc_001: columns are not those of the data model from 'fTriggerMask' on"):
        check_relations(whole)
