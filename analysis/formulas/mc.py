"""Generated particles and collisions: O2mcparticle, O2mccollision, both versions."""

# Formula bodies are bare: arrays in, an array out.
# mypy: allow-untyped-defs, allow-untyped-calls, no-warn-return-any

import numpy as np

from o2dask.analysis.formulas.elementary import asinh
from o2dask.analysis.formulas.registry import formula

PARTICLE = ("O2mcparticle", "O2mcparticle_001")
COLLISION = ("O2mccollision", "O2mccollision_001")
BY_TRANSPORT, FROM_BACKGROUND, PHYSICAL_PRIMARY = np.uint8(1), np.uint8(2), np.uint8(4)
IS_PACKED = 5
"""Top three bits of a status code that holds the HepMC and the generator status (MCGenStatusEncoding.h)."""
ALONG_THE_BEAM = np.float32(1e-7)
"""Below this p - pz [GeV/c] (or E - pz) a (pseudo)rapidity is +-FAR_FORWARD."""
FAR_FORWARD = np.float32(100)


@formula(*PARTICLE, getter="pt", unit="GeV/c")
def pt(px, py):
    """Return the transverse momentum."""
    return np.sqrt(px * px + py * py)


@formula(*PARTICLE, getter="p", unit="GeV/c")
def p(px, py, pz):
    """Return the momentum."""
    return np.sqrt(px * px + py * py + pz * pz)


@formula(*PARTICLE, getter="phi", unit="rad")
def phi(px, py):
    """Return the azimuth in [0, 2 pi]."""
    return np.float32(np.pi) + np.arctan2(-py, -px)


@formula(*PARTICLE, getter="eta")
def eta(px, py, pz):
    """Return the pseudorapidity; +-100 by the sign of pz where p - pz < 1e-7 GeV/c.

    O2 writes 0.5*ln((p + pz)/(p - pz)), which is asinh(pz/pt) with p - pz = pt^2/(p + pz): no digits are lost forward.
    """
    pt2 = px * px + py * py
    momentum = np.sqrt(pt2 + pz * pz)
    difference = np.where(pz > 0, pt2 / (momentum + pz), momentum - pz)
    return np.where(difference < ALONG_THE_BEAM, _far(pz), asinh(pz / np.sqrt(pt2)))


@formula(*PARTICLE, getter="y")
def y(e, pz):
    """Return the rapidity; +-100 by the sign of pz where E - pz < 1e-7 GeV."""
    return np.where(e - pz < ALONG_THE_BEAM, _far(pz), np.float32(0.5) * np.log((e + pz) / (e - pz)))


def _far(pz):
    return np.where(pz < 0, -FAR_FORWARD, FAR_FORWARD)


@formula(*PARTICLE, getter="pVector", unit="GeV/c")
def p_vector(px, py, pz):
    """Return the momentum (px, py, pz), (n, 3)."""
    return np.stack([px, py, pz], axis=-1)


@formula(*PARTICLE, getter="producedByGenerator")
def produced_by_generator(flags):
    """Return whether the particle comes from the generator, not from the transport."""
    return flags & BY_TRANSPORT == 0


@formula(*PARTICLE, getter="fromBackgroundEvent")
def from_background_event(flags):
    """Return whether the particle belongs to the background event of an embedding."""
    return flags & FROM_BACKGROUND != 0


@formula(*PARTICLE, getter="isPhysicalPrimary")
def is_physical_primary(flags):
    """Return whether the particle is a primary by ALICE's definition (ALICE-PUBLIC-2017-005)."""
    return flags & PHYSICAL_PRIMARY != 0


def _generator_field(statusCode, flags, shift, n_bits):
    """Return a signed bit field of packed status codes, plain codes as they are, -1 for transport particles."""
    unpacked = statusCode << np.int32(32 - n_bits - shift) >> np.int32(32 - n_bits)
    is_packed = (statusCode.view(np.uint32) >> np.uint32(29)) == IS_PACKED
    return np.where(flags & BY_TRANSPORT == 0, np.where(is_packed, unpacked, statusCode), np.int32(-1))


@formula(*PARTICLE, getter="getGenStatusCode")
def generator_status_code(statusCode, flags):
    """Return the generator's own status code; -1 for particles made by the transport."""
    return _generator_field(statusCode, flags, shift=9, n_bits=10)


@formula(*PARTICLE, getter="getHepMCStatusCode")
def hepmc_status_code(statusCode, flags):
    """Return the HepMC status code; -1 for particles made by the transport."""
    return _generator_field(statusCode, flags, shift=0, n_bits=9)


@formula(*PARTICLE, getter="getProcess")
def process(statusCode, flags):
    """Return the process that made the particle in the transport (TMCProcess); 0 for particles of the generator."""
    return np.where(flags & BY_TRANSPORT == 0, np.int32(0), statusCode)


def _id_field(generatorsID, shift, n_bits):
    return generatorsID.view(np.uint16) >> np.uint16(shift) & np.uint16((1 << n_bits) - 1)


@formula(*COLLISION, getter="getGeneratorId")
def generator_id(generatorsID):
    """Return the generator, bits 0-6."""
    return _id_field(generatorsID, 0, 7).astype(np.int16)


@formula(*COLLISION, getter="getSourceId")
def source_id(generatorsID):
    """Return the source (signal, background), bits 7-10."""
    return _id_field(generatorsID, 7, 4).astype(np.int16)


@formula(*COLLISION, getter="getSubGeneratorId")
def sub_generator_id(generatorsID):
    """Return the sub-generator, bits 11-15 minus 1: -1 where there is none."""
    return _id_field(generatorsID, 11, 5).astype(np.int16) - np.int16(1)
