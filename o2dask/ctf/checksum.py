"""CRC-32 as zlib has it, five times as fast: at the coder's speed zlib's own took a fifth of the time.

Folds 64 bytes at a time by carry-less multiplication; what is left, 16 bytes and the tail, zlib finishes.
Source: V. Gopal et al., Fast CRC Computation for Generic Polynomials Using PCLMULQDQ Instruction (Intel, 2009), whose
constants for this polynomial are also in zlib's contrib and in Chromium's crc32_simd.c.
"""

import zlib
from functools import cache
from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from o2dask.ctf.rans_vector import has_feature

__all__ = ["crc32"]

_FEW = 1 << 14
"""Bytes below which zlib is as fast."""
_FOLD_512 = (0x154442BD4, 0x1C6E41596)
"""x^(512+64) and x^512 modulo the polynomial, bits reflected: to fold over 64 bytes."""
_FOLD_128 = (0x1751997D0, 0x0CCAA009E)
_I8, _I64 = ir.IntType(8), ir.IntType(64)
_PAIR = ir.VectorType(_I64, 2)


def crc32(data: Any, value: int = 0) -> int:
    """Return ``zlib.crc32(data, value)`` of bytes-like data."""
    array = np.frombuffer(data, np.uint8)
    if len(array) < _FEW or not _has_multiplication():
        return zlib.crc32(array, value)
    folded = np.empty(2, np.uint64)
    n = _fold(array, np.uint64(value ^ 0xFFFFFFFF), folded)
    return zlib.crc32(array[n:], zlib.crc32(folded, 0xFFFFFFFF))  # 0xFFFFFFFF: begin with remainder 0


@cache
def _has_multiplication() -> bool:
    return has_feature("pclmul")


def _constant(pair: tuple[int, int]) -> ir.Constant:
    return ir.Constant(_PAIR, list(pair))


def _folded(b: Any, x: Any, constants: ir.Constant, data: Any) -> Any:
    """Return x moved on by the distance of the constants, plus data."""
    kind = ir.FunctionType(_PAIR, [_PAIR, _PAIR, _I8])
    multiply = cgutils.get_or_insert_function(b.module, kind, "llvm.x86.pclmulqdq")
    low, high = (b.call(multiply, [x, constants, _I8(select)]) for select in (0x00, 0x11))
    return b.xor(b.xor(low, high), data)


def _load(b: Any, address: Any) -> Any:
    value = b.load(b.inttoptr(address, _PAIR.as_pointer()), typ=_PAIR)
    value.align = 1
    return value


@intrinsic
def _fold_blocks(typingctx, address, n_blocks, start, out):
    """Write the 16-byte remainder of n_blocks (at least one) of 64 bytes to `out`."""

    def codegen(context, b, signature, args):
        address, n_blocks, start, out = args
        zero = ir.Constant(_PAIR, [0, 0])
        loads = [_load(b, b.add(address, _I64(16 * k))) for k in range(4)]
        loads[0] = b.xor(loads[0], b.insert_element(zero, start, ir.IntType(32)(0)))
        sums = [cgutils.alloca_once_value(b, value) for value in loads]
        with cgutils.for_range(b, b.sub(n_blocks, _I64(1))) as loop:
            block = b.add(address, b.mul(b.add(loop.index, _I64(1)), _I64(64)))
            for k, total in enumerate(sums):
                data = _load(b, b.add(block, _I64(16 * k)))
                b.store(_folded(b, b.load(total), _constant(_FOLD_512), data), total)
        x = b.load(sums[0])
        for total in sums[1:]:
            x = _folded(b, x, _constant(_FOLD_128), b.load(total))
        b.store(x, b.inttoptr(out, _PAIR.as_pointer())).align = 1
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.uint64, types.int64), codegen


@njit(cache=True, nogil=True)
def _fold(array, start, folded):
    """Fold whole blocks of array (n,) uint8, n >= 64, to folded (2,) uint64; return how many bytes were taken."""
    n_blocks = array.shape[0] // 64
    _fold_blocks(np.int64(array.ctypes.data), n_blocks, start, np.int64(folded.ctypes.data))
    return 64 * n_blocks
