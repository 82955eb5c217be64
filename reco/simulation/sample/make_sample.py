"""Make the committed sample out of the full event files: ``python make_sample.py ../../../../shared/data/events``.

Selection, so that both systems fit into 1.5 MB:
- Pb-Pb, PYTHIA 8 Angantyr, 5.36 TeV: all 40 minimum-bias events of the file, with their weights and impact parameters.
- pp, PYTHIA 8 Monash, 13.6 TeV: the first 1200 inelastic events, empty ones (within the cut) included.
- particles with |eta| < 1.6 from which transport starts (`select_for_transport`): charged finals, weakly decaying
  strange hadrons, heavy flavour with its decays; photons with pT > 0.1 GeV/c (their conversion electrons below
  do not leave a track); no neutrons, no neutrinos.
- momenta rounded to 10 bits of mantissa (5e-4, far below the TPC's resolution), decay points of heavy flavour to 8
  bits, and to 0 below 1 um. Energies are left out: they follow from the mass of the PDG code.
"""

import argparse
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from o2dask.reco.simulation.events import EventSample, read_events
from o2dask.reco.simulation.particles import C_CM_PER_NS

ETA_MAX, PHOTON_PT_MIN = 1.6, 0.1
SOURCES = {"pbpb": ("pbpb_5360_angantyr", 40), "pp": ("pp_13600_softqcd", 1200)}


def rounded(values: np.ndarray, bits: int) -> np.ndarray:
    """Return float32 `values` rounded to `bits` bits of mantissa; the zeros that follow compress away."""
    whole = np.asarray(values, np.float32).view(np.uint32).astype(np.uint64)
    drop = 23 - bits
    kept = ((whole + (1 << (drop - 1))) >> drop << drop).astype(np.uint32)
    return kept.view(np.float32)


def length(values: np.ndarray) -> np.ndarray:
    """Return lengths [cm] as mm, 8 bits, 0 below 1 um."""
    millimetres = np.asarray(values, np.float32) * 10
    return rounded(np.where(np.abs(millimetres) < 1e-3, 0, millimetres), 8)


def reduced(sample: EventSample, n_events: int) -> EventSample:
    """Return the first events of the sample with the selection above."""
    pt = np.hypot(sample.px, sample.py)
    row_event = np.repeat(np.arange(sample.n_events), np.diff(sample.offsets))
    keep = (np.abs(sample.eta) < ETA_MAX) & ((sample.pdg != 22) | (pt > PHOTON_PT_MIN)) & (row_event < n_events)
    return sample._keep(sample._with_parents(keep))


def particle_table(sample: EventSample, n_events: int) -> pa.Table:
    """Return the particles in the columns of an event file."""
    return pa.table(
        {
            "event": np.repeat(np.arange(sample.n_events, dtype=np.int16), np.diff(sample.offsets)),
            "pdg": sample.pdg.astype(np.int16),
            "status": sample.status.astype(np.int8),
            "parent": sample.parent,
            "px": rounded(sample.px, 10),
            "py": rounded(sample.py, 10),
            "pz": rounded(sample.pz, 10),
            "vx": length(sample.vx),
            "vy": length(sample.vy),
            "vz": length(sample.vz),
            "vt": length(sample.vt * C_CM_PER_NS),
        }
    )


def main() -> None:
    """Write the four files beside this script."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("events", type=Path, help="folder of the full event files")
    source, here = parser.parse_args().events, Path(__file__).parent
    for system, (stem, n_events) in SOURCES.items():
        metadata = pq.read_schema(source / f"{stem}.parquet").metadata
        provenance = {"provenance": metadata[b"provenance"], "selection": "see make_sample.py"}
        table = particle_table(reduced(read_events(str(source / f"{stem}.parquet")), n_events), n_events)
        floats = [name for name in table.column_names if pa.types.is_floating(table.schema.field(name).type)]
        plain = [name for name in table.column_names if name not in floats]
        pq.write_table(
            table.replace_schema_metadata(provenance),
            here / f"{system}.parquet",
            compression="zstd",
            compression_level=19,
            use_dictionary=plain,
            column_encoding=dict.fromkeys(floats, "BYTE_STREAM_SPLIT"),
        )
        events = pq.read_table(source / f"{stem}_events.parquet", columns=["event", "b_fm", "weight"])
        events = events.slice(0, n_events).replace_schema_metadata(provenance)
        pq.write_table(events, here / f"{system}_events.parquet", compression="zstd")


if __name__ == "__main__":
    main()
