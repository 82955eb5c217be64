"""Kills at random what a stream consists of, until it has ended all the same; used by a test and by a benchmark."""

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import psutil

KINDS = {
    "builder": "o2dask-builder",
    "readout": "o2dask-readout",
    "starter": "o2dask.stream.starter",
    "worker": "spawn_main",
    "beside": "o2dask.runners.beside_child",
    "driver": "stream_driver.py",
}
"""What can be killed, and what its name or its command line has in it."""


def start(ctf: str, folder: Path, rate: float, log) -> subprocess.Popen:
    """Return a driver that resumes what there is."""
    command = [sys.executable, str(Path(__file__).with_name("stream_driver.py")), ctf, str(folder), str(rate)]
    return subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)


def victims(driver: subprocess.Popen) -> dict[str, list[int]]:
    """Return the processes of a running stream by kind."""
    found: dict[str, list[int]] = {"driver": [driver.pid]}
    with suppress(psutil.Error):
        for process in psutil.Process(driver.pid).children(recursive=True):
            with suppress(psutil.Error):
                words = " ".join([process.name(), *process.cmdline()])
                found.setdefault(next((k for k, mark in KINDS.items() if mark in words), "other"), []).append(
                    process.pid
                )
    return found


def run_with_kills(
    ctf: str,
    folder: Path,
    n_kills: int,
    *,
    rate: float,
    seed: int,
    pause_s: float,
    driver_share: float = 0.1,
    hurry: bool = False,
) -> Counter:
    """Run a stream over `ctf` into `folder` to its end, with `n_kills` kills; return how many of each kind there were.

    A driver that was killed is started again. Between kills at least one timeframe is committed and about `pause_s` [s]
    pass. With `hurry`, what is left after the last kill goes as fast as it can: so a rate can be low enough that a slow
    machine sees all kills, and a fast one need not wait for the end.
    """
    rng, kills = random.Random(seed), Counter()
    others = [kind for kind in KINDS if kind != "driver"]
    (folder / "shm").mkdir(parents=True, exist_ok=True)
    with (folder / "driver.log").open("ab") as log:
        driver = start(ctf, folder, rate, log)
        try:
            before, wish, wishes = n_committed(folder), "", []
            while driver.poll() is None:
                is_done = sum(kills.values()) >= n_kills
                if is_done and hurry:
                    (folder / "hurry").touch()
                if is_done or n_committed(folder) == before:
                    time.sleep(0.05)
                    continue  # nothing got anywhere since the last kill: not yet
                wishes = wishes or rng.sample(others, len(others))  # each kind once before any comes twice
                wish = wish or ("driver" if rng.random() < driver_share else wishes.pop())
                if not (pids := victims(driver).get(wish)):
                    wish = ""  # there is none now
                    time.sleep(0.05)
                    continue
                before = n_committed(folder)
                with suppress(ProcessLookupError):
                    os.kill(rng.choice(pids), signal.SIGKILL)
                    kills[wish] += 1
                if wish == "driver":
                    driver.wait()
                    driver = start(ctf, folder, rate, log)
                wish = ""
                time.sleep(rng.uniform(0.5, 1.5) * pause_s)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(driver.pid, signal.SIGKILL)
            driver.wait()
    if driver.returncode:
        raise AssertionError((folder / "driver.log").read_text()[-4000:])
    return kills


def n_committed(folder: Path) -> int:
    """Return how many timeframes are in the output."""
    return sum(1 for _ in (folder / "out").glob("run*"))
