"""Files that stay open between two visits: the last few of a process, each in the hands of one reader at a time.

Knows files as something to `close`; knows no format.
"""

from collections import OrderedDict
from threading import Lock
from typing import Any

__all__ = ["OpenFiles"]


class OpenFiles:
    """Open files by owner and name; the one left longest is closed when there are too many.

    Who takes a file has it alone until it is put back, so that no two threads read through one.

    Parameters
    ----------
    most : int
        Files that are kept.
    """

    def __init__(self, most: int) -> None:
        self._most, self._lock = most, Lock()
        self._kept: OrderedDict[tuple[object, str], Any] = OrderedDict()

    def take(self, owner: object, name: str) -> Any:
        """Return the file that was put back under this name, None if there is none."""
        with self._lock:
            return self._kept.pop((owner, name), None)

    def put(self, owner: object, name: str, file: Any) -> None:
        """Keep a file for the next visit."""
        with self._lock:
            replaced = self._kept.pop((owner, name), None)
            self._kept[owner, name] = file
            oldest = self._kept.popitem(last=False)[1] if len(self._kept) > self._most else None
        for each in (replaced, oldest):
            if each is not None:
                each.close()

    def close(self, owner: object) -> None:
        """Close all files of an owner."""
        with self._lock:
            files = [self._kept.pop(key) for key in list(self._kept) if key[0] is owner]
        for file in files:
            file.close()

    def __len__(self) -> int:
        return len(self._kept)
