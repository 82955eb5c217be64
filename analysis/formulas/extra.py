"""Detector information of barrel tracks: O2trackextra (ITS cluster map) and O2trackextra_001 (ITS cluster sizes)."""

# Formula bodies are bare: arrays in, an array out.
# mypy: allow-untyped-defs, allow-untyped-calls, no-warn-return-any

import numpy as np

from o2dask.analysis.formulas.constants import ALMOST_0, BUNCH_SPACING_NS, LIGHT_SPEED_CM_PS, MASSES
from o2dask.analysis.formulas.registry import formula, register

V0 = "O2trackextra"
V1 = "O2trackextra_001"
BOTH = (V0, V1)

ITS, TPC, TRD, TOF = np.uint8(1), np.uint8(2), np.uint8(4), np.uint8(8)
PV_CONTRIBUTOR = np.uint32(0x2)
TRACK_TIME_ASYM = np.uint32(0x8)
ITS_LAYERS = 7
NIBBLES = np.uint32(0x1111111)
"""Lowest bit of each of the 7 four-bit cluster sizes."""
NO_TOF = np.float32(-999)


@formula(*BOTH, getter="pidForTracking")
def pid_for_tracking(flags):
    """Return the particle hypothesis used in the tracking (0 electron ... 8 alpha)."""
    return flags >> np.uint32(28)


@formula(*BOTH, getter="isPVContributor")
def is_pv_contributor(flags):
    """Return whether the track was used in the fit of the primary vertex."""
    return flags & PV_CONTRIBUTOR != 0


def _detector_map(has_its, tpcNClsFindable, trdPattern, tofChi2, tofExpMom):
    has_tof = (tofChi2 >= 0) & (tofExpMom > 0)
    return ITS * has_its | TPC * (tpcNClsFindable > 0) | TRD * (trdPattern > 0) | TOF * has_tof


@formula(V0, getter="detectorMap")
def detector_map_of_its_map(itsClusterMap, tpcNClsFindable, trdPattern, tofChi2, tofExpMom):
    """Return the detectors of the track, uint8: 1 ITS, 2 TPC, 4 TRD, 8 TOF."""
    return _detector_map(itsClusterMap > 0, tpcNClsFindable, trdPattern, tofChi2, tofExpMom)


@formula(V1, getter="detectorMap")
def detector_map_of_its_sizes(itsClusterSizes, tpcNClsFindable, trdPattern, tofChi2, tofExpMom):
    """Return the detectors of the track, uint8: 1 ITS, 2 TPC, 4 TRD, 8 TOF."""
    return _detector_map(itsClusterSizes > 0, tpcNClsFindable, trdPattern, tofChi2, tofExpMom)


@formula(*BOTH, getter="hasITS")
def has_its(detectorMap):
    """Return whether the track has clusters in the ITS."""
    return detectorMap & ITS != 0


@formula(*BOTH, getter="hasTPC")
def has_tpc(detectorMap):
    """Return whether the track has clusters in the TPC."""
    return detectorMap & TPC != 0


@formula(*BOTH, getter="hasTRD")
def has_trd(detectorMap):
    """Return whether the track has tracklets in the TRD."""
    return detectorMap & TRD != 0


@formula(*BOTH, getter="hasTOF")
def has_tof(detectorMap):
    """Return whether the track is matched to the TOF."""
    return detectorMap & TOF != 0


@formula(*BOTH, getter="tpcNClsFound")
def tpc_n_cls_found(tpcNClsFindable, tpcNClsFindableMinusFound):
    """Return the number of TPC clusters found, int16."""
    return np.subtract(tpcNClsFindable, tpcNClsFindableMinusFound, dtype=np.int16)


@formula(*BOTH, getter="tpcNClsCrossedRows")
def tpc_n_cls_crossed_rows(tpcNClsFindable, tpcNClsFindableMinusCrossedRows):
    """Return the number of TPC pad rows crossed, int16."""
    return np.subtract(tpcNClsFindable, tpcNClsFindableMinusCrossedRows, dtype=np.int16)


@formula(*BOTH, getter="tpcCrossedRowsOverFindableCls")
def tpc_crossed_rows_over_findable_cls(tpcNClsCrossedRows, tpcNClsFindable):
    """Return TPC crossed rows over findable clusters; inf or NaN where nothing was findable."""
    return np.divide(tpcNClsCrossedRows, tpcNClsFindable, dtype=np.float32)


@formula(*BOTH, getter="tpcFoundOverFindableCls")
def tpc_found_over_findable_cls(tpcNClsFound, tpcNClsFindable):
    """Return TPC clusters found over findable; inf or NaN where nothing was findable."""
    return np.divide(tpcNClsFound, tpcNClsFindable, dtype=np.float32)


@formula(*BOTH, getter="tpcFractionSharedCls")
def tpc_fraction_shared_cls(tpcNClsShared, tpcNClsFound):
    """Return the fraction of the found TPC clusters shared with other tracks; inf or NaN where none was found."""
    return np.divide(tpcNClsShared, tpcNClsFound, dtype=np.float32)


@formula(V0, getter="itsNCls")
def its_n_cls_of_map(itsClusterMap):
    """Return the number of ITS layers with a cluster."""
    return np.bitwise_count(itsClusterMap & np.uint8(0x7F))


@formula(V0, getter="itsNClsInnerBarrel")
def its_n_cls_inner_barrel_of_map(itsClusterMap):
    """Return the number of the three innermost ITS layers with a cluster."""
    return np.bitwise_count(itsClusterMap & np.uint8(0x7))


def _hit_nibbles(sizes):
    """Return bit 4L set where the cluster size of layer L is above zero."""
    pairs = sizes | sizes >> np.uint32(1)
    return (pairs | pairs >> np.uint32(2)) & NIBBLES


@formula(V1, getter="itsClusterMap")
def its_cluster_map(itsClusterSizes):
    """Return the ITS layers with a cluster, uint8, bit L for layer L."""
    bits = _hit_nibbles(itsClusterSizes)
    # Each step halves the gaps between the bits: one in 4, two in 8, four in 16, eight in 32.
    bits = (bits | bits >> np.uint32(3)) & np.uint32(0x03030303)
    bits = (bits | bits >> np.uint32(6)) & np.uint32(0x000F000F)
    return (bits | bits >> np.uint32(12)).astype(np.uint8)


@formula(V1, getter="itsNCls")
def its_n_cls(itsClusterSizes):
    """Return the number of ITS layers with a cluster."""
    return np.bitwise_count(_hit_nibbles(itsClusterSizes))


@formula(V1, getter="itsNClsInnerBarrel")
def its_n_cls_inner_barrel(itsClusterSizes):
    """Return the number of the three innermost ITS layers with a cluster."""
    return np.bitwise_count(_hit_nibbles(itsClusterSizes) & np.uint32(0xFFF))


@formula(V1, getter="itsClsSizeInLayer")
def its_cls_size_in_layer(itsClusterSizes, *, layer):
    """Return the cluster size in an ITS layer (0 innermost to 6), 0 without cluster, 15 or more saturated."""
    if not 0 <= layer < ITS_LAYERS:
        return np.zeros(itsClusterSizes.shape, np.uint8)
    return (itsClusterSizes >> np.uint32(4 * layer) & np.uint32(15)).astype(np.uint8)


@formula(V1, getter="isITSAfterburner")
def is_its_afterburner(detectorMap, itsChi2NCl):
    """Return whether the ITS part was found by the afterburner, from the TPC track inwards."""
    return (detectorMap & ITS != 0) & (itsChi2NCl < 0)


def _tpc_time(half, flags):
    """Return a 16-bit half of the packed time error [ns]: units of 1/128 of a TPC bin of 8 bunch crossings."""
    time = half.astype(np.float32) * np.float32(8 * BUNCH_SPACING_NS / 128)
    return np.where(flags & TRACK_TIME_ASYM != 0, time, ALMOST_0)


@formula(V1, getter="tpcDeltaTFwd", unit="ns")
def tpc_delta_t_forward(trackTimeRes, flags):
    """Return how far a TPC-only track's time may move forward; 1.2e-38 where the error is not asymmetric."""
    return _tpc_time(np.ascontiguousarray(trackTimeRes).view(np.uint32) & np.uint32(0xFFFF), flags)


@formula(V1, getter="tpcDeltaTBwd", unit="ns")
def tpc_delta_t_backward(trackTimeRes, flags):
    """Return how far a TPC-only track's time may move backward; 1.2e-38 where the error is not asymmetric."""
    return _tpc_time(np.ascontiguousarray(trackTimeRes).view(np.uint32) >> np.uint32(16), flags)


def tof_expected_time(length, tofExpMom, mass):
    """Return the time to the TOF [ps] over `length` [cm] for a mass [GeV/c2]; -999 where tofExpMom <= 0."""
    mass, c = np.float32(mass), np.float32(LIGHT_SPEED_CM_PS)
    time = length * np.sqrt(mass * mass + tofExpMom * tofExpMom) / (c * tofExpMom)
    return np.where(tofExpMom <= 0, NO_TOF, time)


def _of_mass(mass):
    return lambda length, tofExpMom: tof_expected_time(length, tofExpMom, mass)


for _code, _mass in MASSES.items():
    _text = f"Return the expected time of flight to the TOF for mass {_mass} GeV/c2; -999 without TOF momentum."
    register(BOTH, f"tofExpTime{_code}", _of_mass(_mass), unit="ps", text=_text)
