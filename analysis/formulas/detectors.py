"""Small detector tables: FT0, CPV clusters, V0s. ZDC has a module of its own."""

# Formula bodies are bare: arrays in, an array out.
# mypy: allow-untyped-defs, allow-untyped-calls, no-warn-return-any

import numpy as np

from o2dask.analysis.formulas.constants import LIGHT_SPEED_CM_NS
from o2dask.analysis.formulas.registry import formula

FT0_NO_TIME = np.float32(30)
"""FT0 times [ns] from here on mean that the side saw nothing (the producer writes about 32)."""


@formula("O2ft0", getter="posZ", unit="cm")
def ft0_pos_z(timeA, timeC):
    """Return z of the collision from the time difference of both sides."""
    return np.float32(LIGHT_SPEED_CM_NS / 2) * (timeC - timeA)


@formula("O2ft0", getter="collTime", unit="ns")
def ft0_collision_time(timeA, timeC):
    """Return the mean of both sides' times."""
    return np.float32(0.5) * (timeA + timeC)


@formula("O2ft0", getter="isValidTimeA")
def ft0_is_valid_time_a(timeA):
    """Return whether the A side has a time."""
    return timeA < FT0_NO_TIME


@formula("O2ft0", getter="isValidTimeC")
def ft0_is_valid_time_c(timeC):
    """Return whether the C side has a time."""
    return timeC < FT0_NO_TIME


@formula("O2ft0", getter="isValidTime")
def ft0_is_valid_time(timeA, timeC):
    """Return whether both sides have a time."""
    return (timeA < FT0_NO_TIME) & (timeC < FT0_NO_TIME)


def _sum_of_positive(amplitude):
    import awkward as ak

    return ak.to_numpy(ak.sum(amplitude[amplitude > 0], axis=1))


@formula("O2ft0", getter="sumAmpA")
def ft0_sum_a(amplitudeA):
    """Return the sum of the positive amplitudes of the A side."""
    return _sum_of_positive(amplitudeA)


@formula("O2ft0", getter="sumAmpC")
def ft0_sum_c(amplitudeC):
    """Return the sum of the positive amplitudes of the C side."""
    return _sum_of_positive(amplitudeC)


def _status_bits(status, shift, n_bits):
    return status.view(np.uint8) >> np.uint8(shift) & np.uint8((1 << n_bits) - 1)


@formula("O2cpvcluster", getter="padMult")
def cpv_pad_multiplicity(clusterStatus):
    """Return the number of pads of the cluster, bits 0-4."""
    return _status_bits(clusterStatus, 0, 5)


@formula("O2cpvcluster", getter="moduleNumber")
def cpv_module_number(clusterStatus):
    """Return the CPV module, 2 + bits 5-6."""
    return _status_bits(clusterStatus, 5, 2) + np.uint8(2)


@formula("O2cpvcluster", getter="isUnfolded")
def cpv_is_unfolded(clusterStatus):
    """Return whether the cluster was unfolded, bit 7.

    O2 codes ((status & 0x60) >> 7), which is never set; this is what it means.
    """
    return _status_bits(clusterStatus, 7, 1) != 0


@formula("O2v0_002", getter="isStandardV0")
def is_standard_v0(v0Type):
    """Return whether the V0 was built by the standard search."""
    return v0Type & np.uint8(1) != 0


@formula("O2v0_002", getter="isPhotonV0")
def is_photon_v0(v0Type):
    """Return whether the V0 is a photon of two TPC-only tracks."""
    return v0Type & np.uint8(2) != 0


@formula("O2v0_002", getter="isCollinearV0")
def is_collinear_v0(v0Type):
    """Return whether the V0 is a collinear photon."""
    return v0Type & np.uint8(4) != 0
