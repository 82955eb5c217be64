"""Conditions of the detectors: what they are (`objects`), where they are and what stands in for them (`inputs`)."""
