"""Primary vertices and the tracks that belong to them."""

from o2dask.columns import Column, Schema

__all__ = ["PVTX", "PVTXTRACK", "VERTEX_SCHEMAS"]

PVTX = Schema(
    "GLO/PVTX",
    (
        Column(name="x", dtype="float32", unit="cm", text="position; rows are sorted by t"),
        Column(name="y", dtype="float32", unit="cm", text="position"),
        Column(name="z", dtype="float32", unit="cm", text="position"),
        Column(name="cov", dtype="float32", shape=(6,), unit="cm2", text="xx xy yy xz yz zz"),
        Column(name="t", dtype="float64", unit="ns", text="time since the start of the timeframe"),
        Column(name="t_res", dtype="float32", unit="ns", text="standard deviation of t"),
        Column(name="chi2", dtype="float32", text="of the fit, beam spot included"),
        Column(name="n_contributors", dtype="int32", text="tracks in the fit"),
        Column(name="first_track", dtype="int32", text="first row in GLO/PVTXTRACK"),
        Column(name="n_tracks", dtype="int32", text="tracks that belong to it, contributors included"),
    ),
)

PVTXTRACK = Schema(
    "GLO/PVTXTRACK",
    (
        Column(name="track", dtype="int32", text="row in TPC/TRACKS, each at most once; of one vertex contiguous"),
        Column(name="is_contributor", dtype="bool", text="whether it is in the fit of the vertex"),
    ),
)

VERTEX_SCHEMAS = {s.name: s for s in (PVTX, PVTXTRACK)}
