"""What the TPC makes: native clusters with labels, tracks with their clusters, and truth to compare with."""

from o2dask.columns import Column, Schema

__all__ = [
    "CLUSTERLABEL",
    "CLUSTERNATIVE",
    "CLUSTERXYZ",
    "FLAG_EDGE",
    "FLAG_SINGLE",
    "FLAG_SPLIT_PAD",
    "FLAG_SPLIT_TIME",
    "MC_TPCREFS",
    "NATIVE_BYTES",
    "PAD_SCALE",
    "SIDE_A",
    "SIDE_C",
    "SIGMA_SCALE",
    "TIME_SCALE",
    "TPC_SCHEMAS",
    "TRACKCLUSTERS",
    "TRACKLABEL",
    "TRACKS",
]

PAD_SCALE, TIME_SCALE, SIGMA_SCALE = 64, 64, 32
"""Units of packed pads, time bins and widths (DataFormats/Detectors/TPC ClusterNative.h)."""
NATIVE_BYTES = 12
"""Size of O2's ClusterNative [bytes]: what a compression ratio is measured against."""
FLAG_SPLIT_PAD, FLAG_SPLIT_TIME, FLAG_EDGE, FLAG_SINGLE = 1, 2, 4, 8
SIDE_A, SIDE_C = 1, 2

CLUSTERNATIVE = Schema(
    "TPC/CLUSTERNATIVE",
    (
        Column(
            name="sector", dtype="uint8", text="0-17 A side, 18-35 C side; rows sorted by (sector, pad_row, time, pad)"
        ),
        Column(name="pad_row", dtype="uint8", text="0-151"),
        Column(name="time", dtype="uint32", unit="1/64 time bin", text="since the start of the timeframe, below 2^24"),
        Column(name="pad", dtype="uint16", unit="1/64 pad", text="an integer pad is at its centre"),
        Column(name="sigma_pad", dtype="uint8", unit="1/32 pad", text="width along the pads"),
        Column(name="sigma_time", dtype="uint8", unit="1/32 time bin", text="width in time"),
        Column(name="q_max", dtype="uint16", unit="ADC", text="largest charge of a digit, below 1024"),
        Column(name="q_tot", dtype="uint16", unit="ADC", text="total charge, below 25 * 1024"),
        Column(name="flags", dtype="uint8", text="1 split in pad, 2 split in time, 4 edge, 8 single"),
    ),
)

CLUSTERXYZ = Schema(
    "TPC/CLUSTERXYZ",
    (
        Column(name="sector", dtype="uint8", text="0-17 A side, 18-35 C side; in any order"),
        Column(name="pad_row", dtype="uint8", text="0-151"),
        Column(name="y", dtype="float32", unit="cm", text="along the pads, in the sector's frame"),
        Column(name="z", dtype="float32", unit="cm", text="true: drift and time of the collision are accounted for"),
        Column(name="q_max", dtype="uint16", unit="ADC", text="largest charge of a digit, 0 if not known"),
        Column(name="q_tot", dtype="uint16", unit="ADC", text="total charge, 0 if not known"),
    ),
)
"""Clusters whose place is known: of triggered events, of other programs, of one collision after its time is known."""

CLUSTERLABEL = Schema(
    "TPC/CLUSTERLABEL",
    (
        Column(name="mc", dtype="int32", text="row in MC/PARTICLES of the main contributor, -1 noise"),
        Column(name="mc_other", dtype="int32", text="second contributor of a merged cluster, -1 none"),
    ),
)

MC_TPCREFS = Schema(
    "MC/TPCREFS",
    (
        Column(name="mc", dtype="int32", text="row in MC/PARTICLES, ascending; particles with at least one cluster"),
        Column(name="n_clusters", dtype="int32", text="clusters whose main contributor it is"),
        Column(name="n_rows", dtype="int32", text="different pad rows (sector, row) among these"),
        Column(name="x", dtype="float32", unit="cm", text="global point where it first crosses a pad row"),
        Column(name="y", dtype="float32", unit="cm", text="same"),
        Column(name="z", dtype="float32", unit="cm", text="same"),
        Column(name="px", dtype="float32", unit="GeV/c", text="momentum there"),
        Column(name="py", dtype="float32", unit="GeV/c", text="same"),
        Column(name="pz", dtype="float32", unit="GeV/c", text="same"),
    ),
)

TRACKS = Schema(
    "TPC/TRACKS",
    (
        Column(name="alpha", dtype="float32", unit="rad", text="rotation of the track's frame"),
        Column(name="x", dtype="float32", unit="cm", text="at the innermost fitted cluster"),
        Column(name="y", dtype="float32", unit="cm"),
        Column(
            name="z",
            dtype="float32",
            unit="cm",
            text="if the collision was at `time0`; moves with it, A and C opposite",
        ),
        Column(name="snp", dtype="float32", text="sine of the local azimuth"),
        Column(name="tgl", dtype="float32", text="tangent of the dip angle pz/pt"),
        Column(name="q2pt", dtype="float32", unit="c/GeV", text="charge over pt"),
        Column(name="cov", dtype="float32", shape=(15,), text="yy zy zz sy sz ss ty tz ts tt qy qz qs qt qq"),
        Column(name="chi2", dtype="float32", text="of the final fit"),
        Column(
            name="x_out", dtype="float32", unit="cm", text="radius x of the outermost fitted cluster, in its sector"
        ),
        Column(
            name="time0", dtype="float32", unit="time bin", text="estimate of the collision's time in the timeframe"
        ),
        Column(name="time_fwd", dtype="float32", unit="time bin", text="time0 can be later by this much"),
        Column(name="time_bwd", dtype="float32", unit="time bin", text="time0 can be earlier by this much"),
        Column(name="dedx_tot", dtype="float32", unit="ADC/cm", text="truncated mean of q_tot of 1 cm of path"),
        Column(name="dedx_max", dtype="float32", unit="ADC/cm", text="truncated mean of q_max of 1 cm of path"),
        Column(name="n_clusters", dtype="int32", text="attached; those of a looper's further legs are not in the fit"),
        Column(name="n_crossed_rows", dtype="int32", text="rows between first and last cluster with a cluster nearby"),
        Column(name="first_cluster", dtype="int32", text="first row in TPC/TRACKCLUSTERS"),
        Column(name="sides", dtype="uint8", text="1 A, 2 C, 3 crosses the central electrode (time0 is then measured)"),
    ),
)

TRACKCLUSTERS = Schema(
    "TPC/TRACKCLUSTERS",
    (
        Column(
            name="cluster",
            dtype="int32",
            text="row in TPC/CLUSTERNATIVE; of one track contiguous, innermost first; loopers leg by leg",
        ),
    ),
)

TRACKLABEL = Schema(
    "TPC/TRACKLABEL",
    (
        Column(name="mc", dtype="int32", text="particle with most clusters on the track, -1 none"),
        Column(name="purity", dtype="float32", text="its share of the track's clusters; below 0.9 the track is fake"),
    ),
)

TPC_SCHEMAS = {
    s.name: s for s in (CLUSTERNATIVE, CLUSTERXYZ, CLUSTERLABEL, MC_TPCREFS, TRACKS, TRACKCLUSTERS, TRACKLABEL)
}
