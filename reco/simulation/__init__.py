"""Collisions and particles before any detector: events, decays, and their places in a timeframe."""
