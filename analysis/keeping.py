"""Which tables a run writes, under which names and with which columns: O2's ``--aod-writer-keep`` and its JSON file.

Knows names; reads no table. A word is a tree (``O2v0core``), a table (``V0Cores``), or O2's
``AOD/V0CORE/0:name:fPx/fPy``; commas separate several. A file ``*.json`` holds O2's ``OutputDirector``.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from o2dask.analysis import naming
from o2dask.analysis.declarations import table_names
from o2dask.analysis.errors import close_to
from o2dask.aod.model import tree_name
from o2dask.dataspecs import DataRef
from o2dask.errors import ConfigError

__all__ = ["Kept", "Wanted", "chosen", "read_keep"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What a word asks for: a table by the names it has been given, what it is to be called, its columns."""

    name: str
    text: str
    stored_as: str = ""
    columns: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A tree that is written, under the name `stored_as`; of its columns those named, all if none is."""

    tree: str
    stored_as: str
    columns: tuple[str, ...] = ()


def read_keep(words: "Iterable[str] | None") -> "tuple[list[Wanted] | None, str]":
    """Return what words and files ask for, None if nothing is said, and the file that they name for it ("" none).

    Raises
    ------
    ConfigError
        If a word or a file is none of what the module says.
    """
    if words is None:
        return None, ""
    wanted: list[Wanted] = []
    target = ""
    for word in words:
        if word.endswith(".json"):
            of_file, target = _of_file(word.removeprefix("json://"))
            wanted += of_file
        else:
            wanted += [_of_word(each.strip()) for each in word.split(",")]
    return wanted, target


def chosen(wanted: Sequence[Wanted], made: Iterable[str], stored: Iterable[str]) -> tuple[Kept, ...]:
    """Return the trees, made by tasks or stored in the AOD, that are asked for.

    Raises
    ------
    ConfigError
        If there is none of a name, or two are to be stored under one.
    """
    there = [*dict.fromkeys([*made, *stored])]
    kept = [_found(each, there) for each in wanted]
    names = [each.stored_as for each in kept]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ConfigError(f"keep: {twice} is asked for twice; give one another name, AOD/<table>/0:<name>")
    return tuple(kept)


def _found(wanted: Wanted, there: Sequence[str]) -> Kept:
    """Return the tree of exactly that name, else the newest version of the table of that name."""
    name = naming.fold(wanted.name).removeprefix("o2")
    exact = [tree for tree in there if naming.fold(tree).removeprefix("o2") == name]
    stems = {stem for label, spec in table_names().items() if naming.fold(label) == name for stem in spec.stems[0]}
    stems |= {name, name.removesuffix("s")}
    versions = [tree for tree in there if naming.stem(tree) in stems or naming.fold(naming.stem(tree)) in stems]
    if not exact and not versions:
        hint = close_to(wanted.name, there)
        raise ConfigError(f"keep: no task makes {wanted.text!r} and the AOD does not store it; {hint}")
    tree = exact[0] if exact else max(versions, key=naming.version)
    return Kept(tree=tree, stored_as=wanted.stored_as or tree, columns=wanted.columns)


def _of_word(word: str) -> Wanted:
    address, *rest = word.split(":")
    if not word or len(rest) > 2:
        raise ConfigError(f"keep: want a table, as O2v0core or AOD/V0CORE/0:name:fX/fY, got {word!r}")
    name, columns = [*rest, "", ""][:2]
    return _wanted(address, name, [c for c in columns.split("/") if c])


def _wanted(address: str, name: str, columns: Sequence[str]) -> Wanted:
    parts = address.split("/")
    if len(parts) == 1:
        return Wanted(name=address, text=address, stored_as=name, columns=tuple(columns))
    if len(parts) != 3 or not parts[2].isdigit():
        raise ConfigError(f"keep: want AOD/<description>/<version>, got {address!r}")
    tree = tree_name(DataRef(parts[0], parts[1], int(parts[2])))
    return Wanted(name=tree, text=address, stored_as=name, columns=tuple(columns))


def _of_file(path: str) -> tuple[list[Wanted], str]:
    """Return what O2's OutputDirector asks for, and its result file."""
    try:
        director = json.loads(Path(path).read_text(encoding="utf-8"))["OutputDirector"]
        entries = [
            _wanted(each["table"], each.get("treename", ""), each.get("columns", ()))
            for each in director["OutputDescriptors"]
        ]
        target = str(director.get("resfile", "")).removesuffix(".root")
    except OSError as error:
        raise ConfigError(f"keep {path}: cannot be read: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(f"keep {path}: want O2's OutputDirector with OutputDescriptors ({error!r})") from None
    return entries, f"{target}.root" if target else ""
