"""Files that a worker needs for a while."""

import tempfile
from pathlib import Path

from o2dask.services.registry import service

__all__ = ["ScratchFiles"]


@service
class ScratchFiles:
    """A folder of this worker's own, removed at its end: ``ctx.services[ScratchFiles].path("fit.txt")``."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="o2dask-", ignore_cleanup_errors=True)

    @property
    def folder(self) -> Path:
        """The folder."""
        return Path(self._folder.name)

    def path(self, name: str) -> Path:
        """Return the path of a file in it; folders on the way are made."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def close(self) -> None:
        """Remove everything."""
        self._folder.cleanup()
