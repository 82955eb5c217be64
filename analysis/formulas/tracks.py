"""Kinematics of barrel tracks: O2track and O2track_iu.

State at `x` in the frame rotated by `alpha`: snp is the sine of the local azimuth, tgl = pz/pt, signed1Pt = charge/pt.
"""

# Formula bodies are bare: arrays in, an array out.
# mypy: allow-untyped-defs, allow-untyped-calls, no-warn-return-any

import numpy as np

from o2dask.analysis.formulas.constants import ALMOST_0, VERY_BIG, X_BEAM_PIPE
from o2dask.analysis.formulas.elementary import asinh, azimuth
from o2dask.analysis.formulas.registry import formula

BARREL = ("O2track", "O2track_iu")
FORWARD = ("O2mfttrack", "O2mfttrack_001", "O2fwdtrack")


@formula(*BARREL, *FORWARD, getter="pt", unit="GeV/c")
def pt(signed1Pt):
    """Return the transverse momentum; 8.5e37 GeV/c where signed1Pt is zero."""
    return 1 / np.maximum(np.abs(signed1Pt), ALMOST_0)


@formula(*BARREL, *FORWARD, getter="p", unit="GeV/c")
def p(signed1Pt, tgl):
    """Return the momentum, pt*sqrt(1 + tgl^2); 8.5e37 GeV/c where signed1Pt is zero."""
    curvature = np.abs(signed1Pt)
    return np.where(curvature <= ALMOST_0, VERY_BIG, np.sqrt(1 + tgl * tgl) / curvature)


@formula(*BARREL, *FORWARD, getter="eta")
def eta(tgl):
    """Return the pseudorapidity.

    O2 writes -ln(tan(pi/4 - atan(tgl)/2)), which is asinh(tgl); this form keeps its digits at large tgl.
    """
    return asinh(tgl)


@formula(*BARREL, getter="phi", unit="rad")
def phi(snp, alpha):
    """Return the azimuth of the momentum at the track's point, in [0, 2 pi)."""
    return azimuth(snp, alpha)


@formula(*BARREL, getter="px", unit="GeV/c")
def px(signed1Pt, snp, alpha):
    """Return the x component of the momentum in the global frame."""
    cosine = np.sqrt((1 - snp) * (1 + snp))
    return (cosine * np.cos(alpha) - snp * np.sin(alpha)) / np.abs(signed1Pt)


@formula(*BARREL, getter="py", unit="GeV/c")
def py(signed1Pt, snp, alpha):
    """Return the y component of the momentum in the global frame."""
    cosine = np.sqrt((1 - snp) * (1 + snp))
    return (snp * np.cos(alpha) + cosine * np.sin(alpha)) / np.abs(signed1Pt)


@formula(*BARREL, getter="pz", unit="GeV/c")
def pz(signed1Pt, tgl):
    """Return the z component of the momentum."""
    return tgl / np.abs(signed1Pt)


@formula(*BARREL, getter="pVector", unit="GeV/c")
def p_vector(signed1Pt, snp, alpha, tgl):
    """Return the momentum (px, py, pz) in the global frame, (n, 3)."""
    cosine, cos_alpha, sin_alpha = np.sqrt((1 - snp) * (1 + snp)), np.cos(alpha), np.sin(alpha)
    x, y = cosine * cos_alpha - snp * sin_alpha, snp * cos_alpha + cosine * sin_alpha
    return np.stack([x, y, tgl], axis=-1) / np.abs(signed1Pt)[..., None]


@formula(*BARREL, getter="energy", unit="GeV")
def energy(p, *, m):
    """Return the energy for the mass hypothesis m [GeV/c2]."""
    return np.hypot(p, np.float32(m))


@formula(*BARREL, getter="rapidity")
def rapidity(signed1Pt, tgl, *, m):
    """Return the rapidity for the mass hypothesis m [GeV/c2].

    O2 writes 0.5*ln((E + pz)/(E - pz)), which is asinh(pz/mT); this form keeps its digits where E is close to pz,
    and is the pseudorapidity where signed1Pt is zero.
    """
    return asinh(tgl / np.hypot(np.float32(1), np.float32(m) * signed1Pt))


@formula(*BARREL, *FORWARD, getter="sign")
def sign(signed1Pt):
    """Return the sign of the charge: +1 where signed1Pt > 0, else -1."""
    return np.where(signed1Pt > 0, np.int16(1), np.int16(-1))


@formula(*BARREL, getter="isWithinBeamPipe")
def is_within_beam_pipe(x):
    """Return whether the track's point lies within the beam pipe, |x| < 1.6 cm."""
    return np.abs(x) < X_BEAM_PIPE
