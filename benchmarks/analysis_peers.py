"""The analysis of `benchmarks/analysis.py` in coffea and in ROOT's RDataFrame, where they are installed.

coffea: a processor over virtual arrays, run by its iterative executor, with its default chunks of 100 000 rows and with
one chunk per dataframe. RDataFrame: lambdas compiled ahead with the machine's C++ compiler at -O3, nothing just in
time, one thread, a TChain over all dataframes. All fill what `analysis.py` fills, with the same cut.

    pip install o2dask[peers]

`root` is the alpha wheel of PyPI; RDataFrame also needs a C++ compiler.
"""

import contextlib
import functools
import io
import shutil
import tempfile
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import hist
import numpy as np

TREE = "O2track_iu"

Ways = dict[str, Callable[[], list[Any]]]

CODE = """
#include <ROOT/RDataFrame.hxx>
#include <TChain.h>
#include <TH1D.h>
#include <TH2D.h>
#include <cmath>
#include <string>
#include <vector>

struct Found { TH1D one; TH2D two; };

TChain *chain(const std::string &file, const std::vector<std::string> &trees) {
  auto *made = new TChain();
  for (const auto &tree : trees) made->Add((file + "?#" + tree).c_str());
  return made;
}

Found two_columns(const std::string &file, const std::vector<std::string> &trees) {
  std::unique_ptr<TChain> from(chain(file, trees));
  ROOT::RDataFrame df(*from);
  auto good = df.Define("pt", [](float q) { return 1.f / std::abs(q); }, {"fSigned1Pt"})
                .Filter([](float tgl) { return std::abs(tgl) < 0.8f; }, {"fTgl"});
  auto one = good.Histo1D<float>({"one", "", 100, 0, 10}, "pt");
  auto two = good.Histo2D<float, float>({"two", "", 100, 0, 10, 50, -1, 1}, "pt", "fTgl");
  return {*one, *two};
}

Found spectra(const std::string &file, const std::vector<std::string> &trees) {
  std::unique_ptr<TChain> from(chain(file, trees));
  ROOT::RDataFrame df(*from);
  auto good = df.Define("pt", [](float q) { return 1.f / std::abs(q); }, {"fSigned1Pt"})
                .Define("eta", [](float tgl) { return std::asinh(tgl); }, {"fTgl"})
                .Filter([](float eta, float pt) { return std::abs(eta) < 0.8f && pt > 0.15f; }, {"eta", "pt"})
                .Define("phi", [](float snp, float alpha) {
                    const float turn = 6.283185307179586f, phi = std::asin(snp) + alpha;
                    return phi < 0 ? phi + turn : phi >= turn ? phi - turn : phi;
                  }, {"fSnp", "fAlpha"});
  auto one = good.Histo1D<float>({"one", "", 100, 0, 10}, "pt");
  auto two = good.Histo2D<float, float>({"two", "", 40, -0.8, 0.8, 72, 0, 6.2832}, "eta", "phi");
  return {*one, *two};
}
"""


def peers(case: str, parquet: Path, root: Path, trees: list[str]) -> Ways:
    """Return by name what gives the two histograms of a case, of those peers that can run here."""
    found: Ways = {}
    if find_spec("coffea"):
        stored = {tree: {"files": {str(root): f"{tree}/{TREE}"}} for tree in trees}
        folders = {tree: {"files": {str(parquet / tree / f"{TREE}.parquet"): None}} for tree in trees}
        for kind, files in {"Parquet": folders, "ROOT": stored}.items():
            for chunks, n_rows in {"": 100_000, " (whole dataframes)": 1 << 30}.items():
                found[f"{kind}, coffea{chunks}"] = functools.partial(with_coffea, case, files, kind.lower(), n_rows)
    if find_spec("ROOT") and compiled() is not None:
        found["ROOT, RDataFrame"] = lambda: with_rdataframe(case, root, trees)
    return found


def left_out() -> dict[str, str]:
    """Return which peers cannot run here, and why."""
    found = {}
    if not find_spec("coffea"):
        found["coffea"] = "not installed; pip install o2dask[peers]"
    if not find_spec("ROOT"):
        found["RDataFrame"] = "not installed; pip install o2dask[peers]"
    elif compiled() is None:
        found["RDataFrame"] = "its C++ compiler failed"
    return found


def with_coffea(case: str, files: dict[str, Any], kind: str, chunk: int) -> list[Any]:
    """Run a coffea processor over all dataframes."""
    from coffea import processor
    from coffea.nanoevents import BaseSchema

    run = processor.Runner(
        executor=processor.IterativeExecutor(status=False, compression=None),
        schema=BaseSchema,
        format=kind,
        chunksize=chunk,
    )
    with contextlib.redirect_stdout(io.StringIO()):  # coffea 2026.9 draws its bar whatever `status` says
        found = run(files, processor_instance=coffea_processor(case))
    return [found["one"], found["two"]]


@functools.cache
def coffea_processor(case: str) -> Any:
    """Return the processor of a case."""
    from coffea import processor

    class TwoColumns(processor.ProcessorABC):
        def process(self, events: Any) -> dict[str, Any]:
            pt, tgl = 1 / np.abs(events.fSigned1Pt), events.fTgl
            good = np.abs(tgl) < 0.8
            one = hist.Hist.new.Reg(100, 0, 10).Double()
            two = hist.Hist.new.Reg(100, 0, 10).Reg(50, -1, 1).Double()
            return {"one": one.fill(pt[good]), "two": two.fill(pt[good], tgl[good])}

        def postprocess(self, accumulator: Any) -> None: ...

    class Spectra(processor.ProcessorABC):
        def process(self, events: Any) -> dict[str, Any]:
            pt, eta = 1 / np.abs(events.fSigned1Pt), np.arcsinh(events.fTgl)
            phi = (np.arcsin(events.fSnp) + events.fAlpha) % np.float32(2 * np.pi)
            good = (np.abs(eta) < 0.8) & (pt > 0.15)
            one = hist.Hist.new.Reg(100, 0, 10).Double()
            two = hist.Hist.new.Reg(40, -0.8, 0.8).Reg(72, 0, 6.2832).Double()
            return {"one": one.fill(pt[good]), "two": two.fill(eta[good], phi[good])}

        def postprocess(self, accumulator: Any) -> None: ...

    return {"2 columns": TwoColumns, "pt, eta, phi": Spectra}[case]()


def with_rdataframe(case: str, root: Path, trees: list[str]) -> list[Any]:
    """Run the compiled loop over the file."""
    import ROOT

    names = ROOT.std.vector("string")([f"{tree}/{TREE}" for tree in trees])
    found = {"2 columns": compiled().two_columns, "pt, eta, phi": compiled().spectra}[case](str(root), names)
    return [_as_hist(found.one), _as_hist(found.two)]


def _as_hist(h: Any) -> Any:
    """Return a histogram of ROOT, flow included, as hist."""
    axes = [h.GetXaxis(), h.GetYaxis()][: h.GetDimension()]
    made = hist.Hist(*(hist.axis.Regular(a.GetNbins(), a.GetXmin(), a.GetXmax()) for a in axes))
    shape = [a.GetNbins() + 2 for a in axes]
    flat = np.frombuffer(h.GetArray(), np.float64, int(np.prod(shape)))
    made.view(flow=True)[...] = flat.reshape(shape[::-1]).T
    return made


@functools.cache
def compiled() -> Any:
    """Return ROOT with the loops compiled; None, with a warning, where that does not work."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the wheel says at every import that it is an alpha
            import ROOT
    except ImportError as error:
        warnings.warn(f"ROOT does not import: {error}", stacklevel=2)
        return None
    folder = Path(tempfile.mkdtemp(prefix="o2dask-rdataframe-"))
    try:
        ROOT.gErrorIgnoreLevel = ROOT.kError
        code = folder / "peers.C"
        code.write_text(CODE)
        ROOT.gSystem.SetFlagsOpt("-O3 -march=native")
        if not ROOT.gSystem.CompileMacro(str(code), "kOs"):
            return None
        return ROOT
    finally:
        shutil.rmtree(folder, ignore_errors=True)
