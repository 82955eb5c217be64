"""Numbers that the formulas share, from AliceO2's CommonConstants (October 2024)."""

import math

import numpy as np

__all__ = [
    "ALMOST_0",
    "BUNCH_SPACING_NS",
    "LIGHT_SPEED_CM_NS",
    "LIGHT_SPEED_CM_PS",
    "MASSES",
    "TWO_PI",
    "VERY_BIG",
    "X_BEAM_PIPE",
]

ALMOST_0 = np.float32(1.175494351e-38)
"""Smallest normal float; |signed1Pt| up to here counts as zero (MathConstants.h)."""
VERY_BIG = np.float32(1 / 1.175494351e-38)
"""What pt and p are [GeV/c] where |signed1Pt| counts as zero."""
TWO_PI = np.float32(2 * math.pi)
X_BEAM_PIPE = np.float32(1.6)
"""Outer radius of the beam pipe [cm]."""
LIGHT_SPEED_CM_NS = 29.9792458
LIGHT_SPEED_CM_PS = LIGHT_SPEED_CM_NS / 1000
BUNCH_SPACING_NS = 10e9 / 400.789e6
"""Distance of two bunch crossings [ns]: ten periods of the LHC's 400.789 MHz (LHCConstants.h)."""
MASSES = {
    "El": 0.000510999,
    "Mu": 0.1056584,
    "Pi": 0.1395704,
    "Ka": 0.493677,
    "Pr": 0.9382721,
    "De": 1.87561294257,
    "Tr": 2.80892113298,
    "He": 2.80839160743,
    "Al": 3.7273794066,
}
"""Masses [GeV/c2] by O2's two-letter codes. Pion and kaon, which the model leaves out: PDG 2022, rounded alike."""
