"""A part of a workflow is what is needed for it, found by matching inputs to outputs."""

import pytest
from toy_specs import source, spec

from o2dask.errors import WorkflowError
from o2dask.specs import WorkflowSpec
from o2dask.workflow import compile_workflow
from o2dask.workflow.matching import Outlets
from o2dask.workflow.subset import sub_workflow


def chain():
    return WorkflowSpec(
        "w",
        (
            source(),
            spec("a", "n:TST/NUMBERS", "a:TST/A"),
            spec("b", "a:TST/A", "b:TST/B"),
            spec("qc", "a:TST/A;b:TST/B?lifetime=optional", "q:QC/H"),
            spec("end", "b:TST/B", "e:AOD/E"),
        ),
    )


@pytest.mark.parametrize(
    ("part", "left"),
    [
        ({"only": ["TST/A"]}, ["numbers", "a"]),
        ({"only": ["AOD/*"]}, ["numbers", "a", "b", "end"]),
        ({"until": ["b"]}, ["numbers", "a", "b"]),
        ({"until": ["b", "qc"]}, ["numbers", "a", "b", "qc"]),
        ({"skip": ["b"]}, ["numbers", "a", "qc"]),
        ({"skip": ["qc", "end"]}, ["numbers", "a", "b"]),
        ({"until": ["qc"], "skip": ["b"]}, ["numbers", "a", "qc"]),
    ],
    ids=str,
)
def test_a_part_of_a_workflow_is_what_is_needed(part, left):
    made = sub_workflow(chain(), **part)
    assert [p.name for p in made.processors] == left
    compile_workflow(made)


@pytest.mark.parametrize("part", [{"only": ["TST/Z"]}, {"until": ["bb"]}, {"skip": ["zz"]}, {"skip": ["numbers"]}])
def test_a_part_that_there_is_not_is_refused(part):
    with pytest.raises(WorkflowError, match=r"has no (processor|datum)|nothing is left"):
        sub_workflow(chain(), **part)


def test_outlets_find_what_a_slow_search_finds():
    workflow = chain()
    outlets = Outlets("w", workflow.processors)
    for consumer in workflow.processors:
        for wanted in spec("x", "a:*/*/*;b:T?T/A/*;c:TST/B/0;d:QC/H/*", "").inputs:
            slow = [(p, o) for p in workflow.processors for o in p.outputs if wanted.matches(o.ref)]
            assert outlets.of(wanted, consumer) == [x for x in slow if not (wanted.is_wildcard and x[0] is consumer)]
