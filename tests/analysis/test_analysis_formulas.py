"""Every formula against a slow scalar version, on random rows and on the edges of each input."""

import itertools
from types import SimpleNamespace

import numpy as np
import pytest
from aod_samples import random_dataframe, random_table
from formula_oracle import ORACLE

from o2dask.analysis import Dataframe
from o2dask.analysis.formulas import FORMULAS, elementary
from o2dask.analysis.formulas.elementary import IN_CACHE, asinh, azimuth
from o2dask.analysis.formulas.registry import BLOCK
from o2dask.aod.model import tables
from o2dask.columns import Columns, Jagged

N_ROWS = 60
ARGUMENTS = {"energy": (0.0, 0.13957, 0.93827), "rapidity": (0.13957, 0.93827), "itsClsSizeInLayer": (0, 3, 6)}
ALMOST_0 = np.float32(1.175494351e-38)
EDGES = {
    "O2track_iu": {
        "fSigned1Pt": (0.0, -0.0, ALMOST_0, -ALMOST_0, 2 * ALMOST_0, 1e-4, -50.0),
        "fTgl": (0.0, 30.0, -30.0, 1e4, -1e4),
        "fSnp": (1.0, -1.0, 0.0),
        "fAlpha": (0.0, 3.1415925, -3.1415925),
        "fX": (1.6, -1.6, 1.5999999, 0.0),
    },
    "O2trackextra_001": {
        "fFlags": (0, 1, 2, 8, 0xFFFFFFFF, 0x80000000),
        "fITSClusterSizes": (0, 1, 0xF, 0x0F0F0F0F, 0xF0000000, 0x7777777, 0x1000000),
        "fTPCNClsFindable": (0, 255),
        "fTPCNClsFindableMinusFound": (0, -128, 127),
        "fTPCNClsFindableMinusCrossedRows": (0, -128, 127),
        "fTOFExpMom": (0.0, -1.0, 1.0),
        "fTOFChi2": (0.0, -1.0),
        "fTRDPattern": (0, 1),
    },
    "O2mcparticle_001": {
        "fPx": (0.0, 1e-3, -1.0),
        "fPy": (0.0, 1.0),
        "fPz": (0.0, 5.0, -5.0, 3000.0, -3000.0),
        "fE": (5.0, 0.0, 3000.0),
        "fFlags": (0, 1, 2, 4, 7),
        "fStatusCode": (0, 1, -5, (5 << 29) - (1 << 32) | 0x3FF << 9 | 0x1FF, (5 << 29) - (1 << 32) | 91 << 9 | 2),
    },
    "O2mccollision_001": {"fGeneratorsID": (0, -1, 0x7FFF, 2, 0x0800, 0x0780)},
    "O2trackcov_iu": {"fRho1PtTgl": (-128, 127, 0), "fSigmaTgl": (0.0, 1e-3)},
    "O2ft0": {"fTimeA": (29.999998, 30.0, 32.0), "fTimeC": (29.999998, 30.0)},
}
WITH_EDGES = [key for key in sorted(FORMULAS) if key[0] in EDGES]


class InMemory:
    """Stored tables as the reader gives them, without a file."""

    number = 1
    run = first_orbit = 0

    def __init__(self, dataframe):
        self._dataframe = dataframe
        self.tables = tuple(dataframe)

    def n_rows(self, tree):
        return self._dataframe[tree].n_rows

    def columns(self, tree):
        return {c.name: c for c in self._dataframe[tree].schema.columns}

    def read(self, tree, columns=None):
        return {name: self._dataframe[tree][name] for name in columns}


def random_rows(tree: str, n: int) -> Columns:
    return random_table(np.random.default_rng(n), tables()[tree], {tree: n})


def edge_rows(tree: str) -> Columns:
    """Return all combinations of the edges of a table, other columns random."""
    edges = EDGES[tree]
    combinations = list(itertools.islice(itertools.product(*edges.values()), 4000))
    columns = random_rows(tree, len(combinations))
    arrays = dict(columns)
    for i, name in enumerate(edges):
        arrays[name] = np.array([values[i] for values in combinations]).astype(arrays[name].dtype)
    return Columns(columns.schema, arrays)


def rows_of(columns: Columns):
    """Yield the stored values of each row under their getters."""
    getters = {c.name: c.getter for c in tables()[tree_of(columns)].columns}
    for i in range(columns.n_rows):
        row = {}
        for name, array in columns.items():
            lists = isinstance(array, Jagged)
            row[getters[name]] = array.content[array.offsets[i] : array.offsets[i + 1]] if lists else array[i]
        yield SimpleNamespace(**row)


def tree_of(columns: Columns) -> str:
    from o2dask.aod.model import tree_name
    from o2dask.specs import DataRef

    ref = DataRef.parse(columns.schema.name)
    return tree_name(DataRef(ref.origin, ref.description, columns.schema.version))


def scale_of(columns: Columns, getter: str) -> np.ndarray | float:
    """Return the size against which rounding counts: components of a momentum lose digits against the whole."""
    if getter in ("px", "py", "pz", "pVector") and "fSigned1Pt" in columns.schema.names:
        with np.errstate(divide="ignore"):
            scale = 1 / np.abs(columns["fSigned1Pt"].astype(np.float64))
        scale = np.where(np.isfinite(scale), scale, 1)
        return scale[:, None] if getter == "pVector" else scale
    return 1.0


def assert_equals_oracle(columns: Columns, getter: str) -> None:
    tree = tree_of(columns)
    accessor = getattr(Dataframe(InMemory({tree: columns}))[tree], getter)
    slow = ORACLE[tree][getter]
    for argument in ARGUMENTS.get(getter, (None,)):
        given = () if argument is None else (argument,)
        with np.errstate(over="ignore"):
            want = np.array([slow(row, *given) for row in rows_of(columns)], np.float64).astype(np.float32)
        got = np.asarray(accessor(*given))
        assert got.shape == want.shape
        same_kind = np.isfinite(want) | (np.isnan(want) == np.isnan(got))
        assert same_kind.all()
        with np.errstate(invalid="ignore"):
            near = np.abs(got - want.astype(np.float64)) <= 4e-6 * np.maximum(np.abs(want), scale_of(columns, getter))
        good = near | (got == want) | (np.isnan(want) & np.isnan(got))
        bad = np.flatnonzero(~good.reshape(len(good), -1).all(axis=1))
        assert not bad.size, f"row {bad[0]}: {got[bad[0]]}, want {want[bad[0]]}: {list(rows_of(columns))[bad[0]]}"


def test_every_dynamic_and_expression_column_of_the_model_has_a_formula():
    want = {(t.tree, d.getter) for t in tables().values() for d in (*t.dynamic, *t.expression)}
    assert want == FORMULAS.keys()
    assert len(want) == 137 + 74


def test_every_formula_has_a_slow_version_to_be_compared_with():
    assert {(tree, getter) for tree, terms in ORACLE.items() for getter in terms} == FORMULAS.keys()


@pytest.mark.parametrize(("tree", "getter"), sorted(FORMULAS), ids=map(".".join, sorted(FORMULAS)))
def test_formula_equals_its_slow_version_on_random_rows(tree, getter):
    assert_equals_oracle(random_rows(tree, N_ROWS), getter)


@pytest.mark.parametrize(("tree", "getter"), WITH_EDGES, ids=map(".".join, WITH_EDGES))
def test_formula_equals_its_slow_version_at_the_edges_of_its_inputs(tree, getter):
    assert_equals_oracle(edge_rows(tree), getter)


@pytest.mark.parametrize("tree", sorted({tree for tree, _ in FORMULAS}))
def test_formulas_of_an_empty_table_are_empty(tree):
    table = Dataframe(InMemory(random_dataframe(1, 0, (tree,))))[tree]
    for getter in table.getters.values():
        if getter.kind == "formula":
            assert len(getattr(table, getter.name)(*(1,) * len(getter.arguments))) == 0


def test_formulas_of_floats_stay_float32():
    for (tree, getter), formula in FORMULAS.items():
        table = Dataframe(InMemory(random_dataframe(1, N_ROWS, (tree,))))[tree]
        result = getattr(table, getter)(*(1,) * len(formula.arguments))
        assert np.asarray(result).dtype != np.float64, (tree, getter)


def test_a_layer_that_the_its_does_not_have_has_no_clusters():
    table = Dataframe(InMemory(random_dataframe(1, N_ROWS, ("O2trackextra_001",))))["O2trackextra_001"]
    assert not table.itsClsSizeInLayer(7).any()
    assert not table.itsClsSizeInLayer(layer=-1).any()


def test_a_column_longer_than_a_block_is_computed_as_a_short_one():
    columns = random_rows("O2track_iu", 2 * BLOCK + 7)
    table = Dataframe(InMemory({"O2track_iu": columns}))["O2track_iu"]
    for name in ("pt", "eta", "px", "sign", "pVector", "isWithinBeamPipe"):
        whole = getattr(table, name)()
        parts = [getattr(table[start : start + 1000], name)() for start in range(0, len(table), 1000)]
        np.testing.assert_array_equal(whole, np.concatenate(parts))
    np.testing.assert_array_equal(table.energy(0.5)[-3:], table[-3:].energy(0.5))


def test_the_fast_asinh_is_precise_where_both_of_its_branches_meet_and_at_the_ends():
    size = np.concatenate([np.logspace(-30, 18, 100_000), np.linspace(0.2, 0.3, 100_000)]).astype(np.float32)
    exact = np.arcsinh(size.astype(np.float64))
    for x, want in ((size, exact), (-size, -exact)):
        assert np.abs(asinh(x) / want - 1).max() < 6e-7
    far = np.float32([2e18, 3e38, -3e38])
    np.testing.assert_allclose(asinh(far), np.arcsinh(far.astype(np.float64)), rtol=2e-7)
    assert asinh(np.float32([0.0, -0.0, np.inf, -np.inf])).tolist() == [0, 0, np.inf, -np.inf]
    assert np.isnan(asinh(np.float32([np.nan])))[0]
    assert asinh(np.array([1e-9, 2.0])).tolist() == np.arcsinh([1e-9, 2.0]).tolist()  # float64 as it is


def test_the_azimuth_is_precise_up_to_where_the_track_turns_and_stays_in_one_turn():
    rng = np.random.default_rng(7)
    snp = np.concatenate([rng.uniform(-1, 1, 200_000), [1, -1, 0.5, -0.5, 0, -0.0]]).astype(np.float32)
    alpha = rng.uniform(-np.pi, np.pi, len(snp)).astype(np.float32)
    difference = azimuth(snp, alpha) - (np.arcsin(snp.astype(np.float64)) + alpha)
    assert np.abs(difference - 2 * np.pi * np.round(difference / (2 * np.pi))).max() < 1e-6
    assert azimuth(snp, alpha).min() >= 0 and azimuth(snp, alpha).max() < np.float32(2 * np.pi)
    with np.errstate(invalid="ignore"):
        assert np.isnan(azimuth(np.float32([1.01, -1.01, np.nan]), np.zeros(3, np.float32))).all()


@pytest.mark.parametrize("function", [asinh, azimuth])
def test_compiled_loops_over_rows_give_the_bits_of_numpy(function, monkeypatch):
    monkeypatch.setattr(elementary, "PLAIN_ROWS", 0)
    rng = np.random.default_rng(8)
    bits = rng.integers(0, 1 << 32, 20 * IN_CACHE, dtype=np.uint32).view(np.float32)  # any float, NaN too
    near = rng.uniform(-1, 1, 20 * IN_CACHE).astype(np.float32)
    columns = [np.concatenate([bits, near]), np.concatenate([near, near])][: 1 if function is asinh else 2]
    compiled = function(*columns)
    monkeypatch.setattr(elementary, "PLAIN_ROWS", 1 << 62)
    with np.errstate(all="ignore"):
        rows = range(0, len(compiled), 3 * IN_CACHE // 2)
        plain = np.concatenate([function(*(column[i : i + 3 * IN_CACHE // 2] for column in columns)) for i in rows])
    is_nan = np.isnan(plain)
    assert np.array_equal(np.isnan(compiled), is_nan)
    assert np.array_equal(compiled.view(np.uint32)[~is_nan], plain.view(np.uint32)[~is_nan])
