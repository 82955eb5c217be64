"""Files of settled parts, kept to be written again.

The system has to find and clear each page of a new file in memory, which takes three times as long as filling it: the
pools of a readout are made once. Few are kept, large ones only. Somebody may still read a part that was settled: a
worker that was thought dead, or one that has not let go of its arrays. So a file is written again only if the system
grants a lease to write on it, which it does when no process has it open or mapped (fcntl(2), Linux).
"""

import errno
import fcntl
import os
import stat
from contextlib import suppress

__all__ = ["forget", "free_bytes", "keep", "prepare", "take"]

FOLDER = ".free"
LEAST_BYTES = 1 << 20
"""Smaller files cost more to keep than to make [bytes]."""
KEPT_BYTES, KEPT_FILES = 64 << 20, 2
"""How much is kept [bytes]; and so many files however large."""


def prepare(root: str) -> None:
    """Make room for them in a spool."""
    os.makedirs(f"{root}/{FOLDER}", mode=0o700, exist_ok=True)  # noqa: PTH103


def keep(root: str, part: str) -> bool:
    """Keep the file of a part, which is gone from its place then; False if it is better removed."""
    with suppress(OSError):
        found = os.lstat(part)
        if not stat.S_ISREG(found.st_mode) or found.st_size < LEAST_BYTES:
            return False
        sizes = _sizes(root)
        if len(sizes) >= KEPT_FILES and sum(sizes.values()) + found.st_size > KEPT_BYTES:
            return False
        if _is_unused(part) is None:
            return False
        folder, name = part.rsplit("/", 2)[1:]
        os.rename(part, f"{root}/{FOLDER}/{folder}_{name}")  # noqa: PTH104
        return True
    return False


def take(root: str, path: str, n_bytes: int) -> bool:
    """Put a file that was kept at `path`, for a part of about `n_bytes`; False if there is none, or it is small."""
    if n_bytes >= LEAST_BYTES:
        for name in _sizes(root):
            with suppress(OSError):  # another readout was faster
                if _is_unused(name):
                    os.rename(name, path)  # noqa: PTH104
                    return True
    return False


def forget(root: str) -> bool:
    """Remove them all; return whether there were any."""
    names = list(_sizes(root))
    for name in names:
        with suppress(OSError):
            os.unlink(name)  # noqa: PTH108
    return bool(names)


def free_bytes(root: str) -> int:
    """Return what they take [bytes]."""
    return sum(_sizes(root).values())


def _is_unused(path: str) -> bool | None:
    """Return whether nobody has a file open or mapped; None if the system does not tell."""
    file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except AttributeError:  # not Linux
        return None
    except OSError as error:
        return False if error.errno == errno.EAGAIN else None
    finally:
        os.close(file)
    return True


def _sizes(root: str) -> dict[str, int]:
    found: dict[str, int] = {}
    with suppress(OSError), os.scandir(f"{root}/{FOLDER}") as entries:
        for entry in entries:
            with suppress(OSError):
                found[entry.path] = entry.stat().st_size
    return found
