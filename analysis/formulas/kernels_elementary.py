"""Elementary functions of float32, one flat body each, of arrays by numpy and of scalars by numba: the same bits.

Knows arrays and scalars; does not import numba. Polynomials are those of S. L. Moshier's Cephes library (single
precision: logf.c, asinf.c). Every step is one IEEE operation on float32 or int32, in the order written, so that a
compiled loop over rows (`kernels_elementary_rows`) gives what numpy gives.
"""

import numpy as np

__all__ = ["asinh_body", "azimuth_body", "select"]

ONE, HALF, QUARTER, TWO = np.float32(1), np.float32(0.5), np.float32(0.25), np.float32(2)
ZERO, TURN, HALF_PI = np.float32(0), np.float32(2 * np.pi), np.float32(np.pi / 2)
HUGE, LN_2 = np.float32(1e18), np.float32(np.log(2))
"""Above HUGE, x^2 may overflow and asinh(x) is ln(2x) to all digits."""
INFINITE = np.float32(np.inf)
S3, S5, S7, S9 = np.float32(1 / 6), np.float32(3 / 40), np.float32(15 / 336), np.float32(105 / 3456)
SQRT_HALF_BITS, MANTISSA_BITS = np.int32(0x3F3504F3), np.int32(23)
LOG = tuple(np.float32(c) for c in (7.0376836292e-2, -1.1514610310e-1, 1.1676998740e-1, -1.2420140846e-1,
    1.4249322787e-1, -1.6668057665e-1, 2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1))  # fmt: skip
LN2_LOW, LN2_HIGH = np.float32(-2.12194440e-4), np.float32(0.693359375)
ASIN = tuple(np.float32(c) for c in (4.2163199048e-2, 2.4181311049e-2, 4.5470025998e-2, 7.4953002686e-2,
    1.6666752422e-1))  # fmt: skip


def select(condition, one, other):
    """Return `one` where the condition holds, else `other`; compiled, without a branch."""
    return np.where(condition, one, other)


def asinh_body(x):
    """Return the inverse hyperbolic sine of float32, to a relative precision of 5e-7; NaN and infinities stay.

    Below 0.25 five terms of the series, exact to float32; above, ln(|x| + sqrt(1 + x^2)) with Cephes' logf: the
    argument is 2^k (1 + m) with 1 + m from sqrt(1/2) to sqrt(2).
    """
    size = np.abs(x)
    bounded = np.minimum(size, HUGE)
    square = bounded * bounded
    argument = select(size < HUGE, bounded + np.sqrt(ONE + square), size)
    bits = np.float32(argument).view(np.int32)
    k = (bits - SQRT_HALF_BITS) >> MANTISSA_BITS
    m = np.int32(bits - np.int32(k << MANTISSA_BITS)).view(np.float32) - ONE
    p = LOG[0] * m + LOG[1]
    p = p * m + LOG[2]
    p = p * m + LOG[3]
    p = p * m + LOG[4]
    p = p * m + LOG[5]
    p = p * m + LOG[6]
    p = p * m + LOG[7]
    p = p * m + LOG[8]
    z, exponent = m * m, np.float32(k)
    logarithm = m + (p * m * z + exponent * LN2_LOW - HALF * z) + exponent * LN2_HIGH
    logarithm = logarithm + select(size < HUGE, ZERO, LN_2)
    small = np.minimum(square, QUARTER)
    series = bounded * (ONE - small * (S3 - small * (S5 - small * (S7 - small * S9))))
    found = select(size < QUARTER, series, select(size < INFINITE, logarithm, size))
    return np.copysign(found, x)


def azimuth_body(snp, alpha):
    """Return arcsin(snp) + alpha in [0, 2 pi) [rad], float32, to 1e-6; NaN where |snp| is above 1.

    Cephes' asinf: above 1/2, pi/2 - 2 asin(sqrt((1 - |snp|)/2)).
    """
    size = np.abs(snp)
    is_large = size > HALF
    z = select(is_large, HALF * (ONE - size), size * size)
    root = select(is_large, np.sqrt(z), size)
    p = ASIN[0] * z + ASIN[1]
    p = p * z + ASIN[2]
    p = p * z + ASIN[3]
    p = p * z + ASIN[4]
    angle = p * z * root + root
    angle = select(is_large, HALF_PI - TWO * angle, angle)
    angle = np.copysign(angle, snp) + alpha
    return select(angle < ZERO, angle + TURN, select(angle >= TURN, angle - TURN, angle))
