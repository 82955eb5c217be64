"""Pieces of one track become one: across sectors out of reach, across gaps, and across the central electrode."""

from typing import NamedTuple

import numpy as np

from o2dask.reco.geometry.tpc import N_ROWS
from o2dask.reco.tpc.backend import HOST, Backend
from o2dask.reco.tpc.kernels_hits import shift_hits
from o2dask.reco.tpc.kernels_merging import Ends, Matching, find_partners
from o2dask.reco.tpc.kernels_types import Detector
from o2dask.reco.tpc.params import TpcTrackingParams
from o2dask.reco.tpc.segments import Fitted, Hits, Segments, fit_segments, take_ragged

__all__ = ["Joined", "join_crossing", "join_pieces", "without_overlap"]


class Joined(NamedTuple):
    """Tracks after joining and their fits; `shift` (n,) float32 [cm] of those across the electrode, NaN of others."""

    segments: Segments
    fitted: Fitted
    shift: np.ndarray


def join_pieces(
    segments: Segments, fitted: Fitted, detector: Detector, params: TpcTrackingParams, backend: Backend = HOST
) -> Joined:
    """Return the tracks with their pieces joined, those of one side, or any where z is the true one."""
    tracks = Joined(segments, fitted, np.full(len(segments.par), np.nan, np.float32))
    ends = _ends(tracks, backend, is_crossing=False)
    partner, _ = _mutual(ends, detector, _matching(params, 2 if params.is_absolute else 0, is_crossing=False), backend)
    return _join(tracks, partner, None, detector, params, backend)


def join_crossing(tracks: Joined, detector: Detector, params: TpcTrackingParams, backend: Backend = HOST) -> Joined:
    """Return the tracks with pieces on both sides of the central electrode joined, their z being the true one."""
    ends = _ends(tracks, backend, is_crossing=True)
    partner, shift = _mutual(ends, detector, _matching(params, 1, is_crossing=True), backend)
    return _join(tracks, partner, shift, detector, params, backend)


def _matching(params: TpcTrackingParams, sides: int, *, is_crossing: bool) -> Matching:
    i4, f4 = np.int32, np.float32
    gap, overlap = i4(params.merge_max_gap), i4(params.merge_max_overlap)
    return Matching(i4(sides), i4(is_crossing), gap, overlap, f4(params.merge_chi2), f4(params.merge_window))


def _ends(tracks: Joined, backend: Backend, *, is_crossing: bool) -> Ends:
    segments, fitted, i4 = tracks.segments, tracks.fitted, np.int32
    hits = segments.hits
    outer, inner = hits.first[1:] - 1, hits.first[:-1]
    is_open = fitted.n_used > 0
    out_row = backend.fetch(backend.take(hits.row, outer)).astype(i4)
    out_sector = backend.fetch(backend.take(hits.sector, outer)).astype(i4)
    in_row = np.where(is_open, backend.fetch(backend.take(hits.row, inner)), 0).astype(i4)
    # nothing lies beyond the outermost row
    rows = np.flatnonzero(is_open & (out_row < N_ROWS - 1))
    z = segments.par[:, 2]
    key = np.where(out_sector >= 18, -z, z) if is_crossing else z
    order = rows[np.lexsort((rows, key[rows], out_sector[rows] % 18))].astype(i4)
    start = np.searchsorted((out_sector % 18)[order], np.arange(19)).astype(i4)
    return Ends(
        fitted.par,
        fitted.cov,
        fitted.sector.astype(i4),
        in_row,
        segments.par,
        segments.cov,
        out_sector,
        out_row,
        order,
        np.stack([key[order], out_row[order], *segments.par[order, 4:6].T], axis=1).astype(np.float32),
        start,
    )


def _mutual(ends: Ends, detector: Detector, matching: Matching, backend: Backend) -> tuple[np.ndarray, np.ndarray]:
    """Return partners and shifts; a track wanted by several goes to the one with the least chi2."""
    n = len(ends.in_par)
    out = (backend.empty(n, np.int32), backend.empty(n, np.float32), backend.empty(n, np.float32))
    backend.run(find_partners, n, backend.send(ends), backend.resident(detector), matching, *out)
    partner, chi2, shift = (backend.fetch(part) for part in out)
    asking = np.flatnonzero(partner >= 0)
    asking = asking[np.lexsort((asking, chi2[asking]))]
    _, best = np.unique(partner[asking], return_index=True)
    keep = asking[best]
    joined = np.full(n, -1, np.int32)
    joined[keep] = partner[keep]
    return joined, shift


def _chains(partner: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the outermost piece of each joined track, offsets, and its pieces, innermost first."""
    is_inner = np.zeros(len(partner), bool)
    is_inner[partner[partner >= 0]] = True
    heads = np.flatnonzero(~is_inner & (partner >= 0))
    levels = [heads]
    while (levels[-1] >= 0).any():
        inner = levels[-1]
        levels.append(np.where(inner >= 0, partner[np.maximum(inner, 0)], -1))
    table = np.stack(levels[::-1], axis=1)
    offsets = np.zeros(len(heads) + 1, np.int32)
    np.cumsum((table >= 0).sum(1), out=offsets[1:])
    return heads, offsets, table[table >= 0]


def _join(
    tracks: Joined,
    partner: np.ndarray,
    shift: "np.ndarray | None",
    detector: Detector,
    params: TpcTrackingParams,
    backend: Backend,
) -> Joined:
    """Return the tracks with joined ones appended; their pieces stay with no cluster used."""
    segments, fitted = tracks.segments, tracks.fitted
    heads, offsets, pieces = _chains(partner)
    if not len(heads):
        return tracks
    first, at = without_overlap(segments.hits, offsets, pieces, backend)
    there = backend.send(at)
    hits = Hits(first, *(backend.take(part, there) for part in segments.hits[1:]))
    par = segments.par[heads]
    shifts = np.full(len(heads), np.nan, np.float32)
    if shift is not None:
        shifts = shift[heads]
        outer = backend.fetch(backend.take(hits.sector, hits.first[1:] - 1))
        par[:, 2] += np.where(outer < 18, shifts, -shifts)
        backend.run(shift_hits, len(shifts), *backend.send((hits.first, shifts)), hits.sector, hits.z)
    joined = Segments(par, segments.cov[heads], hits)
    again = fit_segments(joined, detector, params.chi2_fit, backend)
    fitted.n_used[pieces] = 0
    both = Segments(
        np.concatenate([segments.par, par]),
        np.concatenate([segments.cov, joined.cov]),
        _concatenated(segments.hits, hits, backend),
    )
    states = (np.concatenate(parts) for parts in zip(fitted[:-1], again[:-1], strict=True))
    fits = Fitted(*(*states, backend.extend(fitted.path, again.path)))
    return Joined(both, fits, np.concatenate([tracks.shift, shifts]))


def without_overlap(
    hits: Hits, offsets: np.ndarray, pieces: np.ndarray, backend: Backend
) -> tuple[np.ndarray, np.ndarray]:
    """Return offsets of joined tracks and the positions of their hits: on rows of two pieces the outer one's.

    An inner piece has ended in clusters of others there: it was found in what the outer one had left.
    """
    piece_first, at = take_ragged(hits.first, pieces)
    row = backend.fetch(backend.take(hits.row, backend.send(at))).astype(np.int32)
    limit = np.full(len(pieces), N_ROWS, np.int32)
    limit[:-1] = row[piece_first[1:-1]]
    limit[offsets[1:] - 1] = N_ROWS
    keep = row < np.repeat(limit, np.diff(piece_first))
    kept = np.concatenate([[0], np.cumsum(keep)]).astype(np.int32)
    return kept[piece_first[offsets]], at[keep]


def _concatenated(a: Hits, b: Hits, backend: Backend) -> Hits:
    first = np.concatenate([a.first, a.first[-1] + b.first[1:]])
    return Hits(first, *(backend.extend(*parts) for parts in zip(a[1:], b[1:], strict=True)))
