"""Writes `model.json` from the collected facts: ``python -m o2dask.aod.make_model ../shared/facts/aod_model.json``.

The facts are for people; the model is what the program reads: masks resolved per column, units taken out of the
meanings, targets reduced to tree names. Run it again when the facts change, and commit both.
"""

import json
import re
import sys
from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

__all__ = ["make_model"]

MODEL_PATH = Path(__file__).with_name("model.json")

_UNIT = re.compile(r"(?:^|, | in |\()(cm2|cm|rad|GeV/c|GeV|ns|ms|c/GeV|fm|pb|ADC)(?=$|[ ,;()])")
_MASK = re.compile(r"^(0x[0-9A-F]{8})")
# "0xFFFFFF00, except TPC-only tracks (bit pattern is data)": those rows have this bit of fFlags (enums.track_flags
# TrackTimeAsym), which is what the getters tpcDeltaTFwd and tpcDeltaTBwd test.
_EXCEPT_TPC_ONLY = {"column": "fFlags", "bits": 8}


def make_model(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return what `model.json` holds, from the content of the facts' `aod_model.json`."""
    return {
        "source": facts["source"],
        "enums": facts["enums"],
        "constants": facts["constants"],
        "tables": [_table(table) for table in facts["tables"]],
    }


def _table(facts: Mapping[str, Any]) -> dict[str, Any]:
    made: dict[str, Any] = {key: facts[key] for key in ("tree", "table", "description", "version")}
    made["produced"] = facts["written_by_current_producer"]
    made["columns"] = [_column(column) for column in facts["columns"]]
    masks, exceptions = _masks(facts)
    for key, value in (
        ("masks", masks),
        ("unmasked_where", exceptions),
        ("row_aligned_with", facts.get("row_aligned_with")),
        ("note", facts.get("note")),
        ("dynamic", [[c["getter"], c["formula"]] for c in facts.get("dynamic_columns", ())]),
        ("expression", [[_getter(c["name"]), c["formula"]] for c in facts.get("expression_columns", ())]),
    ):
        if value:
            made[key] = value
    return made


def _column(facts: Mapping[str, Any]) -> dict[str, Any]:
    made = {"name": facts["name"], "dtype": facts["type"], "text": facts["meaning"], "getter": facts["getter"]}
    shape = facts.get("shape")
    if shape == "variable":
        made["is_jagged"] = True
    elif shape:
        made["shape"] = shape
    if unit := _UNIT.findall(facts["meaning"]):
        made["unit"] = unit[-1]
    if "kind" in facts:
        made["kind"] = facts["kind"]
        made["target"] = facts["target"].split()[0]
    return made


def _masks(facts: Mapping[str, Any]) -> tuple[dict[str, str], dict[str, Any]]:
    """Return the mask of each truncated float column, and the rows that a column leaves untouched."""
    masks, exceptions = {}, {}
    floats = [c["name"] for c in facts["columns"] if c["type"] == "float32"]
    for patterns, text in facts.get("producer_float_masks", {}).items():
        names = [name for name in floats if any(fnmatchcase(name, p) for p in patterns.split(","))]
        if match := _MASK.match(text):
            masks.update(dict.fromkeys(names, match[1]))
        if "except TPC-only" in text:
            exceptions.update(dict.fromkeys(names, _EXCEPT_TPC_ONLY))
    return masks, exceptions


def _getter(name: str) -> str:
    """Return the getter of an expression column: ``CYY`` has cYY, ``Pt`` has pt (DECLARE_SOA_EXPRESSION_COLUMN)."""
    return name[0].lower() + name[1:]


if __name__ == "__main__":
    content = make_model(json.loads(Path(sys.argv[1]).read_text()))
    MODEL_PATH.write_text(json.dumps(content, separators=(",", ":")) + "\n")
