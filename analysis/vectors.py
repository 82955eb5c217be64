"""Four-momenta as arrays of the `vector` package: ``(tracks.p4(0.1396) + ...).mass``. Thin: names in, vectors out."""

from typing import TYPE_CHECKING, Any

from o2dask.errors import ConfigError

if TYPE_CHECKING:
    from o2dask.analysis.table import Table

__all__ = ["four_momenta"]


def four_momenta(table: "Table", m: float | None = None) -> Any:
    """Return an awkward array of `vector` four-momenta [GeV], one per row, nested as the table is.

    Parameters
    ----------
    table : Table
        Must give pt, eta and phi, or px, py, pz, or these and e.
    m : float, optional
        Mass hypothesis [GeV/c2]; left out for tables that store the energy.

    Raises
    ------
    ConfigError
        If the table gives neither.
    """
    import awkward as ak
    import vector

    vector.register_awkward()
    if m is None and {"px", "py", "pz", "e"} <= table.getters.keys():
        return vector.zip({"px": table.px(), "py": table.py(), "pz": table.pz(), "E": table.e()})
    if m is None:
        raise ConfigError(f"p4 of {table!r}: it stores no energy; give a mass in GeV/c2, as in p4(0.13957)")
    if {"pt", "eta", "phi"} <= table.getters.keys():
        pt = table.pt()
        return vector.zip({"pt": pt, "eta": table.eta(), "phi": table.phi(), "mass": ak.full_like(pt, m)})
    if {"px", "py", "pz"} <= table.getters.keys():
        px = table.px()
        return vector.zip({"px": px, "py": table.py(), "pz": table.pz(), "mass": ak.full_like(px, m)})
    raise ConfigError(f"p4 of {table!r}: it has neither pt, eta and phi nor px, py and pz")
