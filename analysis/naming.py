"""Names: how O2 calls a stored column, an index or a table when the data model does not say.

Knows letters only. Derived tables declare getters of their own in C++, which a file does not keep; these rules give
what O2's authors nearly always write (``fPosZ`` is ``posZ()``, ``fIndexUDCollisions`` is ``udCollisionId()``).
"""

import re
from functools import lru_cache
from string import ascii_uppercase
from typing import NamedTuple

__all__ = ["IndexName", "fold", "getter_of", "index_name", "lower_first", "stem", "version"]

_INDEX = re.compile(r"^fIndex(?P<kind>Slice|Array)?(?P<label>[A-Za-z0-9]*)(?:_(?P<suffix>\w+))?$")
_ACRONYMS = (
    *("HMPID", "EMCAL", "PHOS", "ITS", "TPC", "TRD", "TOF", "MFT", "MCH", "MID", "CPV", "FT0", "FV0", "FDD", "ZDC"),
    *("DCA", "PID", "SPD", "BC"),
)


class IndexName(NamedTuple):
    """An index column by its name: "index", "slice_index" or "array_index"; label of its target ("" itself); getter."""

    kind: str
    label: str
    getter: str


@lru_cache(maxsize=4096)
def stem(tree: str) -> str:
    """Return the name of a tree without origin and version: O2trackextra_001 is trackextra, O2track_iu is track_iu."""
    return _split(tree)[0]


@lru_cache(maxsize=4096)
def version(tree: str) -> int:
    """Return the version of a tree: 1 for O2trackextra_001, 0 where there is none."""
    return _split(tree)[1]


def _split(tree: str) -> tuple[str, int]:
    name, _, number = tree.removeprefix("O2").rpartition("_")
    has_version = bool(name) and len(number) == 3 and number.isdigit()
    return (name, int(number)) if has_version else (tree.removeprefix("O2"), 0)


@lru_cache(maxsize=4096)
def fold(name: str) -> str:
    """Return a name for comparisons: mcParticles, mc_particles and McParticles are one."""
    return name.replace("_", "").lower()


def lower_first(name: str) -> str:
    """Return a name beginning in lower case as O2 does: posZ, tpcNClsFound, bcs, udCollisions, nSigmaTPC."""
    for acronym in _ACRONYMS:
        if name.startswith(acronym):
            return acronym.lower() + name[len(acronym) :]
    n_capitals = len(name) - len(name.lstrip(ascii_uppercase))
    if n_capitals < len(name):
        n_capitals = max(1, n_capitals - 1)  # the last capital begins the next word, unless a digit follows
        if name[n_capitals : n_capitals + 1].isdigit() and n_capitals > 1:
            n_capitals += 1
    return name[:n_capitals].lower() + name[n_capitals:]


def getter_of(column: str) -> str:
    """Return the getter of a stored column that the data model does not know: fPosZ is posZ."""
    name = column[1:] if re.match(r"f[A-Z]", column) else column
    return lower_first(name)


@lru_cache(maxsize=4096)
def index_name(column: str) -> IndexName | None:
    """Return what a column's name says of an index, None for a plain column.

    ``fIndexUDCollisions`` is ``udCollisionId``, ``fIndexTracks_0`` ``track0Id``, ``fIndexTracks_Pos`` ``posTrackId``,
    ``fIndexSliceBCs`` ``bcIds``, ``fIndexSlice_Daughters`` ``daughtersIds``.
    """
    match = _INDEX.match(column)
    if not match or not (match["label"] or match["suffix"]):
        return None
    kind = f"{match['kind'].lower()}_index" if match["kind"] else "index"
    plural = "" if kind == "index" else "s"
    singular = match["label"].removesuffix("s")
    if not singular:
        getter = lower_first(match["suffix"])
    elif not match["suffix"]:
        getter = lower_first(singular)
    elif match["suffix"].isdigit():
        getter = lower_first(singular) + match["suffix"]
    else:
        getter = lower_first(match["suffix"]) + singular[0].upper() + singular[1:]
    return IndexName(kind, match["label"], f"{getter}Id{plural}")
