"""Turns of a run: processors that end it or themselves, callbacks, ends that fail."""

import numpy as np
from toy_specs import REFS, ran, spec, task

from o2dask.services import (
    CallbackId,
    CallbackService,
    ControlService,
    QuitBook,
    QuitRequest,
)
from o2dask.specs import Task


def at(n, deed):
    def run(ctx):
        ctx.counters["runs"] = 1
        if ctx.timeframe.tf_counter == n:
            deed(ctx.services[ControlService])

    return run


def test_quit_all_ends_the_run_in_good_order():
    report = ran(task(at(2, lambda c: c.quit_all())))
    assert report.ok and report.ended
    assert len(report.committed) == 3 and len(report.abandoned) == 5


def test_quit_me_ends_the_processor_alone_unless_others_need_it():
    report = ran(task(at(2, lambda c: c.quit_me()), "a"), task(at(-1, None), "b"))
    assert report.ok and not report.ended
    assert (report.counters["a.runs"], report.counters["b.runs"]) == (3, 8)

    def run(ctx):
        ctx.outputs.make("x", {"v": np.zeros(1)})
        at(2, lambda c: c.quit())(ctx)

    report = ran(spec("a", "", "x:TST/X", run), spec("b", "x:TST/X", "", lambda ctx: None))
    assert report.ended and len(report.committed) == 3


def test_the_run_ends_when_all_sources_are_ready():
    ready = [task(at(n, lambda c: c.ready_to_quit()), f"s{n}") for n in (1, 4)]
    report = ran(*ready)
    assert report.ended and len(report.committed) == 5
    book = QuitBook(["a"])
    assert not book.take(["ready:b"]) and book.take(["ready:a"]) and book.take([])
    assert QuitBook([]).take(["quit"])
    assert QuitRequest("all") is QuitRequest.ALL


def test_callbacks_are_called_at_the_turns_of_a_processor():
    calls = []

    class Chatty(Task):
        def init(self, ctx):
            for when in CallbackId:
                ctx.services[CallbackService].set(when, lambda ctx, when=when: calls.append(when))

        def run(self, ctx):
            calls.append("run")
            if ctx.timeframe.tf_counter == 2:
                raise ValueError("x")

        def end_of_stream(self, ctx):
            calls.append("task end")

    ran(spec("p", "t:TST/T?lifetime=timer&every=2", "", Chatty), refs=REFS[:3])
    tick, end, stop = "clock-tick", "end-of-stream", "stop"
    assert calls == ["start", tick, "run", "idle", tick, "run", "reset", "task end", end, stop]


def test_an_end_that_fails_keeps_no_other_from_ending(logged):
    ended = []

    class Bad(Task):
        def run(self, ctx):
            pass

        def end_of_stream(self, ctx):
            ended.append(ctx.spec.name)
            ctx.outputs.make("x", {})

    assert ran(task(Bad, "a"), task(Bad, "b"), refs=REFS[:1]).ok
    assert ended == ["a", "b"]
    assert "end of processor 'a': SpecError: output 'x' is not declared" in logged.text
