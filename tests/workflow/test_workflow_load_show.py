"""Workflows found by name, and shown in four ways."""

import json
import pickle
import re
import sys
from html.parser import HTMLParser
from itertools import pairwise

import pytest
import toy_specs
from hypothesis import given, settings
from toy_specs import random_workflows, source, toy_workflow

from o2dask.errors import ConfigError, SpecError
from o2dask.specs import WorkflowSpec
from o2dask.workflow import Topology, compile_workflow, list_workflows, load_workflow, plan, show
from o2dask.workflow.layout import lay_out
from o2dask.workflow.serialise import workflow_from_json, workflow_to_json

FILE = """
from o2dask.specs import DataProcessorSpec, WorkflowSpec
def run(ctx): ctx.outputs.make("x", {})
def flow(): return WorkflowSpec("flow", (DataProcessorSpec(name="a", inputs="", outputs="x:TST/X", algorithm=run),))
flow_value = flow()
def wrong(): return 5
def needs(one, two): return 5
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "my_flow.py"
    path.write_text(FILE)
    return path


def test_registered_workflows_are_listed_without_importing_them():
    assert list_workflows()["async"] == "o2dask.reco.workflows:async_workflow"


@pytest.mark.parametrize("name", ["flow", "flow_value"])
def test_a_workflow_of_a_file_is_found(file, name):
    assert load_workflow(f"{file}:{name}").name == "flow"


def test_a_workflow_of_a_module_is_found():
    assert load_workflow("toy_specs:toy_workflow") == toy_workflow()


def test_functions_of_a_file_travel_to_workers_that_do_not_have_it(file):
    topology = compile_workflow(load_workflow(f"{file}:flow"))
    data = pickle.dumps(topology)
    module = sys.modules.pop("o2dask_file_my_flow")
    try:
        shipped = pickle.loads(data)
        assert shipped.processors[0].algorithm.__name__ == "run"
        assert shipped.fingerprint == topology.fingerprint
    finally:
        sys.modules["o2dask_file_my_flow"] = module


def test_a_topology_of_a_file_survives_json_and_has_one_fingerprint_wherever_the_file_is(file, tmp_path):
    topology = compile_workflow(load_workflow(f"{file}:flow"))
    assert Topology.from_json(topology.to_json()) == topology
    (tmp_path / "elsewhere").mkdir()
    moved = file.rename(tmp_path / "elsewhere" / file.name)
    assert compile_workflow(load_workflow(f"{moved}:flow")).fingerprint == topology.fingerprint


@pytest.mark.parametrize(
    ("name", "match"),
    [
        ("asynk", "unknown workflow 'asynk'; did you mean 'async'.*module:function"),
        ("zzz", "registered are .*async"),
        ("nowhere.at_all:f", "no module 'nowhere.at_all'"),
        ("toy_specs:toy_workflw", "did you mean 'toy_workflow'"),
        ("/no/such/file.py:f", "no file '/no/such/file.py'"),
        ("FILE:wrong", "gives int, want a WorkflowSpec"),
        ("FILE:needs", "want a function without arguments"),
        ("FILE:nothing_like_it", "has no 'nothing_like_it'"),
        ("FILE:", "want module:function or file.py:function"),
    ],
)
def test_a_name_that_leads_nowhere_says_what_there_is(file, name, match):
    with pytest.raises(ConfigError, match=match) as error:
        load_workflow(name.replace("FILE", str(file)))
    assert "\n" not in str(error.value)


def test_a_file_that_cannot_be_imported_says_why(tmp_path):
    path = tmp_path / "broken.py"
    path.write_text("1 / 0")
    with pytest.raises(ConfigError, match=r"broken\.py cannot be imported: ZeroDivisionError"):
        load_workflow(f"{path}:f")
    assert "o2dask_file_broken" not in sys.modules


def test_text_shows_every_processor_datum_and_option():
    text = show(compile_workflow(toy_workflow(), {"power": {"exponent": 3}}), "text", ["AOD/*"])
    for word in ("power.exponent=3", "TST/POWERS/0  from power", "AOD/SUMS/0  (leaves the task)", "1 tasks"):
        assert word in text


def test_json_is_the_topology_itself():
    topology = compile_workflow(toy_workflow())
    assert json.loads(show(topology, "json"))["fingerprint"] == topology.fingerprint


def test_dot_has_each_edge_once():
    dot = show(compile_workflow(toy_workflow()), "dot")
    assert dot.count('"numbers" -> "power" [label="TST/NUMBERS/0"]') == 1
    assert dot.count("{") == dot.count("}")


def test_an_unknown_format_suggests_the_right_one():
    with pytest.raises(ConfigError, match="did you mean 'html'"):
        show(compile_workflow(toy_workflow()), "htm")


class Balance(HTMLParser):
    """Fails on tags that do not close, counts the others."""

    VOID = ("meta", "rect", "input")

    def __init__(self):
        super().__init__()
        self.open, self.seen = [], []

    def handle_starttag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))
        if tag not in (*self.VOID, "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.open.pop() == tag


def test_the_page_is_well_formed_and_needs_nothing_from_outside():
    topology = compile_workflow(toy_workflow())
    page = show(topology, "html", ["AOD/*"])
    parser = Balance()
    parser.feed(page)
    assert parser.open == []
    boxes = [a for tag, a in parser.seen if tag == "rect" and a["class"].startswith("box")]
    assert len(boxes) == 3
    assert sum(tag == "path" and a["class"] == "edge" for tag, a in parser.seen) == 2
    assert not re.search(r"(src|href)=|@import|url\((?!#)", page)


def apart(a, b):
    return a.x + a.w <= b.x or b.x + b.w <= a.x or a.y + a.h <= b.y or b.y + b.h <= a.y


@settings(max_examples=40)
@given(random_workflows())
def test_no_two_boxes_overlap_and_every_processor_is_inside_its_task(workflow):
    topology = compile_workflow(workflow)
    tasks = plan(topology)
    drawn = lay_out(topology, tasks)
    for boxes in (list(drawn.processors.values()), drawn.tasks):
        assert all(apart(a, b) for i, a in enumerate(boxes) for b in boxes[:i])
    for task, frame in zip(tasks, drawn.tasks, strict=True):
        assert 0 <= frame.x <= frame.x + frame.w <= drawn.width
        assert 0 <= frame.y <= frame.y + frame.h <= drawn.height
        for name in task.processors:
            box = drawn.processors[name]
            assert frame.x <= box.x <= box.x + box.w <= frame.x + frame.w
            assert frame.y <= box.y <= box.y + box.h <= frame.y + frame.h


@settings(max_examples=40)
@given(random_workflows())
def test_edges_only_go_down_and_pass_through_no_processor(workflow):
    topology = compile_workflow(workflow)
    drawn = lay_out(topology, plan(topology))
    for edge in drawn.edges:
        heights = [y for _, y in edge.points]
        assert heights == sorted(heights)
        for x, y in edge.points[1:-1]:
            assert not any(b.x < x < b.x + b.w and b.y < y < b.y + b.h for b in drawn.processors.values())


def test_options_chosen_for_a_topology_are_the_defaults_of_the_workflow_read_from_it():
    topology = compile_workflow(toy_workflow(), {"power": {"exponent": 3}})
    again = workflow_from_json(topology.to_json())
    assert compile_workflow(again).options == topology.options
    assert workflow_from_json(workflow_to_json(again)) == again


def test_text_and_dot_show_feedback_clocks_and_what_is_special():
    nothing = toy_specs.nothing
    specs = (
        toy_specs.spec("track", "d:TPC/DRIFT?lifetime=optional&feedback=true", "t:TPC/TRACKS", nothing),
        toy_specs.spec("calib", "t:TPC/TRACKS;c:TST/C?lifetime=timer&every=2", "d:TPC/DRIFT", nothing, pipeline=3),
        toy_specs.spec("qc", "t:TPC/TRACKS", "", nothing, expendable=True, policy="any", on_error="skip"),
    )
    topology = compile_workflow(WorkflowSpec("w", specs))
    text = show(topology)
    for word in (
        "from calib, of an earlier timeframe",
        "from the clock",
        "qc  (expendable, policy any, on error skip)",
        "calib  (3 instances in turn)",
    ):
        assert word in text
    assert '"calib" -> "track" [label="TPC/DRIFT/0", style=dashed' in show(topology, "dot")
    assert Topology.from_json(topology.to_json()) == topology


def parsed(page):
    parser = Balance()
    parser.feed(page)
    assert parser.open == []
    return parser.seen


def looped():
    specs = (
        toy_specs.spec("track", "d:TPC/DRIFT?lifetime=optional&feedback=true", "t:TPC/TRACKS", cost_ms=100),
        toy_specs.spec("qc", "t:TPC/TRACKS?lifetime=sporadic", "h:QC/H?lifetime=qa", expendable=True, deadline_s=3),
        toy_specs.spec("calib", "t:TPC/TRACKS;c:TST/C?lifetime=timer&every=2", "d:TPC/DRIFT", resources={"GPU": 1}),
        source(),
    )
    return compile_workflow(WorkflowSpec("looped", specs), {"numbers": {"n": 7}})


def test_the_page_draws_feedback_lifetimes_and_what_leaves():
    seen = parsed(show(looped(), "html", ["QC/*"]))
    ways = {(a["data-from"], a["data-to"]): a["class"] for tag, a in seen if tag == "path" and "data-from" in a}
    assert ways == {("calib", "track"): "edge feedback", ("track", "qc"): "edge loose", ("track", "calib"): "edge"}
    kinds = {a["class"] for tag, a in seen if tag == "rect"}
    assert {"pill qa kept", "pill timeframe", "box source", "box expendable", "task"} <= kinds
    assert {a["data-name"] for tag, a in seen if tag == "details"} == {"track", "qc", "calib", "numbers"}


def test_the_page_tells_options_limits_and_origins():
    page = show(looped(), "html")
    for text in ("at most 3 s per timeframe", "the clock", "calib, of an earlier timeframe", "every=2", "GPU 1"):
        assert text in page
    assert re.search(r'class="changed"><code>7</code> <small>default 5', page)
    assert "track (later timeframe)" in page


def test_what_goes_back_stays_within_the_drawing_and_out_of_the_boxes():
    topology = looped()
    drawn = lay_out(topology, plan(topology))
    (back,) = drawn.feedback
    assert (back.producer, back.consumer) == ("calib", "track")
    for (x0, y0), (x1, y1) in pairwise(back.points):
        assert 0 <= min(x0, x1) <= max(x0, x1) <= drawn.width and 0 <= min(y0, y1) <= max(y0, y1) <= drawn.height
        x, y = (x0 + x1) / 2, (y0 + y1) / 2
        assert not any(b.x < x < b.x + b.w and b.y < y < b.y + b.h for b in drawn.processors.values())


def test_names_on_the_page_are_escaped():
    option = toy_specs.ConfigParamSpec(name="x", default="<b>", help="<i>bad</i>")
    page = show(compile_workflow(WorkflowSpec("<w>", (toy_specs.spec("p", "", "", options=(option,)),))), "html")
    assert "<b>" not in page and "<i>" not in page and "<w>" not in page


def test_a_workflow_function_that_fails_is_told_with_its_line(file):
    file.write_text(FILE + "def broken():\n    return 1 / 0\n")
    sys.modules.pop("o2dask_file_my_flow", None)
    with pytest.raises(ConfigError, match=r"my_flow.py:broken': fails at my_flow\.py:9: ZeroDivisionError"):
        load_workflow(f"{file}:broken")
    with pytest.raises(SpecError, match="processor 'p': input 'TPC/CLUSTERNATIVEFARTOOLONG': want"):
        toy_specs.spec("p", "TPC/CLUSTERNATIVEFARTOOLONG", "")


def test_what_sees_timeframes_in_order_is_drawn_beside_the_graph():
    specs = (
        source(cost_ms=60),
        toy_specs.spec("sum", "n:TST/NUMBERS", "s:TST/SUM", policy="ordered"),
        toy_specs.spec("slow", "n:TST/NUMBERS", "", labels=("asynchronous",)),
        toy_specs.spec("use", "n:TST/NUMBERS;s:TST/SUM?lifetime=optional&feedback=true", "u:TST/U"),
    )
    topology = compile_workflow(WorkflowSpec("w", specs))
    text = show(topology, "text", ["TST/SUM"])
    assert "4 processors in 1 tasks" in text and "task 1: numbers+use" in text
    assert "beside the graph: sum (10 ms)" in text and "beside the graph: slow" in text
    seen = parsed(show(topology, "html"))
    assert [a["class"] for tag, a in seen if tag == "rect" and a["class"].startswith("task")] == [
        "task",
        "task apart",
        "task apart",
    ]
    assert 'label="beside the graph: 10 ms"' in show(topology, "dot")
    alone = compile_workflow(WorkflowSpec("w", (toy_specs.spec("p", "", "", policy="ordered"),)))
    assert "task 1: p" in show(alone)
