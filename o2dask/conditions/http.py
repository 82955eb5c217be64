"""Requests over HTTP with time limits, retries and sizes checked; knows nothing of conditions.

Built on urllib with its redirects and its other protocols off: where a server points to is for the caller to judge.
"""

import http.client
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.message import Message
from urllib.parse import urlsplit

from o2dask.conditions.errors import ConditionServerError
from o2dask.errors import ConfigError

__all__ = ["Http", "Reply", "check_url"]

_CHUNK = 1 << 16
_TRY_AGAIN = {429, 500, 502, 503, 504}


def check_url(url: str) -> str:
    """Return an http(s) URL without a slash at its end, or raise ConfigError."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.netloc or parts.query or parts.fragment:
        raise ConfigError(f"server of conditions: want http://host:port or https://host, got {url!r}")
    return url.rstrip("/")


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer of any status; `headers` keep the case and the order that the server gave them."""

    status: int
    headers: Message
    body: bytes
    url: str

    def all(self, name: str) -> list[str]:
        """Return every value of a header that may come several times."""
        return [str(v) for v in self.headers.get_all(name, [])]

    @property
    def text(self) -> str:
        """Start of the body, for messages."""
        return " ".join(self.body[:200].decode("utf-8", "replace").split())


@dataclass(frozen=True, slots=True, kw_only=True)
class Http:
    """How to ask.

    Attributes
    ----------
    timeout_s : float
        Longest silence of the server [s].
    total_s : float
        Longest time for one answer [s]; too low, and large objects over slow lines fail.
    retries : int
        How often to ask again after silence, a broken line or a status 429, 500, 502, 503, 504.
    backoff_s : float
        Wait before the first retry [s]; doubled for each further one, 10 s at most.
    max_bytes : int
        Largest body taken [bytes].
    """

    timeout_s: float = 10.0
    total_s: float = 300.0
    retries: int = 3
    backoff_s: float = 0.2
    max_bytes: int = 1 << 30
    headers: Mapping[str, str] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        if not (self.timeout_s > 0 and self.total_s > 0 and self.backoff_s >= 0 and self.retries >= 0):
            raise ConfigError(f"times and retries of a server: want more than 0, got {self}")

    def ask(self, method: str, url: str, headers: Mapping[str, str] | None = None, body: bytes | None = None) -> Reply:
        """Return the answer, of any status that another try would not change.

        A request with a body is sent again only if it never arrived: it could be carried out twice.

        Raises
        ------
        ConditionServerError
            If there was none after all retries.
        """
        why = ""
        for attempt in range(self.retries + 1):
            if attempt:
                time.sleep(min(10.0, self.backoff_s * 2 ** (attempt - 1)))
            try:
                reply = self._once(method, url, {**self.headers, **(headers or {})}, body)
            except (OSError, http.client.HTTPException) as error:
                reason = error.reason if isinstance(error, urllib.error.URLError) else error
                why = str(reason) or repr(reason)
                if isinstance(reason, TimeoutError) and "longer" not in why:
                    why = f"does not answer in {self.timeout_s:g} s"
                if body is not None and not isinstance(reason, ConnectionRefusedError):
                    raise ConditionServerError(
                        f"{method} {url}: {why}; look whether it arrived, then try again"
                    ) from error
                continue
            if reply.status not in _TRY_AGAIN:
                return reply
            why = f"status {reply.status} {reply.text}"
            if body is not None:
                break
        tries = f" after {attempt + 1} tries" if attempt else ""
        raise ConditionServerError(
            f"{method} {url}: {why}{tries}; is the server up? A snapshot (o2dask conditions snapshot) needs none"
        )

    def _once(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> Reply:
        end = time.monotonic() + self.total_s
        request = urllib.request.Request(url, body, dict(headers), method=method)
        with _opener().open(request, timeout=self.timeout_s) as answer:
            parts, n_bytes = [], 0
            while chunk := answer.read1(_CHUNK):  # returns with what has come, so that the clock is looked at
                parts.append(chunk)
                n_bytes += len(chunk)
                if n_bytes > self.max_bytes:
                    raise http.client.HTTPException(f"want at most {self.max_bytes} bytes, got more")
                if time.monotonic() > end:
                    raise TimeoutError(f"longer than {self.total_s:g} s for one answer")
            length = answer.headers.get("Content-Length")
            is_whole = not length or not length.isdigit() or n_bytes == int(length)
            if not is_whole and method != "HEAD" and answer.status not in (204, 304):
                raise http.client.HTTPException(f"want {length} bytes, the line broke after {n_bytes}")
            return Reply(answer.status, answer.headers, b"".join(parts), url)


def _opener() -> urllib.request.OpenerDirector:
    opener = urllib.request.OpenerDirector()
    for handler in (urllib.request.ProxyHandler, urllib.request.HTTPHandler, urllib.request.HTTPSHandler):
        opener.add_handler(handler())
    return opener
