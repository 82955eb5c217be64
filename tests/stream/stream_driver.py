"""A stream as a process of its own, to be killed: ``stream_driver.py CTF FOLDER RATE``; it resumes what there is.

When there is a file ``hurry`` in the folder, it goes as fast as it can.
"""

import functools
import sys
import threading
import time
from pathlib import Path

from stream_flows import PATTERNS, flow

from o2dask.runners.folder import FolderSink
from o2dask.runners.settings import BatchSettings
from o2dask.runners.stream import run_stream, session_of
from o2dask.stream.session import Stream
from o2dask.stream.settings import StreamSettings


def hurry_when_told(file: Path, address: str, stream: Stream) -> None:
    """Set the rate free when the file is there."""

    def watch() -> None:
        while not file.exists():
            time.sleep(0.1)
        stream.supervisor.set_rate(0)

    threading.Thread(target=watch, daemon=True).start()


def main() -> None:
    """Run to the end."""
    ctf, folder, rate = sys.argv[1], Path(sys.argv[2]), float(sys.argv[3])
    settings = BatchSettings(workers=2, memory="4GiB", journal=folder / "log", resume=True)
    source = StreamSettings(
        source=f"replay:{ctf}",
        n_readouts=2,
        rate=rate,
        base=str(folder / "shm"),
        session=session_of(folder),
        max_timeframes=32,
        timeout_s=120.0,
    )
    sink = FolderSink(str(folder / "out"), PATTERNS)
    hurry = functools.partial(hurry_when_told, folder / "hurry")
    report = run_stream(flow(str(folder), sleep=0.005), source, sink, settings=settings, opened=hurry)
    print(report, report.source)  # noqa: T201
    sys.exit(0 if report.ok else 1)


if __name__ == "__main__":
    main()
