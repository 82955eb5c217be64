"""Options that are more than a number: arrays, rows, labels, groups; on the command line, in JSON, in a task."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from toy_specs import REF, spec

import o2dask as o2
from o2dask.context import WorkerState
from o2dask.errors import SpecError
from o2dask.option_values import as_value, convert_value, json_of, text_of
from o2dask.options import ConfigParamSpec, LabeledArray, flattened, nested, parse_option_text, settle
from o2dask.specs import Task, WorkflowSpec
from o2dask.workflow import compile_workflow, plan, run_task
from o2dask.workflow.serialise import topology_from_json, workflow_from_json, workflow_to_json

CUTS = LabeledArray([[0.2, 0.8], [0.5, 1.5]], rows=["low", "high"], columns=["pt", "eta"])

numbers = st.floats(-1e6, 1e6).map(float)
words = st.text("abcXYZ_09", min_size=1, max_size=5)
scalars = st.one_of(st.booleans(), st.integers(-1000, 1000), numbers, words)


def arrays(of):
    return st.one_of(
        st.lists(of, min_size=1, max_size=4),
        st.integers(1, 3).flatmap(lambda n: st.lists(st.lists(of, min_size=n, max_size=n), min_size=1, max_size=3)),
    )


values = st.one_of(scalars, *(arrays(of) for of in (st.booleans(), st.integers(-9, 9), numbers, words))).map(as_value)


@given(values)
def test_a_value_comes_back_from_its_text_and_from_json(value):
    assert convert_value(value, text_of(value)) == value
    assert convert_value(value, json.loads(json.dumps(json_of(value)))) == value
    assert as_value(json.loads(json.dumps(json_of(value)))) == value


@pytest.mark.parametrize(
    ("like", "given", "wanted"),
    [
        ([1, 2], "[3, 4, 5]", (3, 4, 5)),
        ([1, 2], "3,4", (3, 4)),
        ([1, 2], "i[3,4]", (3, 4)),
        ([1, 2], "", ()),
        ([1, 2], {"values": ["3", "4"]}, (3, 4)),
        ([1, 2], np.array([3, 4]), (3, 4)),
        ([0.5], "f[0.25,1e3]", (0.25, 1000.0)),
        ([0.5], [1, 2], (1.0, 2.0)),
        (["a"], "s[b,c]", ("b", "c")),
        (["a"], '["b, c", "d"]', ("b, c", "d")),
        ([True], "yes,0", (True, False)),
        ([[1, 2], [3, 4]], "[[5,6]]", ((5, 6),)),
        ([[1, 2], [3, 4]], "d[[5,6],[7,8]]", ((5, 6), (7, 8))),
        ([["a"]], "[[b],[c]]", (("b",), ("c",))),
        (CUTS, "[[1,2],[3,4]]", LabeledArray([[1.0, 2.0], [3.0, 4.0]], CUTS.rows, CUTS.columns)),
        (
            CUTS,
            {"labels_rows": ["x"], "labels_cols": ["pt", "eta"], "values": [["1", "2"]]},
            LabeledArray([[1.0, 2.0]], ["x"], ["pt", "eta"]),
        ),
    ],
    ids=str,
)
def test_arrays_are_read_in_the_spellings_of_users_and_of_o2(like, given, wanted):
    made = ConfigParamSpec(name="x", default=like).convert(given)
    assert made == wanted
    assert hash(made) == hash(wanted)


@pytest.mark.parametrize(
    ("like", "given", "match"),
    [
        ([1, 2], "[a]", "option 'x': want int, got 'a'"),
        ([1, 2], "[[1,2]]", r"want an array, \[1, 2, 3\]"),
        ([1, 2], 3, "want an array"),
        ([1, 2], {"valeus": [1]}, "want an array as {labels_cols, labels_rows, values}, got valeus"),
        ([[1, 2]], "[1,2]", "want rows of values"),
        ([[1, 2]], "[[1,2],[3]]", "rows of equal length"),
        (CUTS, "[[1,2]]", "want 1 different labels of rows"),
        (CUTS, "{values", "want JSON of an array"),
    ],
    ids=str,
)
def test_what_is_no_such_array_is_refused(like, given, match):
    with pytest.raises(SpecError, match=match):
        ConfigParamSpec(name="x", default=like).convert(given)


@pytest.mark.parametrize("default", [[], [[]], [1, "a"], [[1], 2], [[1, 2], [3]], None, {"a": 1}], ids=str)
def test_a_default_that_says_no_type_is_refused(default):
    with pytest.raises(SpecError, match="option 'x': default: want"):
        ConfigParamSpec(name="x", default=default)


def test_range_and_choices_hold_for_each_element():
    option = ConfigParamSpec(name="x", default=[1, 2], minimum=0, maximum=9)
    assert option.convert("0,9") == (0, 9)
    for bad in ("0,10", "-1"):
        with pytest.raises(SpecError, match="want 0 to 9"):
            option.convert(bad)
    names = ConfigParamSpec(name="x", default=["its"], choices=("its", "tpc"))
    assert names.convert("tpc,its") == ("tpc", "its")
    with pytest.raises(SpecError, match="want one of its, tpc"):
        names.convert("its,trd")
    assert [o.kind for o in (option, names, ConfigParamSpec(name="c", default=CUTS))] == [
        "array of int",
        "array of str",
        "labelled rows of float",
    ]


def test_labelled_values_go_by_label_and_by_number():
    assert CUTS.get("high", "pt") == CUTS.get(1, 0) == CUTS["high"][0] == 0.5
    assert CUTS.array().shape == (2, 2) and len(CUTS) == 2
    with pytest.raises(KeyError, match="no row 'middle'; there are low, high"):
        CUTS.get("middle", "pt")
    with pytest.raises(SpecError, match="2 different labels of columns"):
        LabeledArray([[1, 2]], columns=["a", "a"])


class Cuts(o2.OptionGroup):
    pt = o2.Option(0.2, "GeV/c", minimum=0)
    bins = o2.Option([0.0, 1.0, 5.0], "edges [GeV/c]")


class Vertex(o2.OptionGroup):
    cuts = Cuts()
    n = o2.Option(3, "contributors")


class Finder(Task):
    """Says what it was told."""

    vertex = Vertex()
    labels = o2.Option(CUTS, "cuts")

    def run(self, ctx):
        type(self).seen.append((self.vertex.n, self.vertex.cuts.pt, self.vertex.cuts.bins, self.labels["low"]))


def finder():
    return WorkflowSpec("w", (spec("finder", "", "", Finder),))


def test_groups_of_options_reach_the_task_with_the_values_chosen():
    Finder.seen = []
    for chosen, wanted in (
        ({}, (3, 0.2, (0.0, 1.0, 5.0), (0.2, 0.8))),
        ({"vertex.n": "4", "vertex.cuts.bins": "[1, 2]"}, (4, 0.2, (1.0, 2.0), (0.2, 0.8))),
        ({"vertex": {"n": "5", "cuts": {"pt": "0.5"}}}, (5, 0.5, (0.0, 1.0, 5.0), (0.2, 0.8))),
    ):
        topology = compile_workflow(finder(), {"finder": chosen})
        run_task(topology, plan(topology)[0], REF, {}, WorkerState())
        assert Finder.seen[-1] == wanted
        again = topology_from_json(topology.to_json())
        assert again == topology and again.fingerprint == topology.fingerprint
        run_task(again, plan(again)[0], REF, {}, WorkerState())
        assert Finder.seen[-1] == wanted
    assert isinstance(vars(Vertex)["n"], o2.Option)  # the class is as it was declared
    with pytest.raises(SpecError, match=r"no option 'vertex\.cuts\.tp'; did you mean 'vertex\.cuts\.pt'"):
        compile_workflow(finder(), {"finder": {"vertex": {"cuts": {"tp": 1}}}})


def test_a_workflow_with_such_options_survives_the_pipe():
    assert workflow_from_json(workflow_to_json(finder())) == workflow_from_json(
        workflow_to_json(workflow_from_json(workflow_to_json(finder())))
    )
    options = {o.name: o.default for o in workflow_from_json(workflow_to_json(finder())).processors[0].options}
    assert options["labels"] == CUTS and options["vertex.cuts.bins"] == (0.0, 1.0, 5.0)


def test_json_nests_groups_and_takes_them_back():
    chosen = {o.name: o.default for o in finder().processors[0].options}
    told = json.loads(json.dumps(nested(chosen)))
    assert told["vertex"] == {"cuts": {"pt": 0.2, "bins": [0.0, 1.0, 5.0]}, "n": 3}
    assert settle("it", finder().processors[0].options, told) == chosen
    assert dict(flattened(told, chosen)).keys() == chosen.keys()


def test_a_workflow_may_have_groups_too_and_a_bad_default_names_its_processor():
    @o2.customize(cuts=Cuts(), n=o2.Option(2, ""))
    def flow(cfg):
        return [spec(f"p{cfg.options['n']}-{len(cfg.options['cuts.bins'])}", "", "")]

    assert [o.name for o in flow.options] == ["cuts.pt", "cuts.bins", "n"]

    class Bad(Task):
        bins = o2.Option([], "edges")

    with pytest.raises(SpecError, match="processor 'p': option 'bins': default: want an array with a value at least"):
        spec("p", "", "", Bad)


def test_an_array_may_have_blanks_on_the_command_line():
    assert parse_option_text("--bins [[1, 2], [3, 4]] --n 3") == {"bins": "[[1,2],[3,4]]", "n": "3"}
