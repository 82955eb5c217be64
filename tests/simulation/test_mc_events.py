"""Event files: the committed sample, the shared files, HepMC, and what is said about bad ones."""

import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pyhepmc
import pytest

from o2dask.errors import ConfigError, DataError, MissingExtraError
from o2dask.reco.simulation.decays import decaying_codes
from o2dask.reco.simulation.events import read_events
from o2dask.reco.simulation.particles import charge_of, is_heavy_flavour, is_long_lived, mass_of

REPO = Path(__file__).parents[2]
SAMPLE = REPO / "reco/simulation/sample"
SHARED = REPO / "../shared/data/events"
FILES = [SAMPLE / "pbpb.parquet", SAMPLE / "pp.parquet"]
FILES += [f for f in (SHARED / "pbpb_5360_angantyr.parquet", SHARED / "pp_13600_softqcd.parquet") if f.exists()]
COLUMNS = {
    "event": [0, 0, 0, 0, 1],
    "pdg": [211, 310, 211, -211, 2212],
    "status": [1, 2, 1, 1, 1],
    "parent": [-1, -1, 1, 1, -1],
    "px": [0.1, 1.0, 0.6, 0.4, -0.3],
    "py": [0.2, 0.0, 0.2, -0.2, 0.0],
    "pz": [0.3, 0.5, 0.2, 0.3, 0.1],
    "vx": [0.0, 0.0, 10.0, 10.0, 0.0],
    "vy": [0.0] * 5,
    "vz": [0.0] * 5,
    "vt": [0.0, 0.0, 12.0, 12.0, 0.0],
}


def write(path, **changes):
    columns = {k: v for k, v in {**COLUMNS, **changes}.items() if v is not None}
    pq.write_table(pa.table(columns), path)
    return str(path)


def one_line(error):
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_real_events_start_transport_from_particles_without_long_lived_ancestors(path):
    sample = read_events(str(path))
    row = np.arange(sample.n_rows)
    event = np.repeat(np.arange(sample.n_events), np.diff(sample.offsets))
    has_parent = sample.parent >= 0
    parent = sample.parent + sample.offsets[event]
    assert (parent[has_parent] < row[has_parent]).all()
    assert (event[parent[has_parent]] == event[has_parent]).all()
    assert not is_long_lived(sample.pdg[parent[has_parent]]).any()
    together = np.flatnonzero(np.diff(parent[has_parent], prepend=-1) != 0)
    assert len(np.unique(parent[has_parent])) == len(together)
    is_seen = (charge_of(sample.pdg) != 0) | np.isin(np.abs(sample.pdg), (22, *decaying_codes()))
    assert (is_seen | is_heavy_flavour(sample.pdg)).all()
    known = np.isfinite(mass_of(sample.pdg))
    np.testing.assert_allclose(sample.mass[known], mass_of(sample.pdg)[known], rtol=1e-6)


@pytest.mark.parametrize(("system", "low", "high"), [("pbpb", 420, 580), ("pp", 5.0, 6.5)])
def test_the_committed_sample_has_the_multiplicity_of_its_generator(system, low, high):
    sample = read_events(str(SAMPLE / f"{system}.parquet"))
    seen = (charge_of(sample.pdg) != 0) & (np.abs(sample.eta) < 0.5) & is_long_lived(sample.pdg)
    event = np.repeat(np.arange(sample.n_events), np.diff(sample.offsets))
    n = np.bincount(event[seen], minlength=sample.n_events)
    assert low < (n * sample.weight).sum() / sample.weight.sum() < high
    assert sample.n_events >= {"pbpb": 40, "pp": 100}[system]
    assert (sample.impact.max() > 10) == (system == "pbpb")


def test_the_committed_sample_is_small_and_says_where_it_comes_from():
    files = list(SAMPLE.glob("*.parquet"))
    assert len(files) == 4
    assert sum(f.stat().st_size for f in files) < 1_500_000
    for file in files:
        provenance = pq.read_schema(file).metadata[b"provenance"]
        assert b"PYTHIA 8" in provenance and b"seed" in provenance


def test_the_committed_sample_is_the_shared_file_within_its_rounding():
    for path in FILES[:2]:
        assert not (read_events(str(path)).px.view(np.uint32) & 0x1FFF).any()
    for path in FILES[2:]:  # where this checkout lies beside them
        _compare_with_full(path, SAMPLE / f"{path.stem.split('_')[0]}.parquet")


def _compare_with_full(path, small_path, event=3):
    full, small = read_events(str(path)).within(1.6), read_events(str(small_path))
    rows, of_small = (np.arange(*sample.offsets[event : event + 2]) for sample in (full, small))
    keep = (full.pdg[rows] != 22) | (np.hypot(full.px[rows], full.py[rows]) > 0.1)
    keep &= ~is_heavy_flavour(full.pdg[rows])  # some are there for a photon only
    of_small = of_small[~is_heavy_flavour(small.pdg[of_small])]
    np.testing.assert_array_equal(full.pdg[rows][keep], small.pdg[of_small])
    for name in ("px", "py", "pz"):
        np.testing.assert_allclose(getattr(small, name)[of_small], getattr(full, name)[rows][keep], rtol=2**-11)


def test_units_become_cm_and_ns_and_decays_of_the_generator_are_dropped(tmp_path):
    sample = read_events(write(tmp_path / "e.parquet", vx=[1.0, 0, 10, 10, 0], vt=[3.0, 0, 12, 12, 0]))
    assert sample.offsets.tolist() == [0, 2, 3]
    assert sample.pdg.tolist() == [211, 310, 2212]
    np.testing.assert_allclose(sample.vx, [0.1, 0, 0], rtol=1e-6)
    np.testing.assert_allclose(sample.vt, [0.3 / 29.9792458, 0, 0], rtol=1e-6)


def test_heavy_flavour_keeps_the_decay_of_its_generator_but_not_what_comes_after(tmp_path):
    pdg, parent = [421, 310, 211, -211, -321, 2112], [-1, 0, 1, 1, 0, -1]
    columns = {k: [0.1] * 6 for k in ("px", "py", "pz", "vx", "vy", "vz", "vt")}
    path = write(tmp_path / "d.parquet", event=[0] * 6, pdg=pdg, status=[2, 2, 1, 1, 1, 1], parent=parent, **columns)
    sample = read_events(path)
    assert sample.pdg.tolist() == [421, 310, -321]
    assert sample.parent.tolist() == [-1, 0, 0]


def test_a_parent_outside_the_cut_is_kept_for_its_daughters(tmp_path):
    path = write(
        tmp_path / "d.parquet", pdg=[421, -321, 211, 22, 2212], parent=[-1, 0, 0, -1, -1], pz=[9.0, 0, 9, 0, 0]
    )
    sample = read_events(path).within(1.0)
    assert sample.pdg.tolist() == [421, 22, -321, 2212]
    assert sample.parent.tolist() == [-1, -1, 0, -1]


def test_events_beside_bring_impact_weight_and_empty_events(tmp_path):
    path = write(tmp_path / "e.parquet", event=[1, 1, 1, 1, 4])
    pq.write_table(
        pa.table({"event": [0, 1, 4], "b_fm": [3.5, -1.0, 7.0], "weight": [0.5, 1.5, 0.0]}),
        tmp_path / "e_events.parquet",
    )
    sample = read_events(path)
    assert sample.offsets.tolist() == [0, 0, 2, 3]
    assert sample.impact.tolist() == [3.5, 0, 7]
    assert sample.weight.tolist() == [0.5, 1.5, 0]


def test_rows_of_chosen_events_come_in_the_chosen_order(tmp_path):
    sample = read_events(write(tmp_path / "e.parquet"))
    rows, starts = sample.rows_of(np.array([1, 0, 1]))
    assert rows.tolist() == [2, 0, 1, 2]
    assert starts.tolist() == [0, 1, 3]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"px": None}, "no column px"),
        ({"py": [0.1, np.nan, 0, 0, 0]}, "column py holds values that are not numbers"),
        ({"pdg": ["a"] * 5}, "column pdg holds values that are not numbers"),
        ({"event": [1, 0, 0, 0, 0]}, "column event decreases"),
        ({"status": [1, 2, 1, 1, 71]}, "column status"),
        ({"parent": [-1, -1, 1, 4, -1]}, "a parent lies outside its event"),
        ({"pdg": [211, 3224, 211, -211, 2212]}, "PDG code 3224 is not known"),
    ],
    ids=lambda v: v if isinstance(v, str) else "",
)
def test_a_file_with_wrong_columns_is_a_data_error(tmp_path, changes, says):
    with pytest.raises(DataError, match=says) as error:
        read_events(write(tmp_path / "e.parquet", **changes))
    assert "e.parquet" in one_line(error)


def test_a_missing_file_a_folder_and_an_alien_name_are_config_errors(tmp_path):
    for name, says in (
        ("none.parquet", "no such file"),
        ("none.hepmc3", "no such file"),
        ("e.root", "want a .parquet"),
    ):
        with pytest.raises(ConfigError, match=says) as error:
            read_events(str(tmp_path / name))
        assert name in one_line(error)
    (tmp_path / "dir.parquet").mkdir()
    with pytest.raises(ConfigError, match="is a folder"):
        read_events(str(tmp_path / "dir.parquet"))
    with pytest.raises(ConfigError, match="cannot be opened"):
        read_events("nosuchprotocol://x.parquet")


@pytest.mark.parametrize("name", ["e.parquet", "e.hepmc", "e.hepmc3.gz"])
@pytest.mark.parametrize("content", [b"", b"PAR1 but not really", b"hello\n" * 100], ids=["empty", "alien", "text"])
def test_an_empty_or_alien_file_is_a_data_error(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=r"not a readable|no event") as error:
        read_events(str(tmp_path / name))
    assert name in one_line(error)


def test_a_truncated_file_is_a_data_error(tmp_path):
    whole = Path(write(tmp_path / "e.parquet")).read_bytes()
    (tmp_path / "cut.parquet").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="not a readable Parquet file"):
        read_events(str(tmp_path / "cut.parquet"))


def hepmc_event(number, units):
    """Return an event: proton pair -> parton vertex -> K0S (status 2, with pions), B+ (with a D0bar pi), a photon."""
    scale = 1000.0 if units == "MEV" else 1.0
    event = pyhepmc.GenEvent(getattr(pyhepmc.Units, units), pyhepmc.Units.MM)
    event.event_number = number

    def particle(px, py, pz, mass, pid, status):
        e = np.sqrt(px**2 + py**2 + pz**2 + mass**2)
        return pyhepmc.GenParticle((px * scale, py * scale, pz * scale, e * scale), pid, status)

    def vertex(at, incoming, outgoing):
        v = pyhepmc.GenVertex(at)
        for p in incoming:
            v.add_particle_in(p)
        for p in outgoing:
            v.add_particle_out(p)
        event.add_vertex(v)

    beams = [particle(0, 0, s * 6800, 0.938, 2212, 4) for s in (1, -1)]
    string = particle(0, 0, 1, 5, 21, 71)
    kaon, bottom = particle(0.5, 0.1, 0.2, 0.497611, 310, 2), particle(2, 1, 0.5, 5.27941, 521, 2)
    excited = particle(2, 1, 0.5, 5.3247, 523, 2)
    charm, pion = particle(1.5, 0.5, 0.2, 1.86484, -421, 2), particle(0.5, 0.5, 0.3, 0.13957, 211, 1)
    vertex((0, 0, 0, 0), beams, [string])
    vertex((0, 0, 0, 0), [string], [kaon, excited, particle(0.3, 0.3, 0.1, 0.0, 22, 1)])
    vertex((0, 0, 0, 0), [excited], [bottom])
    vertex((30, 5, 10, 40), [kaon], [particle(s * 0.2, 0, 0.1, 0.13957, s * 211, 1) for s in (1, -1)])
    vertex((1, 0.5, 0.2, 2), [bottom], [charm, pion])
    vertex((1.2, 0.6, 0.3, 3), [charm], [particle(1.4, 0.5, 0.2, 0.493677, 321, 1)])
    return event


@pytest.mark.parametrize("name", ["e.hepmc3", "e.hepmc", "e.hepmc3.gz"])
@pytest.mark.parametrize("units", ["GEV", "MEV"])
def test_hepmc_comes_back_as_it_was_written(tmp_path, name, units):
    with pyhepmc.open(str(tmp_path / name), "w") as file:
        for number in range(3):
            file.write(hepmc_event(number, units))
    sample = read_events(str(tmp_path / name))
    assert sample.n_events == 3
    first = slice(*sample.offsets[1:3])
    assert sample.pdg[first].tolist() == [310, 22, 521, -421, 211, 321]
    assert sample.parent[first].tolist() == [-1, -1, -1, 2, 2, 3]
    np.testing.assert_allclose(sample.px[first], [0.5, 0.3, 2, 1.5, 0.5, 1.4], rtol=1e-6)
    np.testing.assert_allclose(sample.vx[first], [0, 0, 0, 0.1, 0.1, 0.12], rtol=1e-6)
    np.testing.assert_allclose(sample.vt[first][-1], 0.3 / 29.9792458, rtol=1e-6)


def test_hepmc_without_pyhepmc_names_the_extra(tmp_path, monkeypatch):
    (tmp_path / "e.hepmc3").write_text("")
    monkeypatch.setitem(sys.modules, "pyhepmc", None)
    with pytest.raises(MissingExtraError, match=r"o2dask\[hepmc\]"):
        read_events(str(tmp_path / "e.hepmc3"))
