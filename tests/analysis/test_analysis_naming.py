"""How columns and tables are called: those of the data model, and those that it does not know."""

import pkgutil

import pytest

import o2dask
import o2dask as o2
import o2dask.analysis
from o2dask.analysis import naming
from o2dask.analysis.declarations import table_named, table_names
from o2dask.analysis.errors import UnknownNameError
from o2dask.aod.model import tables


@pytest.mark.parametrize(
    ("column", "getter"),
    [
        ("fPosZ", "posZ"),
        ("fPx", "px"),
        ("fTPCNSigmaEl", "tpcNSigmaEl"),
        ("fITSClusterMap", "itsClusterMap"),
        ("fGlobalBC", "globalBC"),
        ("fRgtrwTOF", "rgtrwTOF"),
        ("fNSigmaTPCPi", "nSigmaTPCPi"),
        ("fDCAXY", "dcaXY"),
        ("fBC", "bc"),
        ("fX", "x"),
        ("fMass", "mass"),
        ("fType", "type"),
        ("flag", "flag"),
    ],
)
def test_a_column_is_called_as_o2_would(column, getter):
    assert naming.getter_of(column) == getter


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        ("fIndexUDCollisions", ("index", "UDCollisions", "udCollisionId")),
        ("fIndexCollisions", ("index", "Collisions", "collisionId")),
        ("fIndexTracks_0", ("index", "Tracks", "track0Id")),
        ("fIndexTracks_Pos", ("index", "Tracks", "posTrackId")),
        ("fIndexSliceBCs", ("slice_index", "BCs", "bcIds")),
        ("fIndexArrayMcParticles", ("array_index", "McParticles", "mcParticleIds")),
        ("fIndexSlice_Daughters", ("slice_index", "", "daughtersIds")),
        ("fIndexArray_Mothers", ("array_index", "", "mothersIds")),
        ("fPosZ", None),
        ("fIndex", None),
    ],
)
def test_an_index_says_where_it_points(column, expected):
    assert naming.index_name(column) == expected


def test_most_columns_of_the_model_are_called_as_the_rules_say():
    plain = [(c.name, c.getter) for t in tables().values() for c in t.columns if not c.kind]
    assert sum(naming.getter_of(name) == getter for name, getter in plain) > 0.95 * len(plain)


def test_indices_of_the_model_are_named_as_the_rules_say():
    exceptions = {"bachelorId", "matchMFTTrackId", "matchMCHTrackId", "mfttrackId", "fwdtrackId", "itsTrackId"}
    for table in tables().values():
        for column in table.columns:
            if column.kind and column.getter not in exceptions and "Mother" not in column.name:
                found = naming.index_name(column.name)
                if "Daughter0" not in column.name and "Daughter1" not in column.name:
                    assert found.getter == column.getter
                    assert found.kind == column.kind.removeprefix("self_")


@pytest.mark.parametrize(
    ("tree", "stem", "version"),
    [
        ("O2trackextra_001", "trackextra", 1),
        ("O2track_iu", "track_iu", 0),
        ("O2udtrack", "udtrack", 0),
        ("mytable", "mytable", 0),
    ],
)
def test_a_tree_has_a_stem_and_a_version(tree, stem, version):
    assert (naming.stem(tree), naming.version(tree)) == (stem, version)


def test_every_table_of_the_model_has_a_name_and_its_singular_means_a_row():
    assert len(tables()) == 57
    for model in tables().values():
        label = model.table.removeprefix("Stored")
        spec = getattr(o2, label)
        assert model.tree.removeprefix("O2").startswith(spec.stems[0][0])
    assert o2.Collision == o2.Collisions.iterator
    assert o2.BC.is_row and o2.McParticle.is_row and o2.V0.is_row
    assert o2.TracksExtra_000.versions == (0,) and o2.TracksExtra_001.versions == (1,)
    assert str(o2.Filtered[o2.Join[o2.Tracks, o2.TracksExtra]]) == "Filtered[Join[Tracks, TracksExtra]]"
    assert o2.FullTracks == o2.Join[o2.Tracks, o2.TracksExtra]


def test_a_table_that_is_not_there_is_an_error_with_what_comes_close():
    with pytest.raises(UnknownNameError, match=r"no table 'Trakcs' in the data model; did you mean Tracks"):
        o2.Trakcs  # noqa: B018
    with pytest.raises(AttributeError):
        o2.nothing  # noqa: B018
    assert len(table_names()) > 57 and table_named("Tracks") == o2.Tracks


@pytest.mark.parametrize("package", [o2dask, o2dask.analysis], ids=["o2dask", "analysis"])
def test_no_name_that_a_package_offers_is_one_of_its_modules(package):
    """The module would hide it as soon as anybody imports it: ``o2.overlay`` was a module after the first run."""
    modules = {module.name for module in pkgutil.iter_modules(package.__path__)}
    assert not modules & package._LAZY.keys()
