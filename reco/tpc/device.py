"""The final fit on a GPU: the CPU's body, launched by numba.cuda. Imported only where there is a device or a simulator.

Knows arrays. Needs numba-cuda (extra `gpu`); NUMBA_ENABLE_CUDASIM=1 runs the same kernel without a GPU.
"""

import numpy as np

from o2dask.errors import MissingExtraError
from o2dask.reco.tpc.kernels_types import Detector
from o2dask.reco.tpc.segments import Fitted, Segments

__all__ = ["THREADS_PER_BLOCK", "fit_segments_on_device"]

THREADS_PER_BLOCK = 64
"""A fit needs about 100 registers: small blocks keep the multiprocessors busy."""


def fit_segments_on_device(segments: Segments, detector: Detector, chi2_drop: float) -> Fitted:
    """Return the fit of every track on the current device: `o2dask.reco.tpc.segments.fit_segments` elsewhere."""
    try:
        from numba import cuda

        from o2dask.reco.tpc.kernels_device import fit_tracks_kernel
    except ImportError as error:
        raise MissingExtraError("fitting on a GPU needs numba-cuda: pip install 'o2dask[gpu]'") from error
    hits, n = segments.hits, len(segments.par)
    on_device = cuda.to_device
    inputs = [
        on_device(np.ascontiguousarray(a)) for a in (hits.first, hits.y, hits.z, hits.row, hits.sector, hits.width)
    ]
    arrays = [on_device(part) if isinstance(part, np.ndarray) and part.ndim else part for part in detector]
    par = on_device(np.ascontiguousarray(segments.par))
    cov, chi2 = cuda.device_array((n, 15), np.float32), cuda.device_array(n, np.float32)
    last, path = cuda.device_array((n, 3), np.int32), cuda.device_array(len(hits.cluster), np.float32)
    if n:
        blocks = (n + THREADS_PER_BLOCK - 1) // THREADS_PER_BLOCK
        fit_tracks_kernel[blocks, THREADS_PER_BLOCK](
            *inputs, Detector(*arrays), np.float32(chi2_drop), par, cov, chi2, last, path
        )
    last_host = last.copy_to_host()
    inner = hits.first[:-1] + np.maximum(last_host[:, 1], 0)
    sector = hits.sector[inner] if n else np.zeros(0, np.uint8)
    return Fitted(
        par.copy_to_host(), cov.copy_to_host(), chi2.copy_to_host(), last_host[:, 0], sector, path.copy_to_host()
    )
