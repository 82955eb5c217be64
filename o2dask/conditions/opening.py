"""One way to any store: a folder, a snapshot file, or a server, by its URL."""

import zipfile
from pathlib import Path
from urllib.parse import unquote, urlsplit

from o2dask.conditions.ccdb import CcdbStore
from o2dask.conditions.local import LocalStore
from o2dask.conditions.model import ConditionStore
from o2dask.conditions.snapshot import SnapshotStore
from o2dask.errors import ConfigError

__all__ = ["open_store"]


def open_store(url: "str | Path", *, create: bool = False) -> ConditionStore:
    """Return the store at `url`.

    ``http://...`` and ``https://...`` are CCDB servers, ``something.zip`` is a snapshot, anything else a folder
    (``file://`` may stand before either). With `create`, a folder need not be there yet.

    Raises
    ------
    ConfigError
        If it is none of these.
    """
    text = str(url)
    scheme = urlsplit(text).scheme if "://" in text else ""
    if scheme in ("http", "https"):
        return CcdbStore(text)
    if scheme not in ("", "file"):
        raise ConfigError(
            f"store of conditions {text!r}: want a folder, a snapshot.zip, or http(s)://host; {scheme}:// is not read"
        )
    path = Path(unquote(urlsplit(text).path) if scheme else text)
    if path.is_dir():
        return LocalStore(path)
    if path.suffix == ".zip" or (path.is_file() and zipfile.is_zipfile(path)):
        return SnapshotStore(path)
    if path.exists():
        raise ConfigError(f"store of conditions {text!r}: want a folder or a snapshot.zip; this is some other file")
    if not create:
        raise ConfigError(
            f"store of conditions {text!r}: there is no such folder or file; `o2dask conditions put` makes a folder"
        )
    return LocalStore(path)
