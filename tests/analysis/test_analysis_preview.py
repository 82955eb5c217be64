"""Values looked at: the first rows of a table, one row; tables joined over all dataframes; groups by O2's word."""

import numpy as np
import pytest
from task_samples import run

import o2dask as o2
from o2dask.analysis.errors import UnknownNameError
from o2dask.analysis.physics.pdg import charge_of_pdg
from o2dask.errors import SpecError


def test_the_first_rows_are_shown_with_the_getters_asked_for(aod):
    tracks = aod[0].tracks
    shown = tracks.show("pt", "fX", "tpcNClsFound", n=3)
    assert shown.names == ("", "pt", "fX", "tpcNClsFound") and len(shown.rows) == 3
    assert [row[0] for row in shown.rows] == ["0", "1", "2"]
    assert [float(row[1]) for row in shown.rows] == pytest.approx(tracks.pt()[:3].tolist(), rel=1e-4)
    assert [row[3] for row in shown.rows] == [str(n) for n in tracks.tpcNClsFound()[:3]]
    assert f"... and {len(tracks) - 3} more" in repr(shown) and "<td>2</td>" in shown._repr_html_()
    assert len(repr(shown).splitlines()) == 6


def test_without_names_all_stored_numbers_are_shown(aod):
    shown = aod[0].collisions.show(n=2)
    assert {"posX", "posZ", "bcId", "numContrib"} <= set(shown.names)
    assert "collisionTimeRes" in shown.names and "pt" not in shown.names


def test_lists_and_missing_values_are_shown(aod):
    lists = aod[0].collisions.tracks.show("pt", n=40)
    counts = [len(pts) for pts in aod[0].collisions.tracks.pt()]
    assert any(n > 6 for n in counts)
    for row, n in zip(lists.rows, counts, strict=True):
        assert row[1].startswith("[") and row[1].endswith(", ...]") == (n > 6)
    some = aod[0].tracks[aod[0].tracks.collisionId() < 0][:1].collision().show("posZ")
    assert [row[1] for row in some.rows] == ["-"]


def test_all_of_a_short_table_and_none_of_an_empty_one(aod):
    short = aod[0].tracks[:2].show("pt")
    assert len(short.rows) == 2 and "more" not in repr(short)
    assert aod[1].tracks.show("pt").rows == []
    with pytest.raises(UnknownNameError, match="has no 'pz2'; did you mean pz"):
        aod[0].tracks.show("pz2")


def test_a_row_in_a_notebook_tells_its_values(aod):
    tracks = aod[0].tracks
    html = tracks[3]._repr_html_()
    assert "<td>pt</td>" in html and f"<td>{tracks[3].pt():.5g}</td>" in html and "transverse momentum" in html


def test_trees_are_joined_over_all_dataframes(aod):
    joined = aod.join("O2track_iu", "O2trackextra_001")
    np.testing.assert_array_equal(joined.tpcChi2NCl(), aod["O2trackextra_001"]["fTPCChi2NCl"])
    np.testing.assert_array_equal(joined.x(), aod.tracks.x())


def test_small_groups_are_groups():
    assert o2.SmallGroups[o2.Tracks] == o2.Tracks
    with pytest.raises(SpecError, match="SmallGroups: want tables"):
        o2.SmallGroups[int]


class PerGenerated(o2.AnalysisTask):
    """Reconstructed collisions of each generated one, as O2's efficiency tasks loop."""

    n = o2.Output([])

    def process(
        self, generated: o2.McCollision, collisions: o2.SmallGroups[o2.Join[o2.Collisions, o2.McCollisionLabels]]
    ):
        self.n += [len(collisions)]
        assert (collisions.mcCollisionId() == generated.globalIndex()).all()


def test_collisions_are_grouped_by_what_they_come_from(aod):
    result = run(aod, PerGenerated())
    assert result.ok, result.summary()
    want = [
        np.bincount(df.collisions.mcCollisionId()[df.collisions.mcCollisionId() >= 0], minlength=len(df.mcCollisions))
        for df in aod
    ]
    assert result.n == np.concatenate(want).astype(int).tolist() and sum(result.n) > 0


CHARGES = {
    **{11: -1, 13: -1, 15: -1, 12: 0, 22: 0, 23: 0, 24: 1, 2: 2 / 3, 3: -1 / 3, 21: 0, 81: 0},
    **{211: 1, 111: 0, 113: 0, 213: 1, 321: 1, 311: 0, 310: 0, 130: 0, 313: 0, 323: 1, 221: 0, 333: 0, 10313: 0},
    **{411: 1, 421: 0, 431: 1, 413: 1, 443: 0, 100443: 0, 511: 0, 521: 1, 531: 0, 541: 1, 553: 0, 10431: 1},
    **{2212: 1, 2112: 0, 2224: 2, 1114: -1, 3122: 0, 3112: -1, 3222: 1, 3212: 0, 3312: -1, 3322: 0, 3334: -1},
    **{4122: 1, 4132: 0, 4332: 0, 4222: 2, 5122: 0, 5132: -1, 4422: 2, 2203: 4 / 3, 1103: -2 / 3, 990: 0},
    **{1000010020: 1, 1000010030: 1, 1000020030: 2, 1000020040: 2, 1010010030: 1, 1010000020: 0},
}


@pytest.mark.parametrize("sign", [1, -1])
def test_charges_are_those_of_the_particle_data_group(sign):
    codes = np.array(list(CHARGES))
    np.testing.assert_allclose(charge_of_pdg(sign * codes), sign * np.array(list(CHARGES.values())), atol=1e-6)


def test_no_code_no_charge():
    assert charge_of_pdg(np.array([0, 9999999999, 99999999])).tolist() == [0, 0, 0]
    assert len(charge_of_pdg(np.array([], np.int32))) == 0
