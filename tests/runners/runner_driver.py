"""A batch run as a process of its own, to be killed: ``runner_driver.py FOLDER N SLEEP``. Prints the report."""

import sys
from pathlib import Path

from runner_flows import PATTERNS, CountingSink, flow, timeframes

from o2dask.runners.batch import run_batch
from o2dask.runners.settings import BatchSettings


def main() -> None:
    """Run, resuming if there is anything to resume."""
    folder, n, sleep = Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    settings = BatchSettings(workers=2, memory="4GiB", journal=folder / "log", resume=True)
    refs = timeframes(n, f"sleep={sleep},note={folder}")
    report = run_batch(flow(), refs, CountingSink(str(folder / "out"), PATTERNS), settings=settings)
    print(report)  # noqa: T201
    sys.exit(0 if report.ok else 1)


if __name__ == "__main__":
    main()
