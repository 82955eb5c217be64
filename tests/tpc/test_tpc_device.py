"""The tracker on a device: the simulator equals the CPU, and every kernel compiles for real GPUs."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from gun import N_BCS, shoot

from o2dask.columns import Columns

pytestmark = pytest.mark.gpu

KERNELS = 21
"""Kernels of the tracker, and the one behind `Device.take`."""

_LOAD = """
import sys
import numpy as np
from o2dask.columns import Columns
from o2dask.reco.tpc.params import TpcTrackingParams
from o2dask.reco.tpc.reconstruct import reconstruct
from o2dask.reco.tpc.schema import CLUSTERNATIVE
from o2dask.reco.tpc.calibration import TpcCalibration
from o2dask.reco.calibration.objects import CorrectionMap, PadGain
flawed = TpcCalibration.of(
    gain=PadGain(np.full((36, 4), 0.8, np.float32)),
    corrections=CorrectionMap.from_function(lambda sector, x, y, z: (20 / x, 30 / x, 1e-3 * z)),
)
clusters = Columns(CLUSTERNATIVE, dict(np.load(sys.argv[1])))
wide = TpcTrackingParams(pair_window=(1.5, 3.0))
"""
_SIMULATED = """
from o2dask.reco.tpc.device import Device
from o2dask.reco.tpc.kernels_device import KERNELS

launched = set()

class Recording(Device):
    def run(self, launcher, n, *arguments):
        launched.update([launcher] if n else [])
        super().run(launcher, n, *arguments)

device = Recording()
tracks, members, _ = reconstruct(clusters, wide, flawed, device)
assert launched == set(KERNELS), [f.__name__ for f in set(KERNELS) - launched]
nothing = Columns(CLUSTERNATIVE, {name: column[:0] for name, column in np.load(sys.argv[1]).items()})
none, _, _ = reconstruct(nothing, backend=device)
assert none.n_rows == 0
device.copied.update(up=0, down=0)
again, _, _ = reconstruct(clusters, wide, flawed, device)
print(*device.copied.values())
assert all(np.array_equal(again[name], tracks[name]) for name in tracks.schema.names), "scratch of before was seen"
np.savez(sys.argv[2], cluster=members["cluster"], **{name: tracks[name] for name in tracks.schema.names})
"""
# types are those of the CPU's run of the same launchers on the same event
_PTX = """
from types import SimpleNamespace
import numba
from numba import cuda
from numba.cuda import dispatcher
from o2dask.reco.tpc.backend import Backend
from o2dask.reco.tpc.kernels_device import KERNELS, take_kernel
capability = tuple(int(part) for part in sys.argv[2].split("."))
dispatcher.get_current_device = lambda: SimpleNamespace(compute_capability=capability)
done = set()

class Compiling(Backend):
    is_wide = True
    has_lanes = False

    def run(self, launcher, n, *arguments):
        if launcher not in done:
            signature = tuple(numba.typeof(argument) for argument in arguments)
            ptx, _ = cuda.compile_ptx(KERNELS[launcher].py_func, signature, cc=capability)
            print(ptx)
            done.add(launcher)
        launcher(*arguments)

reconstruct(clusters, wide, flawed, Compiling())
assert done == set(KERNELS), set(KERNELS) - done
rows = numba.float32[:, ::1]
print(cuda.compile_ptx(take_kernel.py_func, (rows, numba.int32[::1], rows), cc=capability)[0])
"""


def _run(script: str, *arguments: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", _LOAD + script, *arguments],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def event(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Columns]:
    """Return a file with the clusters of seven tracks, and the clusters.

    One crosses the central electrode, one runs beside another, one is soft enough to be a leg of a looper.
    """
    from o2dask.reco.tpc.simulation import simulate_tpc

    pt, eta = (0.4, 1.0, 0.19, 3.0, 0.8, 0.6, 3.0), (0.3, -0.5, 0.7, -0.2, 0.1, -0.045, -0.206)
    phi, pdg = (0.1, 0.9, 2.0, 3.1, 4.4, 5.2, 3.102), (211, -211, 211, -211, 211, -211, -211)
    vertex = np.zeros((7, 3))
    vertex[5, 2] = 6.0
    made = simulate_tpc(*shoot(pdg, pt, eta, phi, vertex=vertex), n_bcs=N_BCS)
    clusters = made.payloads["TPC/CLUSTERNATIVE"]
    path = tmp_path_factory.mktemp("device") / "clusters.npz"
    np.savez(path, **{name: clusters[name] for name in clusters.schema.names})
    return path, clusters


def test_tracks_in_the_cuda_simulator_equal_those_of_the_cpu(event: tuple[Path, Columns], tmp_path: Path) -> None:
    from o2dask.reco.calibration.objects import CorrectionMap, PadGain
    from o2dask.reco.tpc.calibration import TpcCalibration
    from o2dask.reco.tpc.params import TpcTrackingParams
    from o2dask.reco.tpc.reconstruct import reconstruct

    path, clusters = event
    flawed = TpcCalibration.of(  # as in _LOAD, so that the kernels of calibration run as well
        gain=PadGain(np.full((36, 4), 0.8, np.float32)),
        corrections=CorrectionMap.from_function(lambda sector, x, y, z: (20 / x, 30 / x, 1e-3 * z)),
    )
    tracks, members, _ = reconstruct(clusters, TpcTrackingParams(pair_window=(1.5, 3.0)), flawed)
    # The bodies run as plain Python: compiled ones do not take the simulator's arrays inside a named tuple.
    environment = {"NUMBA_ENABLE_CUDASIM": "1", "NUMBA_DISABLE_JIT": "1"}
    told = _run(_SIMULATED, str(path), str(tmp_path / "out.npz"), **environment)
    simulated = np.load(tmp_path / "out.npz")
    assert tracks.n_rows >= 6
    assert (tracks["sides"] == 3).any(), "no track across the electrode: joining is not tested"
    for name in ("n_clusters", "n_crossed_rows", "first_cluster", "sides", "alpha", "x", "x_out"):
        np.testing.assert_array_equal(simulated[name], tracks[name])
    np.testing.assert_array_equal(simulated["cluster"], members["cluster"])
    sigma = np.sqrt(tracks["cov"][:, [0, 2, 5, 9, 14]])
    # single precision, and fused multiply-add on the CPU only: far below the resolution
    for i, name in enumerate(("y", "z", "snp", "tgl", "q2pt")):
        assert np.abs((simulated[name] - tracks[name]) / sigma[:, i]).max() < 0.02
    np.testing.assert_allclose(simulated["cov"][:, [0, 2, 5, 9, 14]], sigma**2, rtol=0.01)
    np.testing.assert_allclose(simulated["chi2"], tracks["chi2"], rtol=0.01)
    np.testing.assert_allclose(simulated["dedx_tot"], tracks["dedx_tot"], rtol=1e-4)
    # native clusters up (10 bytes), those of tracks down (14); charges, drift and indices of the fit's; row offsets
    up, down = (int(part) for part in told.split()[-2:])
    assert (up - 80_000) / clusters.n_rows < 40
    assert (down - 150_000) / clusters.n_rows < 40


@pytest.mark.parametrize("capability", ["8.0", "9.0"])
def test_every_kernel_compiles_to_ptx_without_double_precision_in_its_state(
    capability: str, event: tuple[Path, Columns]
) -> None:
    ptx = _run(_PTX, str(event[0]), capability)
    assert ptx.count(".visible .entry") == KERNELS
    assert ptx.count(f".target sm_{capability.replace('.', '')}") == KERNELS
    assert "fma.rn.f32" in ptx
    # pads and times of raw clusters are located in double precision, nothing else is
    assert ptx.count("fma.rn.f64") + ptx.count("mul.f64") < 20, "float64 arithmetic crept into the float32 kernels"
