"""Specs: the short text form, and what a wrong declaration is told."""

import pickle

import numpy as np
import pytest

from o2dask.columns import Column, Schema
from o2dask.context import DataAllocator, InputRecord
from o2dask.errors import ProcessorError, ShapeError, SpecError
from o2dask.specs import (
    ConfigParamSpec,
    DataProcessorSpec,
    DataRef,
    Lifetime,
    Option,
    Task,
    WorkflowSpec,
    parse_inputs,
    parse_outputs,
)


def nothing(ctx):
    pass


class Gain(Task):
    """A task with options."""

    threshold = Option(3.0, "ADC counts above noise")

    def run(self, ctx):
        pass


@pytest.mark.parametrize(
    "text",
    [
        "clusters:TPC/CLUSTERNATIVE/0",
        "grp:GLO/GRPECS/0?lifetime=condition",
        "any:TPC/*/*",
        "two:T?C/CLUSTERS/7?lifetime=optional",
    ],
)
def test_an_input_prints_as_it_was_written(text):
    (made,) = parse_inputs(text)
    assert str(made) == text


def test_the_short_form_fills_in_binding_and_subspec():
    first, second = parse_inputs("TPC/CLUSTERNATIVE; labels:MC/LABELS/2")
    assert (first.binding, first.subspec) == ("clusternative", 0)
    assert (second.binding, second.subspec) == ("labels", 2)


def test_wildcards_match_what_they_say():
    (made,) = parse_inputs("all:TPC/CL*/*")
    assert made.is_wildcard
    assert made.matches(DataRef("TPC", "CLUSTERS", 3))
    assert not made.matches(DataRef("TPC", "TRACKS", 0))
    assert not made.matches(DataRef("ITS", "CLUSTERS", 0))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a:TOOLONG/X/0", "ORIG/DESCRIPTION"),
        ("a:TPC", "ORIG/DESCRIPTION"),
        ("a:TPC/X/0?lifetime=never", "want a lifetime of"),
        ("a-b:TPC/X", "want an identifier"),
    ],
)
def test_a_wrong_input_says_what_is_wanted(text, message):
    with pytest.raises(SpecError, match=message):
        parse_inputs(text)


def test_an_output_has_no_wildcards():
    with pytest.raises(SpecError, match="without wildcards"):
        parse_outputs("TPC/*/0")


def test_a_processor_prints_on_one_line_and_travels():
    spec = DataProcessorSpec(name="tpc-gain", inputs="c:TPC/CLUSTERS", outputs="TPC/GAIN", algorithm=Gain)
    assert str(spec) == "tpc-gain: c:TPC/CLUSTERS/0 -> gain:TPC/GAIN/0"
    assert [o.name for o in spec.options] == ["threshold"]
    assert pickle.loads(pickle.dumps(spec)) == spec


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "Tpc Gain"}, "processor name"),
        ({"inputs": "a:TPC/A;a:TPC/B"}, "input bindings given twice: a"),
        ({"outputs": "x:TPC/A;y:TPC/A"}, "outputs given twice"),
        ({"algorithm": 3}, "want a callable algorithm"),
    ],
)
def test_a_wrong_processor_is_named(changes, message):
    good = {"name": "p", "inputs": "", "outputs": "TPC/A", "algorithm": nothing}
    with pytest.raises(SpecError, match=message):
        DataProcessorSpec(**good | changes)


@pytest.mark.parametrize(
    ("default", "text", "value"), [(3, "4", 4), (1.5, "2", 2.0), (True, "off", False), ("a", "b", "b"), (2.0, 3, 3.0)]
)
def test_options_convert_text_to_the_type_of_their_default(default, text, value):
    made = ConfigParamSpec(name="x", default=default, help="").convert(text)
    assert made == value
    assert type(made) is type(default)


@pytest.mark.parametrize(("default", "text"), [(3, "four"), (True, "maybe"), (3, True), (1.0, "x")])
def test_an_option_that_does_not_convert_is_named(default, text):
    with pytest.raises(SpecError, match="option 'x'"):
        ConfigParamSpec(name="x", default=default, help="").convert(text)


def test_the_allocator_makes_only_what_is_declared_and_once():
    schema = Schema("TST/NUM", (Column(name="value", dtype="int32"),))
    allocator = DataAllocator(parse_outputs("num:TST/NUM;TST/OTHER", {"TST/NUM": schema}))
    made = allocator.make("num", {"value": np.arange(3, dtype=np.int32)})
    assert not made["value"].flags.writeable
    with pytest.raises(SpecError, match="made twice"):
        allocator.make("TST/NUM/0", {"value": np.arange(3, dtype=np.int32)})
    with pytest.raises(SpecError, match="not declared"):
        allocator.make("TST/ELSE", {"value": np.arange(3)})
    with pytest.raises(ProcessorError, match="TST/OTHER"):
        allocator.check_complete()
    allocator.make("TST/OTHER", {"any": np.zeros(2)})
    allocator.check_complete()


def test_the_allocator_checks_columns_against_the_schema():
    schema = Schema("TST/NUM", (Column(name="value", dtype="int32"),))
    allocator = DataAllocator(parse_outputs("TST/NUM", {"TST/NUM": schema}))
    with pytest.raises(ShapeError, match="want int32"):
        allocator.make("num", {"value": np.arange(3.0)})


def test_an_unknown_input_lists_the_declared_ones():
    with pytest.raises(KeyError, match="declared are clusters"):
        InputRecord({"clusters": None})["tracks"]


def test_workflows_merge():
    one = DataProcessorSpec(name="a", inputs="", outputs="TPC/A", algorithm=nothing)
    two = DataProcessorSpec(name="b", inputs="TPC/A", outputs="TPC/B", algorithm=nothing)
    merged = WorkflowSpec("x", (one,)) | WorkflowSpec("y", (two,))
    assert [p.name for p in merged.processors] == ["a", "b"]
    assert one.is_source
    assert two.inputs[0].lifetime is Lifetime.TIMEFRAME
