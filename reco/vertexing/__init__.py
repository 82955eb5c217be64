"""Vertices from tracks: reads the detectors' schemas, never their kernels."""
