"""Streams with the statistics of TPC and ITS columns as they reach the entropy coder; seeded, so that sizes repeat."""

from collections.abc import Callable

import numpy as np

__all__ = ["STREAMS"]

_Make = Callable[[np.random.Generator, int], np.ndarray]


def _charge(rng: np.random.Generator, n: int) -> np.ndarray:
    """Return total charges [ADC]: Landau-like (Moyal) losses times a spread of track angles and gains."""
    moyal = -np.log(rng.standard_normal(n) ** 2 + 1e-12)
    return np.clip(70 * (2.5 + moyal) * np.exp(0.35 * rng.standard_normal(n)), 8, 25 * 1024 - 1)


def _truncated(values: np.ndarray, n_bits: int) -> np.ndarray:
    """Return values rounded to n_bits significant bits (facts/tpc_compression.md, truncation rule)."""
    values = values.astype(np.int64)
    shift = np.maximum(np.floor(np.log2(np.maximum(values, 1))).astype(np.int64) + 1 - n_bits, 0)
    return ((values + (1 << shift >> 1)) >> shift) << shift


def _zigzag(values: np.ndarray) -> np.ndarray:
    rounded = np.rint(values).astype(np.int64)
    return (rounded << 1) ^ (rounded >> 63)


def _zipf(rng: np.random.Generator, n: int, n_ids: int, power: float) -> np.ndarray:
    """Return ids with frequency (id + 3)^-power, as a dictionary of cluster shapes sorted by frequency gives them."""
    weights = (np.arange(n_ids) + 3.0) ** -power
    return np.searchsorted(np.cumsum(weights) / weights.sum(), rng.random(n)).clip(0, n_ids - 1)


def _u8(make: _Make) -> _Make:
    return lambda rng, n: np.clip(make(rng, n), 0, 255).astype(np.uint8)


def _u16(make: _Make) -> _Make:
    return lambda rng, n: np.clip(make(rng, n), 0, 65535).astype(np.uint16)


def _u32(make: _Make) -> _Make:
    return lambda rng, n: np.clip(make(rng, n), 0, (1 << 24) - 1).astype(np.uint32)


STREAMS: dict[str, _Make] = {
    "tpc q_tot": _u16(_charge),
    "tpc q_tot truncated": _u16(lambda rng, n: _truncated(_charge(rng, n), 4)),
    "tpc q_max": _u16(lambda rng, n: np.minimum(_charge(rng, n) * rng.normal(0.28, 0.05, n).clip(0.05, 1), 1023)),
    "tpc q_max truncated": _u16(lambda rng, n: _truncated(np.minimum(_charge(rng, n) * 0.28, 1023), 4)),
    "tpc sigma_pad": _u8(lambda rng, n: rng.normal(15, 4, n) + rng.exponential(2, n)),
    "tpc sigma_time": _u8(lambda rng, n: rng.normal(21, 5, n) + rng.exponential(4, n)),
    "tpc flags": _u8(lambda rng, n: rng.choice([0, 1, 2, 3, 4, 8], n, p=[0.9, 0.04, 0.03, 0.005, 0.015, 0.01])),
    "tpc pad residual": _u16(lambda rng, n: _zigzag(rng.laplace(0, 9, n))),
    "tpc time residual": _u16(lambda rng, n: _zigzag(rng.normal(0, 40, n) * np.exp(0.6 * rng.standard_normal(n)))),
    "tpc row difference": _u8(lambda rng, n: 1 + (rng.random(n) < 0.06) * rng.geometric(0.55, n)),
    "tpc sector difference": _u8(lambda rng, n: np.where(rng.random(n) < 0.985, 0, rng.choice([1, 35, 36], n))),
    "tpc time difference": _u32(lambda rng, n: rng.geometric(1 / 600, n)),
    "tpc time difference, wide": _u32(lambda rng, n: rng.geometric(1 / 9000, n)),
    "tpc pad difference": _u16(lambda rng, n: _zigzag(rng.uniform(0, 6400, n) - rng.uniform(0, 6400, n))),
    "its row difference": _u16(lambda rng, n: rng.geometric(1 / 60, n) % 512),
    "its column difference": _u16(lambda rng, n: rng.geometric(1 / 25, n) % 1024),
    "its chip difference": _u16(lambda rng, n: rng.geometric(0.2, n) - 1),
    "its pattern id": _u16(lambda rng, n: _zipf(rng, n, 4000, 1.5)),
}
"""Each makes n symbols of its stream."""
