"""Compilation: what fits together is ordered; what does not is refused, naming the culprit and the remedy."""

import cloudpickle
import pytest
from hypothesis import given
from toy_specs import NUMBERS, power, random_workflows, source, spec, total, toy_workflow

from o2dask.columns import Column, Schema
from o2dask.errors import ConfigError, SpecError, WorkflowError
from o2dask.specs import ConfigParamSpec, Option, Task, WorkflowSpec, parse_inputs, parse_outputs
from o2dask.workflow import Topology, compile_workflow


def refused(*processors, options=None):
    with pytest.raises(ConfigError) as error:
        compile_workflow(WorkflowSpec("bad", processors), options)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_processors_declared_backwards_are_ordered_by_what_they_need():
    topology = compile_workflow(WorkflowSpec("toy", (total(), power(), source())))
    assert topology.names == ("numbers", "power", "total")
    assert [str(r) for r in topology.routes] == [
        "numbers -[TST/NUMBERS/0]-> power.numbers",
        "power -[TST/POWERS/0]-> total.powers",
    ]


@given(random_workflows())
def test_every_producer_comes_before_its_consumers(workflow):
    topology = compile_workflow(workflow)
    rank = {name: i for i, name in enumerate(topology.names)}
    assert sorted(topology.names) == sorted(p.name for p in workflow.processors)
    assert all(rank[r.producer] < rank[r.consumer] for r in topology.routes)
    wanted = sum(len(p.inputs) for p in workflow.processors)
    assert len(topology.routes) == wanted


def test_a_wildcard_takes_all_that_match_but_its_own_output():
    qc = spec("qc", "all:TST/*", "hists:TST/HISTS")
    topology = compile_workflow(WorkflowSpec("w", (qc, source(), power())))
    assert [str(r.ref) for r in topology.routes_to("qc", "all")] == ["TST/NUMBERS/0", "TST/POWERS/0"]


def test_a_question_mark_matches_one_letter_and_a_star_any_subspecification():
    made = (spec("a", "", "x:TST/D1/4"), spec("b", "", "x:TST/D22/5"), spec("c", "one:TST/D?/*", "x:TST/OUT"))
    topology = compile_workflow(WorkflowSpec("w", made))
    assert [r.producer for r in topology.routes] == ["a"]


def test_an_input_that_nobody_makes_names_the_closest_datum_and_the_remedy():
    text = refused(source(), spec("late", "n:TST/NUMBER", ""))
    assert "'late'" in text
    assert "n:TST/NUMBER/0" in text
    assert "did you mean 'TST/NUMBERS/0'" in text
    assert "?lifetime=optional" in text


def test_a_wildcard_that_matches_nothing_is_dangling_too():
    assert "made by no processor" in refused(source(), spec("late", "n:ITS/*", ""))


def test_an_optional_input_may_dangle():
    topology = compile_workflow(WorkflowSpec("w", (source(), spec("late", "n:ITS/HITS?lifetime=optional", ""))))
    assert topology.routes == ()


def test_two_producers_of_a_datum_are_both_named():
    text = refused(source(), spec("other", "", "n:TST/NUMBERS"))
    assert "'numbers'" in text
    assert "'other'" in text
    assert "TST/NUMBERS/0" in text


def test_a_loop_is_told_step_by_step():
    text = refused(
        source(),
        spec("a", "n:TST/NUMBERS;z:TST/C", "x:TST/A"),
        spec("b", "x:TST/A", "y:TST/B"),
        spec("c", "y:TST/B", "z:TST/C"),
        spec("beyond", "z:TST/C", "q:TST/Q"),
    )
    assert "a -[TST/A/0]-> b -[TST/B/0]-> c -[TST/C/0]-> a;" in text
    assert "beyond" not in text


def test_a_processor_that_needs_its_own_output_is_a_loop():
    assert "self -[TST/A/0]-> self" in refused(spec("self", "a:TST/A", "a:TST/A"))


def test_a_processor_named_twice_is_refused():
    assert "two processors are called numbers" in refused(source(), spec("numbers", "", "x:TST/X"))


def test_an_empty_workflow_is_refused():
    assert "no processors" in refused()


def test_an_unknown_processor_in_the_options_suggests_the_right_one():
    assert "did you mean 'power'" in refused(source(), power(), options={"powr": {"exponent": 3}})


def test_an_unknown_option_suggests_the_right_one():
    text = refused(source(), power(), options={"power": {"exponnt": 3}})
    assert "'power' has no option 'exponnt'; did you mean 'exponent'?" in text


def test_an_option_far_from_all_lists_what_there_is():
    assert "it has n" in refused(source(), options={"numbers": {"zzzzzz": 3}})


@pytest.mark.parametrize(
    ("default", "value"),
    [(5, "five"), (5, 2.5), (5, True), (1.0, "x"), (True, "maybe"), (True, 1), ("a", None)],
    ids=str,
)
def test_a_value_of_the_wrong_type_names_processor_and_option(default, value):
    p = spec("p", "", "x:TST/X", options=(ConfigParamSpec(name="opt", default=default, help=""),))
    text = refused(p, options={"p": {"opt": value}})
    assert "'p'" in text
    assert "'opt'" in text
    assert repr(value) in text


@pytest.mark.parametrize(
    ("default", "value", "want"), [(5, "7", 7), (5, 7.0, 7), (1.0, "1e3", 1e3), (True, "off", False), ("a", 5, "5")]
)
def test_text_of_the_command_line_becomes_the_type_of_the_default(default, value, want):
    p = spec("p", "", "x:TST/X", options=(ConfigParamSpec(name="opt", default=default, help=""),))
    got = compile_workflow(WorkflowSpec("w", (p,)), {"p": {"opt": value}}).options["p"]["opt"]
    assert got == want
    assert type(got) is type(want)


@pytest.mark.parametrize("written", ["min-clusters", "min_clusters"])
@pytest.mark.parametrize("declared", ["min-clusters", "min_clusters"])
def test_dashes_and_underscores_of_an_option_are_alike(declared, written):
    p = spec("p", "", "x:TST/X", options=(ConfigParamSpec(name=declared, default=5, help=""),))
    assert compile_workflow(WorkflowSpec("w", (p,)), {"p": {written: 7}}).options == {"p": {declared: 7}}


def test_a_value_outside_the_choices_lists_them():
    option = ConfigParamSpec(name="system", default="pp", help="", choices=("pp", "pbpb"))
    text = refused(spec("p", "", "x:TST/X", options=(option,)), options={"p": {"system": "pPb"}})
    assert "want one of pp, pbpb, got 'pPb'" in text
    with pytest.raises(SpecError, match="want a default of pp, pbpb"):
        ConfigParamSpec(name="system", default="x", help="", choices=("pp", "pbpb"))


def test_options_of_a_task_and_of_its_bases_are_declared():
    class Base(Task):
        low = Option(1.0, "")

    class Derived(Base):
        high = Option(2.0, "")

    assert [o.name for o in spec("d", "", "x:TST/X", Derived).options] == ["low", "high"]


def narrow(dtype, version=0):
    return Schema("TST/NUMBERS", (Column(name="x", dtype=dtype),), version)


@pytest.mark.parametrize("kind", ["int64", "float32"])
def test_a_consumer_that_declares_a_schema_is_checked_against_the_producer(kind):
    inputs = parse_inputs("n:TST/NUMBERS", {"TST/NUMBERS": narrow(kind)})
    w = WorkflowSpec("w", (source(), spec("strict", inputs, "")))
    if kind == "int64":
        assert len(compile_workflow(w).routes) == 1
        return
    with pytest.raises(WorkflowError, match=r"'strict' does not fit what 'numbers' makes: column 'x': want float32"):
        compile_workflow(w)


def test_a_schema_of_another_version_or_with_a_missing_column_is_refused():
    inputs = parse_inputs("n:TST/NUMBERS", {"TST/NUMBERS": narrow("int64", 1)})
    assert "want version 1, got 0" in refused(source(), spec("strict", inputs, ""))
    other = Schema("TST/NUMBERS", (Column(name="z", dtype="int64"),))
    inputs = parse_inputs("n:TST/NUMBERS", {"TST/NUMBERS": other})
    assert "want column 'z', got x" in refused(source(), spec("strict", inputs, ""))


def test_a_condition_needs_a_store_and_what_is_transient_has_no_consumer():
    text = refused(source(), spec("late", "n:TST/NUMBERS?lifetime=condition", ""))
    assert "'late'" in text
    assert "no store of conditions" in text
    with pytest.raises(SpecError, match="never sent"):
        parse_inputs("n:TST/NUMBERS?lifetime=transient")
    text = refused(spec("early", "", "n:TST/SCRATCH?lifetime=transient"), spec("late", "n:TST/SCRATCH", ""))
    assert "made by no processor" in text


def test_what_is_made_in_some_timeframes_only_cannot_be_needed_in_all():
    rare = spec("rare", "", "r:TST/RARE?lifetime=optional")
    assert "only in some" in refused(rare, spec("late", "r:TST/RARE", ""))
    compile_workflow(WorkflowSpec("w", (rare, spec("late", "r:TST/RARE?lifetime=optional", ""))))


def test_two_workflows_merge_and_satisfy_each_others_ends():
    ends, middle = WorkflowSpec("ends", (total(), source())), WorkflowSpec("middle", (power(),))
    for part in (ends, middle):
        with pytest.raises(WorkflowError, match=r"w1 \| w2"):
            compile_workflow(part)
    assert compile_workflow(ends | middle).names == compile_workflow(middle | ends).names


def test_the_fingerprint_changes_with_options_names_and_schemas_and_with_nothing_else():
    def mark(*processors, **options):
        return compile_workflow(WorkflowSpec("w", processors), options).fingerprint

    same = mark(source(), power())
    assert same == mark(power(), source()) == mark(source(), power(), numbers={"n": "5"})
    assert same == mark(source(cost_ms=900, resources={"GPU": 1}), power())
    other_schema = parse_outputs("numbers:TST/NUMBERS", {"TST/NUMBERS": narrow("int64", 2)})
    others = {
        mark(source(), power(), numbers={"n": 6}),
        mark(source(), power(), total()),
        mark(spec("numbers", "", other_schema), power()),
    }
    assert len(others | {same}) == 4


def test_a_topology_prints_one_line_per_processor():
    lines = str(compile_workflow(toy_workflow())).splitlines()
    assert len(lines) == 4
    assert lines[2].split() == ["power", "TST/NUMBERS/0", "->", "TST/POWERS/0"]


def test_a_topology_survives_json_and_pickle():
    topology = compile_workflow(toy_workflow(), {"power": {"exponent": 3}})
    assert Topology.from_json(topology.to_json()) == topology
    assert cloudpickle.loads(cloudpickle.dumps(topology)) == topology
    again = compile_workflow(topology.workflow())
    assert again.options == topology.options
    assert again.fingerprint == topology.fingerprint


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda t: t[:40], "want JSON"),
        (lambda t: "[]", "want format"),
        (lambda t: t.replace('"version": 1', '"version": 9', 1), "version 1"),
        (lambda t: t.replace("toy_specs:add_up", "toy_specs:ad_up"), "did you mean 'add_up'"),
        (lambda t: t.replace("toy_specs:add_up", "nowhere:f"), "no module 'nowhere'"),
        (lambda t: t.replace('"cost_ms"', '"cost"'), "damaged JSON: KeyError"),
        (lambda t: t.replace("TST/POWERS/0", "TST/OTHERS/0"), "made by no processor"),
    ],
)
def test_damaged_json_is_refused_in_one_line(change, match):
    text = compile_workflow(toy_workflow()).to_json()
    with pytest.raises(ConfigError, match=match):
        Topology.from_json(change(text))


def test_select_knows_patterns_with_and_without_subspecification():
    topology = compile_workflow(toy_workflow())
    assert [str(r) for r in topology.select(["AOD/*"])] == ["AOD/SUMS/0"]
    assert [str(r) for r in topology.select(["TST/NUMBERS", "TST/POWERS/0"])] == ["TST/NUMBERS/0", "TST/POWERS/0"]
    assert topology.select(["TST/NUMBERS/1"]) == ()
    assert topology["power"].name == "power"
    with pytest.raises(ConfigError, match="did you mean 'power'"):
        topology["powr"]
    assert NUMBERS in [o.schema for o in topology.outputs()]
