"""Raw bits: values of known width in a stream of 32-bit words, lowest bit first. Arrays and scalars only."""

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

__all__ = ["bit_length", "load_u64", "pack_fixed", "store_u64", "unpack_fixed", "words_for"]


@intrinsic
def _leading_zeros(typingctx, value):
    def codegen(context, builder, signature, args):
        return builder.ctlz(args[0], ir.Constant(ir.IntType(1), 0))

    return types.int64(types.uint64), codegen


@intrinsic
def load_u64(typingctx, address):
    """Return the 8 bytes at an address of any alignment as a number; the caller has checked that they are there."""

    def codegen(context, builder, signature, args):
        word = ir.IntType(64)
        value = builder.load(builder.inttoptr(args[0], word.as_pointer()), typ=word)
        value.align = 1
        return value

    return types.uint64(types.int64), codegen


@intrinsic
def store_u64(typingctx, address, value):
    """Write 8 bytes to an address of any alignment; the caller has checked that there is room."""

    def codegen(context, builder, signature, args):
        builder.store(args[1], builder.inttoptr(args[0], ir.IntType(64).as_pointer())).align = 1
        return context.get_dummy_value()

    return types.void(types.int64, types.uint64), codegen


@njit(cache=True, nogil=True, inline="always")
def bit_length(value):
    """Return the number of bits of an unsigned value, 0 for 0."""
    return 64 - _leading_zeros(np.uint64(value))


def words_for(n_bits: int) -> int:
    """Return the number of 32-bit words that hold n_bits and one to look ahead."""
    return (n_bits + 31) // 32 + 1


@njit(cache=True, nogil=True)
def pack_fixed(values, width, words):
    """Write values, (n,) unsigned of at most `width` bits (1..64) each, to words (words_for(n * width),) uint32."""
    acc, n_acc, at = np.uint64(0), np.uint64(0), 0
    low_width = np.uint64(min(width, 32))
    low_mask = np.uint64((1 << min(width, 32)) - 1)
    for i in range(values.shape[0]):
        value = np.uint64(values[i])
        acc |= (value & low_mask) << n_acc
        n_acc += low_width
        words[at] = acc & np.uint64(0xFFFFFFFF)
        full = n_acc >> np.uint64(5)
        at += np.int64(full)
        acc >>= full << np.uint64(5)
        n_acc &= np.uint64(31)
        if width > 32:
            acc |= (value >> np.uint64(32)) << n_acc
            n_acc += np.uint64(width - 32)
            words[at] = acc & np.uint64(0xFFFFFFFF)
            full = n_acc >> np.uint64(5)
            at += np.int64(full)
            acc >>= full << np.uint64(5)
            n_acc &= np.uint64(31)
    words[at] = acc & np.uint64(0xFFFFFFFF)


@njit(cache=True, nogil=True)
def unpack_fixed(words, width, out):
    """Undo `pack_fixed` into out (n,); words must be words_for(n * width) long."""
    low_width = min(width, 32)
    low_mask = np.uint64((1 << low_width) - 1)
    high_mask = np.uint64((1 << max(width - 32, 0)) - 1)
    for i in range(out.shape[0]):
        bit = i * width
        k = bit >> 5
        pair = np.uint64(words[k]) | np.uint64(words[k + 1]) << np.uint64(32)
        value = (pair >> np.uint64(bit & 31)) & low_mask
        if width > 32:
            bit += 32
            k = bit >> 5
            pair = np.uint64(words[k]) | np.uint64(words[k + 1]) << np.uint64(32)
            value |= ((pair >> np.uint64(bit & 31)) & high_mask) << np.uint64(32)
        out[i] = value
