"""How kernels are compiled: one decorator for bodies, one for launchers.

Knows numba only. Division by zero gives infinity, as on a GPU, instead of an exception in every division
(error_model="numpy"); multiply and add may be fused. NaN and infinity keep their meaning: comparisons can be trusted.
"""

from collections.abc import Callable
from typing import Any

from numba import njit
from numba.core.options import DefaultOptions

__all__ = ["body", "inlined", "launcher"]

_FASTMATH = {"contract", "nsz", "arcp"}
_UNCOUNTED: dict[str, bool] = {"_nrt": False} if hasattr(DefaultOptions, "_nrt") else {}
"""No reference counts: bodies own no array. Numba 0.68 counts every array that it takes out of a named tuple, and a
call in an inner loop costs all registers: finding took a tenth longer. What allocates does not compile then."""


def body(function: Callable[..., Any]) -> Any:
    """Compile the work of one item: callable from launchers, from other bodies and from numba.cuda kernels."""
    return njit(cache=True, nogil=True, error_model="numpy", fastmath=_FASTMATH, **_UNCOUNTED)(function)


def inlined(function: Callable[..., Any]) -> Any:
    """Compile a small body that LLVM must put into its callers: states of 20 numbers then stay in registers."""
    return njit(cache=True, nogil=True, error_model="numpy", fastmath=_FASTMATH, forceinline=True, **_UNCOUNTED)(
        function
    )


def launcher(function: Callable[..., Any]) -> Any:
    """Compile a loop over items with prange.

    The loop must call one body and do nothing else: numba 0.68 loses writes to arrays of a named tuple that are made in
    the parallel loop itself.
    Hand the index on as np.int64: it is unsigned in the loop, and bodies would be compiled for both.
    """
    return njit(cache=True, nogil=True, error_model="numpy", fastmath=_FASTMATH, parallel=True)(function)
