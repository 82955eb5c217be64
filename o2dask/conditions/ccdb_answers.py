"""What answers of a CCDB server say: headers of HTTP, and of listings in JSON, as headers of conditions."""

import re
from collections.abc import Mapping
from dataclasses import replace
from email.message import Message
from typing import Any

from o2dask.conditions.content import BYTES, OBJECT_TYPES
from o2dask.conditions.errors import ConditionError, ConditionServerError
from o2dask.conditions.http import Reply
from o2dask.conditions.local import check_payload
from o2dask.conditions.model import Condition, ConditionHeader
from o2dask.errors import ConfigError

__all__ = ["checked", "etag", "header_of", "header_of_json", "number"]

_TYPES = {name: kind for kind, name in OBJECT_TYPES.items()}
_NAMES = (  # of HTTP and of CCDB itself, of its listings; every other one is metadata
    "accept-ranges age allow cache-control connection content-disposition content-encoding content-language "
    "content-length content-location content-md5 content-type created date etag expires initialvaliditylimit "
    "keep-alive last-modified location pragma server set-cookie strict-transport-security transfer-encoding upgrade "
    "valid-from valid-until vary via warning"
)
_NAMES_JSON = (
    "path createtime lastmodified id validfrom validuntil initialvalidity md5 filename contenttype size replicas "
    "uploadedfrom incomplete"
)
_NOT_METADATA = frozenset(_NAMES.split())
_NOT_METADATA_JSON = _NOT_METADATA | frozenset(_NAMES_JSON.split())


def number(reply: Reply, name: str) -> int:
    """Return a header that is a number; ConditionServerError if it is not."""
    text = str(reply.headers.get(name, ""))
    try:
        return int(text)
    except ValueError:
        raise ConditionServerError(f"{reply.url}: want a number as {name}, got {text!r}; is this a CCDB?") from None


def etag(reply: Reply) -> str:
    """Return the name of the object, without quotes."""
    return str(reply.headers.get("ETag", "")).strip().removeprefix("W/").strip('"')


def header_of(path: str, reply: Reply) -> ConditionHeader:
    """Return what the headers of an answer say of an object, its content left out."""
    try:
        return ConditionHeader(
            path=path,
            valid_from=number(reply, "Valid-From"),
            valid_until=number(reply, "Valid-Until"),
            created=number(reply, "Created"),
            etag=etag(reply),
            content_type=BYTES,
            size=0,
            metadata=_metadata(reply.headers),
        )
    except (ConfigError, ConditionError) as error:
        raise ConditionServerError(f"{reply.url}: {error}") from None


def _metadata(headers: Message) -> dict[str, str]:
    said = {k: str(v) for k, v in headers.items() if k.lower() not in _NOT_METADATA and not k.lower().startswith("x-")}
    return {k: v.strip() for k, v in said.items() if v.strip().isprintable()}


def checked(header: ConditionHeader, reply: Reply) -> Condition:
    """Return the object with the content that arrived, checked against the checksum that came with it."""
    md5 = str(reply.headers.get("Content-MD5", ""))
    kind = str(reply.headers.get("Content-Type", BYTES)).partition(";")[0].strip().lower() or BYTES
    if kind == BYTES:  # replicas do not know better
        kind = _TYPES.get(header.metadata.get("ObjectType", ""), BYTES)
    named = re.search(r'filename="([^"]*)"', str(reply.headers.get("Content-Disposition", "")))
    header = replace(
        header,
        size=len(reply.body),
        content_type=kind,
        md5=md5.lower() if re.fullmatch(r"[0-9A-Fa-f]{32}", md5) else "",
        file_name=named[1] if named else "",
    )
    check_payload(header, reply.body, reply.url)
    return Condition(header=header, payload=reply.body, holds=(header.valid_from, header.valid_until), where=reply.url)


def header_of_json(d: Mapping[str, Any]) -> ConditionHeader:
    """Return an object of a listing; its keys are those of HTTP, of older servers short ones, or both."""

    def either(new: str, old: str) -> Any:
        return d[new] if new in d else d[old]

    kind = str(d.get("Content-Type") or d.get("contentType") or BYTES)
    metadata = {k: v for k, v in d.items() if k.lower() not in _NOT_METADATA_JSON and isinstance(v, str)}
    return ConditionHeader(
        path=d["path"],
        valid_from=int(either("Valid-From", "validFrom")),
        valid_until=int(either("Valid-Until", "validUntil")),
        created=int(either("Created", "createTime")),
        etag=str(either("ETag", "id")).strip('"'),
        content_type=_TYPES.get(metadata.get("ObjectType", ""), kind) if kind == BYTES else kind,
        size=int(either("Content-Length", "size")),
        md5=str(d.get("Content-MD5") or d.get("MD5") or ""),
        metadata=metadata,
        file_name=str(d.get("fileName") or ""),
    )
