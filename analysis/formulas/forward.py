"""Muon and MFT tracks (O2mfttrack, O2fwdtrack) and the muon clusters; pt, p, eta and sign are those of `tracks`."""

# Formula bodies are bare: arrays in, an array out.
# mypy: allow-untyped-defs, allow-untyped-calls, no-warn-return-any

import numpy as np

from o2dask.analysis.formulas.registry import formula
from o2dask.analysis.formulas.tracks import FORWARD

MFT_LAYERS = 10
MFT_BITS_PER_LAYER = 6


@formula(*FORWARD, getter="px", unit="GeV/c")
def px(pt, phi):
    """Return the x component of the momentum."""
    return pt * np.cos(phi)


@formula(*FORWARD, getter="py", unit="GeV/c")
def py(pt, phi):
    """Return the y component of the momentum."""
    return pt * np.sin(phi)


@formula(*FORWARD, getter="pz", unit="GeV/c")
def pz(pt, tgl):
    """Return the z component of the momentum (negative in the forward arm)."""
    return pt * tgl


@formula("O2mfttrack_001", getter="nClusters")
def n_clusters(mftClusterSizesAndTrackFlags):
    """Return the number of layers with a cluster: non-zero 6-bit fields among the ten lowest."""
    count = np.zeros(mftClusterSizesAndTrackFlags.shape, np.int8)
    mask = np.uint64((1 << MFT_BITS_PER_LAYER) - 1)
    for layer in range(MFT_LAYERS):
        count += (mftClusterSizesAndTrackFlags >> np.uint64(layer * MFT_BITS_PER_LAYER)) & mask != 0
    return count


@formula("O2mfttrack_001", getter="isCA")
def is_ca(mftClusterSizesAndTrackFlags):
    """Return whether the cellular automaton found the track (bit 60)."""
    return (mftClusterSizesAndTrackFlags >> np.uint64(60)) & np.uint64(1) != 0


@formula("O2fwdtrkcl", getter="deId")
def detection_element(clInfo):
    """Return the detection element, bits 0-10."""
    return clInfo & np.uint16(0x7FF)


@formula("O2fwdtrkcl", getter="isGoodX")
def is_good_x(clInfo):
    """Return whether the cluster's x is good (bit 11)."""
    return clInfo & np.uint16(1 << 11) != 0


@formula("O2fwdtrkcl", getter="isGoodY")
def is_good_y(clInfo):
    """Return whether the cluster's y is good (bit 12)."""
    return clInfo & np.uint16(1 << 12) != 0
