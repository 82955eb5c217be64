"""CCDB over its REST interface: conditions of the experiment, read and uploaded.

    GET  /TPC/Calib/Gain/<time>[/key=value...]      If-Not-After, If-Not-Before, If-None-Match
         200, or 30x to where the content is (Location, then each Content-Location), 304 if the ETag still wins, 404
         Valid-From, Valid-Until, Created, ETag, Content-MD5, Content-Disposition; metadata are headers, too
    GET  /browse/<pattern>, /latest/<pattern>       Accept: application/json
    POST /<path>/<from>/<until>[/key=value...]      multipart, one part
    DELETE /<path>/<time>[/<etag>]

From the server (servlets/SQLBacked.java, RequestParser.java, formatters/JSONFormatter.java) and the client of AliceO2
(CCDB/src/CcdbApi.cxx). What was learnt by reading them is here, none of their code.
"""

import json
import re
import threading
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any
from urllib.parse import quote, urljoin, urlsplit

from o2dask.conditions.ccdb_answers import checked, header_of, header_of_json, number
from o2dask.conditions.ccdb_answers import etag as etag_of
from o2dask.conditions.content import OBJECT_TYPES, SUFFIXES, encode
from o2dask.conditions.errors import ConditionError, ConditionNotFoundError, ConditionServerError
from o2dask.conditions.http import Http, Reply, check_url
from o2dask.conditions.local import LocalStore
from o2dask.conditions.model import Condition, ConditionHeader, Limits, check_metadata, check_path, winner
from o2dask.errors import CommitError, ConfigError

__all__ = ["CcdbStore"]

_REDIRECTS = (301, 302, 303, 307, 308)
_MAX_HOPS = 5
_KEPT, _KEPT_BYTES = 64, 256 << 20


@dataclass(frozen=True, slots=True)
class _Memory:
    """The last objects of each question, so that the server can say that they still win."""

    kept: dict[str, Condition]
    lock: threading.Lock

    def find(self, path: str, timestamp: int, limits: Limits) -> Condition | None:
        with self.lock:
            best = winner((c.header for c in self.kept.values() if c.header.path == path), timestamp, limits)
            return self.kept[best.etag] if best else None

    def add(self, condition: Condition) -> None:
        with self.lock:
            self.kept.pop(condition.header.etag, None)
            self.kept[condition.header.etag] = condition
            n_bytes = sum(len(c.payload) for c in self.kept.values())
            while len(self.kept) > 1 and (len(self.kept) > _KEPT or n_bytes > _KEPT_BYTES):
                n_bytes -= len(self.kept.pop(next(iter(self.kept))).payload)


class CcdbStore:
    """Conditions of a CCDB server.

    Parameters
    ----------
    url : str
        ``http://host:8080``; several, separated by commas, are asked in turn until one answers.
    cache : path, optional
        Folder (a `LocalStore`) that keeps what was fetched: the server is still asked which object wins, but its
        content comes over the line once for all processes of this machine.
    http : Http, optional
        Time limits and retries.
    trust_validity : bool
        Whether an object fetched counts for its whole interval of validity without asking again, as O2's
        CCDBManager has it. Not exact where an object put later has a narrower interval: with False, every new time is
        asked for (an answer without content, 304, if nothing changed), and a snapshot is exact without asking.
    """

    def __init__(
        self,
        url: str,
        *,
        cache: "Path | str | None" = None,
        http: Http | None = None,
        trust_validity: bool = True,
    ) -> None:
        self._hosts = tuple(check_url(part.strip()) for part in url.split(","))
        self.url = ",".join(self._hosts)
        self.cache, self.http, self.trust_validity = cache, http or Http(), trust_validity
        self._disk = None if cache is None else LocalStore(cache)
        if cache is not None:
            Path(cache).mkdir(parents=True, exist_ok=True)
        self._memory = _Memory({}, threading.Lock())

    def __reduce__(self) -> tuple[Any, ...]:
        return _made, (self.url, self.cache, self.http, self.trust_validity)

    def __repr__(self) -> str:
        return f"CcdbStore({self.url!r})"

    def get(
        self,
        path: str,
        timestamp: int,
        *,
        created_not_after: int | None = None,
        created_not_before: int | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> Condition:
        """Return the object of `path` that wins at `timestamp` [ms].

        Raises
        ------
        ConditionNotFoundError
            If the server has none.
        ConditionServerError
            If it does not answer, or nothing that makes sense.
        ConditionError
            If what arrived is not what was sent.
        """
        limits = Limits.of(created_not_after, created_not_before, metadata)
        known = self._known(check_path(path), timestamp, limits)
        headers = {} if known is None else {"If-None-Match": f'"{known.header.etag}"'}
        if created_not_after is not None:
            headers["If-Not-After"] = str(created_not_after)
        if created_not_before is not None:
            headers["If-Not-Before"] = str(created_not_before)
        reply = self._ask("GET", f"/{path}/{timestamp}/{_flags(dict(limits.metadata))}", headers)
        if reply.status == 304 and known is not None:
            return self._holding(known, timestamp)
        if reply.status == 404:
            raise ConditionNotFoundError(f"{self.url}: no {path} is valid at {timestamp} ms{limits}")
        if reply.status != 200 and reply.status not in _REDIRECTS:
            raise _refused(reply)
        header = header_of(path, reply)
        condition = self._by_etag(header) or self._download(header, reply)
        self._keep(condition)
        return self._holding(condition, timestamp)

    def list(self, pattern: str = "*") -> tuple[ConditionHeader, ...]:
        """Return the headers of all objects whose path matches, by path, the last created first."""
        fixed = re.split(r"[*?\[]", pattern)[0]
        is_fixed = fixed == pattern
        asked = quote(check_path(pattern) if is_fixed else f"{fixed}.*")  # the server matches regular expressions
        reply = self._ask("GET", f"/browse/{asked}", {"Accept": "application/json"})
        if reply.status == 404:
            return ()
        if reply.status != 200:
            raise _refused(reply)
        try:
            objects = json.loads(reply.body)["objects"]
            headers = [header_of_json(described) for described in objects]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ConditionServerError(f"{reply.url}: not a list of conditions: {error!r:.200}") from None
        found = [h for h in headers if fnmatchcase(h.path, pattern)]
        found.sort(key=lambda h: h.rank, reverse=True)
        return tuple(sorted(found, key=lambda h: h.path))

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
        """Upload an object and return its header, with the creation time that the server gave it.

        Raises
        ------
        ConfigError
            If `created` is given (the server's clock decides), or the server does not let you.
        """
        if created is not None:
            raise ConfigError(
                f"{self.url}: created={created}: the server says when an object was created; leave it out"
            )
        kind, payload = encode(content, content_type)
        flags = check_metadata(metadata)
        if bad := [k for k, v in flags.items() if "/" in v or not v.isascii()]:
            raise ConfigError(f"metadata {', '.join(bad)}: CCDB takes ASCII text without / only")
        header = ConditionHeader(
            path=path,
            valid_from=valid_from,
            valid_until=valid_until,
            created=0,
            etag="new",
            content_type=kind,
            size=len(payload),
            metadata=flags | {"ObjectType": flags.get("ObjectType", OBJECT_TYPES.get(kind, "bytes"))},
        )
        name = f"{path.rpartition('/')[2]}{SUFFIXES.get(kind, '.bin')}"
        mark, body = _multipart(name, kind, payload)
        target = f"/{path}/{valid_from}/{valid_until}/{_flags(header.metadata)}"
        reply = self._ask("POST", target, {"Content-Type": f"multipart/form-data; boundary={mark}"}, body)
        if reply.status not in (200, 201):
            raise _refused(reply)
        created = number(reply, "Created")
        return replace(header, created=created, etag=etag_of(reply), file_name=name)

    def delete(self, path: str, timestamp: int | None = None, *, etag: str | None = None) -> ConditionHeader:
        """Delete the object that wins at `timestamp`, or the one called `etag`, and return what it was."""
        if (timestamp is None) == (etag is None):
            raise ConfigError(f"delete of {path}: want one of timestamp and etag")
        if etag is None:
            header = self.get(path, timestamp or 0).header
        else:
            header = next((h for h in self.list(check_path(path)) if h.etag == etag), None)  # type: ignore[assignment]
            if header is None:
                raise ConditionNotFoundError(f"{self.url}: {path} has no object {etag}")
        reply = self._ask("DELETE", f"/{path}/{header.valid_from}/{header.etag}")
        if reply.status not in (200, 204):
            raise _refused(reply)
        return header

    def _ask(
        self, method: str, target: str, headers: Mapping[str, str] | None = None, body: bytes | None = None
    ) -> Reply:
        failures = []
        for host in self._hosts:
            try:
                return self.http.ask(method, host + target, headers, body)
            except ConditionServerError as error:
                failures.append(error)
        if len(failures) == 1:
            raise failures[0]
        raise ConditionServerError("no server answers: " + "; ".join(map(str, failures)))

    def _download(self, header: ConditionHeader, reply: Reply) -> Condition:
        """Return the object with its content: from `reply`, or from the first place it points to that has it."""
        if reply.status == 200:
            return checked(header, reply)
        failures = []
        for place in dict.fromkeys(reply.all("Location") + reply.all("Content-Location")):
            target = urljoin(reply.url, place)
            try:
                return checked(header, self._follow(target))
            except (ConditionError, ConditionServerError) as error:
                failures.append(str(error))
        told = "; ".join(failures) or "no place was named"
        raise ConditionServerError(f"{reply.url}: no replica of {header} can be had: {told}")

    def _follow(self, url: str) -> Reply:
        for _ in range(_MAX_HOPS):
            if urlsplit(url).scheme not in ("http", "https"):
                raise ConditionServerError(f"{url:.200}: only http and https are read here")
            reply = self.http.ask("GET", url)
            if reply.status == 200:
                return reply
            if reply.status not in _REDIRECTS or not reply.all("Location"):
                raise ConditionServerError(f"{url}: status {reply.status} {reply.text}")
            url = urljoin(url, reply.all("Location")[0])
        raise ConditionServerError(f"{url}: more than {_MAX_HOPS} redirects")

    def _holding(self, condition: Condition, timestamp: int) -> Condition:
        header = condition.header
        is_long = self.trust_validity
        return replace(
            condition, holds=(header.valid_from, header.valid_until) if is_long else (timestamp, timestamp + 1)
        )

    def _known(self, path: str, timestamp: int, limits: Limits) -> Condition | None:
        found = self._memory.find(path, timestamp, limits)
        if found is not None or self._disk is None:
            return found
        try:
            return self._disk.get(
                path,
                timestamp,
                created_not_after=limits.created_not_after,
                created_not_before=limits.created_not_before,
                metadata=dict(limits.metadata),
            )
        except (ConditionNotFoundError, ConditionError):  # a damaged copy is fetched anew
            return None

    def _by_etag(self, header: ConditionHeader) -> Condition | None:
        """Return the object if it is kept already, under an answer that did not ask for it by name."""
        kept = self._memory.kept.get(header.etag)
        if kept is None and self._disk is not None:
            kept = self._known(header.path, header.valid_from, Limits())
        if kept is None or kept.header.etag != header.etag:
            return None
        # the server may have changed the end of validity and the metadata since
        now = replace(kept.header, valid_until=header.valid_until, metadata=header.metadata)
        return replace(kept, header=now)

    def _keep(self, condition: Condition) -> None:
        self._memory.add(condition)
        if self._disk is not None:
            try:
                self._disk.adopt(condition)
            except (CommitError, ConditionError) as error:
                raise type(error)(f"cache of {self.url}: {error}") from error


def _made(url: str, cache: "Path | str | None", http: Http, trust_validity: bool) -> CcdbStore:
    return CcdbStore(url, cache=cache, http=http, trust_validity=trust_validity)


def _flags(metadata: Mapping[str, str]) -> str:
    return "".join(f"{quote(key, safe='')}={quote(value, safe='')}/" for key, value in metadata.items())


def _multipart(name: str, kind: str, payload: bytes) -> tuple[str, bytes]:
    mark = uuid.uuid4().hex
    head = f'--{mark}\r\nContent-Disposition: form-data; name="send"; filename="{name}"\r\nContent-Type: {kind}\r\n\r\n'
    return mark, head.encode() + payload + f"\r\n--{mark}--\r\n".encode()


def _refused(reply: Reply) -> Exception:
    if reply.status in (401, 403):
        return ConfigError(f"{reply.url}: the server does not let you (status {reply.status} {reply.text})")
    return ConditionServerError(f"{reply.url}: status {reply.status} {reply.text}")
