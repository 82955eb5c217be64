"""Geometry of the experiment, the same numbers for simulation and reconstruction; knows no data."""
