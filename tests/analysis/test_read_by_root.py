"""ROOT itself reads what we write: AnalysisResults.root, and derived and whole AO2D.root, where its wheel is installed.

`pip install root` (an alpha, so no part of the development packages). ROOT works in a process of its own and answers in
JSON; all else is compared here.
"""

import json
import subprocess
import sys
from importlib.util import find_spec

import awkward as ak
import numpy as np
import pytest
from aod_samples import random_dataframe

import o2dask as o2
from o2dask.analysis.results_file import write_results
from o2dask.aod.conversion import convert
from o2dask.aod.model import tables
from o2dask.aod.store import Store, commit_dataframe
from o2dask.columns import Jagged

pytestmark = pytest.mark.skipif(find_spec("ROOT") is None, reason="needs ROOT: pip install root")

HISTOGRAMS = """
import json, sys, ROOT
file = ROOT.TFile(sys.argv[1])
def axis(a):
    edges = [a.GetBinLowEdge(i + 1) for i in range(a.GetNbins() + 1)]
    return {"title": a.GetTitle(), "edges": edges}
def told(h):
    if not h.InheritsFrom("TH1"):
        return {"class": h.ClassName(), "text": str(h.GetString())}
    axes = [h.GetXaxis(), h.GetYaxis(), h.GetZaxis()][: h.GetDimension()]
    n = h.GetNcells()
    return {"class": h.ClassName(), "axes": [axis(a) for a in axes], "entries": h.GetEntries(), "mean": h.GetMean(),
            "contents": [h.GetBinContent(i) for i in range(n)], "errors": [h.GetBinError(i) for i in range(n)]}
found = {}
for key in file.GetListOfKeys():
    for inner in key.ReadObj().GetListOfKeys():
        found[f"{key.GetName()}/{inner.GetName()}"] = told(inner.ReadObj())
print(json.dumps(found))
"""

TREES = """
import json, sys, ROOT
file = ROOT.TFile(sys.argv[1])
def values(leaf):  # RDataFrame.AsNumpy of 6.40 trips over int8
    if "64" in leaf.GetTypeName():
        bits = [leaf.GetValueLong64(i) for i in range(leaf.GetLen())]
        return [b % 2**64 for b in bits] if leaf.GetTypeName()[0] == "U" else bits
    return [leaf.GetValue(i) for i in range(leaf.GetLen())]
found = {}
for key in file.GetListOfKeys():
    if key.GetClassName() != "TDirectoryFile":
        continue
    folder = key.ReadObj()
    for inner in folder.GetListOfKeys():
        tree = inner.ReadObj()
        names = [b.GetName() for b in tree.GetListOfBranches()]
        types = {n: tree.GetLeaf(n).GetTypeName() for n in names}
        columns = {n: [] for n in names}
        for row in range(tree.GetEntries()):
            tree.GetEntry(row)
            for n in names:
                columns[n].append(values(tree.GetLeaf(n)))
        found[f"{key.GetName()}/{tree.GetName()}"] = {"n": tree.GetEntries(), "types": types, "columns": columns}
print(json.dumps(found))
"""

TYPES = {
    "Bool_t": "bool", "Char_t": "int8", "UChar_t": "uint8", "Short_t": "int16", "UShort_t": "uint16",
    "Int_t": "int32", "UInt_t": "uint32", "Long64_t": "int64", "ULong64_t": "uint64", "Float_t": "float32",
    "Double_t": "float64",
}  # fmt: skip


def in_root(code, path):
    """Return what ROOT says of a file."""
    command = [sys.executable, "-W", "ignore", "-c", code, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "Error in" not in done.stderr, done.stderr
    return json.loads(done.stdout.strip().splitlines()[-1])


def test_root_reads_histograms_with_contents_errors_and_axes(tmp_path):
    rng = np.random.default_rng(1)
    x, y, z, w = rng.normal(size=(4, 1000))
    new = o2.Hist.new
    made = {
        "h_pt": new.Reg(20, -2, 2, label="pT [GeV/c]").Double().fill(x),
        "h_counts": new.Var([-3, -1, 0, 4], label="x").Int64().fill(x),
        "h_weighted": new.Reg(20, -2, 2, label="x").Weight().fill(x, weight=w),
        "h_two": new.Reg(5, -2, 2, label="x").Reg(4, -1, 1, label="y").Double().fill(x, y),
        "h_three": new.Reg(3, -2, 2).Reg(4, -1, 1).Reg(2, -1, 1).Weight().fill(x, y, z, weight=w),
    }
    write_results(tmp_path / "r.root", {"spectra": made | {"n": 3, "names": ["a", "b"]}})
    found = in_root(HISTOGRAMS, tmp_path / "r.root")
    assert [found[f"spectra/{name}"]["class"] for name in made] == ["TH1D", "TH1D", "TH1D", "TH2D", "TH3D"]
    for name, h in made.items():
        told = found[f"spectra/{name}"]
        for axis, seen in zip(h.axes, told["axes"], strict=True):
            np.testing.assert_allclose(seen["edges"], axis.edges, atol=1e-12)
            assert seen["title"] == axis.label
        contents, variances = h.values(flow=True).T.ravel(), h.variances(flow=True).T.ravel()
        np.testing.assert_allclose(told["contents"], contents, atol=1e-12)
        np.testing.assert_allclose(told["errors"], np.sqrt(variances), atol=1e-12)
    assert found["spectra/h_pt"]["mean"] == pytest.approx(x[abs(x) < 2].mean(), abs=0.05)
    assert json.loads(found["spectra/n"]["text"]) == {"value": 3}


def test_root_reads_profiles(tmp_path):
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=(2, 500))
    profile = o2.Hist.new.Reg(4, -2, 2, label="x").Mean().fill(x, sample=y)
    write_results(tmp_path / "r.root", {"t": {"profile": profile}})
    told = in_root(HISTOGRAMS, tmp_path / "r.root")["t/profile"]
    assert told["class"] == "TProfile"
    np.testing.assert_allclose(told["contents"][1:-1], profile.values(), atol=1e-12)


TracksDca = o2.declare_table("TracksDca", fDcaXY="float32", fIsGood="uint8", fIndexCollisions="int32")


class MakesDca(o2.AnalysisTask):
    dca = o2.Produces[TracksDca]

    def process(self, tracks: o2.Tracks):
        self.dca(tracks.y(), tracks.y() > 0, tracks.collisionId())


def test_root_reads_derived_tables(tmp_path):
    for i, n in enumerate((40, 0, 25)):
        commit_dataframe(Store(tmp_path / "aod"), 1000 + i, random_dataframe(i, n), {})
    aod = o2.open_aod(tmp_path / "aod")
    assert aod.run(MakesDca(), scheduler="inline", progress=False, save=tmp_path / "derived.root").ok
    found = in_root(TREES, tmp_path / "derived.root")
    assert [f"DF_{1000 + i}/O2tracksdca" for i in range(3)] == list(found)
    for i, told in enumerate(found.values()):
        tracks = aod[i].tracks
        assert told["n"] == len(tracks)
        assert told["types"] == {"fDcaXY": "Float_t", "fIsGood": "UChar_t", "fIndexCollisions": "Int_t"}
        if len(tracks):
            np.testing.assert_array_equal(np.float32(told["columns"]["fDcaXY"]).ravel(), tracks.y())
            np.testing.assert_array_equal(np.ravel(told["columns"]["fIndexCollisions"]), tracks.collisionId())


def test_root_reads_every_table_of_the_model(tmp_path):
    dataframe = random_dataframe(3, 20, tuple(tables()))
    commit_dataframe(Store(tmp_path / "aod"), 7, dataframe, {})
    convert(tmp_path / "aod", tmp_path / "AO2D.root")
    found = in_root(TREES, tmp_path / "AO2D.root")
    assert {tree.partition("/")[2] for tree in found} == set(tables())
    for tree, columns in dataframe.items():
        told = found[f"DF_7/{tree}"]
        assert told["n"] == columns.n_rows
        for column in tables()[tree].schema.columns:
            assert TYPES[told["types"][column.name]] == column.dtype, f"{tree}.{column.name}"
            want = columns[column.name]
            if isinstance(want, Jagged):
                want = ak.unflatten(want.content, np.diff(want.offsets)).to_list()
                assert told["columns"][column.name] == want, f"{tree}.{column.name}"
            else:
                got = np.array(told["columns"][column.name], dtype=object).astype(want.dtype).reshape(want.shape)
                np.testing.assert_array_equal(got, want, err_msg=f"{tree}.{column.name}")
