"""The bodies of the simulation compile for GPUs as they are, without a driver or a GPU."""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.gpu

_PTX = """
import sys
from types import SimpleNamespace
import numba, numpy as np
from numba import cuda, types
from numba.cuda import dispatcher
from o2dask.reco.tpc import simulation_constants as constants
from o2dask.reco.tpc.simulation_kernels import transport_particle
from o2dask.reco.tpc.simulation_params import TpcSimParams
from o2dask.reco.tpc.simulation_response_kernels import respond
capability = tuple(int(part) for part in sys.argv[1].split("."))
dispatcher.get_current_device = lambda: SimpleNamespace(compute_capability=capability)

def typed(values):
    kinds = tuple(numba.typeof(v) if isinstance(v, np.ndarray) else types.float64 for v in values)
    return types.NamedTuple(kinds, type(values))

def respond_kernel(hits, keys, buckets, time, geo, par):
    i = cuda.grid(1)
    if i < time.shape[0]:
        time[i] = respond(hits[i], keys[i], buckets[i], 100, 0.0, 1e4, geo, par)[1]

def transport_kernel(particles, hits, keys, owners, n_hits, references, seed, geo, par):
    i = cuda.grid(1)
    if i < n_hits.shape[0]:
        p = particles[i]
        particle = (p[0], p[1], p[2], p[3], p[4], p[5], p[6], p[7], p[8], p[9])
        n_hits[i] = transport_particle(
            i, particle, geo, par, seed, hits[i], keys[i], owners[i], 0, references[i]
        )[1]

settings = TpcSimParams()
geo = typed(constants.geometry())
f4, f8, u8, i4, i8 = types.float32, types.float64, types.uint64, types.int32, types.int64
for kernel, signature in (
    (respond_kernel, (f4[:, ::1], u8[::1], i4[::1], i8[::1], geo, typed(constants.response(settings)))),
    (
        transport_kernel,
        (f8[:, ::1], f4[:, :, ::1], u8[:, ::1], i4[:, :, ::1], i8[::1], f4[:, ::1], u8, geo,
         typed(constants.transport(settings))),
    ),
):
    ptx, _ = cuda.compile_ptx(kernel, signature, cc=capability)
    print(ptx)
"""


@pytest.mark.parametrize("capability", ["8.0"])
def test_transport_and_response_compile_to_ptx(capability):
    done = subprocess.run(
        [sys.executable, "-c", _PTX, capability],
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(".visible .entry") == 2
    assert f"sm_{capability.replace('.', '')}" in done.stdout
