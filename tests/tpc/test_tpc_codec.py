"""The TPC cluster codec: there and back is identity, and what cannot be coded says so."""

import json
import math
import zlib
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from o2dask.columns import Columns
from o2dask.context import DataAllocator, InputRecord, ProcessingContext, WorkerState
from o2dask.ctf import decode_timeframe, encode_timeframe
from o2dask.errors import DataError, ShapeError
from o2dask.reco.tpc import codec, codec_kernels
from o2dask.reco.tpc.codec import COMPCLUSTERS, COMPROWS, N_SECTOR_ROWS, compress_clusters, decompress_clusters
from o2dask.reco.tpc.codec_tasks import tpc_compressor, tpc_decompressor
from o2dask.reco.tpc.schema import CLUSTERNATIVE
from o2dask.specs import DataRef
from o2dask.timeframe import TimeframeId, TimeframeRef

SHARE_CRC = 3054085405
SHARED = Path(__file__).parents[2] / "../shared/data/tpc"


def clusters_of(n, seed=0, n_time=1 << 24):
    """Return n valid clusters in order, of any charge, width and flag."""
    rng = np.random.default_rng(seed)
    columns = {
        "sector": rng.integers(0, 36, n),
        "pad_row": rng.integers(0, 152, n),
        "time": rng.integers(0, n_time, n),
        "pad": rng.integers(0, 1 << 16, n),
        "sigma_pad": rng.integers(0, 256, n),
        "sigma_time": rng.integers(0, 256, n),
        "q_max": rng.integers(0, 1 << 16, n),
        "q_tot": rng.integers(0, 1 << 16, n),
        "flags": rng.integers(0, 256, n),
    }
    order = np.lexsort([columns[name] for name in ("pad", "time", "pad_row", "sector")])
    return Columns(CLUSTERNATIVE, {c.name: columns[c.name][order].astype(c.dtype) for c in CLUSTERNATIVE.columns})


def generated_clusters():
    """Return the clusters of O2's generator where they are at hand, else made-up ones."""
    path = SHARED / "g100_0.clusters.parquet"
    if not path.exists():
        return clusters_of(10_000, n_time=1 << 16)
    import pyarrow.parquet as pq

    table = pq.read_table(path)
    sector, row, y, z = (table[name].to_numpy() for name in ("sector", "row", "y", "z"))
    made = clusters_of(len(sector))
    columns = {name: made[name] for name in CLUSTERNATIVE.names}
    pads = np.array(json.loads((SHARED / "geometry_o2.json").read_text())["npads"])[row]
    columns |= {
        "sector": sector.astype(np.uint8),
        "pad_row": row.astype(np.uint8),
        "time": ((250 - np.abs(z)) * 64 / 0.515).clip(0, 1 << 20).astype(np.uint32),
        "pad": ((y / 0.42 + pads / 2) * 64).clip(0, 1 << 14).astype(np.uint16),
    }
    order = np.lexsort([columns[name] for name in ("pad", "time", "pad_row", "sector")])
    return Columns(CLUSTERNATIVE, {name: columns[name][order] for name in CLUSTERNATIVE.names})


@given(st.integers(0, 3000), st.integers(0, 100), st.sampled_from([1, 100, 1 << 24]))
@settings(max_examples=30, deadline=None)
def test_decompressed_clusters_are_those_compressed(n, seed, n_time):
    clusters = clusters_of(n, seed, n_time)
    assert decompress_clusters(*compress_clusters(clusters)).equals(clusters)


def test_clusters_of_o2s_generator_survive_the_container():
    clusters = generated_clusters()
    compressed, rows = compress_clusters(clusters)
    refs = DataRef("TPC", "COMPCLUSTERS"), DataRef("TPC", "COMPROWS")
    stored = decode_timeframe(encode_timeframe(dict(zip(refs, (compressed, rows), strict=True))))
    assert decompress_clusters(stored[refs[0]], stored[refs[1]]).equals(clusters)


def test_every_row_has_its_count_and_the_first_time_of_a_row_is_absolute():
    clusters = clusters_of(2000, n_time=1000)
    compressed, rows = compress_clusters(clusters)
    key = clusters["sector"].astype(int) * 152 + clusters["pad_row"]
    assert np.array_equal(rows["n_clusters"], np.bincount(key, minlength=N_SECTOR_ROWS))
    first = np.flatnonzero(np.diff(key, prepend=-1))
    assert np.array_equal(compressed["time_diff"][first], clusters["time"][first])


def test_compiled_row_loops_equal_plain_python():
    clusters = clusters_of(300, n_time=500)
    offsets = np.array([0, 0, 100, 101, 300])
    time = clusters["time"].copy()
    for a, b in pairwise(offsets):
        time[a:b].sort()
    made = []
    for function in (codec_kernels.difference_rows, codec_kernels.difference_rows.py_func):
        difference, status = np.zeros(300, np.uint32), np.zeros(4, np.uint8)
        function(time, offsets, difference, status)
        back = np.zeros(300, np.uint32)
        codec_kernels.integrate_rows(difference, offsets, back, status)
        assert np.array_equal(back, time) and not status.any()
        made.append(difference)
    assert np.array_equal(*made)


def test_compiled_charge_loops_equal_plain_python_and_undo_each_other():
    clusters = clusters_of(400)
    known = [clusters[name] for name in ("q_tot", "sigma_pad", "sigma_time", "pad", "time")]
    share = codec._central_share()
    made = []
    for function in (codec_kernels.charge_differences, codec_kernels.charge_differences.py_func):
        difference, back = np.zeros(400, np.uint16), np.zeros(400, np.uint16)
        function(clusters["q_max"].astype(int), *(k.astype(int) for k in known), share, difference)
        codec_kernels.charge_maxima(difference, *known, share, back)
        assert np.array_equal(back, clusters["q_max"])
        made.append(difference)
    assert np.array_equal(*made)


def test_the_predicted_charge_is_near_the_charge_of_a_gaussian_cluster():
    width, offset = 0.6, 0.2  # pads and time bins: the central cell holds this part of the charge
    share = np.array([math.erf((0.5 + s * offset) / width / math.sqrt(2)) / 2 for s in (1, -1)]).sum()
    arguments = 10_000, round(32 * width), round(32 * width), round(64 * (7 + offset)), round(64 * (9 + offset))
    predicted = codec_kernels._predicted_maximum(*arguments, codec._central_share())
    assert predicted == 1023  # no larger than a digit can be
    predicted = codec_kernels._predicted_maximum(1000, *arguments[1:], codec._central_share())
    assert abs(predicted / (1.2585 * 1000 * share**2) - 1) < 0.15  # the rational form is within 7 % per direction


def test_the_table_of_shares_which_is_part_of_the_format_has_not_changed():
    share = codec._central_share()
    assert zlib.crc32(share.astype("<i8").tobytes()) == SHARE_CRC


def swapped(clusters, name, i, j):
    columns = {key: clusters[key].copy() for key in CLUSTERNATIVE.names}
    columns[name][[i, j]] = columns[name][[j, i]]
    return Columns(CLUSTERNATIVE, columns)


def test_unsorted_sectors_are_refused_naming_the_cluster():
    with pytest.raises(ShapeError, match=r"sorted by \(sector, pad_row\).*cluster \d+ is not"):
        compress_clusters(swapped(clusters_of(100), "sector", 0, 99))


def test_unsorted_times_are_refused_naming_the_row():
    columns = {c.name: np.zeros(3, c.dtype) for c in CLUSTERNATIVE.columns}
    columns["time"][:] = [5, 7, 6]
    with pytest.raises(ShapeError, match="sorted by time, not so in sector 0, row 0"):
        compress_clusters(Columns(CLUSTERNATIVE, columns))


@pytest.mark.parametrize("sector, pad_row", [(36, 0), (0, 152)])
def test_sectors_and_rows_out_of_range_are_refused(sector, pad_row):
    columns = {c.name: np.zeros(1, c.dtype) for c in CLUSTERNATIVE.columns}
    columns["sector"][0], columns["pad_row"][0] = sector, pad_row
    with pytest.raises(ShapeError, match=r"below \(36, 152\)"):
        compress_clusters(Columns(CLUSTERNATIVE, columns))


def test_a_time_of_24_bits_is_the_first_that_is_refused():
    columns = {c.name: np.zeros(1, c.dtype) for c in CLUSTERNATIVE.columns}
    columns["time"][0] = (1 << 24) - 1
    compress_clusters(Columns(CLUSTERNATIVE, columns))
    columns["time"][0] = 1 << 24
    with pytest.raises(ShapeError, match="times below 2\\^24"):
        compress_clusters(Columns(CLUSTERNATIVE, columns))


def test_counts_that_do_not_match_the_clusters_are_a_data_error():
    compressed, rows = compress_clusters(clusters_of(100))
    counts = rows["n_clusters"].copy()
    counts[7] += 1
    with pytest.raises(DataError, match="sum of 100 clusters, got 5472 with a sum of 101"):
        decompress_clusters(compressed, Columns(COMPROWS, {"n_clusters": counts}))
    with pytest.raises(DataError, match="got 10 with"):
        decompress_clusters(compressed, Columns(COMPROWS, {"n_clusters": counts[:10]}))


def test_differences_that_add_up_to_too_late_a_time_are_a_data_error():
    compressed, rows = compress_clusters(clusters_of(100))
    columns = {name: compressed[name].copy() for name in COMPCLUSTERS.names}
    columns["time_diff"][:] = 1 << 25
    with pytest.raises(DataError, match="times below"):
        decompress_clusters(Columns(COMPCLUSTERS, columns), rows)


def run(spec, inputs):
    source = TimeframeRef(id=TimeframeId(run=1, tf_counter=0, first_orbit=0), url="", index=0)
    ctx = ProcessingContext(
        spec=spec,
        source=source,
        inputs=InputRecord(inputs),
        outputs=DataAllocator(spec.outputs),
        options={},
        state=WorkerState(),
    )
    spec.algorithm(ctx)
    ctx.outputs.check_complete()
    return {spec.ref.description.lower(): ctx.outputs.made[spec.ref] for spec in spec.outputs}, ctx.counters


def test_the_processors_undo_each_other_and_count_clusters():
    clusters = clusters_of(500)
    made, counters = run(tpc_compressor(), {"clusters": clusters})
    assert counters == {"clusters": 500}
    back, counters = run(tpc_decompressor(), made)
    assert back["clusternative"].equals(clusters) and counters == {"clusters": 500}
