"""A disk that is full ends the run in good order: one reason, nothing lost, and --resume goes on when there is room."""

import resource
import shutil
import subprocess
import sys

import pytest
from cli_tools import write_ctf


@pytest.fixture
def small_disk(tmp_path):
    """Give a folder of 256 kB, how to limit a process to it, and how to make room.

    A tmpfs where one may be mounted; else a limit on the size of a file, which looks the same to who writes.
    """
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=256k", "none", disk]
    if not shutil.which("mount") or subprocess.run(command, capture_output=True, check=False).returncode:
        yield disk, lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000)), lambda: None
        return
    try:
        yield disk, None, lambda: subprocess.run(["mount", "-o", "remount,size=4m", disk], check=True)
    finally:
        subprocess.run(["umount", "-l", disk], check=True)


def test_a_full_disk_ends_the_run_and_resume_finishes_it(tmp_path, toy, small_disk):
    disk, limit, make_room = small_disk
    write_ctf(tmp_path / "tf.ctf", n=40)
    words = [sys.executable, "-c", "from o2dask.cli.main import main; main()", "reco", "tf.ctf", "--out", disk / "out"]
    words += ["--workflow", "toy_flow.py:flow", "--keep", "TST/*", "--runner", "inline"]

    def run(*more, limit=None):
        return subprocess.run(
            [*words, *more], cwd=tmp_path, capture_output=True, text=True, timeout=60, preexec_fn=limit, check=False
        )

    full = run(limit=limit)
    assert full.returncode == 1, full.stderr
    assert "Traceback" not in full.stdout + full.stderr
    (stopped,) = [line for line in full.stdout.splitlines() if line.startswith("stopped: ")]
    assert "--resume" in stopped
    assert "make room" in stopped
    kept = {p: p.stat().st_mtime_ns for p in disk.glob("out/run7_*/*.arrow")}
    assert len(kept) < 80
    make_room()
    again = run("--resume")
    assert again.returncode == 0, again.stdout + again.stderr
    assert len(list(disk.glob("out/run7_*"))) == 40
    assert {p: p.stat().st_mtime_ns for p in kept} == kept
