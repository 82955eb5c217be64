"""Random numbers for kernels: a 64-bit state in, the next state and a number out; no global generator.

SplitMix64 (Steele, Lea, Flood, OOPSLA 2014) started at a hash of seed and index: every particle and every crossing has
its own stream, so that results depend neither on the number of threads nor on how the work was cut.
"""

import math

import numpy as np

from o2dask.reco.tpc.kernels_jit import body

__all__ = ["gamma_variate", "hashed", "next_word", "normal", "quick_normal", "uniform"]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX1, _MIX2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_S30, _S27, _S31, _S11 = np.uint64(30), np.uint64(27), np.uint64(31), np.uint64(11)
_S16, _S32, _S48, _LOW16 = np.uint64(16), np.uint64(32), np.uint64(48), np.uint64(0xFFFF)
_TO_UNIT = 2.0**-53


@body
def next_word(state):
    """Return the next state and 64 random bits."""
    state = state + _GOLDEN
    z = state
    z = (z ^ (z >> _S30)) * _MIX1
    z = (z ^ (z >> _S27)) * _MIX2
    return state, z ^ (z >> _S31)


@body
def hashed(seed, index):
    """Return the first state of stream `index` of `seed` (both uint64)."""
    _, word = next_word(seed ^ (index * _MIX2))
    _, word = next_word(word ^ index)
    return word


@body
def uniform(state):
    """Return the next state and a number in the open interval (0, 1)."""
    state, word = next_word(state)
    return state, (np.float64(word >> _S11) + 0.5) * _TO_UNIT


@body
def normal(state):
    """Return the next state and two independent standard normal numbers (Box and Muller)."""
    state, u = uniform(state)
    state, v = uniform(state)
    r = math.sqrt(-2.0 * math.log(u))
    angle = 2.0 * math.pi * v
    return state, r * math.cos(angle), r * math.sin(angle)


@body
def quick_normal(state):
    """Return the next state and a number of mean 0, variance 1: four 16-bit uniforms added.

    Its tails end at 3.5 sigma: for steps that are summed, such as scattering row by row.
    """
    state, word = next_word(state)
    total = (word & _LOW16) + ((word >> _S16) & _LOW16) + ((word >> _S32) & _LOW16) + (word >> _S48)
    return state, (np.float64(total) - 131070.0) * (math.sqrt(3.0) / 65536.0)


@body
def gamma_variate(state, shape):
    """Return the next state and a gamma variate of unit scale (Marsaglia, Tsang, ACM TOMS 26 (2000) 363)."""
    boost = 1.0
    if shape < 1.0:
        state, u = uniform(state)
        boost = u ** (1.0 / shape)
        shape += 1.0
    d = shape - 1.0 / 3.0
    c = 1.0 / math.sqrt(9.0 * d)
    v = 1.0
    for _ in range(64):  # accepted with more than 95 % each time
        state, x, _unused = normal(state)
        v = (1.0 + c * x) ** 3
        state, u = uniform(state)
        if v > 0.0 and math.log(u) < 0.5 * x * x + d - d * v + d * math.log(v):
            break
    return state, boost * d * max(v, 0.0)
