"""Payloads and files that the tests of the CTF container share."""

import numpy as np

from o2dask.columns import Column, Columns, Jagged, Schema
from o2dask.ctf import CtfWriter
from o2dask.specs import DataRef
from o2dask.timeframe import TimeframeId

HITS, PARTICLES = DataRef("TST", "HITS", 3), DataRef("MC", "PARTICLES")

HIT_SCHEMA = Schema(
    "TST/HITS",
    (
        Column(name="time", dtype="uint32", unit="ns", text="sorted"),
        Column(name="adc", dtype="uint16"),
        Column(name="label", dtype="int32", text="-1 noise"),
        Column(name="cov", dtype="float32", unit="cm", shape=(2, 3)),
        Column(name="is_edge", dtype="bool"),
        Column(name="ids", dtype="int16", is_jagged=True),
        Column(name="wide", dtype="int64"),
    ),
    version=3,
)


def hits(n, seed=0):
    rng = np.random.default_rng([seed, n])
    offsets = np.concatenate([[0], np.cumsum(rng.integers(0, 4, n))]).astype(np.int32)
    return Columns(
        HIT_SCHEMA,
        {
            "time": np.sort(rng.integers(0, 1 << 31, n)).astype(np.uint32),
            "adc": rng.exponential(40, n).astype(np.uint16),
            "label": rng.integers(-1, 500, n).astype(np.int32),
            "cov": rng.normal(size=(n, 2, 3)).astype(np.float32),
            "is_edge": rng.random(n) < 0.1,
            "ids": Jagged(offsets, rng.integers(-300, 300, offsets[-1]).astype(np.int16)),
            "wide": rng.integers(-(1 << 63), (1 << 63) - 1, n, dtype=np.int64),
        },
    )


def particles(n):
    columns = {"pdg": np.repeat(np.int32(211), n), "px": np.linspace(0, 1, n, dtype=np.float32)}
    return Columns(Schema.infer("MC/PARTICLES", columns), columns)


def timeframe(i):
    return TimeframeId(run=529399, tf_counter=i, first_orbit=32 * i)


def write(path, sizes=(0, 50, 700)):
    made = [{HITS: hits(n), PARTICLES: particles(n // 2)} for n in sizes]
    with CtfWriter(path) as ctf:
        for i, payloads in enumerate(made):
            ctf.write(timeframe(i), payloads)
    return made


def assert_same(got, expected):
    assert list(got) == list(expected)
    for ref, columns in expected.items():
        assert got[ref].equals(columns), ref
