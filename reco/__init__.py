"""Reconstruction and simulation: one folder per detector, global steps, and the machinery that they share."""
