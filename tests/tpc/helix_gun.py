"""A gun of perfect helices onto the pad rows, with Gaussian clusters: truth for the tests of TPC tracking."""

from typing import NamedTuple

import numpy as np

from o2dask.reco.geometry.tpc import BZ_KG, pad_rows


class Shots(NamedTuple):
    """Clusters (sector, row: uint8; y, z: float32 [cm]; mc: int32) and truth per particle (pt, phi, tgl, charge)."""

    sector: np.ndarray
    row: np.ndarray
    y: np.ndarray
    z: np.ndarray
    mc: np.ndarray
    pt: np.ndarray
    phi: np.ndarray
    tgl: np.ndarray
    charge: np.ndarray


def shoot(
    n: int, seed: int, *, sigma: float = 0.08, min_pt: float = 0.4, z_shift: float = 0.0, z_vertex: float = 0.0
) -> Shots:
    """Return n particles from (0, 0, z_vertex) at random azimuths, |tgl| < 0.9, 5 GeV/c at most, one cluster per row.

    `z_shift` [cm] is the drift of the collision's time: what continuous readout takes from z on the A side and adds to
    it on the C side.
    """
    rng = np.random.default_rng(seed)
    pt = np.exp(rng.uniform(np.log(min_pt), np.log(5.0), n))
    phi, tgl, charge = rng.uniform(-np.pi, np.pi, n), rng.uniform(0.05, 0.9, n) * rng.choice([-1, 1], n), np.ones(n)
    charge[rng.random(n) < 0.5] = -1
    curvature = -0.000299792458 * BZ_KG * charge / pt
    parts = []
    for row, x in enumerate(pad_rows().x.astype(float)):
        # In the frame of each of three sectors around the crossing: y at plane x by bisection along the arc.
        for i in range(n):
            k = curvature[i]
            s = np.linspace(x * 0.98, x * 1.5, 400)
            gx = (np.sin(phi[i] + k * s) - np.sin(phi[i])) / k
            gy = -(np.cos(phi[i] + k * s) - np.cos(phi[i])) / k
            azimuth = np.arctan2(gy, gx)
            sector = np.floor(np.rad2deg(azimuth) % 360 / 20).astype(int)
            alpha = np.deg2rad(10 + 20 * sector)
            local = gx * np.cos(alpha) + gy * np.sin(alpha)
            at = np.flatnonzero(np.diff(np.sign(local - x)) > 0)
            if not len(at) or abs(z_vertex + tgl[i] * s[at[0]]) > 245:
                continue
            j = at[0]
            if sector[j] != sector[j + 1]:
                continue
            f = (x - local[j]) / (local[j + 1] - local[j])
            arc = s[j] + f * (s[j + 1] - s[j])
            gx_f = (np.sin(phi[i] + k * arc) - np.sin(phi[i])) / k
            gy_f = -(np.cos(phi[i] + k * arc) - np.cos(phi[i])) / k
            y = -gx_f * np.sin(alpha[j]) + gy_f * np.cos(alpha[j])
            z = z_vertex + tgl[i] * arc
            parts.append((sector[j] + (18 if z < 0 else 0), row, y, z, i))
    sector, row, y, z, mc = (np.array(c) for c in zip(*parts, strict=True))
    y, z = y + sigma * rng.standard_normal(len(y)), z + sigma * rng.standard_normal(len(z))
    z = z + np.where(sector < 18, -z_shift, z_shift)
    u1, f4 = np.uint8, np.float32
    return Shots(
        sector.astype(u1), row.astype(u1), y.astype(f4), z.astype(f4), mc.astype(np.int32), pt, phi, tgl, charge
    )
