"""How the kernels of the analysis are compiled: one decorator for bodies, one for loops over rows.

Knows numba only. Division by zero gives infinity instead of an exception (error_model="numpy"); no fast mathematics, so
that NaN and infinity keep their meaning and results do not depend on the machine's vector length.
"""

from collections.abc import Callable
from typing import Any

from numba import njit

__all__ = ["body", "launcher"]


def body(function: Callable[..., Any]) -> Any:
    """Compile the work of one item: callable from launchers, from other bodies and from numba.cuda kernels."""
    return njit(cache=True, nogil=True, error_model="numpy")(function)


def launcher(function: Callable[..., Any]) -> Any:
    """Compile a loop over items with prange; each item writes its own row, so threads change nothing."""
    return njit(cache=True, nogil=True, error_model="numpy", parallel=True)(function)
