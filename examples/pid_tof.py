"""Particle identification by time of flight: number of sigmas, velocity and mass of made-up particles.

Usage: python examples/pid_tof.py
"""

import numpy as np

from o2dask.analysis.formulas.constants import LIGHT_SPEED_CM_PS
from o2dask.analysis.physics.kinematics import MASSES
from o2dask.analysis.physics.pid_tof import TofResponse, tof_beta, tof_mass, tof_n_sigma

N, RADIUS, RESOLUTION = 20_000, 380.0, 60.0  # particles, cm, ps
NAMES = {"Pi": "pion", "Ka": "kaon", "Pr": "proton"}

rng = np.random.default_rng(3)
p, eta = rng.uniform(0.6, 1.5, N), rng.uniform(-0.8, 0.8, N)
length = RADIUS * np.cosh(eta)
species = rng.choice(list(NAMES), N, p=[0.6, 0.25, 0.15])
mass = np.array([MASSES[NAMES[s]] for s in species])


def time_of(m):
    """Return the time of flight [ps] for a mass."""
    return length * np.sqrt(1 + (m / p) ** 2) / LIGHT_SPEED_CM_PS


# O2 stores the time of a track relative to the one expected of a pion [ns], and the momentum that it was expected with.
tracks = {
    "p": p,
    "length": length,
    "tofExpMom": p,
    "trackTime": (time_of(mass) + rng.normal(0, RESOLUTION, N) - time_of(MASSES["pion"])) / 1000,
    "hasTOF": np.ones(N, bool),
    "pidForTracking": np.full(N, 2),
}
response = TofResponse(time=RESOLUTION, momentum=(0.0, 0.0, 0.0, 0.0))  # the momentum is exact here
beta, found = tof_beta(tracks), tof_mass(tracks)
print(f"{N} particles from 0.6 to 1.5 GeV/c, {RESOLUTION:.0f} ps; largest velocity {beta.max():.3f} c")
print("    tracks   mean n-sigma   width   within 3 of another   mass [GeV/c2]   expected")
for s, name in NAMES.items():
    mine = species == s
    pull = tof_n_sigma(tracks, s, response)[mine]
    others = [abs(tof_n_sigma(tracks, o, response)[mine]) < 3 for o in NAMES if o != s]
    print(
        f"{s} {mine.sum():9} {pull.mean():14.3f} {pull.std():7.3f} {np.any(others, axis=0).mean():21.1%} "
        f"{np.median(found[mine]):15.3f} {MASSES[name]:10.3f}"
    )
print("expected: mean 0, width 1")
