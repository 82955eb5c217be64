"""Who logs where during a run: users' handlers and levels are theirs, Dask's own log stays off the terminal."""

import subprocess
import sys

SCRIPT = """
import logging, sys

def run(ctx):
    ctx.log.warning("odd")

def main():
    import o2dask as o2
    from o2dask.runners.batch import run_batch
    from o2dask.runners.nothing import NoSink
    from o2dask.runners.settings import BatchSettings
    from o2dask.timeframe import enumerated
    from o2dask.workflow import compile_workflow
    logs = logging.getLogger("distributed")
    assert logs.handlers  # Dask's own
    mine = logging.StreamHandler(sys.stdout)
    mine.setFormatter(logging.Formatter("mine %(name)s"))
    mine.setLevel(logging.DEBUG)
    logs.addHandler(mine)
    topology = compile_workflow(
        o2.WorkflowSpec("w", (o2.DataProcessorSpec("p", inputs="", outputs="", algorithm=run),))
    )
    seen = set()
    settings = BatchSettings(workers=1)
    report = run_batch(topology, enumerated(2), NoSink(), settings=settings, progress=lambda e: seen.add(mine.level))
    assert report.ok and seen == {logging.DEBUG} and mine.level == logging.DEBUG
    assert logging.getLogger("distributed.scheduler").isEnabledFor(logging.INFO)

if __name__ == "__main__":
    main()
"""


def test_handlers_of_users_keep_their_level_and_dask_keeps_off_the_terminal(tmp_path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL
    )
    assert done.returncode == 0, done.stderr
    assert "distributed." not in done.stderr
    assert "mine distributed.scheduler" in done.stdout
