"""Elliptic flow: put v2 into made-up events, and get it back with the event plane and with the scalar product.

Usage: python examples/v2_event_plane.py
"""

import numpy as np

from o2dask.analysis.physics.flow import full_resolution, q_vectors, resolution_two, v_event_plane, v_scalar_product

N_EVENTS, N_TRACKS, V2 = 5000, 400, 0.08

rng = np.random.default_rng(2)
plane = rng.uniform(-np.pi, np.pi, N_EVENTS)
event = np.repeat(np.arange(N_EVENTS), N_TRACKS)
eta = rng.uniform(-0.8, 0.8, len(event))
flat = rng.uniform(-np.pi, np.pi, len(event))
phi = flat
for _ in range(8):  # solves phi + v2 sin 2(phi - plane) = flat, so that dN/dphi = 1 + 2 v2 cos 2(phi - plane)
    phi = flat - V2 * np.sin(2 * (phi - plane[event]))

# Reference particles at both ends of the acceptance, particles of interest in the middle: none correlates with itself.
left, right, middle = eta < -0.3, eta > 0.3, abs(eta) < 0.3
q_left, n_left = q_vectors(phi[left], event[left], N_EVENTS)
q_right, n_right = q_vectors(phi[right], event[right], N_EVENTS)
resolution = resolution_two(q_left, q_right)
by_plane = v_event_plane(phi[middle], event[middle], q_left, resolution)
by_product = v_scalar_product(phi[middle], event[middle], q_left / n_left, q_right / n_right)

print(f"{N_EVENTS} events of {N_TRACKS} tracks, reference {left.sum() / N_EVENTS:.0f} tracks on each side")
print(f"resolution of one side {resolution:.3f}, of both {full_resolution(resolution):.3f}")
print(f"v2 from the event plane   {by_plane.value:.4f} +- {by_plane.error:.4f}, expected {V2}")
print(f"v2 from the scalar product {by_product.value:.4f} +- {by_product.error:.4f}, expected {V2}")
