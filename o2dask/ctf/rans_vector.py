"""The inner loops of the entropy coder in vector instructions: 32 lanes as four vectors of eight.

LLVM IR written out by hand (`numba.extending.intrinsic`), because no compiler vectorises a stream whose write position
depends on the data. The one target-specific instruction is a byte shuffle (pshufb); it makes AVX2 the floor. The plain
loops in `rans_kernels` are the definition, these must give the same bytes.

No bounds checks inside a group of 32 symbols: a loop stops as soon as fewer than `MARGIN` words are left, and says how
far it came; the caller finishes with the plain loop.
"""

from functools import cache

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

__all__ = ["MARGIN", "decode_groups", "encode_groups", "has_feature", "has_vectors"]

MARGIN = 40
"""Words that one group may touch: at most 32 used, and a load of 8 may begin at the last of them."""
N_VECTORS, N_LANES = 4, 8

_I1, _I8, _I16, _I32, _I64 = (ir.IntType(n) for n in (1, 8, 16, 32, 64))
_V8, _V16, _V32, _V64 = (ir.VectorType(t, N_LANES) for t in (_I8, _I16, _I32, _I64))
_BYTES = ir.VectorType(_I8, 16)


@cache
def has_feature(name: str) -> bool:
    """Return whether this processor has a feature (LLVM's name) and numba compiles for it."""
    import llvmlite.binding
    from numba import config

    if config.CPU_NAME or config.CPU_FEATURES is not None:  # the user chose a target; its features are his affair
        return f"+{name}" in (config.CPU_FEATURES or "").split(",")
    try:
        return bool(llvmlite.binding.get_host_cpu_features().get(name))
    except RuntimeError:
        return False


def has_vectors() -> bool:
    """Return whether the vector loops can run here."""
    return has_feature("avx2")


def _shuffles() -> tuple[np.ndarray, np.ndarray]:
    """Return byte shuffles by lane mask, (256, 16) uint8 each: words to their lanes, and lanes to words at the end."""
    spread = np.full((256, N_LANES, 2), 0x80, np.uint8)  # 0x80 makes a zero byte
    gather = spread.copy()
    for mask in range(256):
        lanes = [j for j in range(N_LANES) if mask >> j & 1]
        for rank, lane in enumerate(lanes):
            spread[mask, lane] = 2 * rank, 2 * rank + 1
            gather[mask, N_LANES - len(lanes) + rank] = 2 * lane, 2 * lane + 1
    return spread.reshape(256, 16), gather.reshape(256, 16)


_SPREAD, _GATHER = _shuffles()


class _Vectors:
    """Short names for the instructions used below."""

    def __init__(self, builder):
        self.b = builder

    def const(self, vector, value):
        return ir.Constant(vector, [value] * vector.count)

    def splat(self, scalar):
        undefined = ir.Constant(_V32, ir.Undefined)
        first = self.b.insert_element(undefined, self.b.trunc(scalar, _I32), _I32(0))
        return self.b.shuffle_vector(first, undefined, self.const(_V32, 0))

    def load(self, address, kind, align):
        value = self.b.load(self.b.inttoptr(address, kind.as_pointer()), typ=kind)
        value.align = align
        return value

    def store(self, value, address, align):
        self.b.store(value, self.b.inttoptr(address, value.type.as_pointer())).align = align

    def look_up(self, table, index):
        """Return table[index] of 64-bit entries; eight loads beat the gather instruction on AMD, and tie elsewhere."""
        offset = self.b.shl(self.b.zext(index, _V64), self.const(_V64, 3))
        found = ir.Constant(_V64, ir.Undefined)
        for lane in range(N_LANES):
            address = self.b.add(table, self.b.extract_element(offset, _I32(lane)))
            found = self.b.insert_element(found, self.load(address, _I64, 8), _I32(lane))
        return found

    def field(self, entries, shift):
        """Return 16 bits of each 64-bit entry as a 32-bit vector."""
        narrow = self.b.trunc(self.b.lshr(entries, self.const(_V64, shift)), _V32)
        return self.b.and_(narrow, self.const(_V32, 0xFFFF))

    def mask(self, lanes):
        return self.b.zext(self.b.bitcast(lanes, _I8), _I64)

    def shuffle(self, data, shuffles, mask):
        control = self.load(self.b.add(shuffles, self.b.shl(mask, _I64(4))), _BYTES, 1)
        kind = ir.FunctionType(_BYTES, [_BYTES, _BYTES])
        function = cgutils.get_or_insert_function(self.b.module, kind, "llvm.x86.ssse3.pshuf.b.128")
        return self.b.call(function, [data, control])

    def word_bytes(self, mask):
        """Return twice the number of lanes in the mask."""
        function = cgutils.get_or_insert_function(self.b.module, ir.FunctionType(_I64, [_I64]), "llvm.ctpop.i64")
        return self.b.shl(self.b.call(function, [mask]), _I64(1))

    def any(self, masks):
        merged = masks[0]
        for mask in masks[1:]:
            merged = self.b.or_(merged, mask)
        return self.b.zext(self.b.icmp_unsigned("!=", self.b.bitcast(merged, _I8), _I8(0)), _I64)


class _Loop:
    """The variables of both loops: states, word position, group, and the list of groups that hold an escape."""

    def __init__(self, builder, states, words, group, marks):
        self.b, self.v, self._states, self._marks = builder, _Vectors(builder), states, marks
        self.x = [cgutils.alloca_once(builder, _V32) for _ in range(N_VECTORS)]
        self.at, self.group, self.n_marks = (cgutils.alloca_once(builder, _I64) for _ in range(3))
        for k, x in enumerate(self.x):
            builder.store(self.v.load(builder.add(states, _I64(32 * k)), _V32, 4), x)
        for variable, value in ((self.at, words), (self.group, group), (self.n_marks, _I64(0))):
            builder.store(value, variable)

    def begin(self, condition):
        """Branch into the body while ``condition(group, at)`` holds."""
        head, body, self._done = (self.b.append_basic_block(n) for n in ("head", "body", "done"))
        self._head = head
        self.b.branch(head)
        self.b.position_at_end(head)
        self.b.cbranch(condition(self.b.load(self.group), self.b.load(self.at)), body, self._done)
        self.b.position_at_end(body)

    def end(self, group, escapes, next_group, at):
        """Note the group if a lane escaped, go on; behind the loop, put the states back."""
        b, n = self.b, self.b.load(self.n_marks)
        self.v.store(b.trunc(group, _I32), b.add(self._marks, b.shl(n, _I64(2))), 4)
        b.store(b.add(n, self.v.any(escapes)), self.n_marks)
        b.store(next_group, self.group)
        b.store(at, self.at)
        b.branch(self._head)
        b.position_at_end(self._done)
        for k, x in enumerate(self.x):
            self.v.store(b.load(x), b.add(self._states, _I64(32 * k)), 4)
        return [b.load(self.group), b.load(self.at), b.load(self.n_marks)]


def _decode(bits, b, args):
    table, words, end, out, states, marks, precision, escape, n_groups, shuffles = args
    loop, v = _Loop(b, states, words, _I64(0), marks), _Vectors(b)
    shift, escape = v.splat(precision), v.splat(escape)
    slots = b.sub(b.shl(v.const(_V32, 1), shift), v.const(_V32, 1))
    loop.begin(lambda g, p: b.and_(b.icmp_signed("<", g, n_groups), b.icmp_unsigned("<=", p, end)))
    group, at, escapes = b.load(loop.group), b.load(loop.at), []
    to = b.add(out, b.mul(group, _I64(4 * bits)))
    for k, state in enumerate(loop.x):
        x = b.load(state)
        slot = b.and_(x, slots)
        escapes.append(b.icmp_unsigned(">=", slot, escape))
        entry = v.look_up(table, slot)
        symbol = b.trunc(b.lshr(entry, v.const(_V64, 32)), _V8 if bits == 8 else _V16)
        v.store(symbol, b.add(to, _I64(k * bits)), 1)
        x = b.add(b.mul(v.field(entry, 0), b.lshr(x, shift)), v.field(entry, 16))
        needs = b.icmp_unsigned("<", x, v.const(_V32, 1 << 16))
        mask = v.mask(needs)
        word = b.bitcast(v.shuffle(v.load(at, _BYTES, 2), shuffles, mask), _V16)
        refilled = b.or_(b.shl(x, v.const(_V32, 16)), b.zext(word, _V32))
        b.store(b.select(needs, refilled, x), state)
        at = b.add(at, v.word_bytes(mask))
    return loop.end(group, escapes, b.add(group, _I64(1)), at)


def _encode(bits, b, args):
    table, symbols, words, low, states, marks, precision, escape, n_groups, shuffles = args
    loop, v = _Loop(b, states, words, n_groups, marks), _Vectors(b)
    shift, escape = v.splat(precision), v.splat(escape)
    top = b.sub(v.const(_V32, 32), shift)
    loop.begin(lambda g, p: b.and_(b.icmp_signed(">", g, _I64(0)), b.icmp_unsigned(">=", p, low)))
    group, at, escapes = b.sub(b.load(loop.group), _I64(1)), b.load(loop.at), []
    source = b.add(symbols, b.mul(group, _I64(4 * bits)))
    for k in reversed(range(N_VECTORS)):
        x = b.load(loop.x[k])
        symbol = b.zext(v.load(b.add(source, _I64(k * bits)), _V8 if bits == 8 else _V16, 1), _V32)
        entry = v.look_up(table, symbol)
        freq, start = v.field(entry, 0), v.field(entry, 16)
        escapes.append(b.icmp_unsigned(">=", start, escape))
        needs = b.icmp_unsigned(">=", x, b.shl(freq, top))
        mask = v.mask(needs)
        lows = b.bitcast(b.trunc(x, _V16), _BYTES)
        v.store(v.shuffle(lows, shuffles, mask), b.sub(at, _I64(16)), 2)
        at = b.sub(at, v.word_bytes(mask))
        x = b.select(needs, b.lshr(x, v.const(_V32, 16)), x)
        b.store(_push(b, v, x, entry, freq, start, shift), loop.x[k])
    return loop.end(group, escapes, group, at)


def _push(b, v, x, entry, freq, start, shift):
    """Return (x // freq << precision) + x % freq + start; the reciprocal's quotient is one too small at most."""
    product = b.mul(b.zext(x, _V64), b.lshr(entry, v.const(_V64, 32)))
    quotient = b.trunc(b.lshr(product, v.const(_V64, 32)), _V32)
    rest = b.sub(x, b.mul(quotient, freq))
    is_short = b.sext(b.icmp_unsigned(">=", rest, freq), _V32)
    quotient = b.sub(quotient, is_short)
    rest = b.sub(rest, b.and_(is_short, freq))
    return b.add(b.add(b.shl(quotient, shift), rest), start)


def _made(body, bits):
    def codegen(context, builder, signature, args):
        return context.make_tuple(builder, signature.return_type, body(bits, builder, args))

    def typed(typingctx, a, b, c, d, e, f, g, h, i, j):
        return types.UniTuple(types.int64, 3)(*[types.int64] * 10), codegen

    return intrinsic(typed)


_decode_u8, _decode_u16, _encode_u8, _encode_u16 = (_made(f, bits) for f in (_decode, _encode) for bits in (8, 16))


@njit(cache=True, nogil=True)
def decode_groups(table, words, out, states, marks, precision, escape):
    """Decode whole groups of 32 symbols into out while MARGIN words are left; see `rans_kernels.decode_plain`.

    Returns groups done, words used, and how many groups of `marks` hold an escape.
    """
    first = np.int64(words.ctypes.data)
    end = first + 2 * (words.shape[0] - MARGIN)
    n = out.shape[0] // 32
    if words.shape[0] < MARGIN:
        return 0, 0, 0
    tables, to, lanes, list_, shuffles = (
        table.ctypes.data,
        out.ctypes.data,
        states.ctypes.data,
        marks.ctypes.data,
        _SPREAD.ctypes.data,
    )
    if out.itemsize == 1:
        done, at, n_marks = _decode_u8(tables, first, end, to, lanes, list_, precision, escape, n, shuffles)
    else:
        done, at, n_marks = _decode_u16(tables, first, end, to, lanes, list_, precision, escape, n, shuffles)
    return done, (at - first) // 2, n_marks


@njit(cache=True, nogil=True)
def encode_groups(table, symbols, n_groups, words, n_words, states, marks, precision, escape):
    """Encode groups n_groups - 1 down to 0 into words, whose last n_words are written; see `rans_kernels.encode_plain`.

    Returns groups not yet done, words written, and how many groups of `marks` hold an escape, last group first.
    """
    first = np.int64(words.ctypes.data)
    end = first + 2 * (words.shape[0] - n_words)
    low = first + 2 * MARGIN
    source, tables, lanes, list_, shuffles = (
        symbols.ctypes.data,
        table.ctypes.data,
        states.ctypes.data,
        marks.ctypes.data,
        _GATHER.ctypes.data,
    )
    if symbols.itemsize == 1:
        left, at, n_marks = _encode_u8(tables, source, end, low, lanes, list_, precision, escape, n_groups, shuffles)
    else:
        left, at, n_marks = _encode_u16(tables, source, end, low, lanes, list_, precision, escape, n_groups, shuffles)
    return left, words.shape[0] - (at - first) // 2, n_marks
