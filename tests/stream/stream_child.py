"""A process for the tests of those that start processes: does what its settings say."""

import json
import os
import sys
import threading
import time
from pathlib import Path


def say(line):
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def start():
    settings = json.loads(sys.argv[1])
    if "STREAM_TEST_WORD" in os.environ:
        told = {"folder": str(Path.cwd()), "word": os.environ["STREAM_TEST_WORD"], "threads": threading.active_count()}
        say(json.dumps(told | {"own_group": os.getpgrp() == os.getpid()}))
    for line in settings["say"]:
        say(line)
    while settings.get("hang"):
        time.sleep(1)
    if "fail" in settings:
        sys.stderr.write(f"{settings['fail']}\n")
    if settings.get("echo"):
        for line in sys.stdin:
            say(f"got {line.strip()}")
    os._exit(settings.get("end", 0))
