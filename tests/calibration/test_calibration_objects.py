"""Conditions as values: what is stored comes back, and what is nonsense is refused by name."""

import numpy as np
import pytest

from o2dask.conditions.content import decode, encode
from o2dask.conditions.errors import ConditionError
from o2dask.conditions.model import Condition, ConditionHeader
from o2dask.context import WorkerState
from o2dask.errors import SpecError, WorkflowError
from o2dask.reco.calibration.inputs import CONDITIONS, Recent, condition_inputs
from o2dask.reco.calibration.objects import CorrectionMap, DriftVelocity, MagneticField, MeanVertex, PadGain
from o2dask.reco.geometry.tpc import BZ_KG, CM_PER_TIME_BIN, pad_rows
from o2dask.specs import DataProcessorSpec, DataRef, WorkflowSpec, parse_inputs
from o2dask.timeframe import TimeframeId, TimeframeRef
from o2dask.workflow import Topology, compile_workflow
from o2dask.workflow.execute import run_task
from o2dask.workflow.planner import plan


def stored(content):
    """Return a content as it comes back from a store."""
    kind, payload = encode(content)
    header = ConditionHeader(
        path="A/B", valid_from=0, valid_until=1, created=0, etag="x", content_type=kind, size=len(payload)
    )
    return decode(Condition(header=header, payload=payload, holds=(0, 1)))


@pytest.mark.parametrize("made", [MagneticField(l3_current=12000.0, is_uniform=False), DriftVelocity(corr_fact=1.03),
                                  MeanVertex(x=0.1, sigma_z=5.0)], ids=lambda made: type(made).__name__)  # fmt: skip
def test_numbers_come_back_from_a_store_as_they_were(made):
    assert type(made).from_content(stored(made.to_content())) == made


def test_arrays_come_back_from_a_store_as_they_were():
    rng = np.random.default_rng(1)
    gain = PadGain(rng.uniform(0.8, 1.2, (36, 10)).astype(np.float32))
    np.testing.assert_array_equal(PadGain.from_content(stored(gain.to_content())).gain, gain.gain)
    corrections = CorrectionMap(rng.normal(0, 0.1, (36, 3, 2, 4, 3)).astype(np.float32), 2.5)
    again = CorrectionMap.from_content(stored(corrections.to_content()))
    np.testing.assert_array_equal(again.shifts, corrections.shifts)
    assert again.max_z2x == 2.5


def test_defaults_are_those_of_the_geometry_and_change_nothing():
    assert MagneticField().bz_kg == pytest.approx(BZ_KG, rel=1e-12)
    assert DriftVelocity().cm_per_time_bin == pytest.approx(CM_PER_TIME_BIN, rel=1e-12)
    assert DriftVelocity().offset_bins == 0
    assert PadGain().is_null and CorrectionMap().is_null
    assert (PadGain().per_pad() == 1).all()


@pytest.mark.parametrize(
    ("kind", "content", "message"),
    [
        (MagneticField, {"l3_curent": 1.0}, "want JSON with l3_current.*got l3_curent"),
        (MagneticField, {"l3_current": True}, "l3_current: want a number"),
        (MagneticField, {"is_uniform": 1}, "is_uniform: want true or false"),
        (MagneticField, {"l3_current": 0.0}, "want 60 to 60000 A"),
        (MagneticField, [], "want JSON with"),
        (DriftVelocity, {"corr_fact": float("nan")}, "finite"),
        (DriftVelocity, {"corr_fact": 10.0}, "0.5 to 10 cm/us"),
        (DriftVelocity, {"ref_time_offset": 101.0}, "time offsets"),
        (MeanVertex, {"sigma_x": 0.0}, "want sigma_x"),
        (MeanVertex, {"x": 7.0}, "want x, y within 5 cm"),
        (PadGain, {"gain": np.ones((36, 5))}, "want shape"),
        (PadGain, {"gain": np.full((36, 4), 300.0)}, "relative to their mean"),
        (PadGain, {"gains": np.ones((36, 4))}, "want npz with gain, got gains"),
        (CorrectionMap, {"shifts": np.zeros((36, 2, 2, 1, 3)), "max_z2x": np.float64(3)}, "2 nodes or more"),
        (CorrectionMap, {"shifts": np.full((36, 2, 2, 2, 3), 31.0), "max_z2x": np.float64(3)}, "at most 30 cm"),
        (CorrectionMap, {"shifts": np.full((36, 2, 2, 2, 3), "a"), "max_z2x": np.float64(3)}, "want numbers"),
        (CorrectionMap, {"shifts": np.zeros((36, 2, 2, 2, 3)), "max_z2x": np.zeros(2)}, "one number"),
    ],
)
def test_nonsense_is_refused_with_the_path_of_the_object(kind, content, message):
    with pytest.raises(ConditionError, match=message) as caught:
        kind.from_content(content)
    assert kind.path in str(caught.value)


@pytest.mark.parametrize("n", [4, 10, 152])
def test_a_coarse_gain_is_that_of_every_pad_in_it(n):
    gain = PadGain((1 + np.arange(36 * n).reshape(36, n) / (36 * n)).astype(np.float32))
    region = pad_rows().region
    stack = np.array([0, 0, 0, 0, 1, 1, 2, 2, 3, 3])[region]
    which = {4: stack, 10: region, 152: np.arange(152)}[n]
    np.testing.assert_array_equal(gain.per_pad()[:, :, 17], gain.gain[:, which])


def test_dead_pads_have_a_gain_of_one():
    gain = np.full((36, 152), 0.9, np.float32)
    gain[3, 5], gain[4, 6] = np.nan, 0
    per_pad = PadGain(gain).per_pad()
    assert per_pad[3, 5, 0] == per_pad[4, 6, 137] == 1 and per_pad[3, 6, 0] == np.float32(0.9)


def test_the_last_few_things_built_are_kept():
    kept, made = Recent(2), []
    for key in "abacab":
        kept.get(key, lambda key=key: made.append(key))
    assert made == ["a", "b", "c", "b"]


def take(ctx):
    ctx.outputs.make("made", {"bz": np.array([ctx.inputs["field"]["l3_current"]])})


def bz(topology, state):
    (task,) = plan(topology, ("TST/MADE",))
    ref = TimeframeRef(id=TimeframeId(run=1, tf_counter=0, first_orbit=0), url="", index=0)
    return run_task(topology, task, ref, {}, state).outputs[DataRef("TST", "MADE")]["bz"].tolist()


def test_a_condition_with_a_default_needs_no_store():
    source = DataProcessorSpec("take", inputs=condition_inputs("field"), outputs="made:TST/MADE", algorithm=take)
    assert source.is_source
    topology = compile_workflow(WorkflowSpec("defaults", (source,)))
    for one in (topology, Topology.from_json(topology.to_json())):
        assert bz(one, WorkerState()) == [-30000.0]
    bare = DataProcessorSpec(
        "take", inputs="field:GLO/GRPMAGFIELD?lifetime=condition", outputs="made:TST/MADE", algorithm=take
    )
    with pytest.raises(WorkflowError, match="no store of conditions"):
        compile_workflow(WorkflowSpec("none", (bare,)))


def test_a_default_is_a_function_of_a_module():
    with pytest.raises(SpecError, match="want default=module:function"):
        parse_inputs("field:GLO/GRPMAGFIELD?lifetime=condition&default=5kG")


def test_every_default_is_the_object_of_its_class():
    from o2dask.workflow.loading import locate

    for binding, condition in CONDITIONS.items():
        (wanted,) = condition_inputs(binding)
        content = stored(locate(wanted.default, "test")())
        again = condition.kind.from_content(content).to_content()
        assert set(again) == set(content) and wanted.path == condition.kind.path
