"""Pieces of one track become one: across sectors out of reach, across gaps, and across the central electrode."""

from typing import NamedTuple

import numpy as np

from o2dask.reco.tpc.kernels_merging import Ends, Matching, find_partners
from o2dask.reco.tpc.kernels_types import Detector
from o2dask.reco.tpc.params import TpcTrackingParams
from o2dask.reco.tpc.segments import Fitted, Hits, Segments, fit_segments, hits_of, take_ragged

__all__ = ["Joined", "join_crossing", "join_pieces"]


class Joined(NamedTuple):
    """Tracks after joining and their fits; `shift` (n,) float32 [cm] of those across the electrode, NaN of others."""

    segments: Segments
    fitted: Fitted
    shift: np.ndarray


def join_pieces(segments: Segments, fitted: Fitted, detector: Detector, params: TpcTrackingParams) -> Joined:
    """Return the tracks with their pieces joined, those of one side, or any where z is the true one."""
    ends = _ends(segments, fitted, is_crossing=False)
    partner, _ = _mutual(ends, detector, _matching(params, 2 if params.is_absolute else 0, is_crossing=False))
    return _join(segments, fitted, partner, None, detector, params)


def join_crossing(segments: Segments, fitted: Fitted, detector: Detector, params: TpcTrackingParams) -> Joined:
    """Return the tracks with pieces on both sides of the central electrode joined, their z being the true one."""
    ends = _ends(segments, fitted, is_crossing=True)
    partner, shift = _mutual(ends, detector, _matching(params, 1, is_crossing=True))
    return _join(segments, fitted, partner, shift, detector, params)


def _matching(params: TpcTrackingParams, sides: int, *, is_crossing: bool) -> Matching:
    i4, f4 = np.int32, np.float32
    gap, overlap = i4(params.merge_max_gap), i4(params.merge_max_overlap)
    return Matching(i4(sides), i4(is_crossing), gap, overlap, f4(params.merge_chi2), f4(params.merge_window))


def _ends(segments: Segments, fitted: Fitted, *, is_crossing: bool) -> Ends:
    hits, i4 = segments.hits, np.int32
    n = len(segments.par)
    outer = hits.first[1:] - 1
    inner = hits.first[:-1]
    out_sector = hits.sector[outer].astype(i4)
    z = segments.par[:, 2]
    key = np.where(out_sector >= 18, -z, z) if is_crossing else z
    order = np.lexsort((np.arange(n), key, out_sector % 18)).astype(i4)
    start = np.searchsorted((out_sector % 18)[order], np.arange(19)).astype(i4)
    return Ends(
        fitted.par,
        fitted.cov,
        fitted.sector.astype(i4),
        hits.row[inner].astype(i4),
        segments.par,
        segments.cov,
        out_sector,
        hits.row[outer].astype(i4),
        order,
        np.ascontiguousarray(key[order], np.float32),
        start,
    )


def _mutual(ends: Ends, detector: Detector, matching: Matching) -> tuple[np.ndarray, np.ndarray]:
    """Return partners and shifts; a track wanted by several goes to the one with the least chi2."""
    n = len(ends.in_par)
    partner = np.full(n, -1, np.int32)
    chi2, shift = np.empty(n, np.float32), np.zeros(n, np.float32)
    find_partners(ends, detector, matching, partner, chi2, shift)
    asking = np.flatnonzero(partner >= 0)
    asking = asking[np.lexsort((asking, chi2[asking]))]
    _, best = np.unique(partner[asking], return_index=True)
    keep = asking[best]
    joined = np.full(n, -1, np.int32)
    joined[keep] = partner[keep]
    return joined, shift


def _chains(partner: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the outermost piece of each track, offsets, and all pieces, innermost first. Loops have none: dropped."""
    is_inner = np.zeros(len(partner), bool)
    is_inner[partner[partner >= 0]] = True
    heads = np.flatnonzero(~is_inner)
    levels = [heads]
    while (levels[-1] >= 0).any():
        inner = levels[-1]
        levels.append(np.where(inner >= 0, partner[np.maximum(inner, 0)], -1))
    table = np.stack(levels[::-1], axis=1)
    offsets = np.zeros(len(heads) + 1, np.int32)
    np.cumsum((table >= 0).sum(1), out=offsets[1:])
    return heads, offsets, table[table >= 0]


def _join(
    segments: Segments,
    fitted: Fitted,
    partner: np.ndarray,
    shift: "np.ndarray | None",
    detector: Detector,
    params: TpcTrackingParams,
) -> Joined:
    heads, offsets, pieces = _chains(partner)
    piece_first, at = take_ragged(segments.hits.first, pieces)
    hits = Hits(piece_first[offsets], *(part[at] for part in segments.hits[1:]))
    par = segments.par[heads]
    is_joined = np.diff(offsets) > 1
    shifts = np.full(len(heads), np.nan, np.float32)
    if shift is not None:
        shifts[is_joined] = shift[heads[is_joined]]
        moved = np.nan_to_num(shifts)
        outer = hits.sector[hits.first[1:] - 1] if len(heads) else hits.sector
        par[:, 2] += np.where(outer < 18, moved, -moved)
        per_hit = np.repeat(moved, np.diff(hits.first))
        hits = hits._replace(z=hits.z + np.where(hits.sector < 18, per_hit, -per_hit))
    joined = Segments(par, segments.cov[heads], hits)
    return Joined(joined, _refit(joined, fitted, heads, at, is_joined, detector, params), shifts)


def _refit(
    joined: Segments,
    fitted: Fitted,
    heads: np.ndarray,
    at: np.ndarray,
    is_joined: np.ndarray,
    detector: Detector,
    params: TpcTrackingParams,
) -> Fitted:
    """Return the fits of all tracks: those of one piece as they were, the others anew."""
    out = Fitted(*(part[heads] for part in fitted[:5]), fitted.path[at])
    rows = np.flatnonzero(is_joined)
    if len(rows):
        some = Segments(joined.par[rows], joined.cov[rows], hits_of(joined.hits, rows))
        again = fit_segments(some, detector, params.chi2_fit)
        for part, new in zip(out[:5], again[:5], strict=True):
            part[rows] = new
        out.path[take_ragged(joined.hits.first, rows)[1]] = again.path
    return out
