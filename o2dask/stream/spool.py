"""The folder on the node that holds the parts of timeframes from readout to commit.

``<base>/o2dask-<session>/TF_<run>_<counter>_<orbit>_<n_orbits>/<readout>.ctf``, base /dev/shm by default. A part is
written aside and renamed, so a name always means a whole part; the timeframe's folder goes when it is settled. Parts
for which there is no room may be spilled to a folder on disk and stand here as links. Who owns a session stands in its
``session.json``: what a dead owner left is removed at the next start, unless it is taken over.
"""

import errno
import json
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from o2dask.ctf.parts import folder_name
from o2dask.errors import CommitError, ConfigError
from o2dask.stream import freed
from o2dask.stream.errors import SpoolFullError
from o2dask.timeframe import TimeframeId

__all__ = ["DEFAULT_BASE", "Spool", "remove_stale"]

DEFAULT_BASE = "/dev/shm"
KEPT_S = 24 * 3600.0
"""How long what a dead owner left is kept if it cannot be had again [s]; it takes memory."""
_PREFIX = "o2dask-"
_OWNER = "session.json"
_SESSION = re.compile(r"^[A-Za-z0-9_.-]{1,64}$")
_FOLDER = re.compile(r"^TF_(\d+)_(\d+)_(\d+)_(\d+)$")
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_RETRIES = 20
"""Tries to put a part in place while the timeframe's folder is removed under it."""


@dataclass(frozen=True, slots=True)
class Spool:
    """The parts of one session; a value of two paths, the same in every process. `create` makes the folders."""

    root: str
    spill_root: str = ""

    @classmethod
    def create(
        cls, session: str, *, base: str = "", spill: str = "", take_over: bool = False, keep: bool = False
    ) -> "Spool":
        """Return the spool of a new session, owned by this process; remove what dead owners left beside it.

        Parameters
        ----------
        session : str
            Its name: letters, digits, ``_``, ``-``, ``.``.
        base : str
            Existing folder, /dev/shm by default, else the folder of temporary files.
        spill : str
            Existing folder on disk for parts that find no room; "" for none.
        take_over : bool
            Keep the parts that a dead owner of the same session left (`leftovers`).
        keep : bool
            Have what this process leaves when it dies survive the start of others, for `KEPT_S`.

        Raises
        ------
        ConfigError
            If a folder cannot be made or the session belongs to a living process.
        """
        if not _SESSION.match(session):
            raise ConfigError(f"session: want 1 to 64 letters, digits, _, - or ., got {session!r}")
        base = base or (DEFAULT_BASE if os.access(DEFAULT_BASE, os.W_OK) else tempfile.gettempdir())
        roots = [Path(folder).absolute() / f"{_PREFIX}{session}" for folder in (base, spill) if folder]
        for root in roots:
            remove_stale(str(root.parent), keep=session if take_over else "")
            _own(root, keep)
        freed.prepare(str(roots[0]))
        return cls(*map(str, roots))

    def folder(self, timeframe: TimeframeId) -> str:
        """Return the folder of a timeframe."""
        return f"{self.root}/{folder_name(timeframe)}"

    def part(self, timeframe: TimeframeId, readout: int) -> str:
        """Return the file of a part."""
        return f"{self.folder(timeframe)}/{readout}.ctf"

    def write(
        self,
        timeframe: TimeframeId,
        readout: int,
        write: Callable[[str], None],
        *,
        spilled: bool = False,
        expected: int = 0,
    ) -> int:
        """Put a part in place, overwriting one of that name; return its size [bytes].

        Parameters
        ----------
        timeframe, readout : TimeframeId, int
            Which part.
        write : callable
            Called with the path to write to; a file may be there, to be overwritten and cut.
        spilled : bool
            Write it to the spill folder and a link here.
        expected : int
            How large about it will be [bytes]: a large one is written over the file of one that was settled.

        Raises
        ------
        SpoolFullError
            If there is no room for it; nothing is left behind.
        CommitError
            If it cannot be written for another reason.
        """
        root = self.spill_root if spilled else self.root
        aside = f"{root}/.{readout}.aside"
        try:
            if not spilled:
                freed.take(root, aside, expected)
            self._fill(aside, write)
            n_bytes = os.stat(aside).st_size  # noqa: PTH116  (a third of the time of Path's)
            if spilled:
                self._link(timeframe, readout, aside)
            else:
                self._place(timeframe, readout, aside)
        except OSError as error:
            with suppress(OSError):
                os.unlink(aside)  # noqa: PTH108
            cause = error.__cause__ if isinstance(error.__cause__, OSError) and error.errno is None else error
            if cause.errno in _FULL:
                raise SpoolFullError(f"{root}: no room for a part of timeframe {timeframe}") from error
            raise CommitError(
                f"cannot write {aside}: {cause.strerror or cause}; choose another spool folder"
            ) from error
        return n_bytes

    def _fill(self, aside: str, write: Callable[[str], None]) -> None:
        try:
            write(aside)
        except OSError:
            if not freed.forget(self.root):
                raise
            write(aside)  # the files that were kept may have been what was lacking

    def _place(self, timeframe: TimeframeId, readout: int, aside: str) -> None:
        """Rename a file into the folder of its timeframe, which `discard` of another readout may just remove."""
        part = self.part(timeframe, readout)
        for _ in range(_RETRIES):
            with suppress(FileExistsError):
                os.mkdir(self.folder(timeframe), 0o700)  # noqa: PTH102
            with suppress(FileNotFoundError):
                os.replace(aside, part)  # noqa: PTH105
                return
        raise FileNotFoundError(errno.ENOENT, "the folder of the timeframe keeps vanishing", part)

    def _link(self, timeframe: TimeframeId, readout: int, aside: str) -> None:
        name = Path(self.folder(timeframe)).name
        target, link = f"{self.spill_root}/{name}_{readout}.ctf", f"{self.root}/.{readout}.link"
        os.replace(aside, target)  # noqa: PTH105
        with suppress(FileNotFoundError):
            os.unlink(link)  # noqa: PTH108
        os.symlink(target, link)  # noqa: PTH211
        self._place(timeframe, readout, link)

    def spill(self, timeframe: TimeframeId, readout: int) -> None:
        """Move a part that is in place to the spill folder; SpoolFullError if that is full too."""
        part = self.part(timeframe, readout)
        if not os.path.islink(part):  # noqa: PTH114
            self.write(timeframe, readout, lambda aside: _copy(part, aside), spilled=True)

    def discard(self, timeframe: TimeframeId, readout: int) -> None:
        """Remove one part, and the timeframe's folder with the last."""
        with suppress(OSError):
            self._remove(self.part(timeframe, readout))
            os.rmdir(self.folder(timeframe))  # noqa: PTH106

    def settle(self, timeframe: TimeframeId) -> None:
        """Remove all parts of a timeframe; none is fine."""
        folder = self.folder(timeframe)
        with suppress(OSError):
            for name in os.listdir(folder):  # noqa: PTH208
                if not freed.keep(self.root, f"{folder}/{name}"):
                    self._remove(f"{folder}/{name}")
            os.rmdir(folder)  # noqa: PTH106

    def _remove(self, part: str) -> None:
        if self.spill_root and os.path.islink(part):  # noqa: PTH114
            target = os.readlink(part)  # noqa: PTH115
            if os.path.dirname(target) == self.spill_root:  # noqa: PTH120
                with suppress(FileNotFoundError):
                    os.unlink(target)  # noqa: PTH108
        os.unlink(part)  # noqa: PTH108

    def leftovers(self) -> dict[TimeframeId, tuple[int, ...]]:
        """Return the timeframes that are here with the readouts whose parts are, in order."""
        found: dict[TimeframeId, tuple[int, ...]] = {}
        for folder in Path(self.root).glob("TF_*"):
            if match := _FOLDER.match(folder.name):
                run, tf_counter, first_orbit, n_orbits = map(int, match.groups())
                id_ = TimeframeId(run=run, tf_counter=tf_counter, first_orbit=first_orbit, n_orbits=n_orbits)
                found[id_] = tuple(sorted(int(part.stem) for part in folder.glob("*.ctf") if part.stem.isdigit()))
        return {timeframe: found[timeframe] for timeframe in sorted(found)}

    @property
    def n_bytes(self) -> int:
        """What the parts take now, spilled ones not counted [bytes]."""
        total = 0
        for folder, _, names in os.walk(self.root):
            for name in names:
                with suppress(OSError):
                    total += 0 if name == _OWNER else os.lstat(f"{folder}/{name}").st_size
        return total - freed.free_bytes(self.root)

    def clear(self) -> None:
        """Remove all parts."""
        for timeframe in self.leftovers():
            self.settle(timeframe)

    @property
    def free_bytes(self) -> int:
        """What is free on the device of the spool, or can be had at once [bytes]."""
        device = os.statvfs(self.root)
        return device.f_bavail * device.f_frsize + freed.free_bytes(self.root)

    @property
    def device_bytes(self) -> int:
        """What the device of the spool holds when nothing is on it [bytes]."""
        device = os.statvfs(self.root)
        return device.f_blocks * device.f_frsize

    def remove(self) -> None:
        """Remove all of it; called by its owner at the end."""
        for root in (self.root, self.spill_root):
            if root:
                shutil.rmtree(root, ignore_errors=True)


def remove_stale(base: str, *, keep: str = "") -> list[str]:
    """Remove the sessions in `base` whose owner is dead, but for session `keep` and those to be kept; return which.

    Only folders of this user, whose owner ran in this process namespace: of others nothing can be known.
    """
    removed = []
    for root in Path(base).glob(f"{_PREFIX}*"):
        if root.name == f"{_PREFIX}{keep}" or root.is_symlink() or not root.is_dir():
            continue
        try:
            found = root.stat()
        except OSError:
            continue
        is_mine, is_fresh = found.st_uid == os.getuid(), time.time() - found.st_mtime < KEPT_S
        if is_mine and (owner := _owner(root)) and _is_dead(owner) and not (owner.get("keep") and is_fresh):
            shutil.rmtree(root, ignore_errors=True)
            removed.append(str(root))
    return removed


def _own(root: Path, keep: bool) -> None:
    """Make the folder of a session, or take over that of a dead owner."""
    try:
        root.mkdir(mode=0o700, exist_ok=True)
        if root.is_symlink() or root.stat().st_uid != os.getuid():
            raise ConfigError(f"{root}: belongs to somebody else; give another session or spool folder")
        owner = _owner(root)
        if owner and not _is_dead(owner) and owner["pid"] != os.getpid():
            raise ConfigError(f"{root}: its session is running (process {owner['pid']}); wait, or name another")
        aside = root / f".{_OWNER}"
        aside.write_text(json.dumps(_identity(os.getpid()) | {"keep": keep}))
        aside.replace(root / _OWNER)
    except OSError as error:
        raise ConfigError(f"{root}: cannot be made: {error.strerror}; choose another folder") from error


def _owner(root: Path) -> dict[str, Any]:
    """Return who owns a session, {} if it does not say."""
    try:
        owner = json.loads((root / _OWNER).read_text())
    except (OSError, ValueError):
        return {}
    return owner if isinstance(owner, dict) and isinstance(owner.get("pid"), int) else {}


def _identity(pid: int) -> dict[str, Any]:
    """Return what tells a process from a later one of its number: when it started, since which boot, in which space."""
    return {"pid": pid, "started": _started(pid), "boot": _read("/proc/sys/kernel/random/boot_id"), "space": _space()}


def _is_dead(owner: dict[str, Any]) -> bool:
    if owner.get("boot") != _read("/proc/sys/kernel/random/boot_id"):
        return True
    if owner.get("space") != _space():
        return False
    return _started(owner["pid"]) != owner.get("started")


def _started(pid: int) -> int:
    """Return the start of a process [clock ticks since boot], 0 if there is none or it is a zombie."""
    fields = _read(f"/proc/{pid}/stat").rpartition(")")[2].split()
    return int(fields[19]) if len(fields) > 19 and fields[0] not in "ZX" else 0


def _space() -> str:
    with suppress(OSError):
        return os.readlink("/proc/self/ns/pid")  # noqa: PTH115
    return ""


def _read(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""


def _copy(source: str, target: str) -> None:
    shutil.copyfile(source, target)
