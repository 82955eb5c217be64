"""The final fit on a device: the simulator equals the CPU, and the kernel compiles for real GPUs."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helix_gun import shoot

pytestmark = pytest.mark.gpu

_SIMULATED = """
import sys, numpy as np
from o2dask.reco.tpc.device import fit_segments_on_device
from o2dask.reco.tpc.grid import make_detector
from o2dask.reco.tpc.params import TpcTrackingParams
from o2dask.reco.tpc.segments import Hits, Segments
given = np.load(sys.argv[1])
segments = Segments(given["par"], given["cov"], Hits(*(given[f"hits_{name}"] for name in Hits._fields)))
fitted = fit_segments_on_device(segments, make_detector(TpcTrackingParams()), 25.0)
np.savez(sys.argv[2], **fitted._asdict())
"""

_PTX = """
import sys
from types import SimpleNamespace
from numba import cuda, types
from numba.cuda import dispatcher
from numba.core.typing.asnumbatype import as_numba_type
from o2dask.reco.tpc.kernels_device import fit_tracks_kernel
from o2dask.reco.tpc.kernels_types import Detector
capability = tuple(int(part) for part in sys.argv[1].split("."))
dispatcher.get_current_device = lambda: SimpleNamespace(compute_capability=capability)
f4, i4, u1 = types.float32, types.int32, types.uint8
v = f4[::1]
detector = types.NamedTuple((v, v, v, v, f4[:, ::1], f4[:, ::1], f4, v, f4, f4, v), Detector)
signature = (i4[::1], v, v, u1[::1], u1[::1], f4[:, ::1], detector, f4, f4[:, ::1], f4[:, ::1], v, i4[:, ::1], v)
ptx, _ = cuda.compile_ptx(fit_tracks_kernel.py_func, signature, cc=capability)
print(ptx)
"""


def _run(script: str, *arguments: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_fit_in_the_cuda_simulator_equals_the_one_on_the_cpu(tmp_path: Path) -> None:
    from o2dask.reco.tpc.grid import make_detector, sort_clusters
    from o2dask.reco.tpc.params import TpcTrackingParams
    from o2dask.reco.tpc.segments import fit_segments
    from o2dask.reco.tpc.tracking import find_tracks

    shots, params = shoot(10, seed=5), TpcTrackingParams()
    detector = make_detector(params)
    clusters = sort_clusters(*shots[:4], detector)
    segments = find_tracks(clusters, detector, params)
    on_cpu = fit_segments(segments, detector, 25.0)
    hits = {f"hits_{name}": part for name, part in segments.hits._asdict().items()}
    np.savez(tmp_path / "in.npz", par=segments.par, cov=segments.cov, **hits)
    # The bodies run as plain Python: compiled ones do not take the simulator's arrays inside a named tuple.
    environment = {"NUMBA_ENABLE_CUDASIM": "1", "NUMBA_DISABLE_JIT": "1"}
    _run(_SIMULATED, str(tmp_path / "in.npz"), str(tmp_path / "out.npz"), **environment)
    simulated = np.load(tmp_path / "out.npz")
    assert len(on_cpu.par) >= 8
    for name in ("n_used", "sector"):
        np.testing.assert_array_equal(simulated[name], getattr(on_cpu, name))
    sigma = np.sqrt(on_cpu.cov[:, [0, 2, 5, 9, 14]])
    # single precision, and fused multiply-add on the CPU only: far below the resolution
    assert np.abs((simulated["par"] - on_cpu.par)[:, 1:] / sigma).max() < 0.02
    np.testing.assert_allclose(simulated["cov"][:, [0, 2, 5, 9, 14]], sigma**2, rtol=0.01)
    np.testing.assert_allclose(simulated["chi2"], on_cpu.chi2, rtol=0.01)
    np.testing.assert_allclose(simulated["path"], on_cpu.path, rtol=1e-4)


@pytest.mark.parametrize("capability", ["8.0", "9.0"])
def test_the_fit_compiles_to_ptx_without_double_precision_in_its_state(capability: str) -> None:
    ptx = _run(_PTX, capability)
    assert ".visible .entry" in ptx
    assert f"sm_{capability.replace('.', '')}" in ptx
    assert "fma.rn.f32" in ptx
    assert ptx.count(".f64") < 20, "float64 arithmetic crept into the float32 kernel"


def test_no_tracks_are_fitted_to_no_tracks_on_a_device() -> None:
    script = """
import numpy as np
from o2dask.reco.tpc.device import fit_segments_on_device
from o2dask.reco.tpc.grid import make_detector
from o2dask.reco.tpc.params import TpcTrackingParams
from o2dask.reco.tpc.segments import Hits, Segments
f4, u1 = np.float32, np.uint8
hits = Hits(np.zeros(1, np.int32), *(np.zeros(0, t) for t in (np.int32, f4, f4, u1, u1)), np.zeros((0, 2), f4))
fitted = fit_segments_on_device(
    Segments(np.zeros((0, 6), f4), np.zeros((0, 15), f4), hits), make_detector(TpcTrackingParams()), 25.0)
print(len(fitted.par), len(fitted.path))
"""
    assert _run(script, NUMBA_ENABLE_CUDASIM="1", NUMBA_DISABLE_JIT="1").split() == ["0", "0"]
