"""The page of the data model says what the model says, and help() on a getter does too."""

import pydoc
from pathlib import Path

from o2dask.analysis.datamodel_page import page
from o2dask.aod.model import tables

COMMITTED = Path(__file__).parents[2] / "docs/data-model.md"


def test_the_committed_page_is_that_of_the_model():
    remedy = "run python -m o2dask.analysis.datamodel_page docs/data-model.md"
    assert COMMITTED.read_text(encoding="utf-8") == page(), remedy


def test_the_page_has_every_table_and_column():
    sections = {part.split("\n", 1)[0]: part for part in page().split("\n## ")[1:]}
    assert set(tables()) == sections.keys() - {"Enumerations"} and len(tables()) == 57
    for tree, model in tables().items():
        cells = [line.split(" | ") for line in sections[tree].splitlines() if line.startswith("| `")]
        first = [row[0].removeprefix("| ").strip("`").split("(")[0] for row in cells]
        assert first == [c.name for c in model.columns] + [d.getter for d in (*model.dynamic, *model.expression)]


def test_help_of_a_getter_says_unit_and_formula(aod):
    tracks = aod[0].tracks
    text = pydoc.plain(pydoc.render_doc(tracks.tpcNClsFound))
    assert "Return the number of TPC clusters found" in text
    assert "Formula of O2trackextra_001: int16: tpcNClsFindable - tpcNClsFindableMinusFound" in text
    assert "tpcNClsFound()" in text
    assert "[GeV/c]" in pydoc.plain(pydoc.render_doc(tracks.pt))
    assert "[cm]" in pydoc.plain(pydoc.render_doc(tracks.x)) and "fX" in pydoc.plain(pydoc.render_doc(tracks.x))
