"""What the simulation says of a timeframe before any detector: its collisions and their particles."""

from o2dask.columns import Column, Schema

__all__ = ["FLAG_PHYSICAL_PRIMARY", "FLAG_TRANSPORT", "MC_COLLISIONS", "MC_PARTICLES", "MC_SCHEMAS"]

FLAG_TRANSPORT = 1
"""Particle made by transport (decay in flight), not by the generator."""
FLAG_PHYSICAL_PRIMARY = 4
"""Physical primary: from the collision, strong or electromagnetic decays, not from a weak decay."""

MC_COLLISIONS = Schema(
    "MC/COLLISIONS",
    (
        Column(name="bc", dtype="int64", unit="BC", text="bunch crossing since the start of the timeframe"),
        Column(name="x", dtype="float32", unit="cm", text="vertex x"),
        Column(name="y", dtype="float32", unit="cm", text="vertex y"),
        Column(name="z", dtype="float32", unit="cm", text="vertex z"),
        Column(name="t", dtype="float32", unit="ns", text="time of the collision relative to its bunch crossing"),
        Column(name="impact", dtype="float32", unit="fm", text="impact parameter, 0 for pp"),
        Column(name="weight", dtype="float32", text="weight of the event"),
        Column(name="first_particle", dtype="int32", text="first row in MC/PARTICLES"),
        Column(name="n_particles", dtype="int32", text="number of rows in MC/PARTICLES, contiguous"),
    ),
)

MC_PARTICLES = Schema(
    "MC/PARTICLES",
    (
        Column(name="collision", dtype="int32", text="row in MC/COLLISIONS; rows are sorted by it"),
        Column(name="pdg", dtype="int32", text="PDG code"),
        Column(name="status", dtype="int32", text="1 final, 2 decays (HepMC)"),
        Column(name="flags", dtype="uint8", text="bit 0 made by transport, bit 2 physical primary"),
        Column(name="mother", dtype="int32", text="row of the mother, -1 none; daughters of one mother are contiguous"),
        Column(name="px", dtype="float32", unit="GeV/c", text="momentum at production"),
        Column(name="py", dtype="float32", unit="GeV/c", text="momentum at production"),
        Column(name="pz", dtype="float32", unit="GeV/c", text="momentum at production"),
        Column(name="e", dtype="float32", unit="GeV", text="energy at production"),
        Column(name="vx", dtype="float32", unit="cm", text="production point, global frame, vertex spread included"),
        Column(name="vy", dtype="float32", unit="cm", text="production point"),
        Column(name="vz", dtype="float32", unit="cm", text="production point"),
        Column(name="vt", dtype="float32", unit="ns", text="production time since the collision"),
        Column(name="path", dtype="float32", unit="cm", text="path length at which it decays, inf if it does not"),
    ),
)

MC_SCHEMAS = {s.name: s for s in (MC_COLLISIONS, MC_PARTICLES)}
