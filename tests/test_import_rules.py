"""The layers of docs/design.md, held over the import statements of every module."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DETECTORS = {"tpc", "its", "trd", "tof", "mft", "mch", "emcal", "fit", "zdc"}
SHARED = {"geometry", "simulation", "calibration", "qc"}
MODULES = sorted(
    p
    for top in ("o2dask", "reco", "analysis")
    for p in (ROOT / top).rglob("*.py")
    if not {"reco", "analysis"} & set(p.relative_to(ROOT).parts[1:2]) or top != "o2dask"
)


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", [p for p in MODULES if name(p).startswith("o2dask/")], ids=name)
def test_the_framework_imports_neither_reconstruction_nor_analysis(path):
    if name(path) == "o2dask/__init__.py":
        return  # names o2dask.analysis as text, imported on first use
    assert not [i for i in imports(path) if i.startswith(("o2dask.reco", "o2dask.analysis"))]


@pytest.mark.parametrize("path", [p for p in MODULES if name(p).startswith("analysis/")], ids=name)
def test_analysis_does_not_import_reconstruction(path):
    assert not [i for i in imports(path) if i.startswith("o2dask.reco")]


@pytest.mark.parametrize("path", [p for p in MODULES if name(p).startswith("reco/")], ids=name)
def test_a_detector_imports_no_other_and_shared_machinery_imports_none(path):
    room = path.relative_to(ROOT / "reco").parts[0]
    used = {i.split(".")[2] for i in imports(path) if i.startswith("o2dask.reco.")}
    if room in DETECTORS:
        assert not (used & DETECTORS) - {room}
    if room in SHARED:
        assert not used & DETECTORS or room == "qc"


@pytest.mark.parametrize("path", [p for p in MODULES if "kernels" in p.stem], ids=name)
def test_kernels_know_arrays_and_scalars_only(path):
    allowed = ("numpy", "numba", "math", "typing", "collections.abc", "llvmlite")
    rest = [i for i in imports(path) if not i.startswith(allowed)]
    assert not [i for i in rest if not (i.startswith("o2dask.") and "kernels" in i)]


@pytest.mark.parametrize("path", [p for p in MODULES if name(p).startswith("reco/vertexing/")], ids=name)
def test_global_steps_read_schemas_of_detectors_only(path):
    used = [i for i in imports(path) if i.startswith("o2dask.reco.") and i.split(".")[2] in DETECTORS]
    assert not [i for i in used if i.split(".")[3] != "schema"]


def test_importing_the_package_loads_nothing_heavy():
    code = "import sys, o2dask; print(*sorted({m.split('.')[0] for m in sys.modules}))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT).stdout
    assert not {"numba", "dask", "distributed", "cupy", "uproot", "awkward", "pyarrow", "matplotlib"} & set(out.split())
