"""HepMC3 files, read through pyhepmc (extra `hepmc`)."""

import numpy as np

from o2dask.errors import DataError, MissingExtraError
from o2dask.reco.simulation.events import RawEvents, existing_file
from o2dask.reco.simulation.particles import C_CM_PER_NS, is_heavy_flavour, is_long_lived

__all__ = ["hepmc_events"]

_MM = 0.1


def hepmc_events(url: str) -> RawEvents:
    """Return the events of a HepMC3 (or HepMC2) ASCII file, gzipped or not.

    Kept are final particles (status 1) and decayed (status 2) long-lived or heavy-flavour hadrons; the parent of a
    particle is its nearest kept ancestor. Units are those that the file states.
    """
    import fsspec

    try:
        import pyhepmc
    except ImportError as error:
        raise MissingExtraError(f"events {url!r}: HepMC needs pyhepmc; pip install 'o2dask[hepmc]'") from error
    existing_file(url)
    rows, impact, weight = [], [], []
    try:
        # pyhepmc opens names itself (and un-gzips): a remote file goes through fsspec's cache
        with pyhepmc.open(fsspec.open_local(f"simplecache::{url}" if "://" in url else url)) as file:
            for index, event in enumerate(file):
                rows += _rows(pyhepmc, event, index)
                impact.append(_impact(event))
                weight.append(event.weight() if len(event.weights) else 1.0)
    except (OSError, RuntimeError, ValueError, EOFError) as error:
        raise DataError(f"events {url!r}: not a readable HepMC file ({str(error).splitlines()[0]})") from error
    if not weight:
        raise DataError(f"events {url!r}: no event in it; want HepMC3 or HepMC2 ASCII")
    if min(weight) < 0:
        raise DataError(f"events {url!r}: negative weights; events are drawn in proportion to their weight")
    names = ("event", "pdg", "status", "parent", "px", "py", "pz", "mass", "vx", "vy", "vz", "vt")
    table = np.array(rows, np.float64).reshape(-1, len(names))
    columns = {name: table[:, i] for i, name in enumerate(names)}
    columns |= {name: columns[name].astype(np.int64) for name in ("event", "pdg", "status", "parent")}
    return RawEvents(name=url, columns=columns, impact=np.array(impact, np.float32), weight=np.array(weight, float))


def _impact(event: object) -> float:
    heavy_ion = event.heavy_ion  # type: ignore[attr-defined]
    return max(float(heavy_ion.impact_parameter), 0.0) if heavy_ion is not None else 0.0


def _rows(pyhepmc: object, event: object, index: int) -> list[tuple[float, ...]]:
    """Return the kept particles of one event in cm, ns, GeV."""
    event.set_units(pyhepmc.Units.GEV, pyhepmc.Units.MM)  # type: ignore[attr-defined]
    particles = event.particles  # type: ignore[attr-defined]
    pdg = np.array([p.pid for p in particles], np.int64)
    status = np.array([p.status for p in particles], np.int64)
    decays_here = (is_long_lived(pdg) | is_heavy_flavour(pdg)) & (np.abs(pdg) > 100)
    keep = (status == 1) | ((status == 2) & (decays_here | (np.abs(pdg) == 15)))
    place = np.cumsum(keep) - 1
    row_of = {p.id: i for i, p in enumerate(particles)}
    rows = []
    for i in np.flatnonzero(keep):
        p = particles[i]
        ancestor = _kept_ancestor(p, keep, row_of)
        v = p.production_vertex.position if p.production_vertex else None
        at = (v.x * _MM, v.y * _MM, v.z * _MM, v.t * _MM / C_CM_PER_NS) if v else (0.0,) * 4
        m = p.momentum
        parent = place[ancestor] if ancestor >= 0 else -1
        rows.append((index, pdg[i], status[i], parent, m.px, m.py, m.pz, p.generated_mass, *at))
    return rows


def _kept_ancestor(particle: object, keep: np.ndarray, row_of: dict[int, int]) -> int:
    """Return the row of the nearest kept ancestor, -1 if there is none."""
    todo, seen = [particle], set()
    while todo:
        vertex = todo.pop().production_vertex  # type: ignore[attr-defined]
        if vertex is None or vertex.id in seen:
            continue
        seen.add(vertex.id)
        for mother in vertex.particles_in:
            if keep[row_of[mother.id]]:
                return row_of[mother.id]
            todo.append(mother)
    return -1
