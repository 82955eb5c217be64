"""The planner: few tasks, none too short where it can be helped, and never a loop."""

from graphlib import TopologicalSorter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from toy_specs import power, random_workflows, source, spec, total, toy_workflow

from o2dask.errors import WorkflowError
from o2dask.specs import WorkflowSpec
from o2dask.workflow import compile_workflow, plan
from o2dask.workflow.fusion import fuse


def graph(topology, tasks):
    task_of = {name: t.name for t in tasks for name in t.processors}
    edges = {t.name: set() for t in tasks}
    for r in topology.routes:
        if task_of[r.producer] != task_of[r.consumer]:
            edges[task_of[r.consumer]].add(task_of[r.producer])
    return edges


@given(random_workflows(), st.sampled_from([0.0, 50.0, 200.0]))
def test_a_plan_holds_each_processor_once_in_order_without_loops(workflow, min_ms):
    topology = compile_workflow(workflow)
    tasks = plan(topology, ["RND/*"], min_ms)
    assert sorted(n for t in tasks for n in t.processors) == sorted(topology.names)
    assert len({t.name for t in tasks}) == len(tasks)
    tuple(TopologicalSorter(graph(topology, tasks)).static_order())  # raises on a loop
    position = {n: i for i, n in enumerate(n for t in tasks for n in t.processors)}
    assert all(position[r.producer] < position[r.consumer] for r in topology.routes)


@given(random_workflows())
def test_what_a_task_needs_was_sent_by_an_earlier_one(workflow):
    topology = compile_workflow(workflow)
    sent = set()
    for task in plan(topology, ["RND/D0"]):
        assert set(task.inputs) <= sent
        made = {o.ref for n in task.processors for o in topology[n].outputs}
        assert set(task.outputs) <= made
        assert not set(task.inputs) & made
        sent |= set(task.outputs)
    assert topology.select(["RND/D0"])[0] in sent


@given(random_workflows())
def test_a_short_task_is_left_only_where_no_other_may_take_it(workflow):
    topology = compile_workflow(workflow)
    tasks = plan(topology, ())
    for task in tasks:
        assert {tuple(sorted(topology[n].resources.items())) for n in task.processors} == {task.resources}
        assert task.cost_ms == pytest.approx(sum(topology[n].cost_ms for n in task.processors))
    for short in (t for t in tasks if t.cost_ms < 50):
        for other in (t for t in tasks if t is not short and t.resources == short.resources):
            merged = {
                (short.name if k == other.name else k): {short.name if v == other.name else v for v in vs}
                for k, vs in graph(topology, tasks).items()
            }
            together = graph(topology, tasks)
            merged[short.name] = {
                short.name if v == other.name else v for v in together[short.name] | together[other.name]
            } - {short.name}
            with pytest.raises(ValueError, match="cycle"):
                tuple(TopologicalSorter(merged).static_order())


@st.composite
def graphs(draw):
    n = draw(st.integers(1, 60))
    edge = st.tuples(st.integers(0, n - 1), st.integers(0, n - 1)).filter(lambda e: e[0] < e[1])
    edges = draw(st.sets(edge, max_size=3 * n)) if n > 1 else set()
    costs = draw(st.lists(st.sampled_from([1.0, 5.0, 20.0, 60.0]), min_size=n, max_size=n))
    kinds = draw(st.lists(st.sampled_from("CCCG"), min_size=n, max_size=n))
    return costs, kinds, edges


@given(graphs())
def test_groups_of_a_large_graph_form_no_loop_and_none_that_could_grow_is_small(graph):
    costs, kinds, edges = graph
    groups = fuse(costs, kinds, edges, 50.0)
    assert sorted(v for g in groups for v in g) == list(range(len(costs)))
    of = {v: i for i, g in enumerate(groups) for v in g}
    links = {(of[a], of[b]) for a, b in edges if of[a] != of[b]}
    assert all(a < b for a, b in links)  # producers first, so no loop
    after = {i: set() for i in range(len(groups))}
    for i in reversed(range(len(groups))):
        for a, b in links:
            if a == i:
                after[i] |= {b} | after[b]
    for i, g in enumerate(groups):
        assert len({kinds[v] for v in g}) == 1
        others = [k for k in range(len(groups)) if k != i and kinds[groups[k][0]] == kinds[g[0]]]
        if sum(costs[v] for v in g) < 50.0:  # every other one is linked to it through a third
            for a, b in (sorted((i, k)) for k in others):
                assert any(b in after[c] and (a, c) in links for c in range(a + 1, b)), (a, b)


def test_neighbours_are_fused_and_long_ones_stay_alone():
    topology = compile_workflow(WorkflowSpec("w", (source(cost_ms=1), power(cost_ms=1000), total(cost_ms=60))))
    assert [t.processors for t in plan(topology)] == [("numbers", "power"), ("total",)]
    assert [t.processors for t in plan(topology, (), 0)] == [("numbers",), ("power",), ("total",)]


def test_processors_of_other_resources_are_never_fused():
    topology = compile_workflow(WorkflowSpec("w", (source(), power(resources={"GPU": 1}), total())))
    tasks = plan(topology)
    assert [(t.name, dict(t.resources)) for t in tasks] == [("numbers", {}), ("power", {"GPU": 1.0}), ("total", {})]


def test_only_what_is_needed_later_or_kept_leaves_a_task():
    topology = compile_workflow(toy_workflow())
    (task,) = plan(topology, ["AOD/*"])
    assert [str(r) for r in task.outputs] == ["AOD/SUMS/0"]
    assert task.inputs == ()
    assert str(task) == "numbers+power+total (30 ms): (timeframe) -> AOD/SUMS/0"


def test_a_workflow_that_makes_nothing_of_what_is_to_be_written_is_refused():
    with pytest.raises(WorkflowError, match=r"makes nothing of what is to be written \(ITS/\*\).*AOD/SUMS/0"):
        plan(compile_workflow(toy_workflow()), ["ITS/*"])


def test_a_plan_of_many_names_itself_by_its_ends():
    chain = [spec("p0", "", "x:RND/D0")]
    chain += [spec(f"p{i}", f"a:RND/D{i - 1}", f"x:RND/D{i}") for i in range(1, 5)]
    (task,) = plan(compile_workflow(WorkflowSpec("w", tuple(chain))))
    assert task.name == "p0..p4"
