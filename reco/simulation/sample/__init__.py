"""A small sample of real generator events, so that a clean clone simulates real events.

`pbpb.parquet` and `pp.parquet` hold particles, `*_events.parquet` the events, in the columns of
`o2dask.reco.simulation.events.parquet_events`; `make_sample.py` made them and says how they were selected. Their
schema metadata name generator, settings and seed.
"""
