"""The matter in front of the TPC's pad rows, as thin cylinders, and the gas behind them.

Knows numbers only. Radii and lengths of the ITS layers are O2's (GeometryTGeo, DescriptorInnerBarrelITS2.cxx); what a
layer weighs is from the technical design reports, and marked "estimate" where these give only a sum:

- beam pipe: 0.8 mm of beryllium at 1.9 cm; X0 = 35.28 cm (PDG).
- ITS: 0.36 % and 1.10 % of X0 per inner and outer layer (ITS upgrade TDR, J. Phys. G 41 (2014) 087002, section 4).
- support cylinders between ITS and TPC: estimate 0.5 %.
- TPC containment vessel and field cage: the whole TPC is 3.5 % of X0 near eta = 0 (J. Alme et al., NIM A 622 (2010)
  316), of which the gas is 0.5 % and half of the rest lies inside; the share of the two walls is an estimate.
"""

from typing import NamedTuple

import numpy as np

__all__ = ["GAS", "LAYERS", "SOLID", "Gas", "Layer", "Solid", "layer_arrays"]


class Layer(NamedTuple):
    """A thin cylinder around the beam, crossed at its radius.

    `radius` and `half_length` [cm], `x_over_x0` and `g_per_cm2` at normal incidence.
    """

    name: str
    radius: float
    half_length: float
    x_over_x0: float
    g_per_cm2: float


class Solid(NamedTuple):
    """What walls are made of for the Bethe-Bloch formula: Z/A [mol/g], I [GeV], Sternheimer's density effect."""

    z_over_a: float
    excitation: float
    density_c: float
    density_x0: float
    density_x1: float
    density_a: float
    density_k: float
    density_0: float


class Gas(NamedTuple):
    """The TPC's gas: density [g/cm3], radiation length [cm], Z/A [mol/g]."""

    density: float
    radiation_length: float
    z_over_a: float


SOLID = Solid(0.4995, 78e-9, 2.9925, -0.0351, 2.486, 0.2024, 3.0036, 0.10)
"""Carbon stands for all walls: carbon fibre, silicon and polymers have its Z/A, and I enters as a logarithm.

R. M. Sternheimer et al., At. Data Nucl. Data Tables 30 (1984) 261, graphite of 2.0 g/cm3."""

_MIXED_X0 = 30.0
"""Radiation length [g/cm2] of silicon (21.8) on carbon (42.7), which turns X/X0 into a weight: estimate."""


def _wall(name: str, radius: float, half_length: float, x_over_x0: float, x0: float = _MIXED_X0) -> Layer:
    return Layer(name, radius, half_length, x_over_x0, x_over_x0 * x0)


LAYERS = (
    _wall("beam pipe", 1.9, 250.0, 0.08 / 35.28, 65.19),
    _wall("ITS layer 0", 2.34, 13.56, 0.0036),
    _wall("ITS layer 1", 3.15, 13.56, 0.0036),
    _wall("ITS layer 2", 3.93, 13.56, 0.0036),
    _wall("ITS layer 3", 19.45, 42.12, 0.0110),
    _wall("ITS layer 4", 24.4, 42.12, 0.0110),
    _wall("ITS layer 5", 34.24, 73.71, 0.0110),
    _wall("ITS layer 6", 39.2, 73.71, 0.0110),
    _wall("ITS and TPC support", 50.0, 250.0, 0.0050, 42.7),
    _wall("TPC inner containment vessel", 60.8, 250.0, 0.0070, 42.7),
    _wall("TPC inner field cage", 78.4, 250.0, 0.0070, 42.7),
)
"""From the beam to the drift gas, ascending in radius."""


def _neon_mixture() -> Gas:
    """Mix Ne-CO2-N2 90-10-5 by volume at 20 C, 1 atm; densities and X0 of the parts from the PDG's tables."""
    shares = np.array([90.0, 10.0, 5.0]) / 105.0
    density = np.array([0.839e-3, 1.842e-3, 1.165e-3]) @ shares
    per_cm = np.array([0.839e-3 / 28.93, 1.842e-3 / 36.20, 1.165e-3 / 37.99]) @ shares
    z_over_a = np.array([0.839e-3 * 0.4956, 1.842e-3 * 0.4999, 1.165e-3 * 0.4998]) @ shares / density
    return Gas(float(density), float(1 / per_cm), float(z_over_a))


GAS = _neon_mixture()


def layer_arrays(layers: tuple[Layer, ...] = LAYERS, scale: float = 1.0) -> np.ndarray:
    """Return the layers as (n, 4) float64: radius [cm], half length [cm], X/X0, g/cm2; weights times `scale`."""
    rows = [(r.radius, r.half_length, scale * r.x_over_x0, scale * r.g_per_cm2) for r in layers]
    return np.array(rows, np.float64).reshape(-1, 4)
