"""The Time Projection Chamber: simulation, cluster codec, tracking."""
