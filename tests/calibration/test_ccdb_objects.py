"""ROOT objects as O2 puts them into CCDB, written by ROOT: read, and used by processors like any other condition."""

import io
from pathlib import Path

import numpy as np
import pytest
import uproot
from hypothesis import given, settings
from hypothesis import strategies as st

from o2dask.conditions import FOREVER_MS, open_store
from o2dask.conditions.content import root_members
from o2dask.conditions.errors import ConditionError
from o2dask.conditions.fetcher import ConditionFetcher
from o2dask.conditions.root_objects import _Reader
from o2dask.context import ProcessingContext
from o2dask.reco.calibration import root
from o2dask.reco.calibration.inputs import calibration, condition_inputs
from o2dask.reco.calibration.objects import CorrectionMap, DriftVelocity, MagneticField, MeanVertex, PadGain
from o2dask.reco.geometry.tpc import pad_rows
from o2dask.runners.inline import run_inline
from o2dask.runners.nothing import NoSink
from o2dask.specs import DataProcessorSpec, WorkflowSpec
from o2dask.timeframe import enumerated
from o2dask.workflow.compiler import compile_workflow

FILES = {
    MagneticField: "GRPMagField",
    DriftVelocity: "VDriftCorrFact",
    MeanVertex: "MeanVertexObject",
    PadGain: "CalDet",
}
BYTES = {kind: (Path(__file__).parent / f"ccdb/{name}.root").read_bytes() for kind, name in FILES.items()}


@pytest.fixture
def store(tmp_path):
    """A store with what O2 would have put there."""
    (tmp_path / "store").mkdir()
    store = open_store(str(tmp_path / "store"))
    for kind, payload in BYTES.items():
        store.put(kind.path, payload, 0, FOREVER_MS)
    return store


def stored(store, kind):
    return store.get(kind.path, 1000)


def test_the_field_is_that_of_the_object(store) -> None:
    field = MagneticField.from_content(root.field(stored(store, MagneticField)))
    assert field.l3_current == pytest.approx(29996.78) and field.dipole_current == pytest.approx(-5999.6)
    assert not field.is_uniform and field.bz_kg == pytest.approx(5.00614, abs=1e-4)


def test_the_drift_velocity_is_that_of_the_object(store) -> None:
    drift = DriftVelocity.from_content(root.drift(stored(store, DriftVelocity)))
    assert drift.v_drift == pytest.approx(2.58 * 1.0123) and drift.corr_fact_err == pytest.approx(1e-4)
    assert drift.time_offset == pytest.approx(0.125)


def test_the_beam_spot_is_that_of_the_object(store) -> None:
    beam = MeanVertex.from_content(root.beam(stored(store, MeanVertex)))
    assert (beam.x, beam.y, beam.z) == pytest.approx((-0.0125, 0.025, 0.75))
    assert (beam.sigma_x, beam.sigma_y, beam.sigma_z) == pytest.approx((0.01, 0.02, 6.0))
    assert (beam.slope_x, beam.slope_y) == pytest.approx((1e-4, -2e-4))


def test_the_gain_of_each_pad_is_that_of_its_chamber_and_number(store) -> None:
    gain = PadGain.from_content(root.gain(stored(store, PadGain))).per_pad()
    n_pads, seen = pad_rows().n_pads, 0
    for roc in (0, 1, 35, 36, 53, 71):
        rows = range(63) if roc < 36 else range(63, 152)
        flat = np.concatenate([gain[roc % 36, row, : n_pads[row]] for row in rows])
        want = np.ones(len(flat), np.float32)
        want[::997] = 1 + roc / 1000 + np.arange(0, len(flat), 997) / 1e5
        np.testing.assert_allclose(flat, want, rtol=1e-6)
        seen += len(flat)
    assert seen == 3 * (5280 + 9280)
    assert (gain[0, 0, n_pads[0] :] == 1).all()


def test_processors_get_them_from_the_store_without_knowing(store) -> None:
    seen = []

    def use(ctx: ProcessingContext) -> None:
        field, drift, beam, gain = (calibration(ctx, name) for name in ("field", "drift", "beam", "gain"))
        seen.append((field.l3_current, drift.corr_fact, beam.sigma_z, float(gain.gain.max())))

    inputs = condition_inputs("field", "drift", "beam", "gain")
    workflow = WorkflowSpec("use", (DataProcessorSpec("use", inputs=inputs, outputs="", algorithm=use),))
    topology = compile_workflow(workflow, conditions=ConditionFetcher(store))
    assert run_inline(topology, enumerated(2), NoSink()).ok
    assert seen[0] == seen[1] == pytest.approx((29996.78, 1.0123, 6.0, 1.071 + 8973e-5), rel=1e-5)


def test_a_map_of_distortions_says_what_to_do(store) -> None:
    store.put(CorrectionMap.path, BYTES[PadGain], 0, FOREVER_MS)
    with pytest.raises(ConditionError, match=r"TPC/Calib/CorrectionMapV2.*only O2 can read.*conditions put"):
        root.corrections(stored(store, CorrectionMap))


def test_an_object_of_another_class_is_named_with_what_it_lacks(store) -> None:
    store.put(MagneticField.path, BYTES[DriftVelocity], 0, FOREVER_MS)
    with pytest.raises(ConditionError, match=r"GLO/Config/GRPMagField.*want an object with mL3Current.*refVDrift"):
        root.field(stored(store, MagneticField))


@pytest.mark.parametrize("kind", FILES, ids=FILES.values())
def test_all_is_read_and_damage_is_told(store, kind) -> None:
    members = root_members(stored(store, kind))
    assert members and stored(store, kind).as_root() is not None
    for cut in (100, 300, len(BYTES[kind]) // 2):
        store.put(kind.path, BYTES[kind][:cut], 0, FOREVER_MS)
        with pytest.raises(ConditionError, match=kind.path):
            root_members(stored(store, kind))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 75), st.integers(0, 255), st.integers(0, 76))
def test_whatever_the_bytes_are_it_is_read_or_told(position, value, length) -> None:
    """The uncompressed bytes of a beam spot, one changed and the end cut off: no hang, no memory, no other error."""
    key = uproot.open(io.BytesIO(BYTES[MeanVertex])).key("ccdb_object")
    raw = bytearray(np.asarray(key.get_uncompressed_chunk_cursor()[0].raw_data, np.uint8).tobytes())
    raw[position] = value
    reader = _Reader(bytes(raw[:length]), key._file.streamers)
    try:
        assert set(reader.object("o2::dataformats::MeanVertexObject")) == {"mPos", "mCov", "mSlopeX", "mSlopeY"}
    except ValueError as error:
        assert str(error)
