"""From what a user names (files, globs, lists, URLs) to timeframes, and from a timeframe to its payloads."""

import glob
import logging
import os
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from pathlib import Path

from o2dask.columns import Columns
from o2dask.ctf.errors import CtfError
from o2dask.ctf.parts import read_parts
from o2dask.ctf.reader import CtfReader, Damage
from o2dask.errors import ConfigError
from o2dask.specs import DataRef
from o2dask.timeframe import TimeframeId, TimeframeRef

__all__ = ["expand", "list_timeframes", "read_timeframe"]

log = logging.getLogger(__name__)

_N_READERS = 8
_readers: "OrderedDict[tuple[str, int, int], CtfReader]" = OrderedDict()
_lock = threading.Lock()


def list_timeframes(paths: Sequence[str], damages: list[Damage] | None = None) -> list[TimeframeRef]:
    """Return the timeframes of files, in the order given, each file opened and checked.

    Parameters
    ----------
    paths : sequence of str
        Files, globs, ``@list.txt`` (one of these per line, ``#`` begins a comment, relative to the list's folder) and
        fsspec URLs (``s3://...``). A file named twice counts once.
    damages : list of Damage, optional
        Filled with what files have lost, also with files that are no CTF at all; without it, what they have lost is
        logged as a warning, and such a file is an error.

    Raises
    ------
    ConfigError
        If a file is missing, empty or a folder, a pattern matches nothing, or two files hold the same timeframe.
    CtfError
        If a file is not a CTF file or of another version, and `damages` is not given.
    """
    refs: list[TimeframeRef] = []
    first_in: dict[TimeframeId, str] = {}
    for url in dict.fromkeys(url for path in paths for url in expand(path)):
        try:
            reader = CtfReader(url)
        except CtfError as error:
            if damages is None:
                raise
            damages.append(Damage(url, None, str(error)))
            continue
        for ref in reader.refs():
            if (other := first_in.setdefault(ref.id, url)) != url:
                raise ConfigError(f"timeframe {ref.id} is in {other} and in {url}; leave one of the files out")
            refs.append(ref)
        for damage in reader.damages:
            if damages is None:
                log.warning("%s", damage)
            else:
                damages.append(damage)
    return refs


def read_timeframe(ref: TimeframeRef, select: Sequence[str] | None = None) -> dict[DataRef, Columns]:
    """Return the payloads of a timeframe; files stay open in this process, the last few used.

    A `url` that is a folder is one timeframe, each file in it a part (see `o2dask.ctf.parts`).

    Raises
    ------
    CtfError
        If it is damaged, or the file has changed and another timeframe is in its place.
    """
    if "://" not in ref.url and os.path.isdir(ref.url):  # noqa: PTH112  (a third of the time of Path's)
        return read_parts(ref, select)
    reader = _reader(ref.url)
    if ref.index >= len(reader) or reader.timeframe_id(ref.index) != ref.id:
        raise CtfError(f"{ref.url}: want timeframe {ref.id} at #{ref.index}; the file has changed, list it again")
    return reader.read(ref.index, select)


def _reader(url: str) -> CtfReader:
    if "://" in url:
        key = (url, 0, 0)
    else:
        try:
            stat = Path(url).stat()
        except OSError as error:
            raise CtfError(f"{url}: cannot be read any more: {error.strerror}") from error
        key = (url, stat.st_mtime_ns, stat.st_size)
    with _lock:
        if key in _readers:
            _readers.move_to_end(key)
            return _readers[key]
    reader = CtfReader(url)
    with _lock:
        _readers[key] = reader
        while len(_readers) > _N_READERS:
            _readers.popitem(last=False)
    return reader


def expand(path: str) -> Iterator[str]:
    """Yield the files that one argument names; local ones as absolute paths, so that any worker finds them."""
    path = os.fspath(path)
    if path.startswith("@"):
        yield from _listed(Path(path[1:]))
    elif "://" in path:
        yield from _expand_url(path)
    elif glob.has_magic(path) and not Path(path).exists():
        names = sorted(glob.glob(path, recursive=True))  # noqa: PTH207  (absolute patterns too)
        if not names:
            raise ConfigError(f"{path}: no file matches; check the pattern")
        yield from (str(Path(name).absolute()) for name in names)
    else:
        yield str(Path(path).absolute())


def _expand_url(url: str) -> Iterator[str]:
    if not glob.has_magic(url):
        yield url
        return
    import fsspec

    try:
        fs, pattern = fsspec.core.url_to_fs(url)
        names = sorted(fs.glob(pattern))
    except (OSError, ValueError, ImportError) as error:
        raise ConfigError(f"{url}: cannot be listed: {error}") from error
    if not names:
        raise ConfigError(f"{url}: no file matches; check the pattern")
    yield from (fs.unstrip_protocol(name) for name in names)


def _listed(path: Path, depth: int = 0) -> Iterator[str]:
    try:
        lines = path.read_text().splitlines()
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such list of files; check the path after @") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: want a text file, one path per line: {error}") from error
    names = [name for name in (line.partition("#")[0].strip() for line in lines) if name]
    if not names:
        raise ConfigError(f"{path}: lists no file")
    for name in names:
        if name.startswith("@"):
            if depth > 8:
                raise ConfigError(f"{path}: lists name each other")
            yield from _listed(path.parent / name[1:], depth + 1)
        else:
            yield from expand(name if "://" in name else str(path.parent / name))
