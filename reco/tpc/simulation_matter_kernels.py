"""What matter does to a particle: energy loss with fluctuations, scattering, radiation of electrons.

Energies in GeV. Bethe-Bloch and Highland: PDG, Passage of particles through matter. Straggling: Landau with the tail
cut so that the mean is the mean loss, as in GEANT3 (manual, PHYS332), in thick layers a gamma distribution of the same
variance. Scalar bodies only.
"""

import math

from o2dask.reco.tpc.kernels_jit import body
from o2dask.reco.tpc.simulation_random_kernels import gamma_variate, quick_normal, uniform

__all__ = [
    "ELECTRON_MASS",
    "LANDAU_MEAN_FIRST",
    "LANDAU_MEAN_STEP",
    "aleph",
    "bethe_bloch",
    "highland",
    "landau_bounds",
    "landau_number",
    "largest_transfer",
    "scattered",
    "straggled_loss",
    "wall",
]

ELECTRON_MASS = 0.51099895e-3
LANDAU_MEAN_FIRST, LANDAU_MEAN_STEP = -0.45, 0.05
"""Where the table of Landau's cuts begins, and its step."""
_K = 0.307075e-3
"""4 pi N_A r_e^2 m_e c^2 [GeV cm2/mol]."""
_LN2 = math.log(2.0)


@body
def aleph(bg, p0, p1, p2, p3, p4):
    """Return the ionisation at beta gamma `bg` relative to a unit near its minimum (ALEPH's parametrisation)."""
    beta = bg / math.sqrt(1.0 + bg * bg)
    a = beta**p3
    return (p1 - a - math.log(p2 + bg**-p4)) * p0 / a


@body
def largest_transfer(bg, mass):
    """Return the largest energy [GeV] that one electron can take."""
    gamma = math.sqrt(1.0 + bg * bg)
    ratio = ELECTRON_MASS / mass
    return 2.0 * ELECTRON_MASS * bg * bg / (1.0 + 2.0 * gamma * ratio + ratio * ratio)


@body
def _density_effect(bg, solid):
    """Return half of the density effect correction (Sternheimer's parametrisation)."""
    x = math.log10(bg)
    if x < solid.density_x0:
        return 0.5 * solid.density_0 * 10.0 ** (2.0 * (x - solid.density_x0))
    delta = 2.0 * math.log(bg) - solid.density_c
    if x < solid.density_x1:
        delta += solid.density_a * (solid.density_x1 - x) ** solid.density_k
    return 0.5 * delta


@body
def bethe_bloch(bg, mass, solid):
    """Return the mean loss of a unit charge [GeV cm2/g] in `solid` (reco.geometry.material.Solid)."""
    bg2 = bg * bg
    beta2 = bg2 / (1.0 + bg2)
    ratio = 2.0 * ELECTRON_MASS * bg2 * largest_transfer(bg, mass) / (solid.excitation * solid.excitation)
    bracket = 0.5 * math.log(ratio) - beta2 - _density_effect(bg, solid)
    return _K * solid.z_over_a / beta2 * max(bracket, 0.5)


@body
def highland(p, beta, charge, x_over_x0, x_for_log):
    """Return the width [rad] of the scattering angle in a plane; `x_for_log` is the X/X0 in the logarithm.

    Many thin steps add up to one thick one only if all use the logarithm of the whole.
    """
    z2 = charge * charge
    log_term = max(1.0 + 0.038 * math.log(x_for_log * z2 / (beta * beta)), 0.3)
    return 0.0136 / (beta * p) * abs(charge) * math.sqrt(x_over_x0) * log_term


@body
def landau_bounds(beta2, kappa, cuts):
    """Return Landau's variable at the mean loss, and where to cut its tail so that this is its mean.

    `cuts`: simulation_constants.Transport.landau_cuts.
    """
    mean = -0.422784 - beta2 - math.log(kappa)
    at = (mean - LANDAU_MEAN_FIRST) / LANDAU_MEAN_STEP
    low = min(max(int(at), 0), cuts.shape[0] - 2)
    return mean, cuts[low] + min(at - low, 1.0) * (cuts[low + 1] - cuts[low])


@body
def landau_number(state, highest, quantiles, tail):
    """Return the next state and a Landau number below `highest`, from the quantiles of 0-0.99 and of 0.99-1."""
    value = 0.0
    for _ in range(16):
        state, u = uniform(state)
        if u < 0.99:
            at = u / 0.99 * quantiles.shape[0] - 0.5
            table = quantiles
        else:
            at = (u - 0.99) / 0.01 * tail.shape[0] - 0.5
            table = tail
        low = min(max(int(at), 0), table.shape[0] - 2)
        value = table[low] + (at - low) * (table[low + 1] - table[low])
        if value <= highest:
            break
    return state, min(value, highest)


@body
def straggled_loss(state, mean, xi, beta2, top, par):
    """Return the next state and a fluctuated loss [GeV] of the given mean; `top`: largest transfer to an electron.

    `par`: simulation_constants.Transport, for Landau's distribution.
    """
    kappa = xi / top
    if kappa > 0.3:
        variance = xi * top * (1.0 - 0.5 * beta2)
        state, value = gamma_variate(state, mean * mean / variance)
        return state, value * variance / mean
    middle, highest = landau_bounds(beta2, kappa, par.landau_cuts)
    state, value = landau_number(state, highest, par.landau, par.landau_tail)
    return state, max(mean + xi * (value - middle), 0.1 * mean)


@body
def scattered(state, s, c, tgl, theta):
    """Return the next state and the direction after scattering by `theta` [rad] in each of two planes."""
    state, a = quick_normal(state)
    state, b = quick_normal(state)
    up = 1.0 + tgl * tgl
    turn = a * theta * math.sqrt(up)
    lift = b * theta
    tgl = tgl + lift * up * (1.0 + lift * tgl)
    if abs(turn) < 0.1:
        st, ct = turn * (1.0 - turn * turn / 6.0), 1.0 - 0.5 * turn * turn
    else:
        st, ct = math.sin(turn), math.cos(turn)
    s, c = s * ct + c * st, c * ct - s * st
    norm = 1.5 - 0.5 * (s * s + c * c)  # one Newton step to length one
    return state, s * norm, c * norm, tgl


@body
def wall(state, p, mass, charge, x_over_x0, g_per_cm2, par):
    """Cross a wall: return the next state, the momentum after it [GeV/c, 0 if stopped] and the scattering width.

    `par`: simulation_constants.Transport, for the material and the Landau quantiles.
    """
    energy = math.sqrt(p * p + mass * mass)
    bg, beta2 = p / mass, p * p / (energy * energy)
    z2 = charge * charge
    theta = highland(p, math.sqrt(beta2), charge, x_over_x0, x_over_x0)
    mean = z2 * g_per_cm2 * bethe_bloch(bg, mass, par)
    if mean > energy - mass:
        return state, 0.0, theta
    xi = 0.5 * _K * z2 * par.z_over_a * g_per_cm2 / beta2
    state, loss = straggled_loss(state, mean, xi, beta2, largest_transfer(bg, mass), par)
    energy -= loss
    if mass < 1.001 * ELECTRON_MASS:  # Bethe and Heitler: -ln(energy kept) is gamma distributed
        state, lost = gamma_variate(state, x_over_x0 / _LN2)
        energy *= math.exp(-lost)
    if energy <= mass:
        return state, 0.0, theta
    return state, math.sqrt(energy * energy - mass * mass), theta
