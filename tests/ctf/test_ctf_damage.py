"""Damaged CTF files: damage of any kind is named, never crashes, and costs its own timeframe only."""

import logging

import numpy as np
import pytest
from ctf_payloads import assert_same, timeframe, write

from o2dask.ctf import (
    CtfError,
    CtfReader,
    ctf_info,
    list_timeframes,
)
from o2dask.errors import O2DaskError


def test_a_flipped_bit_in_any_block_is_named_and_costs_its_timeframe_only(tmp_path):
    made = write(tmp_path / "tf.ctf")
    whole = (tmp_path / "tf.ctf").read_bytes()
    batch = CtfReader(tmp_path / "tf.ctf").batch(1)
    for i in range(1, batch.num_rows):
        data = batch.column("data")[i].as_py()
        if len(data) < 8:
            continue
        broken = bytearray(whole)
        broken[whole.index(data) + len(data) // 2] ^= 4
        (tmp_path / "broken.ctf").write_bytes(broken)
        reader = CtfReader(tmp_path / "broken.ctf")
        name = f"{batch.column('detector')[i]}/{batch.column('field')[i]}"
        with pytest.raises(CtfError, match=rf"broken\.ctf, timeframe run 529399 TF 1 orbit 32, block {name}: damaged"):
            reader.read(1)
        assert_same(reader.read(0), made[0])
        assert_same(reader.read(2), made[2])


def test_a_truncated_file_yields_its_complete_timeframes_and_reports_the_rest(tmp_path, caplog):
    made = write(tmp_path / "tf.ctf")
    whole = (tmp_path / "tf.ctf").read_bytes()
    third = CtfReader(tmp_path / "tf.ctf").batch(2)
    block = third.column("data")[4].as_py()  # 0 is the schema, then time, adc, label, cov
    (tmp_path / "cut.ctf").write_bytes(whole[: whole.index(block) + 10])
    reader = CtfReader(tmp_path / "cut.ctf")
    assert_same(reader.read(1), made[1])
    cut_off = (
        r"cut\.ctf, timeframe run 529399 TF 2 orbit 64: cut off, \d+ bytes are missing, from block TST/HITS/3/cov on"
    )
    with pytest.raises(CtfError, match=cut_off):
        reader.read(2)
    assert [d.timeframe for d in reader.damages] == [timeframe(2), None]
    with caplog.at_level(logging.WARNING):
        refs = list_timeframes([str(tmp_path / "cut.ctf")])
    assert [ref.id.tf_counter for ref in refs] == [0, 1, 2]
    assert "from block TST/HITS/3/cov on" in caplog.text and "the file has no end" in caplog.text
    damages = []
    list_timeframes([str(tmp_path / "cut.ctf")], damages)
    assert len(damages) == 2
    info = ctf_info(str(tmp_path / "cut.ctf"))
    assert [bool(t.error) for t in info.timeframes] == [False, False, True] and len(info.damages) == 2


def test_losing_the_footer_alone_loses_no_timeframe(tmp_path):
    made = write(tmp_path / "tf.ctf")
    (tmp_path / "cut.ctf").write_bytes((tmp_path / "tf.ctf").read_bytes()[:-20])
    reader = CtfReader(tmp_path / "cut.ctf")
    assert len(reader) == 3 and "the file has no end" in str(reader.damages[0])
    assert_same(reader.read(2), made[2])


def test_a_damaged_identity_hides_no_other_timeframe(tmp_path):
    made = write(tmp_path / "tf.ctf")
    whole = bytearray((tmp_path / "tf.ctf").read_bytes())
    at = whole.index(b'"tf_counter": 1')
    whole[at + 14] = ord("2")
    (tmp_path / "tf.ctf").write_bytes(whole)
    reader = CtfReader(tmp_path / "tf.ctf")
    assert [reader.timeframe_id(i).tf_counter for i in range(len(reader))] == [0, 2]
    assert "timeframe #1: the identity of the timeframe is damaged" in str(reader.damages[0])
    assert_same(reader.read(1), made[2])


def test_random_damage_never_crashes_and_never_passes(tmp_path):
    made = write(tmp_path / "tf.ctf", (0, 40, 60))
    whole = (tmp_path / "tf.ctf").read_bytes()
    rng = np.random.default_rng(7)
    n_refused = 0
    for attempt in range(400):
        broken = bytearray(whole)
        if attempt % 4 == 0:
            del broken[int(rng.integers(0, len(broken))) :]
        else:  # metadata is small: half of the flips go there
            end = len(broken) if attempt % 2 else 1500
            for at in rng.integers(0, end, rng.integers(1, 9)):
                broken[at] ^= 1 << int(rng.integers(0, 8))
        path = tmp_path / "broken.ctf"
        path.write_bytes(broken)
        try:
            reader = CtfReader(path)
            ctf_info(str(path))
        except O2DaskError:
            n_refused += 1
            continue
        for i in range(len(reader)):
            try:
                assert_same(reader.read(i), made[reader.timeframe_id(i).tf_counter])
            except CtfError as error:
                assert "broken.ctf, timeframe run" in str(error)
                n_refused += 1
    assert n_refused > 200
