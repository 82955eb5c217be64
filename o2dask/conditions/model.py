"""CCDB's model: an object has a path, an interval of validity and a creation time; of the valid ones the latest wins.

Facts from the server, alisw's CCDB (servlets/SQLObject.java, RequestParser.java), and its client, AliceO2
(CCDB/src/CcdbApi.cxx). Knows no file, no server and no content type.

Laws, held by tests against a slow and obvious version: an interval is half-open, [from, until) in ms since 1970 UTC; of
the objects of a path that are valid at a time, created within the limits and of the metadata asked for, the one created
last wins, and of those created in the same millisecond the one that was put last.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import pairwise
from typing import Any, Protocol, runtime_checkable

from o2dask.conditions.errors import ConditionError
from o2dask.errors import ConfigError

__all__ = [
    "FOREVER_MS",
    "Condition",
    "ConditionHeader",
    "ConditionStore",
    "Limits",
    "WritableStore",
    "check_metadata",
    "check_path",
    "winner",
    "winners",
]

FOREVER_MS = 9_999_999_999_999
"""End of an interval without one (CcdbObjectInfo::INFINITE_TIMESTAMP, the year 2286)."""

_PART = re.compile(r"(?![+-]?\d+$)[A-Za-z0-9_.-]+")  # a number would be read as the time (RequestParser.java)
_ETAG = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")  # becomes part of a file name
_NOT_IN_KEYS = re.compile(r"""[\s:;.,\\/'"?!(){}\[\]@<>=+*#$&`|~^%]""")  # CcdbApi::checkMetadataKeys
_MAX_PARTS = 10
_MAX_MS = 1 << 62


def check_path(path: str) -> str:
    """Return the path of an object, such as ``TPC/Calib/Gain``, or raise ConfigError."""
    parts = path.split("/") if isinstance(path, str) else []
    if not 1 <= len(parts) <= _MAX_PARTS or not all(_PART.fullmatch(p) and p.strip(".") for p in parts):
        raise ConfigError(
            f"path of a condition: want up to {_MAX_PARTS} names joined by /, such as TPC/Calib/Gain (letters, digits, "
            f"_ . -; not a number alone), got {path!r}"
        )
    return path


def check_metadata(metadata: Mapping[str, str] | None) -> dict[str, str]:
    """Return metadata as a dict of text by key, or raise ConfigError; keys as CCDB takes them."""
    for key, value in (metadata or {}).items():
        if not isinstance(key, str) or not key or _NOT_IN_KEYS.search(key):
            raise ConfigError(f"key of metadata: want letters, digits, _ and -, got {key!r}")
        if not isinstance(value, str) or not value.isprintable() or value != value.strip():
            raise ConfigError(f"metadata {key!r}: want one line of text without blanks around it, got {value!r}")
    return dict(metadata or {})


def _check_ms(name: str, value: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _MAX_MS:
        raise ConfigError(f"{name}: want ms since 1970 (an int, 0 or more), got {value!r}")
    return value


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Which objects count: created in [created_not_before, created_not_after], with all of this metadata."""

    created_not_after: int | None = None
    created_not_before: int | None = None
    metadata: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of(
        cls, created_not_after: int | None, created_not_before: int | None, metadata: Mapping[str, str] | None
    ) -> "Limits":
        """Return the limits given to a store's ``get``, checked."""
        for name, value in (("created_not_after", created_not_after), ("created_not_before", created_not_before)):
            if value is not None:
                _check_ms(name, value)
        return cls(
            created_not_after=created_not_after,
            created_not_before=created_not_before,
            metadata=tuple(sorted(check_metadata(metadata).items())),
        )

    def allow(self, header: "ConditionHeader") -> bool:
        """Return whether an object counts."""
        return (
            (self.created_not_after is None or header.created <= self.created_not_after)
            and (self.created_not_before is None or header.created >= self.created_not_before)
            and all(header.metadata.get(key) == value for key, value in self.metadata)
        )

    def __str__(self) -> str:
        after = "" if self.created_not_after is None else f" created not after {self.created_not_after}"
        before = "" if self.created_not_before is None else f" created not before {self.created_not_before}"
        return after + before + "".join(f" with {k}={v}" for k, v in self.metadata)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConditionHeader:
    """What is known of an object without its content.

    Attributes
    ----------
    path : str
        ``TPC/Calib/Gain``.
    valid_from, valid_until : int
        [from, until) in ms.
    created : int
        When it was put [ms]: the later of two valid objects wins.
    etag : str
        Unique name of the object, a UUID; CCDB's ``ETag`` without its quotes.
    content_type : str
        How the content is encoded, see `o2dask.conditions.content`.
    size : int
        Of the encoded content [bytes].
    md5 : str
        32 hex digits of the encoded content, against damage; "" if the server did not tell.
    metadata : mapping of str to str
        Whatever the maker wanted to say.
    file_name : str
        That of the upload, "" if none.
    sequence : int
        Order of puts in a local store; breaks ties of `created`.
    """

    path: str
    valid_from: int
    valid_until: int
    created: int
    etag: str
    content_type: str
    size: int
    md5: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict, hash=False)
    file_name: str = ""
    sequence: int = 0

    def __post_init__(self) -> None:
        check_path(self.path)
        for name in ("valid_from", "valid_until", "created"):
            _check_ms(f"{name} of {self.path}", getattr(self, name))
        if self.valid_from >= self.valid_until:
            raise ConfigError(
                f"{self.path}: want valid_from < valid_until, got [{self.valid_from}, {self.valid_until})"
            )
        if not _ETAG.fullmatch(self.etag):
            raise ConditionError(f"{self.path}: want an ETag of letters, digits and -, got {self.etag!r}")

    def is_valid(self, timestamp: int) -> bool:
        """Return whether the interval holds `timestamp` [ms]."""
        return self.valid_from <= timestamp < self.valid_until

    @property
    def rank(self) -> tuple[int, int, str]:
        """What decides between valid objects: the larger wins."""
        return (self.created, self.sequence, self.etag)

    def to_json(self) -> dict[str, Any]:
        """Return the header as values that JSON has."""
        return {name: getattr(self, name) for name in _FIELDS} | {"metadata": dict(self.metadata)}

    @classmethod
    def from_json(cls, described: Any, where: str) -> "ConditionHeader":
        """Return the header that `to_json` gave; ConditionError, naming `where` it was, if it is not one."""
        try:
            header = cls(**{name: described[name] for name in _FIELDS})
            check_metadata(header.metadata)
            if not isinstance(header.size, int) or not isinstance(header.content_type, str):
                raise TypeError("size or content_type of the wrong type")
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ConditionError(f"{where}: not the header of a condition: {type(error).__name__}: {error}") from None
        return header

    def __str__(self) -> str:
        return f"{self.path} [{self.valid_from}, {self.valid_until}) created {self.created}"


_FIELDS = tuple(ConditionHeader.__dataclass_fields__)


@dataclass(frozen=True, kw_only=True)
class Condition:
    """An object with its encoded content.

    Attributes
    ----------
    header : ConditionHeader
        What is known of it.
    payload : bytes
        The content as stored.
    holds : (int, int)
        [from, until) in ms, around the time asked for, in which the same question has the same answer as far as the
        store knows: no object put later begins or ends in it.
    where : str
        File or URL, for messages.
    """

    header: ConditionHeader
    payload: bytes = field(repr=False)
    holds: tuple[int, int]
    where: str = field(default="", compare=False)

    @property
    def content(self) -> Any:
        """The content decoded by its type: Columns, pyarrow Table, dict of arrays, JSON, or bytes; arrays read-only.

        Raises
        ------
        ConditionError
            If it is damaged, or a ROOT file: see `as_root`.
        """
        from o2dask.conditions.content import JSON, decode

        if self.header.content_type == JSON:  # lists and dicts can be changed: each caller gets its own
            return decode(self)
        if "_decoded" not in self.__dict__:
            self.__dict__["_decoded"] = decode(self)
        return self.__dict__["_decoded"]

    def as_root(self) -> Any:
        """Return the object of a ROOT file as uproot reads it: histograms, trees, standard vectors, simple classes."""
        from o2dask.conditions.content import decode_root

        return decode_root(self)

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in self.__dict__.items() if k != "_decoded"}


def winner(headers: Iterable[ConditionHeader], timestamp: int, limits: Limits) -> ConditionHeader | None:
    """Return the object that wins at `timestamp` [ms]; None if none is valid."""
    valid = (h for h in headers if h.is_valid(timestamp) and limits.allow(h))
    return max(valid, key=lambda h: h.rank, default=None)


def winners(
    headers: Iterable[ConditionHeader], span: tuple[int, int], limits: Limits
) -> tuple[tuple[int, int, ConditionHeader], ...]:
    """Return (from, until, winner) for the parts of ``[span[0], span[1])`` where one path has a winner, in order.

    O(n log n): sweeps over the ends of intervals with the valid objects in a heap.
    """
    start, end = span
    allowed = [h for h in headers if limits.allow(h) and h.valid_from < end and h.valid_until > start]
    allowed.sort(key=lambda h: h.valid_from)
    inside = {t for h in allowed for t in (h.valid_from, h.valid_until) if start < t < end}
    edges = sorted({start, end} | inside)
    heap: list[tuple[int, int, int, ConditionHeader]] = []
    order = {id(h): -i for i, h in enumerate(sorted(allowed, key=lambda h: h.rank))}
    found: list[tuple[int, int, ConditionHeader]] = []
    i_next = 0
    for low, high in pairwise(edges):
        while i_next < len(allowed) and allowed[i_next].valid_from <= low:
            heappush(heap, (order[id(allowed[i_next])], i_next, allowed[i_next].valid_until, allowed[i_next]))
            i_next += 1
        while heap and heap[0][2] <= low:
            heappop(heap)
        if not heap:
            continue
        best = heap[0][3]
        if found and found[-1][2] is best and found[-1][1] == low:
            low = found.pop()[0]
        found.append((low, high, best))
    return tuple(found)


@runtime_checkable
class ConditionStore(Protocol):
    """Where conditions come from. A store can be pickled: workers get it with the workflow."""

    @property
    def url(self) -> str:
        """What `open_store` opens again."""

    def get(
        self,
        path: str,
        timestamp: int,
        *,
        created_not_after: int | None = None,
        created_not_before: int | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> Condition:
        """Return the object of `path` that wins at `timestamp` [ms]; ConditionNotFoundError if none is valid."""

    def list(self, pattern: str = "*") -> tuple[ConditionHeader, ...]:
        """Return all objects whose path matches (``TPC/*``; * takes / too), by path, the winning ones first."""


@runtime_checkable
class WritableStore(ConditionStore, Protocol):
    """A store that takes objects."""

    def put(
        self,
        path: str,
        content: Any,
        valid_from: int,
        valid_until: int,
        *,
        created: int | None = None,
        metadata: Mapping[str, str] | None = None,
        content_type: str | None = None,
    ) -> ConditionHeader:
        """Store an object and return its header."""

    def delete(self, path: str, timestamp: int | None = None, *, etag: str | None = None) -> ConditionHeader:
        """Delete the object that wins at `timestamp`, or the one called `etag`, and return what it was."""
